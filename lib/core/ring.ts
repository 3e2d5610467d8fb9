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

  /** Takes the oldest packet, or null. */
  get(): Packet | null {
    if (this.#length === 0) return null;
    const p = this.#items[this.#head];
    this.#items[this.#head] = null;
    this.#head = (this.#head + 1) & (this.capacity - 1);
    this.#length--;
    return p;
  }
}
