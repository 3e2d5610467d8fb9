/**
 * A port behind which a very small host lives: one network interface with a MAC address and IP addresses,
 * which answers ARP, neighbor solicitations and echo requests, pings others, and sends and counts datagrams.
 *
 * It makes a whole network runnable in one process, without privilege: in the examples, in tests, and to see
 * that an overlay works before real interfaces are attached to it. It is cold code and allocates.
 */
import * as arp from '../../codecs/arp.ts';
import * as checksums from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as extensions from '../../codecs/ipv6-extensions.ts';
import * as mac from '../../codecs/mac.ts';
import * as nd from '../../codecs/nd.ts';
import * as options from '../../codecs/nd-options.ts';
import * as udp from '../../codecs/udp.ts';
import { BATCH, type Batch } from '../core/batch.ts';
import { CLOSED, PORT_FULL } from '../core/drop.ts';
import type { Packet } from '../core/packet.ts';
import { Ring } from '../core/ring.ts';
import * as answers from './endpoint-answers.ts';
import { dropAll, ETHERNET, type Port, PortError, type PortHost, PortStats } from './port.ts';

export interface EndpointOptions {
  /** Unicast MAC address. */
  readonly mac: string;
  /** IPv4 and IPv6 addresses, all on one link. */
  readonly addresses: readonly string[];
  /** For counters and messages. Default: the first address. */
  readonly name?: string;
  /** Largest IP packet in bytes. Default 1500. */
  readonly mtu?: number;
  /** Frames that may wait to be taken, a power of two. Default 1024. */
  readonly capacity?: number;
}

export interface PingOptions {
  /** Bytes of echo data. Default 56. */
  readonly size?: number;
  /** Milliseconds until it is given up. Default 1000. */
  readonly timeout?: number;
}

/** What an endpoint has seen. */
export interface EndpointCounts {
  /** Frames that arrived, whether for it or not. */
  frames: number;
  echoRequests: number;
  echoReplies: number;
  datagrams: number;
  /** Bytes of the datagrams' payload. */
  datagramBytes: number;
  /** ICMP Fragmentation Needed and ICMPv6 Packet Too Big. */
  tooBig: number;
}

/** Milliseconds between two requests for one address, and how many are sent (RFC 4861 section 10). */
const RETRANS = 1000;
const SOLICITATIONS = 3;

interface Resolving {
  asked: number;
  next: number;
  readonly waiting: ((known: boolean) => void)[];
}

interface Waiting {
  readonly sent: number;
  readonly deadline: number;
  readonly done: (ms: number | null) => void;
}

export class Endpoint implements Port {
  readonly name: string;
  readonly medium = ETHERNET;
  readonly mtu: number;
  readonly offloads = 0;
  readonly stats = new PortStats();
  onError: ((error: PortError) => void) | null = null;
  readonly mac: mac.Mac;
  readonly addresses: readonly ip.Ip[];
  readonly counts: EndpointCounts = {
    frames: 0,
    echoRequests: 0,
    echoReplies: 0,
    datagrams: 0,
    datagramBytes: 0,
    tooBig: 0,
  };
  /** The largest packet that the last too-big message allowed, in bytes; 0 before the first. */
  pathMtu = 0;
  /** Sees every frame that arrives, before it is handled. Must not keep the packet. */
  onFrame: ((p: Packet) => void) | null = null;

  readonly #neighbors = new Map<string, mac.Mac>();
  readonly #resolving = new Map<string, Resolving>();
  readonly #pings = new Map<number, Waiting>();
  readonly #out: Ring;
  #host: PortHost | null = null;
  #sequence = 0;

  constructor(wanted: EndpointOptions) {
    this.mac = mac.parse(wanted.mac);
    this.addresses = wanted.addresses.map(ip.parse);
    this.name = wanted.name ?? wanted.addresses[0] ?? wanted.mac;
    this.mtu = (wanted.mtu ?? 1500) + ethernet.SIZE;
    this.#out = new Ring(wanted.capacity ?? 1024);
  }

  async open(host: PortHost): Promise<void> {
    if (this.#host !== null) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    this.#host = host;
  }

  receive(batch: Batch): number {
    while (batch.length < BATCH) {
      const p = this.#out.get();
      if (p === null) break;
      this.stats.received(p.length);
      batch.add(p);
    }
    return batch.length;
  }

  send(batch: Batch): void {
    if (this.#host === null) dropAll(batch, this.stats, CLOSED);
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      this.stats.sent(p.length);
      this.counts.frames++;
      this.onFrame?.(p);
      if (!this.#handle(p)) p.pool.give(p);
    }
    batch.clear();
  }

  tick(now: number): void {
    for (const [key, { deadline, done }] of this.#pings) {
      if (now < deadline) continue;
      this.#pings.delete(key);
      done(null);
    }
    for (const [address, state] of this.#resolving) {
      if (now < state.next) continue;
      if (state.asked < SOLICITATIONS) this.#solicit(address, state);
      else this.#resolved(address, null);
    }
  }

  async close(): Promise<void> {
    this.#host = null;
    for (let p = this.#out.get(); p !== null; p = this.#out.get()) this.stats.drop(p, CLOSED);
    for (const { done } of this.#pings.values()) done(null);
    this.#pings.clear();
    for (const address of [...this.#resolving.keys()]) this.#resolved(address, null);
  }

  // ---- What it does when asked ---------------------------------------------------------------------------

  /** Pings an address and resolves to the round trip in ms, or null where no answer came. */
  async ping(address: string, { size = 56, timeout = 1000 }: PingOptions = {}): Promise<number | null> {
    const to = ip.parse(address);
    if (!(await this.resolve(address))) return null;
    const host = this.#host;
    if (host === null) return null;
    const sequence = this.#sequence++ & 0xffff;
    return new Promise((done) => {
      const sent = host.clock.now;
      this.#pings.set(sequence, { sent, deadline: sent + timeout, done });
      if (this.#sendEcho(to, sequence, size)) return;
      this.#pings.delete(sequence);
      done(null);
    });
  }

  /** Finds the MAC address of an IP address on the link, and says whether somebody answered. */
  resolve(address: string): Promise<boolean> {
    const key = ip.format(ip.parse(address));
    if (this.#neighbors.has(key)) return Promise.resolve(true);
    return new Promise((waiting) => {
      const known = this.#resolving.get(key);
      if (known !== undefined) {
        known.waiting.push(waiting);
        return;
      }
      const state: Resolving = { asked: 0, next: 0, waiting: [waiting] };
      this.#resolving.set(key, state);
      this.#solicit(key, state);
    });
  }

  /** Sends a UDP datagram to an address that was resolved before; false where it could not. */
  sendUdp(address: string, dstPort: number, payload: Uint8Array, srcPort = 40000): boolean {
    const to = ip.parse(address);
    const bytes = udp.SIZE + payload.length;
    return this.#sendIp(to, udp.PROTOCOL, bytes, (p, at, pseudo) => {
      udp.write(p.view, at, srcPort, dstPort, bytes, 0);
      p.bytes.set(payload, at + udp.SIZE);
      udp.fillChecksum(p.view, at, pseudo);
    });
  }

  /** Sends a frame as it is, MAC header included; false where no packet was free or too many wait. */
  sendFrame(frame: Uint8Array): boolean {
    const p = this.#take();
    return p !== null && this.#emit(p.set(frame));
  }

  // ---- Sending -------------------------------------------------------------------------------------------

  #take(): Packet | null {
    return this.#host?.pool.take() ?? null;
  }

  #emit(p: Packet): boolean {
    if (!this.#out.put(p)) {
      this.stats.drop(p, PORT_FULL);
      return false;
    }
    this.#host?.wake();
    return true;
  }

  #own(family: 4 | 6): ip.Ip | undefined {
    return this.addresses.find((address) => address.family === family);
  }

  /** Builds an IP packet to a known neighbor; `fill` writes `bytes` bytes of payload, given the pseudo header. */
  #sendIp(
    to: ip.Ip,
    protocol: number,
    bytes: number,
    fill: (p: Packet, at: number, pseudo: number) => void,
  ): boolean {
    const own = this.#own(to.family);
    const station = this.#neighbors.get(ip.format(to));
    if (own === undefined || station === undefined) return false;
    const p = this.#take();
    if (p === null) return false;
    const { view: v } = p;
    const l3 = p.start + ethernet.SIZE;
    const type = to.family === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
    ethernet.write(v, p.start, station.hi, station.lo, this.mac.hi, this.mac.lo, type);
    let at = l3 + ipv4.SIZE;
    if (to.family === 4) {
      ipv4.write(v, l3, 0, ipv4.SIZE + bytes, 0, ipv4.DF, 64, protocol, own.words[3], to.words[3]);
      fill(p, at, checksums.pseudo4(v, l3, protocol, bytes));
    } else {
      at = l3 + ipv6.SIZE;
      ipv6.write(v, l3, 0, 0, bytes, protocol, 255, own.words, to.words);
      fill(p, at, checksums.pseudo6(v, l3, protocol, bytes));
    }
    p.end = at + bytes;
    return this.#emit(p);
  }

  /** Identifier and sequence number: the identifier is the end of the MAC address. */
  #echoRest(sequence: number): number {
    return (((this.mac.lo & 0xffff) << 16) | sequence) >>> 0;
  }

  #sendEcho(to: ip.Ip, sequence: number, size: number): boolean {
    const bytes = icmp.SIZE + size;
    const protocol = to.family === 4 ? icmp.PROTOCOL : icmpv6.PROTOCOL;
    return this.#sendIp(to, protocol, bytes, (p, at, pseudo) => {
      for (let i = 0; i < size; i++) p.bytes[at + icmp.SIZE + i] = i & 0xff;
      if (to.family === 4) {
        icmp.write(p.view, at, icmp.ECHO_REQUEST, 0, this.#echoRest(sequence));
        icmp.fillChecksum(p.view, at, at + bytes);
      } else {
        icmpv6.write(p.view, at, icmpv6.ECHO_REQUEST, 0, this.#echoRest(sequence));
        icmpv6.fillChecksum(p.view, at, at + bytes, pseudo);
      }
    });
  }

  #solicit(address: string, state: Resolving): void {
    state.asked++;
    state.next = (this.#host?.clock.now ?? 0) + RETRANS;
    const target = ip.parse(address);
    const own = this.#own(target.family);
    const p = own === undefined ? null : this.#take();
    if (own === undefined || p === null) return;
    const { view: v, start } = p;
    if (target.family === 4) {
      ethernet.write(v, start, 0xffff, 0xffffffff, this.mac.hi, this.mac.lo, ethernet.TYPE_ARP);
      const at = start + ethernet.SIZE;
      arp.write(v, at, arp.REQUEST, this.mac.hi, this.mac.lo, own.words[3], 0, 0, target.words[3]);
      p.end = at + arp.SIZE;
    } else p.end = answers.writeSolicitation(v, start, this.mac, own.words, target.words);
    this.#emit(p);
  }

  #resolved(address: string, station: mac.Mac | null): void {
    if (station !== null) this.#neighbors.set(address, station);
    const state = this.#resolving.get(address);
    this.#resolving.delete(address);
    for (const waiting of state?.waiting ?? []) waiting(station !== null);
  }

  // ---- Receiving -----------------------------------------------------------------------------------------

  /** Handles a frame and says whether the packet went out again as the answer. */
  #handle(p: Packet): boolean {
    const { view: v, start, end } = p;
    if (ethernet.check(v, start, end) !== OK) return false;
    const hi = ethernet.dstHi(v, start);
    if (!mac.isGroup(hi) && (hi !== this.mac.hi || ethernet.dstLo(v, start) !== this.mac.lo)) return false;
    const l3 = start + ethernet.SIZE;
    const type = ethernet.etherType(v, start);
    if (type === ethernet.TYPE_ARP) return this.#handleArp(p, l3);
    if (type === ethernet.TYPE_IPV4) return this.#handle4(p, l3);
    return type === ethernet.TYPE_IPV6 && this.#handle6(p, l3);
  }

  /** RFC 826, "Packet Reception": a known sender is updated first, the operation is looked at last. */
  #handleArp(p: Packet, at: number): boolean {
    const { view: v } = p;
    if (arp.check(v, at, p.end) !== OK) return false;
    const sender = ip.format4(arp.spa(v, at));
    const mine = this.#owns4(arp.tpa(v, at));
    // A probe has no sender address (RFC 5227 section 1.1).
    if (arp.spa(v, at) !== 0 && (mine || this.#neighbors.has(sender))) {
      this.#resolved(sender, { hi: arp.shaHi(v, at), lo: arp.shaLo(v, at) });
    }
    if (!mine || arp.op(v, at) !== arp.REQUEST) return false;
    arp.toReply(v, at, this.mac.hi, this.mac.lo);
    answers.turnFrame(v, p.start, this.mac);
    return this.#reply(p);
  }

  #owns4(address: number): boolean {
    return this.addresses.some(({ family, words }) => family === 4 && words[3] === address);
  }

  #handle4(p: Packet, l3: number): boolean {
    const { view: v } = p;
    if (ipv4.check(v, l3, p.end) !== OK || !ipv4.verifyChecksum(v, l3) || ipv4.isFragment(v, l3))
      return false;
    if (!this.#owns4(ipv4.dst(v, l3))) return false;
    const l4 = l3 + ipv4.headerLength(v, l3);
    const end = l3 + ipv4.totalLength(v, l3);
    const protocol = ipv4.protocol(v, l3);
    if (protocol === udp.PROTOCOL) this.#handleUdp(v, l4, end);
    if (protocol !== icmp.PROTOCOL || icmp.check(v, l4, end) !== OK) return false;
    if (!icmp.verifyChecksum(v, l4, end)) return false;
    const type = icmp.type(v, l4);
    if (type === icmp.ECHO_REPLY) this.#answered(icmp.rest(v, l4));
    if (type === icmp.UNREACHABLE && icmp.code(v, l4) === icmp.FRAGMENTATION_NEEDED) {
      this.#tooBig(icmp.mtu(v, l4));
    }
    if (type !== icmp.ECHO_REQUEST) return false;
    this.counts.echoRequests++;
    answers.turnEcho4(v, l3, l4);
    answers.turnFrame(v, p.start, this.mac);
    return this.#reply(p);
  }

  #handle6(p: Packet, l3: number): boolean {
    const { view: v } = p;
    if (ipv6.check(v, l3, p.end) !== OK) return false;
    const end = ipv6.payloadEnd(v, l3);
    const upper = extensions.upper(v, l3, end);
    if (upper < 0 || extensions.isFragment(upper)) return false;
    const l4 = l3 + extensions.upperOffset(upper);
    const protocol = extensions.upperProtocol(upper);
    const mine = this.#owns6(v, l3 + ipv6.DST);
    if (protocol === udp.PROTOCOL && mine) this.#handleUdp(v, l4, end);
    if (protocol !== icmpv6.PROTOCOL || icmpv6.check(v, l4, end) !== OK) return false;
    if (!icmpv6.verifyChecksum(v, l4, end, checksums.pseudo6(v, l3, protocol, end - l4))) return false;
    const type = icmpv6.type(v, l4);
    if (type === icmpv6.NEIGHBOR_SOLICITATION) return this.#handleSolicitation(p, l3, l4, end);
    if (type === icmpv6.NEIGHBOR_ADVERTISEMENT) this.#handleAdvertisement(v, l3, l4, end);
    if (!mine) return false;
    if (type === icmpv6.ECHO_REPLY) this.#answered(icmpv6.rest(v, l4));
    if (type === icmpv6.PACKET_TOO_BIG) this.#tooBig(icmpv6.mtu(v, l4));
    if (type !== icmpv6.ECHO_REQUEST) return false;
    this.counts.echoRequests++;
    answers.turnEcho6(v, l3, l4);
    answers.turnFrame(v, p.start, this.mac);
    return this.#reply(p);
  }

  /** A solicitation for an address of ours is answered, whoever asks (RFC 4861 section 7.2.3). */
  #handleSolicitation(p: Packet, l3: number, l4: number, end: number): boolean {
    const { view: v } = p;
    // Extension headers are not expected here (RFC 6980 forbids fragments): the answer is written in place.
    if (l4 !== l3 + ipv6.SIZE || nd.check(v, l4, end) !== OK || !nd.valid(v, l3, l4, end)) return false;
    if (!this.#owns6(v, l4 + nd.TARGET)) return false;
    p.end = answers.turnSolicitation(v, p.start, this.mac, ip.read6(v, l4 + nd.TARGET).words);
    return this.#reply(p);
  }

  #handleAdvertisement(v: DataView, l3: number, l4: number, end: number): void {
    if (nd.check(v, l4, end) !== OK || !nd.valid(v, l3, l4, end)) return;
    const option = nd.option(v, l4, end, options.TARGET_LINK);
    const target = ip.format(ip.read6(v, l4 + nd.TARGET));
    // Only who was asked about (RFC 4861 section 7.2.5).
    if (option < 0 || !(this.#resolving.has(target) || this.#neighbors.has(target))) return;
    this.#resolved(target, { hi: options.linkHi(v, option), lo: options.linkLo(v, option) });
  }

  #owns6(v: DataView, at: number): boolean {
    return this.addresses.some(
      ({ family, words }) => family === 6 && words.every((word, i) => v.getUint32(at + 4 * i) === word),
    );
  }

  #handleUdp(v: DataView, l4: number, end: number): void {
    if (udp.check(v, l4, end) !== OK) return;
    this.counts.datagrams++;
    this.counts.datagramBytes += udp.length(v, l4) - udp.SIZE;
  }

  #answered(rest: number): void {
    this.counts.echoReplies++;
    if (rest >>> 16 !== (this.mac.lo & 0xffff)) return;
    const waiting = this.#pings.get(rest & 0xffff);
    this.#pings.delete(rest & 0xffff);
    waiting?.done(this.#host!.clock.now - waiting.sent);
  }

  #tooBig(mtu: number): void {
    this.counts.tooBig++;
    this.pathMtu = mtu;
  }

  #reply(p: Packet): boolean {
    p.forget();
    this.#emit(p);
    return true;
  }
}
