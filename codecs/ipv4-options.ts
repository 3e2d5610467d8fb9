/**
 * IPv4 options, RFC 791 section 3.1: a list of type, length (that counts both) and value.
 *
 * Odd: END and NOP are a single byte. Unknown options are skipped by their length (RFC 1812 section 4.2.2.6),
 * so a malformed one hides those behind it but does not make the packet unreadable.
 */
import { type Fault, OK, OPTIONS } from './fault.ts';

/** End of the list. */
export const END = 0;
/** Filler between options. */
export const NOP = 1;
export const RECORD_ROUTE = 7;
export const TIMESTAMP = 68;
export const LOOSE_SOURCE_ROUTE = 131;
export const STRICT_SOURCE_ROUTE = 137;
/** RFC 2113. */
export const ROUTER_ALERT = 148;

/** OPTIONS where an option in `at..end` has no length, one smaller than 2, or one that leads beyond `end`. */
export function check(v: DataView, at: number, end: number): Fault {
  let i = at;
  while (i >= 0 && i < end) i = next(v, i, end);
  return i < 0 ? OPTIONS : OK;
}

/** Where the option behind the one at `i` starts; `end` where that was the last, -1 where it is malformed. */
export function next(v: DataView, i: number, end: number): number {
  const type = v.getUint8(i);
  if (type === END) return end;
  if (type === NOP) return i + 1;
  if (i + 1 >= end) return -1;
  const bytes = v.getUint8(i + 1);
  return bytes < 2 || bytes > end - i ? -1 : i + bytes;
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

const NAMES: Record<number, string> = {
  [END]: 'EOL',
  [NOP]: 'NOP',
  [RECORD_ROUTE]: 'RR',
  [TIMESTAMP]: 'timestamp',
  [LOOSE_SOURCE_ROUTE]: 'LSRR',
  [STRICT_SOURCE_ROUTE]: 'SSRR',
  [ROUTER_ALERT]: 'RA',
};

/** `NOP,RR`: the names, as `tcpdump -v` prints them. */
export function format(v: DataView, at: number, end: number): string {
  const names: string[] = [];
  for (let i = at; i >= 0 && i < end; ) {
    const type = v.getUint8(i);
    i = next(v, i, end);
    names.push(i < 0 ? '[bad opt]' : (NAMES[type] ?? `unknown ${type}`));
  }
  return names.join(',');
}
