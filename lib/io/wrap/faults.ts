/**
 * Seeded faults on a port: packets are dropped, duplicated, corrupted, delayed and reordered by chance, and
 * equal seeds do the same to equal packets, each direction for itself.
 *
 * Each packet meets the faults in this order: drop, duplicate, then each copy for itself: corrupt, delay,
 * reorder. A packet that is reordered is held back until 1 to `depth` others have passed it, and goes on at
 * the second tick at the latest where nobody comes. Delays end at the first packet or tick after their time.
 *
 * The statistics are the wrapped port's. A packet dropped on purpose is counted there as `fault-injected`; one
 * that was received before is counted as received, too.
 */
import { Batch } from '../../core/batch.ts';
import type { Port, PortHost } from '../port.ts';
import { Lane } from './fault-lane.ts';
import { Wrapper } from './wrapper.ts';

/** How often `receive` asks the wrapped port on while every packet is dropped or held. */
const ROUNDS = 64;

export interface FaultOptions {
  /** Any integer. */
  seed: number;
  /** Probability that a packet is lost, 0..1 as all of them. Default 0, as for all of them. */
  drop?: number;
  /** Probability that a packet comes twice. */
  duplicate?: number;
  /** Probability that one bit of a packet is flipped. */
  corrupt?: number;
  /** Probability that a packet is overtaken, by 1 to `depth` others (1..1024). */
  reorder?: { probability: number; depth: number };
  /** How long each packet is held, evenly spread, in ms. */
  delay?: { min: number; max: number };
  /** Default `both`. */
  direction?: 'send' | 'receive' | 'both';
  /** Packets of each direction that may be delayed at a time; more are dropped as `port-full`. Default 1024. */
  capacity?: number;
}

/** What was done to packets so far, in both directions. */
export interface FaultCounts {
  dropped: number;
  duplicated: number;
  corrupted: number;
  delayed: number;
  reordered: number;
}

export class Faults extends Wrapper {
  readonly counts: FaultCounts = { dropped: 0, duplicated: 0, corrupted: 0, delayed: 0, reordered: 0 };
  readonly #sending: Lane | null = null;
  readonly #receiving: Lane | null = null;
  readonly #batch = new Batch();
  /** Null unless open. */
  #host: PortHost | null = null;
  /** Whether `receive` gave nothing although the wrapped port may have more. */
  #more = false;

  /** Throws a TypeError or RangeError for options that make no sense. */
  constructor(inner: Port, options: FaultOptions) {
    const o = checked(options);
    super(inner);
    const { direction, seed } = o;
    if (direction !== 'receive') this.#sending = new Lane(o, seed, inner.stats, this.counts);
    if (direction !== 'send') this.#receiving = new Lane(o, -1 - seed, inner.stats, this.counts);
  }

  override async open(host: PortHost): Promise<void> {
    await super.open(host);
    this.#host = host;
  }

  override send(batch: Batch): void {
    const lane = this.#sending;
    if (this.#host === null || lane === null) {
      super.send(batch);
      return;
    }
    const { now } = this.#host.clock;
    lane.release(now);
    lane.put(batch, now);
    this.#flush(lane);
  }

  override receive(batch: Batch): number {
    const lane = this.#receiving;
    if (this.#host === null || lane === null) return super.receive(batch);
    const { now } = this.#host.clock;
    lane.release(now);
    lane.drain(batch);
    this.#more = false;
    for (let i = 0; batch.length === 0 && !this.#more; i++) {
      if (super.receive(this.#batch) === 0) break;
      lane.put(this.#batch, now);
      lane.drain(batch);
      this.#more = batch.length === 0 && i === ROUNDS;
    }
    return batch.length;
  }

  override tick(now: number): void {
    if (this.#host !== null && this.#sending !== null) {
      this.#sending.tick(now);
      this.#flush(this.#sending);
    }
    if (this.#host !== null && this.#receiving !== null) {
      this.#receiving.tick(now);
      if (this.#more || this.#receiving.ready > 0) this.#host.wake();
    }
    super.tick(now);
  }

  /** Hands what is ready to the wrapped port. */
  #flush(lane: Lane): void {
    while (lane.drain(this.#batch) > 0) this.inner.send(this.#batch);
  }

  protected override release(): void {
    this.#host = null;
    this.#sending?.close();
    this.#receiving?.close();
  }
}

function checked(options: FaultOptions): Required<FaultOptions> {
  const { seed, direction = 'both', capacity = 1024 } = options;
  const { reorder = { probability: 0, depth: 1 }, delay = { min: 0, max: 0 } } = options;
  const { drop = 0, duplicate = 0, corrupt = 0 } = options;
  const chances = { drop, duplicate, corrupt, 'reorder.probability': reorder.probability };
  for (const [field, value] of Object.entries(chances)) {
    if (!(value >= 0 && value <= 1)) {
      throw new RangeError(`"${field}" expected a probability 0..1, got ${value}`);
    }
  }
  integer('seed', seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  integer('reorder.depth', reorder.depth, 1, 1024);
  integer('capacity', capacity, 1, 1 << 20);
  if (!(delay.min >= 0 && delay.max >= delay.min && delay.max < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`"delay" expected 0 <= min <= max in ms, got ${delay.min} and ${delay.max}`);
  }
  if (direction !== 'send' && direction !== 'receive' && direction !== 'both') {
    throw new TypeError(`"direction" expected send, receive or both, got ${direction}`);
  }
  return { seed, drop, duplicate, corrupt, reorder, delay, direction, capacity };
}

function integer(field: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`"${field}" expected an integer ${least}..${most}, got ${value}`);
}
