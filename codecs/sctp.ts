/**
 * SCTP, RFC 9260 section 3: the common header. The chunks are in `sctp-chunk.ts`.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source port          |       Destination port        |
 *     +-------------------------------+-------------------------------+
 *     |                       Verification tag                        |
 *     +---------------------------------------------------------------+
 *     |                       Checksum (CRC32c)                       |
 *     +---------------------------------------------------------------+
 *     |                            Chunks                             |
 *
 * Odd: the checksum is a CRC32c over the whole packet, without pseudo header, and stands there with its
 * lowest byte first, unlike every other field.
 */
import * as crc from './crc32c.ts';
import { type Fault, OK, SHORT } from './fault.ts';
import { type Layout, struct, u16, u32 } from './layout.ts';
import * as chunk from './sctp-chunk.ts';

export const layout: Layout = struct(u16('srcPort'), u16('dstPort'), u32('tag'), u32('checksum'));

const SRC_PORT = layout.offsetOf('srcPort');
const DST_PORT = layout.offsetOf('dstPort');
const TAG = layout.offsetOf('tag');
const CHECKSUM = layout.offsetOf('checksum');

/** Bytes of the common header. */
export const SIZE = layout.span;
/** IP protocol number. */
export const PROTOCOL = 132;

/** Proves the common header, not the chunks: see {@link checkChunks}. `end` is where the IP payload ends. */
export function check(_v: DataView, at: number, end: number): Fault {
  return end - at < SIZE ? SHORT : OK;
}

/** OK where whole chunks fill the packet; SHORT, LENGTH or TRUNCATED tell what is wrong with the first other. */
export function checkChunks(v: DataView, at: number, end: number): Fault {
  return chunk.check(v, at + SIZE, end);
}

/**
 * Whether a packet keeps the rules that any receiver may insist on: no port 0 (section 3.1), INIT, INIT ACK
 * and SHUTDOWN COMPLETE alone in their packet (section 6.10), tag 0 with INIT and only there (section 8.5.1).
 * Needs {@link checkChunks}.
 */
export function valid(v: DataView, at: number, end: number): boolean {
  if (srcPort(v, at) === 0 || dstPort(v, at) === 0) return false;
  let chunks = 0;
  let init = false;
  let alone = false;
  for (let i = at + SIZE; i >= 0 && i < end; i = chunk.next(v, i, end)) {
    const type = chunk.type(v, i);
    if (type === chunk.INIT) init = true;
    if (chunk.standsAlone(type)) alone = true;
    chunks++;
  }
  return chunks > 0 && (!alone || chunks === 1) && init === (tag(v, at) === 0);
}

export function srcPort(v: DataView, at: number): number {
  return v.getUint16(at + SRC_PORT);
}

export function dstPort(v: DataView, at: number): number {
  return v.getUint16(at + DST_PORT);
}

/** Verification tag, unsigned. */
export function tag(v: DataView, at: number): number {
  return v.getUint32(at + TAG);
}

/** The checksum field read like every other field, first byte highest; unsigned. */
export function checksum(v: DataView, at: number): number {
  return v.getUint32(at + CHECKSUM);
}

export function setSrcPort(v: DataView, at: number, port: number): void {
  v.setUint16(at + SRC_PORT, port);
}

export function setDstPort(v: DataView, at: number, port: number): void {
  v.setUint16(at + DST_PORT, port);
}

export function setTag(v: DataView, at: number, tag: number): void {
  v.setUint32(at + TAG, tag);
}

export function setChecksum(v: DataView, at: number, value: number): void {
  v.setUint32(at + CHECKSUM, value);
}

/** Writes the common header with a checksum of 0. Fill it when the chunks are there. */
export function write(v: DataView, at: number, srcPort: number, dstPort: number, tag: number): void {
  setSrcPort(v, at, srcPort);
  setDstPort(v, at, dstPort);
  setTag(v, at, tag);
  setChecksum(v, at, 0);
}

/** Whether the CRC32c over the packet `at..end` is right, the field itself taken for zeros (section 6.8). */
export function verifyChecksum(v: DataView, at: number, end: number): boolean {
  return v.getUint32(at + CHECKSUM, true) === compute(v, at, end);
}

/** Computes and stores the CRC32c over the packet `at..end`. */
export function fillChecksum(v: DataView, at: number, end: number): void {
  v.setUint32(at + CHECKSUM, compute(v, at, end), true);
}

function compute(v: DataView, at: number, end: number): number {
  const ports = crc.update(crc.START, v, at, at + CHECKSUM);
  return crc.finish(crc.update(crc.skip(ports, 4), v, at + SIZE, end));
}

/** A decoded common header, for people and tools. */
export interface Sctp {
  srcPort: number;
  dstPort: number;
  tag: number;
  checksum: number;
}

export function decode(v: DataView, at: number): Sctp {
  return layout.decode(v, at) as unknown as Sctp;
}

/** Writes a decoded common header; the cold twin of {@link write}. */
export function encode(fields: Sctp, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

/** `sctp (1) [COOKIE ECHO], (2) [DATA]`, as tcpdump names the chunks; `end` is where the packet ends. */
export function format(v: DataView, at: number, end: number = at + SIZE): string {
  return `sctp${chunk.format(v, at + SIZE, end)}`;
}
