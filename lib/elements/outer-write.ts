/**
 * Writes the outer headers of a tunnel in front of what a DATAGRAM port would be given: UDP, IPv4 or IPv6,
 * and Ethernet where the underlay asks for it. Nothing behind the headers moves, and nothing is ever fragmented
 * (RFC 7348 section 4.3): IPv4 goes out with DF.
 *
 * What it needs to know lies on the packet: the tunnel endpoint in `peer`, entropy in `hash`, TOS in `tos`.
 *
 * A super-frame gets its headers once. Whoever segments it writes the lengths and checksums of each segment,
 * which here are those of the whole where they fit, and no UDP checksum.
 */
import { add, finishNonZero, pseudo4, pseudo6, sum } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import type { Ip } from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import type { Mac } from '../../codecs/mac.ts';
import * as protocols from '../../codecs/protocol.ts';
import * as udp from '../../codecs/udp.ts';
import { type Drop, NO_DESTINATION, TOO_BIG, UNKNOWN_PEER } from '../core/drop.ts';
import { GSO_NONE, NONE, type Packet } from '../core/packet.ts';
import { ETHERNET, type IP } from '../io/port.ts';
import type { Vtep, VtepTable } from '../tables/vtep.ts';

/** This end of a tunnel. */
export interface LocalEndpoint {
  readonly address: Ip;
  /** UDP port that it listens on. */
  readonly port: number;
  /** Needed to send over ETHERNET. */
  readonly mac?: Mac;
}

export interface OuterWriteOptions {
  readonly medium: typeof ETHERNET | typeof IP;
  readonly vteps: VtepTable;
  readonly local: LocalEndpoint;
  /** TTL or hop limit, 1..255. Default 64. */
  readonly ttl?: number;
  /** Whether UDP checksums are computed. Default: over IPv6 only. */
  readonly udpChecksum?: boolean;
  /** Whether over IPv6 checksums may be left out too (RFC 6936). Default false. */
  readonly zeroChecksum6?: boolean;
  /** `ip`: no UDP header, the packet is IP protocol 50. Default udp. */
  readonly carrier?: 'udp' | 'ip';
}

/** No reason to drop a packet. */
export const PASS: Drop = -1;

/** The largest value of a length field. */
const MAX_LENGTH = 0xffff;
/** Source ports are of the dynamic range, 49152..65535 (RFC 7348 section 5). */
const FIRST_PORT = 0xc000;
const PORT_MASK = 0x3fff;

export class OuterWriter {
  readonly #vteps: VtepTable;
  readonly #ethernet: boolean;
  readonly #local: Ip;
  readonly #family: 4 | 6;
  readonly #ipSize: number;
  /** Bytes of the UDP header, 0 without. */
  readonly #udpSize: number;
  readonly #protocol: number;
  readonly #size: number;
  readonly #ttl: number;
  readonly #checksum: boolean;
  readonly #macHi: number;
  readonly #macLo: number;

  /** Throws a RangeError for a TTL or port that is none, a TypeError where ETHERNET has no MAC address. */
  constructor({ medium, vteps, local, ttl = 64, ...options }: OuterWriteOptions) {
    if (!Number.isInteger(ttl) || ttl < 1 || ttl > 255) {
      throw new RangeError(`"ttl" expected an integer 1..255, got ${ttl}`);
    }
    checkLocal(local);
    if (medium === ETHERNET && local.mac === undefined) {
      throw new TypeError('"local.mac" expected the MAC address to send from, got none');
    }
    const v4 = local.address.family === 4;
    this.#vteps = vteps;
    this.#ethernet = medium === ETHERNET;
    this.#local = local.address;
    this.#family = local.address.family;
    this.#ipSize = v4 ? ipv4.SIZE : ipv6.SIZE;
    this.#udpSize = options.carrier === 'ip' ? 0 : udp.SIZE;
    this.#protocol = options.carrier === 'ip' ? protocols.ESP : udp.PROTOCOL;
    this.#size = (this.#ethernet ? ethernet.SIZE : 0) + this.#ipSize + this.#udpSize;
    this.#ttl = ttl;
    this.#checksum = options.udpChecksum ?? !(v4 || (options.zeroChecksum6 ?? false));
    if (!v4 && !this.#checksum && !options.zeroChecksum6) {
      throw new TypeError(
        '"udpChecksum" cannot be off over IPv6 without "zeroChecksum6" (RFC 8200 section 8.1)',
      );
    }
    this.#macHi = local.mac?.hi ?? 0;
    this.#macLo = (local.mac?.lo ?? 0) | 0;
  }

  /** Puts the headers in front of a packet, or says why not: it is unchanged then. */
  write(p: Packet): Drop {
    const vtep = this.#vteps.get(p.peer);
    if (vtep === undefined || vtep.address.family !== this.#family) return UNKNOWN_PEER;
    if (this.#ethernet && vtep.mac === undefined) return NO_DESTINATION;
    const at = p.start - this.#udpSize;
    const bytes = p.end - at;
    const fits = bytes + (this.#family === 4 ? ipv4.SIZE : 0) <= MAX_LENGTH;
    if (p.start < this.#size || (!fits && p.gsoType === GSO_NONE)) return TOO_BIG;

    if (this.#udpSize > 0) {
      udp.write(p.view, at, FIRST_PORT | (p.hash & PORT_MASK), vtep.port, fits ? bytes : MAX_LENGTH, 0);
    }
    p.l4 = at;
    p.l3 = at - this.#ipSize;
    if (this.#family === 4) this.#write4(p, fits ? bytes + ipv4.SIZE : MAX_LENGTH, vtep);
    else this.#write6(p, fits ? bytes : MAX_LENGTH, vtep);
    if (this.#checksum && this.#udpSize > 0 && p.gsoType === GSO_NONE) this.#fillChecksum(p, bytes);
    if (this.#ethernet) this.#writeMac(p, vtep);
    p.start -= this.#size;
    if (p.gsoType !== GSO_NONE) p.hdrLen += this.#size;
    return PASS;
  }

  #write4(p: Packet, bytes: number, { address }: Vtep): void {
    // An atomic packet needs no identification (RFC 6864 section 4.1).
    const from = this.#local.words[3] | 0;
    const to = address.words[3] | 0;
    ipv4.write(p.view, p.l3, p.tos, bytes, 0, ipv4.DF, this.#ttl, this.#protocol, from, to);
  }

  #write6(p: Packet, bytes: number, { address }: Vtep): void {
    // Other bits of the hash than the port's; 0 would mean that there is no label (RFC 6437 section 3).
    const label = (p.hash >>> 12) & 0xfffff || 1;
    ipv6.write(
      p.view,
      p.l3,
      p.tos,
      label,
      bytes,
      this.#protocol,
      this.#ttl,
      this.#local.words,
      address.words,
    );
  }

  #writeMac(p: Packet, { mac }: Vtep): void {
    const type = this.#family === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
    const at = p.l3 - ethernet.SIZE;
    ethernet.write(p.view, at, mac!.hi, mac!.lo | 0, this.#macHi, this.#macLo, type);
  }

  #fillChecksum(p: Packet, bytes: number): void {
    const { view: v, l3, l4 } = p;
    const pseudo =
      this.#family === 4 ? pseudo4(v, l3, udp.PROTOCOL, bytes) : pseudo6(v, l3, udp.PROTOCOL, bytes);
    udp.setChecksum(v, l4, finishNonZero(add(pseudo, sumOf(p))));
  }
}

/**
 * Sum of the outer datagram. Where a checksum inside is still to be completed, it is as it will be then: the
 * completed range sums to the complement of what its field holds now, the sum of the pseudo header, so that
 * its bytes need not be read. The range starts at an even distance, as all headers in front of it are even.
 */
function sumOf({ view: v, l4, end, csumStart, csumOffset }: Packet): number {
  if (csumStart === NONE) return sum(v, l4, end);
  return add(sum(v, l4, csumStart), ~v.getUint16(csumStart + csumOffset) & 0xffff);
}

/** Throws a RangeError for a port that is none. */
export function checkLocal({ port }: LocalEndpoint): void {
  if (Number.isInteger(port) && port >= 1 && port <= 65535) return;
  throw new RangeError(`"local.port" expected an integer 1..65535, got ${port}`);
}
