/**
 * A guard: a local port sends only from its own MAC and IP addresses. It judges source addresses, and what
 * ARP and neighbor discovery say about the sender, since others believe that.
 *
 * A port with `macs` sends frames from these alone, and ARP packets and link-layer address options that name
 * these alone. A port with `addresses` sends from these, and besides them
 *
 * - from 0.0.0.0, a DHCP request (RFC 2131 section 4.1) or an ARP probe for an address of its own (RFC 5227
 *   section 2.1.1);
 * - from the link-local address that its source MAC makes (EUI-64, RFC 4291 appendix A). Others have to be
 *   declared as any address has;
 * - from ::, a router solicitation, a multicast listener report (RFC 3590), or a neighbor solicitation for an
 *   address of its own (RFC 4862 section 5.4.2).
 *
 * Probes for addresses of others are refused since two that probe for one address both give it up: who may
 * probe for everything can keep everybody from starting.
 *
 * A tag hides nothing: up to two VLAN tags and a SNAP header (RFC 1042) are looked through. What cannot be
 * read cannot be judged and is malformed: bad headers, ARP for anything but IPv4 over Ethernet, extension
 * headers that are cut (RFC 7112) or too many, neighbor discovery in fragments (RFC 6980). Other EtherTypes
 * pass with a MAC of the port. Packets inside tunnels are not looked at, and whether a port may speak as a
 * router or DHCP server is not the guard's business.
 *
 * Packets from places that were not named pass: remote endpoints, ports without a guard, elements.
 *
 * Output: `out`.
 */
import * as arp from '../../codecs/arp.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import { MAPPED } from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as llc from '../../codecs/llc.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import type { Batch } from '../core/batch.ts';
import { type Drop, MALFORMED, SPOOFED_ADDRESS, SPOOFED_MAC } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { NONE, type Packet } from '../core/packet.ts';
import { type Owner, Owners } from '../tables/owners.ts';
import { judgeIpv6 } from './guard-ipv6.ts';

export interface GuardOptions {
  /** The guarded ports. A port without `macs` may use any MAC address, one without `addresses` any IP address. */
  readonly ports: readonly Owner[];
}

/** No reason to drop a packet. */
const PASS: Drop = -1;
/** The most VLAN tags that are looked through. */
const MAX_TAGS = 2;
const DHCP_SERVER = 67;
const DHCP_CLIENT = 68;

export class Guard extends Element {
  readonly #out = this.output('out');
  #owners: Owners;

  /** Throws a RangeError for ports that cannot be guarded so; see {@link Owners}. */
  constructor(context: Context, name: string, options: GuardOptions) {
    const owners = new Owners(options.ports);
    super(context, name);
    this.#owners = owners;
  }

  override configure(options: GuardOptions): boolean {
    this.#owners = new Owners(options.ports);
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const owner = this.#owners.lookup(p.port);
      const reason = owner === NONE ? PASS : this.#judge(p, owner);
      if (reason === PASS) packets[n++] = p;
      else this.drop(p, reason);
    }
    batch.length = n;
    if (n > 0) this.#out.next.push(batch);
  }

  /** Why a packet may not pass, or PASS. */
  #judge(p: Packet, owner: number): Drop {
    const v = p.view;
    const { start, end } = p;
    if (ethernet.check(v, start, end) !== OK) return MALFORMED;
    const hi = ethernet.srcHi(v, start);
    const lo = ethernet.srcLo(v, start) | 0;
    const owners = this.#owners;
    if (owners.knowsMacs(owner) && !owners.hasMac(owner, hi, lo)) return SPOOFED_MAC;
    const at = payload(v, start, end);
    if (at === NONE) return MALFORMED;
    switch (typeBefore(v, at)) {
      case ethernet.TYPE_IPV4:
        return judgeIpv4(owners, owner, v, at, end);
      case ethernet.TYPE_IPV6:
        return judgeIpv6(owners, owner, v, at, end, hi, lo);
      case ethernet.TYPE_ARP:
        return judgeArp(owners, owner, v, at, end);
      default:
        return PASS;
    }
  }
}

/** Where the payload starts, behind tags and SNAP, or NONE where these are malformed or too many. */
function payload(v: DataView, start: number, end: number): number {
  let at = start + ethernet.SIZE;
  for (let tags = 0; vlan.isTag(typeBefore(v, at)); tags++) {
    if (tags === MAX_TAGS || vlan.check(v, at, end) !== OK) return NONE;
    at += vlan.SIZE;
  }
  const type = typeBefore(v, at);
  if (type > ethernet.MAX_LENGTH) return at;
  if (llc.check(v, at, at + type) !== OK) return NONE;
  return llc.etherType(v, at) < ethernet.MIN_TYPE ? at : at + llc.SNAP_SIZE;
}

/** The EtherType of a payload is what stands in front of it, in Ethernet, VLAN and SNAP headers alike. */
function typeBefore(v: DataView, at: number): number {
  return v.getUint16(at - 2);
}

function judgeArp(owners: Owners, owner: number, v: DataView, at: number, end: number): Drop {
  if (arp.check(v, at, end) !== OK) return MALFORMED;
  if (owners.knowsMacs(owner) && !owners.hasMac(owner, arp.shaHi(v, at), arp.shaLo(v, at) | 0)) {
    return SPOOFED_MAC;
  }
  if (!owners.knowsIps(owner)) return PASS;
  const sender = arp.spa(v, at) | 0;
  const probe = sender === 0 && arp.op(v, at) === arp.REQUEST;
  const claimed = probe ? arp.tpa(v, at) | 0 : sender;
  return owners.hasIp(owner, 0, 0, MAPPED, claimed) ? PASS : SPOOFED_ADDRESS;
}

function judgeIpv4(owners: Owners, owner: number, v: DataView, at: number, end: number): Drop {
  if (ipv4.check(v, at, end) !== OK) return MALFORMED;
  if (!owners.knowsIps(owner)) return PASS;
  const src = ipv4.src(v, at) | 0;
  if (owners.hasIp(owner, 0, 0, MAPPED, src)) return PASS;
  return src === 0 && isDhcpRequest(v, at) ? PASS : SPOOFED_ADDRESS;
}

/** Whether a whole IPv4 packet is what a client without an address sends (RFC 2131 section 4.1). */
function isDhcpRequest(v: DataView, at: number): boolean {
  if (ipv4.protocol(v, at) !== udp.PROTOCOL || ipv4.isFragment(v, at)) return false;
  const l4 = at + ipv4.headerLength(v, at);
  if (udp.check(v, l4, at + ipv4.totalLength(v, at)) !== OK) return false;
  const ports = udp.srcPort(v, l4) === DHCP_CLIENT && udp.dstPort(v, l4) === DHCP_SERVER;
  return ports && (ipv4.dst(v, at) | 0) === -1;
}
