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
import { Ring } from '../core/ring.ts';

export interface QueueOptions {
  /** The most packets that wait, 1 to 1,048,576. What comes when it is full is dropped. */
  readonly capacity: number;
}

const MAX_CAPACITY = 0x100000;

export class Queue extends Element {
  readonly #out = this.output('out');
  #capacity: number;
  #waiting: Ring;

  /** Throws a RangeError for a capacity that is none. */
  constructor(context: Context, name: string, options: QueueOptions) {
    const capacity = checkCapacity(options.capacity);
    super(context, name);
    this.#capacity = capacity;
    this.#waiting = ringFor(capacity);
  }

  /** Packets that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  override push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.#put(batch.packets[i]);
    batch.clear();
  }

  override exhale(): number {
    const n = Math.min(this.#waiting.length, BATCH);
    for (let i = 0; i < n; i++) this.#out.add(this.#waiting.get()!);
    this.#out.flush();
    return n;
  }

  /** Another capacity; where it is smaller, what came last and does not fit is dropped. */
  override configure(options: QueueOptions): boolean {
    const waiting = this.#waiting;
    this.#capacity = checkCapacity(options.capacity);
    this.#waiting = ringFor(this.#capacity);
    for (let p = waiting.get(); p !== null; p = waiting.get()) this.#put(p);
    return true;
  }

  override close(): void {
    for (let p = this.#waiting.get(); p !== null; p = this.#waiting.get()) this.drop(p, CLOSED);
    super.close();
  }

  #put(p: Packet): void {
    if (this.#waiting.length < this.#capacity) this.#waiting.put(p);
    else this.drop(p, QUEUE_FULL);
  }
}

/** A ring with room for `capacity` packets: rings have a power of two. */
function ringFor(capacity: number): Ring {
  return new Ring(2 ** Math.ceil(Math.log2(capacity)));
}

function checkCapacity(capacity: number): number {
  if (Number.isInteger(capacity) && capacity >= 1 && capacity <= MAX_CAPACITY) return capacity;
  throw new RangeError(`"capacity" expected an integer 1..${MAX_CAPACITY}, got ${capacity}`);
}
