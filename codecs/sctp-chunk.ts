/**
 * SCTP chunks, RFC 9260 section 3.2: what follows the common header.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Flags     |            Length             |
 *     +---------------+---------------+-------------------------------+
 *     |                             Value                             |
 *
 * Odd: the length counts these four bytes and leaves out the padding to a multiple of four that follows.
 * The padding of the last chunk may be missing.
 */
import { fromHex, hex } from './bytes.ts';
import { type Fault, LENGTH, OK, SHORT, TRUNCATED } from './fault.ts';
import { type Layout, struct, u8, u16 } from './layout.ts';

export const layout: Layout = struct(u8('type'), u8('flags'), u16('length'));

const TYPE = layout.offsetOf('type');
const FLAGS = layout.offsetOf('flags');
const LENGTH_AT = layout.offsetOf('length');

/** Bytes of the header. */
export const SIZE = layout.span;

export const DATA = 0;
export const INIT = 1;
export const INIT_ACK = 2;
export const SACK = 3;
export const HEARTBEAT = 4;
export const HEARTBEAT_ACK = 5;
export const ABORT = 6;
export const SHUTDOWN = 7;
export const SHUTDOWN_ACK = 8;
export const ERROR = 9;
export const COOKIE_ECHO = 10;
export const COOKIE_ACK = 11;
export const SHUTDOWN_COMPLETE = 14;

/** OK where whole chunks fill `at..end`. A partial chunk is dropped, with what follows it (section 6.10). */
export function check(v: DataView, at: number, end: number): Fault {
  for (let i = at; i < end; i = next(v, i, end)) {
    if (end - i < SIZE) return SHORT;
    if (length(v, i) < SIZE) return LENGTH;
    if (length(v, i) > end - i) return TRUNCATED;
  }
  return OK;
}

/** Where the chunk after the one at `i` starts; `end` where that was the last, -1 where it is malformed. */
export function next(v: DataView, i: number, end: number): number {
  if (end - i < SIZE) return -1;
  const bytes = length(v, i);
  if (bytes < SIZE || bytes > end - i) return -1;
  return Math.min(i + ((bytes + 3) & ~3), end);
}

/** Whether a chunk of this type must be the only one of its packet (section 6.10). */
export function standsAlone(type: number): boolean {
  return type === INIT || type === INIT_ACK || type === SHUTDOWN_COMPLETE;
}

export function type(v: DataView, at: number): number {
  return v.getUint8(at + TYPE);
}

export function flags(v: DataView, at: number): number {
  return v.getUint8(at + FLAGS);
}

/** Bytes of header and value, padding excluded. */
export function length(v: DataView, at: number): number {
  return v.getUint16(at + LENGTH_AT);
}

/** Writes the header; `bytes` counts header and value, padding excluded. */
export function write(v: DataView, at: number, type: number, flags: number, bytes: number): void {
  v.setUint8(at + TYPE, type);
  v.setUint8(at + FLAGS, flags);
  v.setUint16(at + LENGTH_AT, bytes);
}

/** A chunk, for people and tools. */
export interface Chunk {
  type: number;
  flags: number;
  /** Bytes of header and value. */
  length: number;
  /** Hexadecimal, without padding. */
  value: string;
}

export function decode(v: DataView, at: number): Chunk {
  const value = hex(v, at + SIZE, length(v, at) - SIZE);
  return { ...layout.decode(v, at), value } as unknown as Chunk;
}

/** The chunks of `at..end`, up to the first that is malformed. */
export function decodeAll(v: DataView, at: number, end: number): Chunk[] {
  const chunks: Chunk[] = [];
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    if (following < 0) break;
    chunks.push(decode(v, i));
  }
  return chunks;
}

/** Writes a decoded chunk, and zeros up to a multiple of four bytes. */
export function encode(fields: Chunk, v: DataView, at: number): void {
  const { value, ...header } = fields;
  layout.encode(header, v, at);
  let i = at + SIZE;
  for (const byte of fromHex(value)) v.setUint8(i++, byte);
  while ((i - at) % 4 !== 0) v.setUint8(i++, 0);
}

const NAMES: Record<number, string> = {
  [DATA]: 'DATA',
  [INIT]: 'INIT',
  [INIT_ACK]: 'INIT ACK',
  [SACK]: 'SACK',
  [HEARTBEAT]: 'HB REQ',
  [HEARTBEAT_ACK]: 'HB ACK',
  [ABORT]: 'ABORT',
  [SHUTDOWN]: 'SHUTDOWN',
  [SHUTDOWN_ACK]: 'SHUTDOWN ACK',
  [ERROR]: 'OP ERR',
  [COOKIE_ECHO]: 'COOKIE ECHO',
  [COOKIE_ACK]: 'COOKIE ACK',
  [SHUTDOWN_COMPLETE]: 'SHUTDOWN COMPLETE',
};

/** ` (1) [COOKIE ECHO], (2) [DATA] (B)(E) [TSN: 3] ...`: the chunks of `at..end` as tcpdump prints them. */
export function format(v: DataView, at: number, end: number): string {
  const out: string[] = [];
  for (let i = at, following: number; i < end; i = following) {
    following = next(v, i, end);
    if (following < 0) break;
    const name = NAMES[type(v, i)] ?? `Unknown chunk type: 0x${type(v, i).toString(16)}`;
    out.push(` (${out.length + 1}) [${name}]${formatValue(v, i)}`);
  }
  return out.join(',');
}

/** What the most common chunks say (sections 3.3.1 to 3.3.4), where they are long enough to say it. */
function formatValue(v: DataView, at: number): string {
  const word = (n: number) => v.getUint32(at + SIZE + 4 * n);
  const half = (n: number) => v.getUint16(at + SIZE + 2 * n);
  const value = length(v, at) - SIZE;
  switch (type(v, at)) {
    case DATA: {
      if (value < 12) return '';
      const parts = ['(E)', '(B)', '(U)'].filter((_, bit) => ((flags(v, at) >>> bit) & 1) !== 0).reverse();
      const ppid = word(2).toString(16);
      return ` ${parts.join('')} [TSN: ${word(0)}] [SID: ${half(2)}] [SSEQ ${half(3)}] [PPID 0x${ppid}]`;
    }
    case INIT:
    case INIT_ACK:
      if (value < 16) return '';
      return ` [init tag: ${word(0)}] [rwnd: ${word(1)}] [OS: ${half(4)}] [MIS: ${half(5)}] [init TSN: ${word(3)}]`;
    case SACK:
      if (value < 12) return '';
      return ` [cum ack ${word(0)}] [a_rwnd ${word(1)}] [#gap acks ${half(4)}] [#dup tsns ${half(5)}]`;
    default:
      return '';
  }
}
