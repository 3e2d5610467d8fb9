/**
 * TCP options, RFC 9293 section 3.2: a list of kind, length (that counts both) and value.
 *
 * Odd: two kinds are a single byte, 0 that ends the list and 1 that is filler. Behind the end all is padding.
 */
import { fromHex, hex } from './bytes.ts';
import { type Fault, OK, OPTIONS } from './fault.ts';

/** End of the list. */
export const END = 0;
/** Filler between options. */
export const NOP = 1;
/** Maximum segment size (RFC 9293 section 3.7.1): 2 bytes. */
export const MSS = 2;
/** Window scale (RFC 7323 section 2): 1 byte, a shift. */
export const WINDOW_SCALE = 3;
/** Selective acknowledgment permitted (RFC 2018 section 2): no value. */
export const SACK_PERMITTED = 4;
/** Selective acknowledgment (RFC 2018 section 3): pairs of sequence numbers. */
export const SACK = 5;
/** Time stamps (RFC 7323 section 3): value and echo reply, 4 bytes each. */
export const TIMESTAMPS = 8;

/** Bytes that an option has, by kind; 0 or undefined where more than one number will do. */
const SIZES: readonly number[] = [0, 0, 4, 3, 2, 0, 0, 0, 10];

/** OPTIONS where an option in `at..end` overruns, or has a length that its kind cannot have. */
export function check(v: DataView, at: number, end: number): Fault {
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    if (following < 0) return OPTIONS;
    const kind = v.getUint8(i);
    if (kind < SIZES.length && SIZES[kind] !== 0 && following - i !== SIZES[kind]) return OPTIONS;
  }
  return OK;
}

/** Where the option after the one at `i` starts; `end` where that was the last, -1 where it overruns. */
export function next(v: DataView, i: number, end: number): number {
  const kind = v.getUint8(i);
  if (kind === END) return end;
  if (kind === NOP) return i + 1;
  if (i + 1 >= end) return -1;
  const bytes = v.getUint8(i + 1);
  return bytes < 2 || bytes > end - i ? -1 : i + bytes;
}

/** Where the first option of a kind in `at..end` starts, or -1. Whatever is behind a malformed one is not seen. */
export function find(v: DataView, at: number, end: number, kind: number): number {
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    if (following < 0) return -1;
    if (v.getUint8(i) === kind) return i;
  }
  return -1;
}

/** An option, for people and tools. */
export interface Option {
  kind: number;
  /** Hexadecimal. */
  value: string;
}

/** The options up to the end of the list, or to the first that overruns. */
export function decode(v: DataView, at: number, end: number): Option[] {
  const out: Option[] = [];
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    const kind = v.getUint8(i);
    if (following < 0 || kind === END) break;
    out.push({ kind, value: kind === NOP ? '' : hex(v, i + 2, following - i - 2) });
  }
  return out;
}

/** Writes options from `at` on and zeros behind them, up to `end`. */
export function encode(options: readonly Option[], v: DataView, at: number, end: number): void {
  let i = at;
  for (const { kind, value } of options) {
    v.setUint8(i++, kind);
    if (kind === NOP) continue;
    const bytes = fromHex(value);
    v.setUint8(i++, bytes.length + 2);
    for (const byte of bytes) v.setUint8(i++, byte);
  }
  while (i < end) v.setUint8(i++, END);
}

const NAMES: Record<number, string> = {
  [END]: 'eol',
  [NOP]: 'nop',
  [MSS]: 'mss',
  [WINDOW_SCALE]: 'wscale',
  [SACK_PERMITTED]: 'sackOK',
  [SACK]: 'sack',
  [TIMESTAMPS]: 'TS',
};

/** `mss 1460,sackOK,nop,wscale 7`, as tcpdump prints them. */
export function format(v: DataView, at: number, end: number): string {
  const out: string[] = [];
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    const kind = v.getUint8(i);
    const name = NAMES[kind] ?? `unknown-${kind}`;
    if (following < 0) {
      out.push(`${name}[bad opt]`);
      break;
    }
    out.push(name + (kind <= NOP ? '' : value(v, kind, i + 2, following)));
  }
  return out.join(',');
}

function value(v: DataView, kind: number, at: number, end: number): string {
  const bytes = end - at;
  if (kind === MSS && bytes === 2) return ` ${v.getUint16(at)}`;
  if (kind === WINDOW_SCALE && bytes === 1) return ` ${v.getUint8(at)}`;
  if (kind === TIMESTAMPS && bytes === 8) return ` val ${v.getUint32(at)} ecr ${v.getUint32(at + 4)}`;
  if (kind === SACK && bytes % 8 === 0) {
    let text = ` ${bytes / 8} `;
    for (let i = at; i < end; i += 8) text += `{${v.getUint32(i)}:${v.getUint32(i + 4)}}`;
    return text;
  }
  return bytes === 0 ? '' : ` 0x${hex(v, at, bytes)}`;
}
