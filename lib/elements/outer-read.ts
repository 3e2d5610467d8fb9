/**
 * Takes the outer headers of a tunnel off a packet, so that it is what a DATAGRAM port would have given: the
 * UDP payload, with the tunnel endpoint in `peer` and TOS or traffic class in `tos`. What is wrong with the
 * headers, or not for us, is named.
 */
import { pseudo4, pseudo6 } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import { type Ip, MAPPED } from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { isFragment, upper, upperOffset, upperProtocol } from '../../codecs/ipv6-extensions.ts';
import * as protocols from '../../codecs/protocol.ts';
import * as udp from '../../codecs/udp.ts';
import {
  type Drop,
  MALFORMED,
  NOT_FOR_US,
  NOT_IP,
  OUTER_CHECKSUM,
  OUTER_FRAGMENT,
  UNKNOWN_PEER,
  ZERO_CHECKSUM,
} from '../core/drop.ts';
import { GSO_NONE, NONE, type Packet } from '../core/packet.ts';
import { ETHERNET, type IP } from '../io/port.ts';
import type { VtepTable } from '../tables/vtep.ts';
import { checkLocal, type LocalEndpoint, PASS } from './outer-write.ts';
import { networkOf } from './vlan-tags.ts';

export interface OuterReadOptions {
  readonly medium: typeof ETHERNET | typeof IP;
  /** The endpoints that packets are taken from. */
  readonly vteps: VtepTable;
  readonly local: LocalEndpoint;
  /** Whether UDP checksums are verified where they are there. Default true. */
  readonly verifyChecksum?: boolean;
  /** Whether over IPv6 they may be missing (RFC 6936). Default false. */
  readonly zeroChecksum6?: boolean;
  /** `ip`: no UDP header, the packet is IP protocol 50. Default udp. */
  readonly carrier?: 'udp' | 'ip';
}

export class OuterReader {
  readonly #vteps: VtepTable;
  readonly #ethernet: boolean;
  readonly #local: Ip;
  readonly #port: number;
  readonly #verify: boolean;
  readonly #zero6: boolean;
  readonly #protocol: number;

  /** Throws a RangeError for a port that is none. */
  constructor({
    medium,
    vteps,
    local,
    verifyChecksum = true,
    zeroChecksum6 = false,
    carrier,
  }: OuterReadOptions) {
    checkLocal(local);
    this.#vteps = vteps;
    this.#ethernet = medium === ETHERNET;
    this.#local = local.address;
    this.#port = local.port;
    this.#verify = verifyChecksum;
    this.#zero6 = zeroChecksum6;
    this.#protocol = carrier === 'ip' ? protocols.ESP : udp.PROTOCOL;
  }

  /** Takes the headers off a packet, or says why not. */
  read(p: Packet): Drop {
    const v = p.view;
    let at = p.start;
    let type = 0;
    if (this.#ethernet) {
      if (p.length < ethernet.SIZE) return MALFORMED;
      at = networkOf(v, at, p.end);
      type = v.getUint16(at - 2);
      if (type !== ethernet.TYPE_IPV4 && type !== ethernet.TYPE_IPV6) return NOT_IP;
    }
    if (at >= p.end) return MALFORMED;
    const version = v.getUint8(at) >>> 4;
    if (version === 4 && type !== ethernet.TYPE_IPV6) return this.#read4(p, at);
    if (version === 6 && type !== ethernet.TYPE_IPV4) return this.#read6(p, at);
    return type === 0 ? NOT_IP : MALFORMED;
  }

  #read4(p: Packet, at: number): Drop {
    const v = p.view;
    if (ipv4.check(v, at, p.end) !== OK) return MALFORMED;
    // RFC 1812 section 5.2.2: may not be switched off.
    if (!ipv4.verifyChecksum(v, at)) return OUTER_CHECKSUM;
    const { family, words } = this.#local;
    if (family !== 4 || ((ipv4.dst(v, at) ^ words[3]) | 0) !== 0) return NOT_FOR_US;
    if (ipv4.protocol(v, at) !== this.#protocol) return NOT_FOR_US;
    // A tunnel's sender does not fragment, and its receiver need not put together (RFC 7348 section 4.3).
    if (ipv4.isFragment(v, at)) return OUTER_FRAGMENT;
    p.tos = ipv4.tos(v, at);
    p.peer = this.#vteps.lookup(0, 0, MAPPED, ipv4.src(v, at) | 0);
    return this.#readUpper(p, at, at + ipv4.headerLength(v, at), at + ipv4.totalLength(v, at));
  }

  #read6(p: Packet, at: number): Drop {
    const v = p.view;
    if (ipv6.check(v, at, p.end) !== OK) return MALFORMED;
    if (!this.#isOurs6(v, at + ipv6.DST)) return NOT_FOR_US;
    const end = ipv6.payloadEnd(v, at);
    const chain = upper(v, at, end);
    if (chain < 0) return MALFORMED;
    if (upperProtocol(chain) !== this.#protocol) return NOT_FOR_US;
    if (isFragment(chain)) return OUTER_FRAGMENT;
    p.tos = ipv6.trafficClass(v, at);
    p.peer = this.#vteps.lookup(
      v.getInt32(at + ipv6.SRC),
      v.getInt32(at + ipv6.SRC + 4),
      v.getInt32(at + ipv6.SRC + 8),
      v.getInt32(at + ipv6.SRC + 12),
    );
    return this.#readUpper(p, at, at + upperOffset(chain), end);
  }

  #readUpper(p: Packet, ip: number, at: number, end: number): Drop {
    if (this.#protocol === udp.PROTOCOL) return this.#readUdp(p, ip, at, end);
    if (p.peer === NONE) return UNKNOWN_PEER;
    p.end = end;
    this.#strip(p, at);
    return PASS;
  }

  #readUdp(p: Packet, ip: number, at: number, end: number): Drop {
    const v = p.view;
    if (udp.check(v, at, end) !== OK) return MALFORMED;
    // The source port carries entropy and may be any (RFC 7348 section 5).
    if (udp.dstPort(v, at) !== this.#port) return NOT_FOR_US;
    if (p.peer === NONE) return UNKNOWN_PEER;
    const wrong = this.#checksumFault(p, ip, at);
    if (wrong !== PASS) return wrong;
    // Bytes behind the datagram are padding of the link. The length of a super-frame may not fit the field.
    if (p.gsoType === GSO_NONE) p.end = at + udp.length(v, at);
    this.#strip(p, at + udp.SIZE);
    return PASS;
  }

  #checksumFault(p: Packet, ip: number, at: number): Drop {
    const v = p.view;
    const v4 = this.#local.family === 4;
    if (udp.checksum(v, at) === 0) return v4 || this.#zero6 ? PASS : ZERO_CHECKSUM;
    // What is still to be completed has not been on a wire.
    if (!this.#verify || p.csumStart !== NONE || p.gsoType !== GSO_NONE) return PASS;
    const bytes = udp.length(v, at);
    const pseudo = v4 ? pseudo4(v, ip, udp.PROTOCOL, bytes) : pseudo6(v, ip, udp.PROTOCOL, bytes);
    return udp.verifyChecksum(v, at, pseudo) ? PASS : OUTER_CHECKSUM;
  }

  /** Takes off everything in front of `to`. */
  #strip(p: Packet, to: number): void {
    if (p.gsoType !== GSO_NONE) p.hdrLen -= to - p.start;
    if (p.csumStart < to) p.csumStart = NONE;
    p.start = to;
    p.l3 = NONE;
    p.l4 = NONE;
  }

  #isOurs6(v: DataView, address: number): boolean {
    const { family, words } = this.#local;
    if (family !== 6) return false;
    for (let i = 0; i < 4; i++) {
      if (((v.getInt32(address + 4 * i) ^ words[i]) | 0) !== 0) return false;
    }
    return true;
  }
}
