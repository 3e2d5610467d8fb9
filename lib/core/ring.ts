/** A bounded first-in, first-out list of packets. */
import type { Packet } from './packet.ts';

export class Ring {
  /** In packets. */
  readonly capacity: number;
  /** Grows as it is used for the first time, so that a large capacity costs nothing in advance. */
  readonly #items: (Packet | null)[] = [];
  #head = 0;
  #length = 0;

  /** `capacity` in packets, a power of two. Throws a RangeError for anything else. */
  constructor(capacity: number) {
    if (!(capacity >= 1) || !Number.isInteger(Math.log2(capacity))) {
      throw new RangeError(`"capacity" expected a power of two, got ${capacity}`);
    }
    this.capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  /** Appends a packet and says whether there was room. */
  put(p: Packet): boolean {
    if (this.#length === this.capacity) return false;
    this.#items[(this.#head + this.#length++) & (this.capacity - 1)] = p;
    return true;
  }

  /** Appends the packets `from..to` of a list as far as there is room, and says how many that were. */
  putAll(packets: readonly Packet[], from: number, to: number): number {
    const items = this.#items;
    const mask = this.capacity - 1;
    const n = Math.min(to - from, this.capacity - this.#length);
    const tail = this.#head + this.#length;
    for (let i = 0; i < n; i++) items[(tail + i) & mask] = packets[from + i];
    this.#length += n;
    return n;
  }

  /** Takes the oldest packet, or null. */
  get(): Packet | null {
    if (this.#length === 0) return null;
    const p = this.#items[this.#head];
    this.#items[this.#head] = null;
    this.#advance(1);
    return p;
  }

  /** Moves the oldest packets, `most` of them if there are as many, to `at` in a list, and says how many. */
  getAll(into: Packet[], at: number, most: number): number {
    const items = this.#items;
    const mask = this.capacity - 1;
    const n = Math.min(most, this.#length);
    for (let i = 0; i < n; i++) {
      const slot = (this.#head + i) & mask;
      into[at + i] = items[slot]!;
      items[slot] = null;
    }
    this.#advance(n);
    return n;
  }

  /** A list that was emptied starts anew at the front, so that one that never holds much stays in the cache. */
  #advance(n: number): void {
    this.#length -= n;
    this.#head = this.#length === 0 ? 0 : (this.#head + n) & (this.capacity - 1);
  }
}
