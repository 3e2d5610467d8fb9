/**
 * Options of pcapng blocks (draft-ietf-opsawg-pcapng section 3.5): a code, a length, a value, padded to four
 * bytes; a list ends with opt_endofopt or with the block.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |             Code              |            Length             |
 *     +-------------------------------+-------------------------------+
 *     |                 Value, padded to a multiple of 4              |
 *     +---------------------------------------------------------------+
 */

/** Code of the end of a list. */
export const END = 0;
/** Code of a comment, in every block. */
export const COMMENT = 1;
/** Bytes in front of a value. */
export const SIZE = 4;

/** An option to be written. */
export interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

/** `n` rounded up to a multiple of four. */
export function padded(n: number): number {
  return (n + 3) & ~3;
}

/** Bytes of an option or of the end of the list, padding included; -1 where it runs over `end`. */
export function size(v: DataView, at: number, end: number, le: boolean): number {
  if (end - at < SIZE) return -1;
  const bytes = SIZE + padded(v.getUint16(at + 2, le));
  return bytes > end - at ? -1 : bytes;
}

/** Where the next option of a code lies, from `at` on; -1 where there is none before the end or a malformed one. */
export function find(v: DataView, at: number, end: number, le: boolean, code: number): number {
  for (let i = at; i < end; ) {
    const bytes = size(v, i, end, le);
    if (bytes < 0) return -1;
    const found = v.getUint16(i, le);
    if (found === code) return i;
    if (found === END) return -1;
    i += bytes;
  }
  return -1;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The UTF-8 value of the option at `at`. Some writers count a closing zero in; it is left out. */
export function text(v: DataView, at: number, le: boolean): string {
  const value = new Uint8Array(v.buffer, v.byteOffset + at + SIZE, v.getUint16(at + 2, le));
  return decoder.decode(value.slice()).replace(/\0+$/, '');
}

/** Every comment in a list. */
export function comments(v: DataView, at: number, end: number, le: boolean): string[] {
  const out: string[] = [];
  for (let i = find(v, at, end, le, COMMENT); i >= 0; ) {
    out.push(text(v, i, le));
    i = find(v, i + size(v, i, end, le), end, le, COMMENT);
  }
  return out;
}

/** A textual option. */
export function textOption(code: number, words: string): Option {
  return { code, value: encoder.encode(words) };
}

/** Bytes of a list with its end; none for no options. Throws a RangeError for a value of more than 65535 bytes. */
export function listSize(options: readonly Option[]): number {
  if (options.length === 0) return 0;
  for (const { code, value } of options) {
    if (value.length > 0xffff) {
      throw new RangeError(`option ${code} expected at most 65535 bytes, got ${value.length}`);
    }
  }
  return options.reduce((sum, { value }) => sum + SIZE + padded(value.length), SIZE);
}

/** Writes a list with its end over memory that may hold anything. */
export function writeList(v: DataView, at: number, le: boolean, options: readonly Option[]): void {
  if (options.length === 0) return;
  const bytes = new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
  let i = at;
  for (const { code, value } of options) {
    v.setUint16(i, code, le);
    v.setUint16(i + 2, value.length, le);
    bytes.fill(0, i + SIZE, i + SIZE + padded(value.length));
    bytes.set(value, i + SIZE);
    i += SIZE + padded(value.length);
  }
  v.setUint32(i, END);
}
