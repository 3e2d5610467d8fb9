/**
 * Who owns which addresses: for each of a list of local ports its MAC and IP addresses, side by side in flat
 * arrays. A port has few addresses, so they are compared one after the other. It never changes; another list
 * makes another one.
 */
import type { Ip } from '../../codecs/ip.ts';
import { isGroup, type Mac } from '../../codecs/mac.ts';
import { Places } from './places.ts';

export interface Owner {
  /** A local place. */
  readonly place: number;
  /** Its MAC addresses, at least one; left out where they are not known. */
  readonly macs?: readonly Mac[];
  /** Its IP addresses, at least one; left out where they are not known. */
  readonly addresses?: readonly Ip[];
}

export class Owners {
  readonly #places: Places;
  /** Two words a MAC address. */
  readonly #macs: Int32Array;
  /** Four words an IP address, IPv4 mapped. */
  readonly #ips: Int32Array;
  /** Where the addresses of each owner start; the next one's start is their end. */
  readonly #firstMac: Int32Array;
  readonly #firstIp: Int32Array;

  /** Throws a RangeError for a place that is none or named twice, an empty list, and a group's MAC. */
  constructor(owners: readonly Owner[], field = 'ports') {
    for (const owner of owners) check(owner);
    this.#places = new Places(
      owners.map(({ place }) => place),
      field,
    );
    this.#macs = Int32Array.from(owners.flatMap(({ macs = [] }) => macs.flatMap(({ hi, lo }) => [hi, lo])));
    this.#ips = Int32Array.from(owners.flatMap(({ addresses = [] }) => addresses.flatMap((a) => a.words)));
    this.#firstMac = starts(owners.map(({ macs = [] }) => macs.length * 2));
    this.#firstIp = starts(owners.map(({ addresses = [] }) => addresses.length * 4));
  }

  /** The number of the owner at a place, or NONE. */
  lookup(place: number): number {
    return this.#places.lookup(place);
  }

  /** Whether the MAC addresses of an owner are known. */
  knowsMacs(owner: number): boolean {
    return this.#firstMac[owner + 1] > this.#firstMac[owner];
  }

  /** Whether the IP addresses of an owner are known. */
  knowsIps(owner: number): boolean {
    return this.#firstIp[owner + 1] > this.#firstIp[owner];
  }

  hasMac(owner: number, hi: number, lo: number): boolean {
    const macs = this.#macs;
    const end = this.#firstMac[owner + 1];
    for (let i = this.#firstMac[owner]; i < end; i += 2) {
      if (macs[i] === hi && macs[i + 1] === (lo | 0)) return true;
    }
    return false;
  }

  /** Four words; IPv4 is mapped. */
  hasIp(owner: number, a: number, b: number, c: number, d: number): boolean {
    const ips = this.#ips;
    const end = this.#firstIp[owner + 1];
    for (let i = this.#firstIp[owner]; i < end; i += 4) {
      // The last word differs most often.
      if (ips[i + 3] !== (d | 0) || ips[i + 2] !== (c | 0)) continue;
      if (ips[i + 1] === (b | 0) && ips[i] === (a | 0)) return true;
    }
    return false;
  }
}

/** Running sums, from 0 on. */
function starts(lengths: readonly number[]): Int32Array {
  const out = new Int32Array(lengths.length + 1);
  for (const [i, length] of lengths.entries()) out[i + 1] = out[i] + length;
  return out;
}

/** An empty list would read as "unknown", and a port be guarded less after its last address was taken. */
function check({ place, macs, addresses }: Owner): void {
  if (macs?.length === 0) throw new RangeError(`"macs" of place ${place} is empty: name one or leave it out`);
  if (addresses?.length === 0) {
    throw new RangeError(`"addresses" of place ${place} is empty: name one or leave it out`);
  }
  for (const { hi } of macs ?? []) {
    if (isGroup(hi)) throw new RangeError(`"macs" of place ${place} has the address of a group`);
  }
}
