/** Address arithmetic of either family, for configuration: an address is a whole number, a subnet two. */
import * as ip from 'packetweave/codecs/ip';
import { ControlError } from './errors.ts';

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export interface Cidr {
  readonly family: Family;
  /** First address. */
  readonly base: bigint;
  /** Bits of the prefix. */
  readonly length: number;
}

const BITS = { 4: 32, 6: 128 } as const;
const WORD = 0xffff_ffffn;

/** Reads an address; null for what is none. */
export function parseAddress(text: string): Address | null {
  try {
    const { family, words } = ip.parse(text);
    if (family === 4) return { family, value: BigInt(words[3]) };
    return { family, value: words.reduce((value, word) => (value << 32n) | BigInt(word >>> 0), 0n) };
  } catch {
    return null;
  }
}

/** In the canonical form of its family. */
export function formatAddress({ family, value }: Address): string {
  const word = (i: bigint) => Number((value >> (32n * i)) & WORD);
  return family === 4 ? ip.format4(word(0n)) : ip.format6(word(3n), word(2n), word(1n), word(0n));
}

/** Reads `address/length`, host bits or not: `base` has none. Null for what is none. */
export function parseCidr(text: string): (Cidr & { readonly address: bigint }) | null {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const address = match && parseAddress(match[1]!);
  if (!address) return null;
  const length = Number(match[2]);
  if (length > BITS[address.family]) return null;
  const host = BigInt(BITS[address.family] - length);
  const base = (address.value >> host) << host;
  return { family: address.family, base, length, address: address.value };
}

export function formatCidr({ family, base, length }: Cidr): string {
  return `${formatAddress({ family, value: base })}/${length}`;
}

/** A subnet that was checked when it was written down. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === null) throw new ControlError('CORRUPT', `"${text}" is no subnet`);
  return parsed;
}

/** Its last address. */
export function last({ family, base, length }: Cidr): bigint {
  return base + (1n << BigInt(BITS[family] - length)) - 1n;
}

export function contains(outer: Cidr, { family, value }: Address): boolean {
  return family === outer.family && value >= outer.base && value <= last(outer);
}

export function within(outer: Cidr, inner: Cidr): boolean {
  return inner.length >= outer.length && contains(outer, { family: inner.family, value: inner.base });
}

export function overlap(a: Cidr, b: Cidr): boolean {
  return within(a, b) || within(b, a);
}

/** Whether hosts can have this address of a subnet: not the network itself (in IPv6 the anycast address of its routers,
 * RFC 4291 section 2.6.1), nor IPv4's broadcast. */
export function usable(subnet: Cidr, value: bigint): boolean {
  return value !== subnet.base && (subnet.family === 6 || value !== last(subnet));
}

/** First and last address that are given from a subnet, or from a range of it. */
export function bounds(subnet: Cidr, range: Cidr | null): { readonly first: bigint; readonly last: bigint } {
  const from = range ?? subnet;
  const end = last(from);
  return {
    first: usable(subnet, from.base) ? from.base : from.base + 1n,
    last: usable(subnet, end) ? end : end - 1n,
  };
}
