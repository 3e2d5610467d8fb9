/**
 * Tunnel endpoints (VTEPs): small numbers for underlay addresses.
 *
 * Packets carry a peer's number, never its address; the number is an index into the columns here. Endpoints
 * are few and change seldom, so the address is found through a plain open-addressed index of four words.
 */
import { format, type Ip } from '../../codecs/ip.ts';
import { NONE } from '../core/packet.ts';
import { mix4 } from './hash.ts';

export interface Vtep {
  /** Underlay address. */
  readonly address: Ip;
  /** UDP port that it listens on. */
  readonly port: number;
  /** MAC address on the way to it, where the underlay is Ethernet. */
  readonly mac?: { readonly hi: number; readonly lo: number };
}

export class VtepTable {
  /** The most endpoints that can be held at once. */
  readonly capacity: number;
  /** Grows with every change, so that what was derived from the table can be cached. */
  version = 0;
  readonly #rows: (Vtep | undefined)[];
  /** Four words of address for each number. */
  readonly #words: Int32Array;
  /** Number + 1 by hash of the address; 0 is free. Linear probing, never more than half full. */
  readonly #index: Int32Array;
  readonly #free: number[] = [];
  #next = 0;

  constructor(capacity = 4096) {
    this.capacity = capacity;
    this.#rows = [];
    this.#words = new Int32Array(capacity * 4);
    this.#index = new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
  }

  /** The endpoint of a number, or undefined. */
  get(peer: number): Vtep | undefined {
    return this.#rows[peer];
  }

  /** All endpoints with their numbers. */
  *entries(): Generator<[number, Vtep]> {
    for (let i = 0; i < this.#next; i++) {
      const row = this.#rows[i];
      if (row !== undefined) yield [i, row];
    }
  }

  /** The number of an address given as four words (IPv4 mapped), or NONE. */
  lookup(a: number, b: number, c: number, d: number): number {
    const mask = this.#index.length - 1;
    for (let i = mix4(a, b, c, d) & mask; ; i = (i + 1) & mask) {
      const peer = this.#index[i] - 1;
      if (peer < 0) return NONE;
      const at = peer * 4;
      const w = this.#words;
      if (w[at] === (a | 0) && w[at + 1] === (b | 0) && w[at + 2] === (c | 0) && w[at + 3] === (d | 0)) {
        return peer;
      }
    }
  }

  /** Adds an endpoint, or changes the port and MAC of one, and returns its number. Throws a RangeError when
   * full. */
  set(vtep: Vtep): number {
    const { words } = vtep.address;
    this.version++;
    const known = this.lookup(...words);
    if (known !== NONE) {
      this.#rows[known] = vtep;
      return known;
    }
    const peer = this.#free.pop() ?? this.#next;
    if (peer === this.capacity) {
      throw new RangeError(
        `no room for the tunnel endpoint ${format(vtep.address)}: ${this.capacity} are known`,
      );
    }
    if (peer === this.#next) this.#next++;
    this.#rows[peer] = vtep;
    this.#words.set(words, peer * 4);
    this.#insert(peer);
    return peer;
  }

  /** Forgets an endpoint. Its number is used again. */
  remove(peer: number): void {
    if (this.#rows[peer] === undefined) return;
    this.version++;
    this.#rows[peer] = undefined;
    this.#free.push(peer);
    this.#index.fill(0);
    for (const [other] of this.entries()) this.#insert(other);
  }

  #insert(peer: number): void {
    const mask = this.#index.length - 1;
    const w = this.#words.subarray(peer * 4, peer * 4 + 4);
    let i = mix4(w[0], w[1], w[2], w[3]) & mask;
    while (this.#index[i] !== 0) i = (i + 1) & mask;
    this.#index[i] = peer + 1;
  }
}
