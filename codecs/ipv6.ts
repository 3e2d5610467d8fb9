/**
 * IPv6, RFC 8200 section 3.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+---------------+---------------------------------------+
 *     |Version| Traffic class |              Flow label               |
 *     +-------+---------------+-------+---------------+---------------+
 *     |        Payload length         |  Next header  |   Hop limit   |
 *     +-------------------------------+---------------+---------------+
 *     |                   Source address (16 bytes)                   |
 *     +---------------------------------------------------------------+
 *     |                Destination address (16 bytes)                 |
 *     +---------------------------------------------------------------+
 *
 * Odd: the payload length counts extension headers but not this header; a length of 0 means a jumbo payload
 * (RFC 2675) where a hop-by-hop option says so, which is not supported and read as an empty payload. There is
 * no header checksum. The extension headers are walked in `ipv6-extensions.ts`.
 */
import { type Fault, OK, SHORT, TRUNCATED, VERSION } from './fault.ts';
import * as ip from './ip.ts';
import { bits, type Layout, struct, u8, u16, words } from './layout.ts';
import * as protocols from './protocol.ts';

export const layout: Layout = struct(
  bits('first', 32, { version: 4, trafficClass: 8, flowLabel: 20 }),
  u16('payloadLength'),
  u8('nextHeader'),
  u8('hopLimit'),
  words('src', 4),
  words('dst', 4),
);

const FIRST = layout.offsetOf('first');
const PAYLOAD_LENGTH = layout.offsetOf('payloadLength');
const NEXT_HEADER = layout.offsetOf('nextHeader');
const HOP_LIMIT = layout.offsetOf('hopLimit');

/** Bytes of the header. */
export const SIZE = layout.span;
/** Where the source address lies: addresses are read in place, by offset. */
export const SRC = layout.offsetOf('src');
/** Where the destination address lies. */
export const DST = layout.offsetOf('dst');

/** `end` is where the frame ends; bytes behind the payload are allowed. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  if (v.getUint8(at + FIRST) >>> 4 !== 6) return VERSION;
  return v.getUint16(at + PAYLOAD_LENGTH) > end - at - SIZE ? TRUNCATED : OK;
}

/** DSCP and ECN together. */
export function trafficClass(v: DataView, at: number): number {
  return (v.getUint16(at + FIRST) >>> 4) & 0xff;
}

/** 6 bits. */
export function dscp(v: DataView, at: number): number {
  return (v.getUint16(at + FIRST) >>> 6) & 0x3f;
}

/** 2 bits: values are those of `ipv4.ts`. */
export function ecn(v: DataView, at: number): number {
  return (v.getUint8(at + FIRST + 1) >>> 4) & 3;
}

/** 20 bits. */
export function flowLabel(v: DataView, at: number): number {
  return v.getUint32(at + FIRST) & 0xfffff;
}

/** Bytes behind this header, extension headers included. */
export function payloadLength(v: DataView, at: number): number {
  return v.getUint16(at + PAYLOAD_LENGTH);
}

export function nextHeader(v: DataView, at: number): number {
  return v.getUint8(at + NEXT_HEADER);
}

export function hopLimit(v: DataView, at: number): number {
  return v.getUint8(at + HOP_LIMIT);
}

/** Word `i` (0 to 3) of the source address, unsigned. */
export function src(v: DataView, at: number, i: number): number {
  return v.getUint32(at + SRC + 4 * i);
}

/** Word `i` (0 to 3) of the destination address, unsigned. */
export function dst(v: DataView, at: number, i: number): number {
  return v.getUint32(at + DST + 4 * i);
}

/** Where the payload ends. */
export function payloadEnd(v: DataView, at: number): number {
  return at + SIZE + payloadLength(v, at);
}

export function setTrafficClass(v: DataView, at: number, trafficClass: number): void {
  v.setUint16(at + FIRST, (v.getUint16(at + FIRST) & 0xf00f) | (trafficClass << 4));
}

export function setDscp(v: DataView, at: number, dscp: number): void {
  v.setUint16(at + FIRST, (v.getUint16(at + FIRST) & 0xf03f) | (dscp << 6));
}

export function setEcn(v: DataView, at: number, ecn: number): void {
  v.setUint8(at + FIRST + 1, (v.getUint8(at + FIRST + 1) & 0xcf) | (ecn << 4));
}

export function setFlowLabel(v: DataView, at: number, label: number): void {
  v.setUint32(at + FIRST, (v.getUint32(at + FIRST) & 0xfff00000) | label);
}

export function setPayloadLength(v: DataView, at: number, bytes: number): void {
  v.setUint16(at + PAYLOAD_LENGTH, bytes);
}

export function setNextHeader(v: DataView, at: number, protocol: number): void {
  v.setUint8(at + NEXT_HEADER, protocol);
}

export function setHopLimit(v: DataView, at: number, hops: number): void {
  v.setUint8(at + HOP_LIMIT, hops);
}

export function setSrc(v: DataView, at: number, a: number, b: number, c: number, d: number): void {
  setAddress(v, at + SRC, a, b, c, d);
}

export function setDst(v: DataView, at: number, a: number, b: number, c: number, d: number): void {
  setAddress(v, at + DST, a, b, c, d);
}

/** Four words of an address; `Ip.words` is one. */
export type Words = readonly [number, number, number, number];

/** Writes the whole header; `bytes` counts the payload alone. */
export function write(
  v: DataView,
  at: number,
  trafficClass: number,
  flowLabel: number,
  bytes: number,
  nextHeader: number,
  hopLimit: number,
  src: Words,
  dst: Words,
): void {
  v.setUint32(at + FIRST, (6 << 28) | (trafficClass << 20) | flowLabel);
  setPayloadLength(v, at, bytes);
  setNextHeader(v, at, nextHeader);
  setHopLimit(v, at, hopLimit);
  setSrc(v, at, src[0], src[1], src[2], src[3]);
  setDst(v, at, dst[0], dst[1], dst[2], dst[3]);
}

// Addresses in place: `address` and its like are where one lies, for example `at + SRC`.

export function setAddress(v: DataView, address: number, a: number, b: number, c: number, d: number): void {
  v.setUint32(address, a);
  v.setUint32(address + 4, b);
  v.setUint32(address + 8, c);
  v.setUint32(address + 12, d);
}

export function copyAddress(v: DataView, from: number, to: number): void {
  const b = v.getInt32(from + 4);
  const c = v.getInt32(from + 8);
  const d = v.getInt32(from + 12);
  setAddress(v, to, v.getInt32(from), b, c, d);
}

export function sameAddress(v: DataView, one: number, other: number): boolean {
  return (
    v.getInt32(one) === v.getInt32(other) &&
    v.getInt32(one + 4) === v.getInt32(other + 4) &&
    v.getInt32(one + 8) === v.getInt32(other + 8) &&
    v.getInt32(one + 12) === v.getInt32(other + 12)
  );
}

/** `::` (RFC 4291 section 2.5.2). */
export function isUnspecified(v: DataView, address: number): boolean {
  return (
    (v.getInt32(address) | v.getInt32(address + 4) | v.getInt32(address + 8) | v.getInt32(address + 12)) === 0
  );
}

/** ff00::/8 (RFC 4291 section 2.7). */
export function isMulticast(v: DataView, address: number): boolean {
  return v.getUint8(address) === 0xff;
}

/** fe80::/10 (RFC 4291 section 2.4). */
export function isLinkLocal(v: DataView, address: number): boolean {
  return (v.getUint16(address) & 0xffc0) === 0xfe80;
}

/** ff02::1:ff00:0/104 (RFC 4291 section 2.7.1). */
export function isSolicitedNode(v: DataView, address: number): boolean {
  return (
    v.getUint32(address) === 0xff020000 &&
    v.getInt32(address + 4) === 0 &&
    v.getInt32(address + 8) === 1 &&
    v.getUint8(address + 12) === 0xff
  );
}

/** A decoded header, for people and tools. */
export interface Ipv6 {
  trafficClass: number;
  flowLabel: number;
  payloadLength: number;
  nextHeader: number;
  hopLimit: number;
  src: string;
  dst: string;
}

export function decode(v: DataView, at: number): Ipv6 {
  return {
    trafficClass: trafficClass(v, at),
    flowLabel: flowLabel(v, at),
    payloadLength: payloadLength(v, at),
    nextHeader: nextHeader(v, at),
    hopLimit: hopLimit(v, at),
    src: ip.format(ip.read6(v, at + SRC)),
    dst: ip.format(ip.read6(v, at + DST)),
  };
}

/** Writes a decoded header; the cold twin of {@link write}. */
export function encode(fields: Ipv6, v: DataView, at: number): void {
  const src = [...ip.parse(fields.src).words];
  const dst = [...ip.parse(fields.dst).words];
  layout.encode({ ...fields, version: 6, src, dst }, v, at);
}

/** `IP6 (hlim 64, next-header UDP (17) payload length: 12) fe80::1 > fe80::2`, as `tcpdump -v` prints it. */
export function format(v: DataView, at: number): string {
  const { trafficClass, flowLabel, payloadLength, nextHeader, hopLimit, src, dst } = decode(v, at);
  const digits = (value: number, width: number) => `0x${value.toString(16).padStart(width, '0')}`;
  const traffic = trafficClass === 0 ? '' : `class ${digits(trafficClass, 2)}, `;
  const label = flowLabel === 0 ? '' : `flowlabel ${digits(flowLabel, 5)}, `;
  const next = `next-header ${protocols.format(nextHeader)} payload length: ${payloadLength}`;
  return `IP6 (${traffic}${label}hlim ${hopLimit}, ${next}) ${src} > ${dst}`;
}
