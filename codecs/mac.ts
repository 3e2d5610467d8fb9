/**
 * MAC addresses travel as two numbers: `hi`, the first 16 bits, and `lo`, the other 32 (unsigned).
 * Neither allocates, and both fit typed arrays.
 */

/** A MAC address for people and configuration. */
export interface Mac {
  /** First 16 bits. */
  readonly hi: number;
  /** Last 32 bits, unsigned. */
  readonly lo: number;
}

export const BROADCAST: Mac = { hi: 0xffff, lo: 0xffffffff };

/** Whether the address names a group (multicast or broadcast): the I/G bit, first bit on the wire. */
export function isGroup(hi: number): boolean {
  return (hi & 0x0100) !== 0;
}

export function isBroadcast(hi: number, lo: number): boolean {
  return hi === 0xffff && (lo | 0) === -1;
}

/** Whether the address is one of 01:80:C2:00:00:00 to :0F, which a bridge never forwards (IEEE 802.1D 7.12.6). */
export function isReserved(hi: number, lo: number): boolean {
  return hi === 0x0180 && (lo & 0xfffffff0) === (0xc2000000 | 0);
}

/** `02:42:0a:00:00:02`. */
export function format(hi: number, lo: number): string {
  const digits = (hi * 0x1_0000_0000 + (lo >>> 0)).toString(16).padStart(12, '0');
  return digits.replace(/..(?=.)/g, '$&:');
}

/** Reads `02:42:0a:00:00:02` (or with `-`). Throws a TypeError for anything else. */
export function parse(text: string): Mac {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) {
    throw new TypeError(`expected a MAC address such as "02:42:0a:00:00:02", got "${text}"`);
  }
  const digits = text.replace(/[:-]/g, '');
  return { hi: Number.parseInt(digits.slice(0, 4), 16), lo: Number.parseInt(digits.slice(4), 16) };
}
