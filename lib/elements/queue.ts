/**
 * A queue: where packets wait is an element of its own, with a bound that somebody chose. What is pushed in
 * leaves first in, first out, one batch a breath of the engine.
 *
 * Output: `out`.
 */
import { BATCH, type Batch } from '../core/batch.ts';
import { CLOSED, QUEUE_FULL } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import type { Packet } from '../core/packet.ts';

export interface QueueOptions {
  /** The most packets that wait, 1 to 1,048,576. What comes when it is full is dropped. */
  readonly capacity: number;
}

const MAX_CAPACITY = 0x100000;

export class Queue extends Element {
  readonly #out = this.output('out');
  /** A ring: it grows to its capacity as it is filled for the first time. */
  #items: Packet[] = [];
  #capacity: number;
  #head = 0;
  #length = 0;

  /** Throws a RangeError for a capacity that is none. */
  constructor(context: Context, name: string, options: QueueOptions) {
    const capacity = checkCapacity(options.capacity);
    super(context, name);
    this.#capacity = capacity;
  }

  /** Packets that wait. */
  get length(): number {
    return this.#length;
  }

  override push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.#put(batch.packets[i]);
    batch.clear();
  }

  override exhale(): number {
    const n = Math.min(this.#length, BATCH);
    for (let i = 0; i < n; i++) this.#out.add(this.#get());
    this.#out.flush();
    return n;
  }

  /** Another capacity; where it is smaller, what came last and does not fit is dropped. */
  override configure(options: QueueOptions): boolean {
    const capacity = checkCapacity(options.capacity);
    const items: Packet[] = [];
    while (this.#length > 0) items.push(this.#get());
    this.#items = [];
    this.#capacity = capacity;
    this.#head = 0;
    for (const p of items) this.#put(p);
    return true;
  }

  override close(): void {
    while (this.#length > 0) this.drop(this.#get(), CLOSED);
    super.close();
  }

  #put(p: Packet): void {
    if (this.#length === this.#capacity) {
      this.drop(p, QUEUE_FULL);
      return;
    }
    const at = this.#head + this.#length++;
    this.#items[at < this.#capacity ? at : at - this.#capacity] = p;
  }

  #get(): Packet {
    const p = this.#items[this.#head++];
    if (this.#head === this.#capacity) this.#head = 0;
    this.#length--;
    return p;
  }
}

function checkCapacity(capacity: number): number {
  if (Number.isInteger(capacity) && capacity >= 1 && capacity <= MAX_CAPACITY) return capacity;
  throw new RangeError(`"capacity" expected an integer 1..${MAX_CAPACITY}, got ${capacity}`);
}
