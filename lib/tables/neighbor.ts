/**
 * Neighbors: (domain, IP address) to MAC address, as control knows them. What ARP (RFC 826) and neighbor
 * discovery (RFC 4861) would find out by asking is answered from here. Nothing is learned from packets.
 *
 * Packets find the number of an entry and read its columns by that number.
 */
import type { Ip } from '../../codecs/ip.ts';
import { format, MAPPED } from '../../codecs/ip.ts';
import { NONE } from '../core/packet.ts';
import { Rows } from './rows.ts';

export interface NeighborOptions {
  /** The most entries, 1..16,777,216. Default 4096. */
  readonly capacity?: number;
  /** What the hash starts from. Default 0. */
  readonly seed?: number;
}

/** What is known of a neighbor: its MAC address, as `codecs/mac.ts` has it, and more. */
export interface Neighbor {
  readonly hi: number;
  readonly lo: number;
  /** Whether it is a router (the R flag of a neighbor advertisement, RFC 4861 section 4.4). Default false. */
  readonly router?: boolean;
}

/** One entry, for people. */
export interface NeighborEntry extends Required<Neighbor> {
  readonly domain: number;
  readonly address: Ip;
}

export class NeighborTable {
  readonly #rows: Rows;
  readonly #hi: Uint16Array;
  readonly #lo: Uint32Array;
  readonly #router: Uint8Array;

  /** Throws a RangeError for a capacity that is none. Nothing is allocated afterwards. */
  constructor({ capacity = 4096, seed = 0 }: NeighborOptions = {}) {
    this.#rows = new Rows(capacity, seed);
    this.#hi = new Uint16Array(capacity);
    this.#lo = new Uint32Array(capacity);
    this.#router = new Uint8Array(capacity);
  }

  get capacity(): number {
    return this.#rows.capacity;
  }

  /** Entries. */
  get size(): number {
    return this.#rows.size;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#rows.bytes + this.#hi.byteLength + this.#lo.byteLength + this.#router.byteLength;
  }

  /** The number of an IPv4 address, or NONE. It means something until the next change of the table. */
  lookup4(domain: number, address: number): number {
    return this.#rows.find(domain, 0, 0, MAPPED, address);
  }

  /** The number of an IPv6 address given as four words, or NONE. */
  lookup6(domain: number, a: number, b: number, c: number, d: number): number {
    return this.#rows.find(domain, a, b, c, d);
  }

  /** First 16 bits of the MAC address. */
  macHi(i: number): number {
    return this.#hi[i];
  }

  /** Last 32 bits of the MAC address, unsigned. */
  macLo(i: number): number {
    return this.#lo[i];
  }

  isRouter(i: number): boolean {
    return this.#router[i] === 1;
  }

  /** Says where an address is, in place of what was known. Throws a RangeError for a domain out of range
   * (0..65535) and where the table is full. */
  set(domain: number, address: Ip, { hi, lo, router = false }: Neighbor): void {
    if (!Number.isInteger(domain) || domain < 0 || domain > 0xffff) {
      throw new RangeError(`"domain" expected an integer 0..65535, got ${domain}`);
    }
    const i = this.#rows.add(domain, ...address.words);
    if (i === NONE) {
      throw new RangeError(`no room for the neighbor ${format(address)}: ${this.capacity} are known`);
    }
    this.#hi[i] = hi;
    this.#lo[i] = lo;
    this.#router[i] = router ? 1 : 0;
  }

  /** Forgets an address and says whether it was known. */
  remove(domain: number, address: Ip): boolean {
    const i = this.#rows.find(domain, ...address.words);
    if (i === NONE) return false;
    this.#rows.remove(i);
    return true;
  }

  /** The entries of one domain or all, in no order. The table must not change meanwhile. */
  *entries(domain?: number): Generator<NeighborEntry> {
    for (const i of this.#rows.all()) {
      const own = this.#rows.word(i, 0);
      if (domain !== undefined && own !== domain) continue;
      const mac = { hi: this.#hi[i], lo: this.#lo[i], router: this.#router[i] === 1 };
      yield { domain: own, address: this.#address(i), ...mac };
    }
  }

  #address(i: number): Ip {
    const word = (n: number) => this.#rows.word(i, n);
    const words: Ip['words'] = [word(1), word(2), word(3), word(4)];
    const mapped = words[0] === 0 && words[1] === 0 && words[2] === MAPPED;
    return { family: mapped ? 4 : 6, words };
  }
}
