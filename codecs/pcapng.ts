/**
 * The pcapng file format (draft-ietf-opsawg-pcapng): blocks, each with its length at both ends.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *     |                          Block type                           |
 *     +---------------------------------------------------------------+
 *     |                      Block total length                       |
 *     +---------------------------------------------------------------+
 *     |        Fields of the type, padded data, options               |
 *     +---------------------------------------------------------------+
 *     |                      Block total length                       |
 *     +---------------------------------------------------------------+
 *
 * Odd: a section has the byte order of its writer, which the magic in its header shows; the type of that
 * header is a palindrome, so it is known in either order. Interfaces are counted anew in each section, and
 * each has a unit of time of its own: microseconds unless if_tsresol says another power of 10 or of 2.
 *
 * This file holds the fields and what is written for every packet; `pcapng-blocks.ts` writes the other blocks,
 * `pcapng-reader.ts` reads.
 */
import type { CaptureRecord } from './capture.ts';
import * as options from './capture-options.ts';
import { type Field, type Layout, struct, u16, u16le, u32, u32le } from './layout.ts';

/** Section Header Block. */
export const SECTION = 0x0a0d0d0a;
/** Interface Description Block. */
export const INTERFACE = 1;
/** Packet Block: obsolete, no longer written. */
export const OLD_PACKET = 2;
/** Simple Packet Block: no time stamp, interface 0, no options. */
export const SIMPLE_PACKET = 3;
/** Enhanced Packet Block. */
export const PACKET = 6;
/** Decryption Secrets Block. */
export const SECRETS = 10;

/** Byte-order magic of a section. */
export const BYTE_ORDER = 0x1a2b3c4d;

// Options, beside opt_comment.
export const SECTION_HARDWARE = 2;
export const SECTION_OS = 3;
export const SECTION_APPLICATION = 4;
export const IF_NAME = 2;
export const IF_DESCRIPTION = 3;
export const IF_TSRESOL = 9;
export const IF_FCSLEN = 13;
export const IF_TSOFFSET = 14;
export const PACKET_FLAGS = 2;

interface Layouts {
  /** Section Header Block, from its start, without options. */
  readonly section: Layout;
  readonly interface: Layout;
  /** Enhanced Packet Block, without the packet. */
  readonly packet: Layout;
  readonly oldPacket: Layout;
  readonly simplePacket: Layout;
  readonly secrets: Layout;
}

type Make = (name: string) => Field;
function layouts(half: Make, word: Make): Layouts {
  const block = (...fields: Field[]) => struct(word('type'), word('totalLength'), ...fields);
  const packet = [word('high'), word('low'), word('captured'), word('original')];
  return {
    section: block(word('magic'), half('major'), half('minor'), word('length1'), word('length2')),
    interface: block(half('link'), half('reserved'), word('snaplen')),
    packet: block(word('interface'), ...packet),
    oldPacket: block(half('interface'), half('drops'), ...packet),
    simplePacket: block(word('original')),
    secrets: block(word('secretsType'), word('length')),
  };
}

/** The fixed parts of the blocks, big-endian. */
export const big: Layouts = layouts(u16, u32);
/** The fixed parts of the blocks, little-endian. */
export const little: Layouts = layouts(u16le, u32le);

const TOTAL_LENGTH = big.packet.offsetOf('totalLength');
const PACKET_INTERFACE = big.packet.offsetOf('interface');
const HIGH = big.packet.offsetOf('high');
const LOW = big.packet.offsetOf('low');
const CAPTURED = big.packet.offsetOf('captured');
const ORIGINAL = big.packet.offsetOf('original');

/** Bytes of type and length, in front of every block. */
export const HEADER_SIZE = 8;
/** Bytes of the length behind every block. */
export const TRAILER_SIZE = 4;
/** Where the packet starts in an Enhanced (and an old) Packet Block. */
export const PACKET_DATA = big.packet.span;

const encoder = new TextEncoder();
const FLAGS_SIZE = options.SIZE + 4;

/** Bytes of an Enhanced Packet Block: with flags other than 0, and a comment, it has options. */
export function packetSize(captured: number, flags: number, comment: Uint8Array | null): number {
  const bytes = PACKET_DATA + options.padded(captured) + TRAILER_SIZE;
  if (flags === 0 && comment === null) return bytes;
  const words = comment === null ? 0 : options.SIZE + options.padded(comment.length);
  return bytes + (flags === 0 ? 0 : FLAGS_SIZE) + words + options.SIZE;
}

/**
 * Writes an Enhanced Packet Block around `captured` bytes that the caller puts at `at + PACKET_DATA`. The
 * interface must have been described with nanoseconds as unit of time. `comment` is UTF-8.
 */
export function writePacket(
  v: DataView,
  at: number,
  le: boolean,
  iface: number,
  seconds: number,
  nanoseconds: number,
  captured: number,
  original: number,
  flags: number,
  comment: Uint8Array | null,
): void {
  const bytes = packetSize(captured, flags, comment);
  v.setUint32(at, PACKET, le);
  v.setUint32(at + TOTAL_LENGTH, bytes, le);
  v.setUint32(at + PACKET_INTERFACE, iface, le);
  writeTime(v, at, le, seconds, nanoseconds);
  v.setUint32(at + CAPTURED, captured, le);
  v.setUint32(at + ORIGINAL, original, le);
  const end = at + PACKET_DATA + captured;
  for (let i = end, stop = at + PACKET_DATA + options.padded(captured); i < stop; i++) v.setUint8(i, 0);
  let i = at + PACKET_DATA + options.padded(captured);
  if (flags !== 0) {
    v.setUint16(i, PACKET_FLAGS, le);
    v.setUint16(i + 2, 4, le);
    v.setUint32(i + 4, flags, le);
    i += FLAGS_SIZE;
  }
  if (comment !== null) options.writeList(v, i, le, [{ code: options.COMMENT, value: comment }]);
  else if (flags !== 0) v.setUint32(i, options.END);
  v.setUint32(at + bytes - TRAILER_SIZE, bytes, le);
}

/**
 * Nanoseconds since 1970 as two 32-bit halves, without a BigInt: seconds * 10^9 passes 2^53, so it is
 * multiplied in two halves of 16 bits, each of which is exact.
 */
function writeTime(v: DataView, at: number, le: boolean, seconds: number, nanoseconds: number): void {
  const upper = Math.floor(seconds / 65536);
  const low = (seconds - upper * 65536) * 1e9 + nanoseconds;
  const middle = upper * 1e9;
  const high = Math.floor(middle / 65536);
  const rest = (middle - high * 65536) * 65536 + low;
  const carry = Math.floor(rest / 0x1_0000_0000);
  v.setUint32(at + HIGH, high + carry, le);
  v.setUint32(at + LOW, rest - carry * 0x1_0000_0000, le);
}

/**
 * The reverse of {@link writeTime} for any `perSecond` up to 2^37: a long division in digits of 16 bits, whose
 * remainders stay below 2^53. Sets the seconds of the record and returns the units within the second.
 */
export function readTime(
  v: DataView,
  at: number,
  le: boolean,
  perSecond: number,
  record: CaptureRecord,
): number {
  const high = v.getUint32(at + HIGH, le);
  const low = v.getUint32(at + LOW, le);
  const a = Math.floor(high / perSecond);
  let rest = (high - a * perSecond) * 65536 + (low >>> 16);
  const b = Math.floor(rest / perSecond);
  rest = (rest - b * perSecond) * 65536 + (low & 0xffff);
  const c = Math.floor(rest / perSecond);
  record.seconds = a * 0x1_0000_0000 + b * 65536 + c;
  return rest - c * perSecond;
}

/** A packet's comment as the functions above take it; null for none. Throws a RangeError above 65535 bytes. */
export function encodeComment(comment: string | undefined): Uint8Array | null {
  if (comment === undefined || comment === '') return null;
  const value = encoder.encode(comment);
  if (value.length > 0xffff) {
    throw new RangeError(`"comment" expected at most 65535 bytes, got ${value.length}`);
  }
  return value;
}
