/**
 * Open addressing for tables whose keys strangers choose: slots of four words, found by a key of two.
 *
 *     word 0, 1   the key
 *     word 2      what the table notes; 0 marks a free slot
 *     word 3      what the table notes
 *
 * Four slots fill a cache line, so a probe touches one. Collisions are resolved by linear probing, and the
 * slot of what is deleted is filled by shifting the rest of its chain back, so that chains never grow with
 * time. Small tables are a quarter full at the most, large ones five eighths: a quarter is faster as long as
 * the table fits the processor's caches. The hash is keyed by a secret seed.
 */
import { Random } from '../core/random.ts';
import { keyed2 } from './hash.ts';

/** Words of a slot. */
export const WORDS = 4;
/** The word that is 0 in a free slot. */
export const NOTE = 2;

/** Slots up to which a table is a quarter full at the most: 4 MiB. */
const ROOMY = 0x40000;

export class Slots {
  /** All slots, one behind the other. A slot is named by the position of its first word. */
  readonly words: Int32Array;
  // A field without a first value is undefined at first, and V8 then asks at every use whether it is a number.
  /** There are `#parts << #shift` slots. Parts are 8 to 16, so the size is never far from what was asked for,
   * and a hash is brought into range with 32-bit arithmetic. */
  readonly #parts: number = 0;
  readonly #shift: number = 0;
  readonly #mask: number = 0;
  /** Keeps the places of keys secret. */
  readonly #key: number = 0;

  /** `capacity` is the most keys that its owner will put in. */
  constructor(capacity: number, seed: number) {
    const count = Math.max(Math.min(capacity * 4, ROOMY), capacity * 1.6, 16);
    this.#shift = Math.floor(Math.log2(count)) - 3;
    this.#parts = Math.ceil(count / 2 ** this.#shift);
    this.words = new Int32Array((this.#parts << this.#shift) * WORDS);
    this.#mask = (1 << this.#shift) - 1;
    this.#key = new Random(seed).int32() | 1;
  }

  /** The slot of a key (two words, signed), or the free slot where it would go. */
  find(a: number, b: number): number {
    const { words } = this;
    let i = this.#home(a, b);
    while ((words[i] !== a || words[i + 1] !== b) && words[i + NOTE] !== 0) i = this.next(i);
    return i;
  }

  /** The slot behind a slot, going round. */
  next(i: number): number {
    const next = i + WORDS;
    return next === this.words.length ? 0 : next;
  }

  /** Frees a slot and shifts back what lies behind it only because it was taken. Whoever walks the slots looks
   * at the same one again. */
  free(i: number): void {
    const { words } = this;
    let hole = i;
    for (let j = this.next(i); words[j + NOTE] !== 0; j = this.next(j)) {
      if (this.#distance(this.#home(words[j], words[j + 1]), j) < this.#distance(hole, j)) continue;
      for (let w = 0; w < WORDS; w++) words[hole + w] = words[j + w];
      hole = j;
    }
    words[hole + NOTE] = 0;
  }

  /** How many slots a look-up reads at the most: a measure of the hash. Walks all of them. */
  longestChain(): number {
    const { length } = this.words;
    let longest = 0;
    for (let i = 0, chain = 0; i < 2 * length; i += WORDS) {
      chain = this.words[(i % length) + NOTE] === 0 ? 0 : chain + 1;
      longest = Math.max(longest, chain);
    }
    return longest + 1;
  }

  /** The slot where the search for a key begins. */
  #home(a: number, b: number): number {
    const h = keyed2(a, b, this.#key);
    const part = ((h >>> 16) * this.#parts) >>> 16;
    return ((part << this.#shift) | (h & this.#mask)) * WORDS;
  }

  /** How far it is from one slot on to another, going round. */
  #distance(from: number, to: number): number {
    return to >= from ? to - from : to - from + this.words.length;
  }
}
