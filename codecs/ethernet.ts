/**
 * Ethernet, IEEE 802.3 clause 3 and RFC 894: the MAC header, without preamble and FCS.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |                     Destination address                       |
 *     |                               +-------------------------------+
 *     |                               |                               |
 *     +-------------------------------+      Source address           |
 *     |                                                               |
 *     +-------------------------------+-------------------------------+
 *     |     EtherType or length       |
 *     +-------------------------------+
 *
 * Odd: the last field is an EtherType from 0x0600 on, and up to 1500 the length of an 802.3 frame whose LLC
 * header follows (802.3 section 3.2.6). 1501 to 1535 is neither. Short frames are padded to 60 bytes, so a
 * payload may be followed by bytes that do not belong to it.
 */
import { type Fault, LENGTH, OK, SHORT, TRUNCATED } from './fault.ts';
import { type Layout, struct, u16, u48 } from './layout.ts';
import * as mac from './mac.ts';

export const layout: Layout = struct(u48('dst'), u48('src'), u16('etherType'));

const DST = layout.offsetOf('dst');
const SRC = layout.offsetOf('src');
const ETHER_TYPE = layout.offsetOf('etherType');

/** Bytes of the header. */
export const SIZE = layout.span;

/** The largest value of the type field that is a length (802.3 section 3.2.6). */
export const MAX_LENGTH = 1500;
/** The smallest value of the type field that is an EtherType. */
export const MIN_TYPE = 0x0600;

export const TYPE_IPV4 = 0x0800;
export const TYPE_ARP = 0x0806;
export const TYPE_VLAN = 0x8100;
export const TYPE_IPV6 = 0x86dd;
export const TYPE_QINQ = 0x88a8;

/** Proves that a whole header lies at `at..end` and, for an 802.3 length, that the frame holds that many bytes. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  return checkType(v.getUint16(at + ETHER_TYPE), end - at - SIZE);
}

/** Judges an EtherType or length that `available` bytes follow; a VLAN tag ends with one too. */
export function checkType(type: number, available: number): Fault {
  if (type >= MIN_TYPE) return OK;
  if (type > MAX_LENGTH) return LENGTH;
  return available < type ? TRUNCATED : OK;
}

/** First 16 bits of the destination address. */
export function dstHi(v: DataView, at: number): number {
  return v.getUint16(at + DST);
}

/** Last 32 bits of the destination address, unsigned. */
export function dstLo(v: DataView, at: number): number {
  return v.getUint32(at + DST + 2);
}

/** First 16 bits of the source address. */
export function srcHi(v: DataView, at: number): number {
  return v.getUint16(at + SRC);
}

/** Last 32 bits of the source address, unsigned. */
export function srcLo(v: DataView, at: number): number {
  return v.getUint32(at + SRC + 2);
}

/** EtherType, or the length of an 802.3 frame where it is at most {@link MAX_LENGTH}. */
export function etherType(v: DataView, at: number): number {
  return v.getUint16(at + ETHER_TYPE);
}

export function setDst(v: DataView, at: number, hi: number, lo: number): void {
  v.setUint16(at + DST, hi);
  v.setUint32(at + DST + 2, lo);
}

export function setSrc(v: DataView, at: number, hi: number, lo: number): void {
  v.setUint16(at + SRC, hi);
  v.setUint32(at + SRC + 2, lo);
}

export function setEtherType(v: DataView, at: number, type: number): void {
  v.setUint16(at + ETHER_TYPE, type);
}

/** Writes the whole header. */
export function write(
  v: DataView,
  at: number,
  dstHi: number,
  dstLo: number,
  srcHi: number,
  srcLo: number,
  type: number,
): void {
  setDst(v, at, dstHi, dstLo);
  setSrc(v, at, srcHi, srcLo);
  setEtherType(v, at, type);
}

/** A decoded header, for people and tools. */
export interface Ethernet {
  dst: string;
  src: string;
  /** EtherType, or 802.3 length. */
  etherType: number;
}

export function decode(v: DataView, at: number): Ethernet {
  return {
    dst: mac.format(dstHi(v, at), dstLo(v, at)),
    src: mac.format(srcHi(v, at), srcLo(v, at)),
    etherType: etherType(v, at),
  };
}

/** Writes a decoded header; the cold twin of {@link write}. */
export function encode(fields: Ethernet, v: DataView, at: number): void {
  const dst = mac.parse(fields.dst);
  const src = mac.parse(fields.src);
  const one = ({ hi, lo }: mac.Mac) => hi * 0x1_0000_0000 + lo;
  layout.encode({ dst: one(dst), src: one(src), etherType: fields.etherType }, v, at);
}

const NAMES: Record<number, string> = {
  [TYPE_IPV4]: 'IPv4',
  [TYPE_ARP]: 'ARP',
  [TYPE_VLAN]: '802.1Q',
  [TYPE_IPV6]: 'IPv6',
  [TYPE_QINQ]: '802.1Q-QinQ',
};

/** `ethertype ARP (0x0806)`; `802.3` for a length. */
export function formatType(type: number): string {
  if (type <= MAX_LENGTH) return '802.3';
  return `ethertype ${NAMES[type] ?? 'Unknown'} (0x${type.toString(16).padStart(4, '0')})`;
}

/** `02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806)`, as `tcpdump -e` prints it. */
export function format(v: DataView, at: number): string {
  const { dst, src, etherType } = decode(v, at);
  return `${src} > ${dst}, ${formatType(etherType)}`;
}
