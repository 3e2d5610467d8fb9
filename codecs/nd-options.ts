/**
 * Options of neighbor discovery, RFC 4861 section 4.6.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |    Length     |  Link: address (6 bytes) ...  |
 *     +---------------+---------------+-------------------------------+
 *
 * Odd: the length counts units of 8 bytes, type and length included. A length of 0 makes the whole message
 * invalid. Unknown types are skipped. `i` is where an option starts, as {@link find} tells.
 */
import { fromHex, hex } from './bytes.ts';
import { type Fault, OK, OPTIONS } from './fault.ts';

/** Source link-layer address. */
export const SOURCE_LINK = 1;
/** Target link-layer address. */
export const TARGET_LINK = 2;
export const PREFIX = 3;
/** Redirected header: the packet that a redirect is about. */
export const REDIRECTED = 4;
export const MTU = 5;
/** RFC 3971 section 5.3.2; in duplicate address detection by RFC 7527. */
export const NONCE = 14;

/** Bytes of a link-layer address option for Ethernet (RFC 2464 section 6) and of an MTU option. */
export const SIZE = 8;
/** Bytes of a prefix information option. */
export const PREFIX_SIZE = 32;

/** Flags of a prefix: on-link, and usable for autonomous addresses. */
export const PREFIX_ON_LINK = 0x80;
export const PREFIX_AUTONOMOUS = 0x40;

/** OPTIONS where an option in `at..end` has length 0 or overruns, or a prefix is too short for its fields. */
export function check(v: DataView, at: number, end: number): Fault {
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    if (following < 0) return OPTIONS;
    if (v.getUint8(i) === PREFIX && following - i < PREFIX_SIZE) return OPTIONS;
  }
  return OK;
}

/** Where the option behind the one at `i` starts, or -1 where that is malformed. */
export function next(v: DataView, i: number, end: number): number {
  if (end - i < SIZE) return -1;
  const bytes = v.getUint8(i + 1) << 3;
  return bytes === 0 || bytes > end - i ? -1 : i + bytes;
}

/** Where the first option of a type starts, or -1. Whatever is behind a malformed one is not seen. */
export function find(v: DataView, at: number, end: number, type: number): number {
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    if (following < 0) return -1;
    if (v.getUint8(i) === type) return i;
  }
  return -1;
}

/** Bytes of the option, 8 to 2040: a nonce has all but two of them. */
export function length(v: DataView, i: number): number {
  return v.getUint8(i + 1) << 3;
}

/** First 16 bits of a link-layer address. */
export function linkHi(v: DataView, i: number): number {
  return v.getUint16(i + 2);
}

/** Last 32 bits of a link-layer address, unsigned. */
export function linkLo(v: DataView, i: number): number {
  return v.getUint32(i + 4);
}

/** In bytes. */
export function mtu(v: DataView, i: number): number {
  return v.getUint32(i + 4);
}

/** Bits of the prefix that count. */
export function prefixLength(v: DataView, i: number): number {
  return v.getUint8(i + 2);
}

/** {@link PREFIX_ON_LINK} and {@link PREFIX_AUTONOMOUS}. */
export function prefixFlags(v: DataView, i: number): number {
  return v.getUint8(i + 3);
}

/** How long the prefix is on-link, in seconds; 0xffffffff is for ever. */
export function validLifetime(v: DataView, i: number): number {
  return v.getUint32(i + 4);
}

/** How long addresses made of the prefix are preferred, in seconds; 0xffffffff is for ever. */
export function preferredLifetime(v: DataView, i: number): number {
  return v.getUint32(i + 8);
}

/** Where the 16 bytes of the prefix lie. */
export function prefixAt(i: number): number {
  return i + 16;
}

/** Writes a link-layer address option of {@link SIZE} bytes: {@link SOURCE_LINK} or {@link TARGET_LINK}. */
export function writeLink(v: DataView, i: number, type: number, hi: number, lo: number): void {
  v.setUint8(i, type);
  v.setUint8(i + 1, 1);
  v.setUint16(i + 2, hi);
  v.setUint32(i + 4, lo);
}

/** An option, for people and tools. */
export interface Option {
  type: number;
  /** Hexadecimal: all behind type and length. */
  value: string;
}

/** The options up to the first that is malformed. */
export function decode(v: DataView, at: number, end: number): Option[] {
  const out: Option[] = [];
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    if (following < 0) break;
    out.push({ type: v.getUint8(i), value: hex(v, i + 2, following - i - 2) });
  }
  return out;
}

/** Writes options from `at` on; each value has 6 bytes or 8, 16 ... more. Returns where they end. */
export function encode(options: readonly Option[], v: DataView, at: number): number {
  let i = at;
  for (const { type, value } of options) {
    const bytes = fromHex(value);
    v.setUint8(i++, type);
    v.setUint8(i++, (bytes.length + 2) / 8);
    for (const byte of bytes) v.setUint8(i++, byte);
  }
  return i;
}
