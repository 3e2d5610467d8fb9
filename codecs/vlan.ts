/**
 * VLAN tag, IEEE 802.1Q clause 9.6 (and 802.1ad, whose outer tag has another EtherType).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-----+-+-----------------------+-------------------------------+
 *     | PCP |D|          VID          |  EtherType or length behind   |
 *     +-----+-+-----------------------+-------------------------------+
 *
 * Odd: the standard's tag is the EtherType 0x8100 (or 0x88a8) and the 16 bits behind it, inserted after the
 * addresses. Here a tag starts behind that EtherType, which is the last field of the Ethernet header or of
 * the tag in front, and ends with the next one: so tags chain like any other header. VID 0 means that the
 * frame has a priority only, 4095 is reserved.
 */
import * as ethernet from './ethernet.ts';
import { type Fault, SHORT } from './fault.ts';
import { bits, type Layout, struct, u16 } from './layout.ts';

export const layout: Layout = struct(bits('tci', 16, { pcp: 3, dei: 1, vid: 12 }), u16('etherType'));

const TCI = layout.offsetOf('tci');
const ETHER_TYPE = layout.offsetOf('etherType');

/** Bytes of the tag. */
export const SIZE = layout.span;

/** Whether an EtherType says that a tag follows. */
export function isTag(etherType: number): boolean {
  return etherType === ethernet.TYPE_VLAN || etherType === ethernet.TYPE_QINQ;
}

/** Proves that a whole tag lies at `at..end`; its last field is judged as that of an Ethernet header. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  return ethernet.checkType(v.getUint16(at + ETHER_TYPE), end - at - SIZE);
}

/** Tag control information: priority, drop eligible indicator and VLAN in one. */
export function tci(v: DataView, at: number): number {
  return v.getUint16(at + TCI);
}

/** Priority code point, 0 to 7. */
export function pcp(v: DataView, at: number): number {
  return v.getUint8(at + TCI) >>> 5;
}

/** Drop eligible indicator, 0 or 1. */
export function dei(v: DataView, at: number): number {
  return (v.getUint8(at + TCI) >>> 4) & 1;
}

/** VLAN identifier, 12 bits. */
export function vid(v: DataView, at: number): number {
  return v.getUint16(at + TCI) & 0xfff;
}

/** EtherType of what follows, or the length of an 802.3 frame. */
export function etherType(v: DataView, at: number): number {
  return v.getUint16(at + ETHER_TYPE);
}

export function setPcp(v: DataView, at: number, pcp: number): void {
  v.setUint8(at + TCI, (pcp << 5) | (v.getUint8(at + TCI) & 0x1f));
}

export function setDei(v: DataView, at: number, dei: number): void {
  v.setUint8(at + TCI, (dei << 4) | (v.getUint8(at + TCI) & 0xef));
}

export function setVid(v: DataView, at: number, vid: number): void {
  v.setUint16(at + TCI, (v.getUint16(at + TCI) & 0xf000) | vid);
}

export function setEtherType(v: DataView, at: number, type: number): void {
  v.setUint16(at + ETHER_TYPE, type);
}

/** Writes the whole tag. */
export function write(v: DataView, at: number, pcp: number, dei: number, vid: number, type: number): void {
  v.setUint16(at + TCI, (pcp << 13) | (dei << 12) | vid);
  setEtherType(v, at, type);
}

/** A decoded tag, for people and tools. */
export interface Vlan {
  pcp: number;
  dei: number;
  vid: number;
  /** EtherType, or 802.3 length. */
  etherType: number;
}

export function decode(v: DataView, at: number): Vlan {
  return layout.decode(v, at) as unknown as Vlan;
}

/** Writes a decoded tag; the cold twin of {@link write}. */
export function encode(fields: Vlan, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

/** `vlan 5, p 0, ethertype ARP (0x0806)`, as `tcpdump -e` prints it. */
export function format(v: DataView, at: number): string {
  const { pcp, dei, vid, etherType } = decode(v, at);
  return `vlan ${vid}, p ${pcp}${dei === 1 ? ', DEI' : ''}, ${ethernet.formatType(etherType)}`;
}
