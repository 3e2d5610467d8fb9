/**
 * UDP, RFC 768.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source port          |       Destination port        |
 *     +-------------------------------+-------------------------------+
 *     |            Length             |           Checksum            |
 *     +-------------------------------+-------------------------------+
 *
 * Odd: the length counts the header too, so it is at least 8. A checksum of 0 means "none" over IPv4 and is
 * forbidden by default over IPv6 (RFC 8200 section 8.1, RFC 6936); a computed 0 is sent as 0xffff.
 */
import * as checksums from './checksum.ts';
import { type Fault, LENGTH, OK, SHORT, TRUNCATED } from './fault.ts';
import { type Layout, struct, u16 } from './layout.ts';

export const layout: Layout = struct(u16('srcPort'), u16('dstPort'), u16('length'), u16('checksum'));

const SRC_PORT = layout.offsetOf('srcPort');
const DST_PORT = layout.offsetOf('dstPort');
const LENGTH_AT = layout.offsetOf('length');
const CHECKSUM = layout.offsetOf('checksum');

/** Bytes of the header. */
export const SIZE = layout.span;
/** IP protocol number. */
export const PROTOCOL = 17;
/** Bytes of the largest payload over IPv4: 65535 less both headers. Over IPv6 it would be 20 more. */
export const MAX_PAYLOAD = 65507;

/** `end` is where the IP payload ends. Bytes between the datagram's own end and `end` are allowed. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  const length = v.getUint16(at + LENGTH_AT);
  if (length < SIZE) return LENGTH;
  return length > end - at ? TRUNCATED : OK;
}

export function srcPort(v: DataView, at: number): number {
  return v.getUint16(at + SRC_PORT);
}

export function dstPort(v: DataView, at: number): number {
  return v.getUint16(at + DST_PORT);
}

/** Bytes of header and payload together. */
export function length(v: DataView, at: number): number {
  return v.getUint16(at + LENGTH_AT);
}

/** 0 means that the sender computed none. */
export function checksum(v: DataView, at: number): number {
  return v.getUint16(at + CHECKSUM);
}

export function setSrcPort(v: DataView, at: number, port: number): void {
  v.setUint16(at + SRC_PORT, port);
}

export function setDstPort(v: DataView, at: number, port: number): void {
  v.setUint16(at + DST_PORT, port);
}

export function setLength(v: DataView, at: number, bytes: number): void {
  v.setUint16(at + LENGTH_AT, bytes);
}

export function setChecksum(v: DataView, at: number, value: number): void {
  v.setUint16(at + CHECKSUM, value);
}

/** Writes the whole header; `bytes` counts header and payload. Fill the checksum afterwards. */
export function write(
  v: DataView,
  at: number,
  srcPort: number,
  dstPort: number,
  bytes: number,
  checksum: number,
): void {
  setSrcPort(v, at, srcPort);
  setDstPort(v, at, dstPort);
  setLength(v, at, bytes);
  setChecksum(v, at, checksum);
}

/**
 * Whether the checksum is right. `pseudo` is the sum of the pseudo header ({@link checksums.pseudo4},
 * {@link checksums.pseudo6}). A checksum of 0 is not right: whether "none" is allowed is the caller's policy.
 */
export function verifyChecksum(v: DataView, at: number, pseudo: number): boolean {
  if (checksum(v, at) === 0) return false;
  return checksums.add(checksums.sum(v, at, at + length(v, at)), pseudo) === 0xffff;
}

/** Computes and stores the checksum, 0xffff where it comes out as 0. */
export function fillChecksum(v: DataView, at: number, pseudo: number): void {
  setChecksum(v, at, 0);
  const s = checksums.add(checksums.sum(v, at, at + length(v, at)), pseudo);
  setChecksum(v, at, checksums.finishNonZero(s));
}

/** A decoded header, for people and tools. */
export interface Udp {
  srcPort: number;
  dstPort: number;
  length: number;
  checksum: number;
}

export function decode(v: DataView, at: number): Udp {
  return layout.decode(v, at) as unknown as Udp;
}

/** Writes a decoded header; the cold twin of {@link write}. */
export function encode(fields: Udp, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

/** `UDP, length 12`, the payload's length, as tcpdump prints it. */
export function format(v: DataView, at: number): string {
  return `UDP, length ${length(v, at) - SIZE}`;
}
