/**
 * Numbers for keys of five words: the columns of a table are arrays that these numbers index. It is the
 * machinery of tables that control fills and packets read: few changes, small numbers that stay with their
 * key until it is removed and are then given again.
 */
import { NONE } from '../core/packet.ts';
import { mix } from './hash.ts';

/** Words of a key. */
const KEY = 5;

export class Rows {
  /** The most keys at once. */
  readonly capacity: number;
  /** Keys that have a number. */
  size = 0;
  readonly #keys: Int32Array;
  /** Number + 1 by hash of the key; 0 is free. Linear probing, never more than half full. */
  readonly #index: Int32Array;
  readonly #seed: number = 0;
  /** Numbers that were given back, the last of them `#freed - 1`. */
  readonly #free: Int32Array;
  #freed = 0;

  /** Throws a RangeError for a capacity that is none. `seed` makes the places of keys hard to guess. */
  constructor(capacity: number, seed = 0) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 0x1000000) {
      throw new RangeError(`"capacity" expected an integer 1..16777216, got ${capacity}`);
    }
    this.capacity = capacity;
    this.#seed = seed | 0;
    this.#keys = new Int32Array(capacity * KEY);
    this.#index = new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
    this.#free = new Int32Array(capacity);
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#keys.byteLength + this.#index.byteLength + this.#free.byteLength;
  }

  /** The number of a key, or NONE. Words may be signed or not. */
  find(a: number, b: number, c: number, d: number, e: number): number {
    return this.#index[this.#slot(a | 0, b | 0, c | 0, d | 0, e | 0)] - 1;
  }

  /** The number of a key, a new one where it has none, or NONE where all are taken. */
  add(a: number, b: number, c: number, d: number, e: number): number {
    const slot = this.#slot(a | 0, b | 0, c | 0, d | 0, e | 0);
    if (this.#index[slot] !== 0) return this.#index[slot] - 1;
    if (this.size === this.capacity) return NONE;
    // Numbers were given in order, so where none was given back, as many are taken as there are keys.
    const row = this.#freed > 0 ? this.#free[--this.#freed] : this.size;
    this.size++;
    const keys = this.#keys;
    const at = row * KEY;
    keys[at] = a;
    keys[at + 1] = b;
    keys[at + 2] = c;
    keys[at + 3] = d;
    keys[at + 4] = e;
    this.#index[slot] = row + 1;
    return row;
  }

  /** Takes a number back. It must be one that a key has. */
  remove(row: number): void {
    const index = this.#index;
    const mask = index.length - 1;
    const k = this.#keys;
    const at = row * KEY;
    let hole = this.#slot(k[at], k[at + 1], k[at + 2], k[at + 3], k[at + 4]);
    // What lies behind it only because it was taken is shifted back.
    for (let i = (hole + 1) & mask; index[i] !== 0; i = (i + 1) & mask) {
      const home = this.#hash((index[i] - 1) * KEY) & mask;
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      index[hole] = index[i];
      hole = i;
    }
    index[hole] = 0;
    this.#free[this.#freed++] = row;
    this.size--;
  }

  /** One word of a number's key, 0 to 4, unsigned. */
  word(row: number, i: number): number {
    return this.#keys[row * KEY + i] >>> 0;
  }

  /** All numbers that keys have, in no order. The table must not change meanwhile. */
  *all(): Generator<number> {
    for (const entry of this.#index) if (entry !== 0) yield entry - 1;
  }

  /** The slot of a key in the index, or the free slot where it would go. */
  #slot(a: number, b: number, c: number, d: number, e: number): number {
    const index = this.#index;
    const keys = this.#keys;
    const mask = index.length - 1;
    let i = hash(a, b, c, d, e, this.#seed) & mask;
    while (index[i] !== 0) {
      const at = (index[i] - 1) * KEY;
      // The last word first: it differs most often.
      if (keys[at + 4] === e && keys[at + 3] === d && keys[at] === a) {
        if (keys[at + 2] === c && keys[at + 1] === b) return i;
      }
      i = (i + 1) & mask;
    }
    return i;
  }

  #hash(at: number): number {
    const k = this.#keys;
    return hash(k[at], k[at + 1], k[at + 2], k[at + 3], k[at + 4], this.#seed);
  }
}

function hash(a: number, b: number, c: number, d: number, e: number, seed: number): number {
  let h = Math.imul(a ^ seed, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15) ^ b, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 15) ^ c, 0xc2b2ae3d);
  h = Math.imul(h ^ (h >>> 15) ^ d, 0x27d4eb2f);
  return mix(h ^ (h >>> 15) ^ e);
}
