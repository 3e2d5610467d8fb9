/**
 * Packets that wait, each for a number: a time or a turn. A binary heap in arrays that are made once; packets
 * that wait for the same number leave in the order in which they came.
 */
import type { Packet } from '../../core/packet.ts';

export class Waiting {
  /** In packets. */
  readonly capacity: number;
  readonly #packets: (Packet | null)[];
  readonly #keys: Float64Array;
  /** The order of arrival, which decides between equal keys. */
  readonly #serials: Float64Array;
  #serial = 0;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#packets = new Array(capacity).fill(null);
    this.#keys = new Float64Array(capacity);
    this.#serials = new Float64Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** Adds a packet that waits for `key`, and says whether there was room. */
  put(p: Packet, key: number): boolean {
    if (this.#length === this.capacity) return false;
    let i = this.#length++;
    for (let up = (i - 1) >> 1; i > 0 && key < this.#keys[up]; up = (i - 1) >> 1) {
      this.#move(up, i);
      i = up;
    }
    this.#set(i, p, key, this.#serial++);
    return true;
  }

  /** Takes the packet with the lowest key, if that is at most `key`; null otherwise. */
  get(key: number): Packet | null {
    if (this.#length === 0 || this.#keys[0] > key) return null;
    const first = this.#packets[0];
    const last = --this.#length;
    this.#sink(this.#packets[last]!, this.#keys[last], this.#serials[last]);
    this.#packets[last] = null;
    return first;
  }

  /** Whether a packet waits for `key` or less. */
  has(key: number): boolean {
    return this.#length > 0 && this.#keys[0] <= key;
  }

  /** Finds the place of a packet from the top on. */
  #sink(p: Packet, key: number, serial: number): void {
    let i = 0;
    for (let down = 1; down < this.#length; down = 2 * i + 1) {
      if (down + 1 < this.#length && this.#before(down + 1, this.#keys[down], this.#serials[down])) down++;
      if (!this.#before(down, key, serial)) break;
      this.#move(down, i);
      i = down;
    }
    this.#set(i, p, key, serial);
  }

  #before(i: number, key: number, serial: number): boolean {
    return this.#keys[i] < key || (this.#keys[i] === key && this.#serials[i] < serial);
  }

  #move(from: number, to: number): void {
    this.#set(to, this.#packets[from]!, this.#keys[from], this.#serials[from]);
  }

  #set(i: number, p: Packet, key: number, serial: number): void {
    this.#packets[i] = p;
    this.#keys[i] = key;
    this.#serials[i] = serial;
  }
}
