/**
 * Packets that wait, each for a number: a time or a turn. Packets that wait for the same number leave in the
 * order in which they came.
 *
 * A binary heap of seats, each of which holds a packet and its number. Only seats, small integers, move and
 * are handed from function to function: a number with a fraction would be allocated at every call.
 */
import type { Packet } from '../../core/packet.ts';

export class Waiting {
  /** What the next packet that is put waits for: handing it to `put` would allocate it. */
  readonly key = new Float64Array(1);
  /** In packets. */
  readonly capacity: number;
  readonly #packets: (Packet | null)[];
  readonly #keys: Float64Array;
  /** The order of arrival, which decides between equal keys. */
  readonly #serials: Float64Array;
  /** The first `length` are the heap, those behind it are free. */
  readonly #seats: Int32Array;
  #serial = 0;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#packets = new Array(capacity).fill(null);
    this.#keys = new Float64Array(capacity);
    this.#serials = new Float64Array(capacity);
    this.#seats = Int32Array.from({ length: capacity }, (_, i) => i);
  }

  get length(): number {
    return this.#length;
  }

  /** Adds a packet that waits for `key[0]`, and says whether there was room. */
  put(p: Packet): boolean {
    if (this.#length === this.capacity) return false;
    const seat = this.#seats[this.#length];
    this.#packets[seat] = p;
    this.#keys[seat] = this.key[0];
    this.#serials[seat] = this.#serial++;
    this.#rise(this.#length++, seat);
    return true;
  }

  /** Takes the packet with the lowest key, if that is at most `key`; null otherwise. */
  get(key: number): Packet | null {
    if (this.#length === 0 || this.#keys[this.#seats[0]] > key) return null;
    return this.#takeFirst();
  }

  #takeFirst(): Packet {
    const seat = this.#seats[0];
    const p = this.#packets[seat]!;
    this.#packets[seat] = null;
    const last = this.#seats[--this.#length];
    this.#seats[this.#length] = seat;
    if (this.#length > 0) this.#sink(last);
    return p;
  }

  /** Moves a seat from place `i` towards the top. */
  #rise(i: number, seat: number): void {
    const seats = this.#seats;
    for (; i > 0; i = (i - 1) >> 1) {
      const up = seats[(i - 1) >> 1];
      if (!this.#before(seat, up)) break;
      seats[i] = up;
    }
    seats[i] = seat;
  }

  /** Finds the place of a seat from the top on. */
  #sink(seat: number): void {
    const seats = this.#seats;
    let i = 0;
    for (let down = 1; down < this.#length; down = 2 * i + 1) {
      if (down + 1 < this.#length && this.#before(seats[down + 1], seats[down])) down++;
      if (!this.#before(seats[down], seat)) break;
      seats[i] = seats[down];
      i = down;
    }
    seats[i] = seat;
  }

  #before(a: number, b: number): boolean {
    const keys = this.#keys;
    return keys[a] < keys[b] || (keys[a] === keys[b] && this.#serials[a] < this.#serials[b]);
  }
}
