/**
 * Explicit congestion notification through tunnels (RFC 6040): what becomes of the ECN field of an inner
 * packet when the outer header is taken off, and where that field lies in an Ethernet frame.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { NONE } from '../core/packet.ts';
import { networkOf } from './vlan-tags.ts';

/** In an outcome: the packet must be dropped. */
export const DROP = 0x10;
/** In an outcome: nothing should make this combination, and it may be an attack ("!!!" in figure 4). */
export const DANGEROUS = 0x20;
/** In an outcome: nothing makes this combination today ("!" in figure 4). */
export const UNUSED = 0x40;

const { NOT_ECT, ECT0, ECT1, CE } = ipv4;

/** RFC 6040 figure 4; index: the inner field in the high two bits, the outer in the low two. */
const OUTCOMES = new Uint8Array(16);
const row = (inner: number, notEct: number, ect0: number, ect1: number, ce: number) => {
  OUTCOMES[(inner << 2) | NOT_ECT] = notEct;
  OUTCOMES[(inner << 2) | ECT0] = ect0;
  OUTCOMES[(inner << 2) | ECT1] = ect1;
  OUTCOMES[(inner << 2) | CE] = ce;
};
row(NOT_ECT, NOT_ECT, NOT_ECT | DANGEROUS, NOT_ECT | DANGEROUS, NOT_ECT | DANGEROUS | DROP);
row(ECT0, ECT0, ECT0, ECT1, CE);
row(ECT1, ECT1, ECT1 | UNUSED, ECT1, CE);
row(CE, CE, CE, CE | DANGEROUS, CE);

/** What an inner ECN field becomes: the field in the low two bits, and the flags above. */
export function decapsulate(inner: number, outer: number): number {
  return OUTCOMES[((inner & 3) << 2) | (outer & 3)];
}

/**
 * Offset of the IP header of an Ethernet frame, behind at most two VLAN tags; NONE where there is none. The
 * fixed part of the header is there and its version is right, and nothing else is checked: a bridge carries
 * what its hosts send.
 */
export function ipOf(v: DataView, at: number, end: number): number {
  const l3 = networkOf(v, at, end);
  const type = v.getUint16(l3 - 2);
  if (type === ethernet.TYPE_IPV4) return end - l3 >= ipv4.SIZE && v.getUint8(l3) >>> 4 === 4 ? l3 : NONE;
  if (type === ethernet.TYPE_IPV6) return end - l3 >= ipv6.SIZE && v.getUint8(l3) >>> 4 === 6 ? l3 : NONE;
  return NONE;
}

/** TOS or traffic class of the packet that {@link ipOf} found. */
export function tosOf(v: DataView, ip: number): number {
  const first = v.getUint16(ip);
  return first >>> 12 === 4 ? first & 0xff : (first >>> 4) & 0xff;
}

/** Changes the ECN field of the packet that {@link ipOf} found, and the IPv4 header checksum with it. */
export function setEcn(v: DataView, ip: number, ecn: number): void {
  if (v.getUint8(ip) >>> 4 === 4) ipv4.setEcn(v, ip, ecn);
  else ipv6.setEcn(v, ip, ecn);
}
