/**
 * TCP, RFC 9293 section 3.1.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source port          |       Destination port        |
 *     +-------------------------------+-------------------------------+
 *     |                        Sequence number                        |
 *     +---------------------------------------------------------------+
 *     |                     Acknowledgment number                     |
 *     +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *     |  Data |       |C|E|U|A|P|R|S|F|                               |
 *     | offset| Rsrvd |W|C|R|C|S|S|Y|I|            Window             |
 *     |       |       |R|E|G|K|H|T|N|N|                               |
 *     +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *     |           Checksum            |         Urgent pointer        |
 *     +-------------------------------+-------------------------------+
 *     |                           [Options]                           |
 *     +---------------------------------------------------------------+
 *
 * Odd: there is no length; the segment ends where the IP payload does, so checksums need `end`.
 */
import * as checksums from './checksum.ts';
import { type Fault, LENGTH, OK, SHORT, TRUNCATED } from './fault.ts';
import { bits, type Layout, struct, u16, u32 } from './layout.ts';
import * as options from './tcp-options.ts';

export const layout: Layout = struct(
  u16('srcPort'),
  u16('dstPort'),
  u32('seq'),
  u32('ack'),
  bits('offsetAndFlags', 16, { dataOffset: 4, reserved: 4, flags: 8 }),
  u16('window'),
  u16('checksum'),
  u16('urgent'),
);

const SRC_PORT = layout.offsetOf('srcPort');
const DST_PORT = layout.offsetOf('dstPort');
const SEQ = layout.offsetOf('seq');
const ACK_AT = layout.offsetOf('ack');
const DATA_OFFSET = layout.offsetOf('offsetAndFlags');
const FLAGS = DATA_OFFSET + 1;
const WINDOW = layout.offsetOf('window');
const CHECKSUM = layout.offsetOf('checksum');
const URGENT = layout.offsetOf('urgent');

/** Bytes of the header without options. */
export const SIZE = layout.span;
/** Bytes of the header with the most options. */
export const MAX_SIZE = 60;
/** IP protocol number. */
export const PROTOCOL = 6;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
/** ECN echo (RFC 3168). */
export const ECE = 0x40;
/** Congestion window reduced (RFC 3168). */
export const CWR = 0x80;

/** `end` is where the IP payload ends. Proves the header's length, not the options: see {@link checkOptions}. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  const bytes = headerLength(v, at);
  if (bytes < SIZE) return LENGTH;
  return bytes > end - at ? TRUNCATED : OK;
}

/** OPTIONS where an option overruns the header or has a length that its kind cannot have (RFC 9293 MUST-7). */
export function checkOptions(v: DataView, at: number): Fault {
  return options.check(v, at + SIZE, at + headerLength(v, at));
}

export function srcPort(v: DataView, at: number): number {
  return v.getUint16(at + SRC_PORT);
}

export function dstPort(v: DataView, at: number): number {
  return v.getUint16(at + DST_PORT);
}

/** Sequence number, unsigned. */
export function seq(v: DataView, at: number): number {
  return v.getUint32(at + SEQ);
}

/** Acknowledgment number, unsigned; without meaning unless {@link ACK} is set. */
export function ack(v: DataView, at: number): number {
  return v.getUint32(at + ACK_AT);
}

/** Bytes of the header with its options: the data offset times four. */
export function headerLength(v: DataView, at: number): number {
  return (v.getUint8(at + DATA_OFFSET) >>> 4) * 4;
}

export function flags(v: DataView, at: number): number {
  return v.getUint8(at + FLAGS);
}

/** Receive window in bytes, before scaling. */
export function window(v: DataView, at: number): number {
  return v.getUint16(at + WINDOW);
}

export function checksum(v: DataView, at: number): number {
  return v.getUint16(at + CHECKSUM);
}

/** Urgent pointer; without meaning unless {@link URG} is set. */
export function urgent(v: DataView, at: number): number {
  return v.getUint16(at + URGENT);
}

/** Where the first option of a kind starts (kind, length, value), or -1; kinds are in `tcp-options.ts`. */
export function option(v: DataView, at: number, kind: number): number {
  return options.find(v, at + SIZE, at + headerLength(v, at), kind);
}

/** The maximum segment size option in bytes, or -1 where there is none. */
export function mss(v: DataView, at: number): number {
  const i = option(v, at, options.MSS);
  return i >= 0 && v.getUint8(i + 1) === 4 ? v.getUint16(i + 2) : -1;
}

export function setSrcPort(v: DataView, at: number, port: number): void {
  v.setUint16(at + SRC_PORT, port);
}

export function setDstPort(v: DataView, at: number, port: number): void {
  v.setUint16(at + DST_PORT, port);
}

export function setSeq(v: DataView, at: number, value: number): void {
  v.setUint32(at + SEQ, value);
}

export function setAck(v: DataView, at: number, value: number): void {
  v.setUint32(at + ACK_AT, value);
}

/** `bytes` is a multiple of 4 from 20 to 60; the reserved bits become 0. */
export function setHeaderLength(v: DataView, at: number, bytes: number): void {
  v.setUint8(at + DATA_OFFSET, (bytes >>> 2) << 4);
}

export function setFlags(v: DataView, at: number, flags: number): void {
  v.setUint8(at + FLAGS, flags);
}

export function setWindow(v: DataView, at: number, bytes: number): void {
  v.setUint16(at + WINDOW, bytes);
}

export function setChecksum(v: DataView, at: number, value: number): void {
  v.setUint16(at + CHECKSUM, value);
}

export function setUrgent(v: DataView, at: number, value: number): void {
  v.setUint16(at + URGENT, value);
}

/** Writes the fixed header for `bytes` of header and options; urgent pointer 0. Fill the checksum afterwards. */
export function write(
  v: DataView,
  at: number,
  srcPort: number,
  dstPort: number,
  seq: number,
  ack: number,
  bytes: number,
  flags: number,
  window: number,
): void {
  setSrcPort(v, at, srcPort);
  setDstPort(v, at, dstPort);
  setSeq(v, at, seq);
  setAck(v, at, ack);
  setHeaderLength(v, at, bytes);
  setFlags(v, at, flags);
  setWindow(v, at, window);
  setChecksum(v, at, 0);
  setUrgent(v, at, 0);
}

/** Whether the checksum is right; `pseudo` is the sum of the pseudo header, `end` where the segment ends. */
export function verifyChecksum(v: DataView, at: number, end: number, pseudo: number): boolean {
  return checksums.add(checksums.sum(v, at, end), pseudo) === 0xffff;
}

/** Computes and stores the checksum. */
export function fillChecksum(v: DataView, at: number, end: number, pseudo: number): void {
  setChecksum(v, at, 0);
  setChecksum(v, at, checksums.finish(checksums.add(checksums.sum(v, at, end), pseudo)));
}

/** A decoded header, for people and tools. */
export interface Tcp {
  srcPort: number;
  dstPort: number;
  seq: number;
  ack: number;
  /** Length of the header in words of 4 bytes. */
  dataOffset: number;
  reserved: number;
  flags: number;
  window: number;
  checksum: number;
  urgent: number;
  /** Up to the end of the list, or the first that is malformed. */
  options: options.Option[];
}

export function decode(v: DataView, at: number): Tcp {
  const list = options.decode(v, at + SIZE, at + headerLength(v, at));
  return { ...layout.decode(v, at), options: list } as unknown as Tcp;
}

/** Writes a decoded header and its options, zeros up to the data offset; the cold twin of {@link write}. */
export function encode(fields: Tcp, v: DataView, at: number): void {
  const { options: list, ...fixed } = fields;
  layout.encode(fixed, v, at);
  options.encode(list, v, at + SIZE, at + fields.dataOffset * 4);
}

/**
 * `Flags [S], seq 1, win 1024, options [mss 1460], length 0`, as tcpdump prints it with absolute sequence
 * numbers (`-S`). `end` is where the segment ends.
 */
export function format(v: DataView, at: number, end: number = at + headerLength(v, at)): string {
  const f = flags(v, at);
  const bytes = end - at - headerLength(v, at);
  const parts = [`Flags [${formatFlags(f)}]`];
  const from = seq(v, at);
  if (bytes > 0) parts.push(`seq ${from}:${(from + bytes) >>> 0}`);
  else if ((f & (SYN | FIN | RST)) !== 0) parts.push(`seq ${from}`);
  if ((f & ACK) !== 0) parts.push(`ack ${ack(v, at)}`);
  parts.push(`win ${window(v, at)}`);
  if ((f & URG) !== 0) parts.push(`urg ${urgent(v, at)}`);
  if (headerLength(v, at) > SIZE) parts.push(formatOptions(v, at));
  return [...parts, `length ${bytes}`].join(', ');
}

function formatFlags(flags: number): string {
  const letters = [...'FSRP.UEW'].filter((_, bit) => ((flags >>> bit) & 1) !== 0);
  return letters.join('') || 'none';
}

function formatOptions(v: DataView, at: number): string {
  return `options [${options.format(v, at + SIZE, at + headerLength(v, at))}]`;
}
