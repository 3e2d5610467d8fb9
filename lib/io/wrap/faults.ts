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
import { BATCH, Batch } from '../../core/batch.ts';
import { CLOSED, FAULT_INJECTED, PORT_FULL } from '../../core/drop.ts';
import type { Packet } from '../../core/packet.ts';
import { Random } from '../../core/random.ts';
import { Ring } from '../../core/ring.ts';
import type { Port, PortHost, PortStats } from '../port.ts';
import { Waiting } from './waiting.ts';
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
    super(inner);
    const o = checked(options);
    const { direction } = o;
    if (direction !== 'receive') this.#sending = new Lane(o, o.seed, inner.stats, this.counts);
    if (direction !== 'send') this.#receiving = new Lane(o, ~o.seed, inner.stats, this.counts);
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

type Checked = Required<FaultOptions>;

/** One direction: does to each packet what chance says, and keeps those that wait. */
class Lane {
  readonly #options: Checked;
  readonly #random: Random;
  readonly #stats: PortStats;
  readonly #counts: FaultCounts;
  /** By the time at which they go on. */
  readonly #late: Waiting;
  /** By the number of packets that have passed when they go on. */
  readonly #overtaken: Waiting;
  readonly #ready: Ring;
  #passed = 0;
  /** How many had passed at the last tick. */
  #ticked = 0;

  constructor(options: Checked, seed: number, stats: PortStats, counts: FaultCounts) {
    this.#options = options;
    this.#random = new Random(seed);
    this.#stats = stats;
    this.#counts = counts;
    this.#late = new Waiting(options.capacity);
    this.#overtaken = new Waiting(options.reorder.depth);
    // All that waits can become ready at once, and a batch with its duplicates beside it.
    const most = options.capacity + options.reorder.depth + 2 * BATCH;
    this.#ready = new Ring(2 ** Math.ceil(Math.log2(most)));
  }

  /** Packets that can go on. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Takes over all packets of a batch. Nothing may be ready but what `release` made so. */
  put(batch: Batch, now: number): void {
    const { drop, duplicate } = this.#options;
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      if (this.#random.chance(drop)) {
        this.#counts.dropped++;
        this.#stats.drop(p, FAULT_INJECTED);
        continue;
      }
      const copy = this.#random.chance(duplicate) ? p.pool.clone(p) : null;
      this.#go(p, now);
      if (copy === null) continue;
      this.#counts.duplicated++;
      this.#go(copy, now);
    }
    batch.clear();
  }

  /** Fills a batch with what is ready and returns its length. */
  drain(batch: Batch): number {
    while (batch.length < BATCH) {
      const p = this.#ready.get();
      if (p === null) break;
      batch.add(p);
    }
    return batch.length;
  }

  /** Makes ready what was delayed until now. */
  release(now: number): void {
    for (let p = this.#late.get(now); p !== null; p = this.#late.get(now)) this.#pass(p);
  }

  tick(now: number): void {
    this.release(now);
    if (this.#passed === this.#ticked) this.#let(Number.POSITIVE_INFINITY);
    this.#ticked = this.#passed;
  }

  /** Drops all that waits. */
  close(): void {
    const all = Number.POSITIVE_INFINITY;
    for (let p = this.#late.get(all); p !== null; p = this.#late.get(all)) this.#stats.drop(p, CLOSED);
    this.#let(all);
    for (let p = this.#ready.get(); p !== null; p = this.#ready.get()) this.#stats.drop(p, CLOSED);
  }

  #go(p: Packet, now: number): void {
    const { corrupt, delay } = this.#options;
    if (this.#random.chance(corrupt)) this.#flip(p);
    if (delay.max === 0) {
      this.#pass(p);
      return;
    }
    const due = now + delay.min + this.#random.float() * (delay.max - delay.min);
    if (this.#late.put(p, due)) this.#counts.delayed++;
    else this.#stats.drop(p, PORT_FULL);
  }

  #pass(p: Packet): void {
    const { probability, depth } = this.#options.reorder;
    if (this.#random.chance(probability)) {
      if (this.#overtaken.put(p, this.#passed + 1 + this.#random.below(depth))) {
        this.#counts.reordered++;
        return;
      }
    }
    this.#ready.put(p);
    this.#passed++;
    this.#let(this.#passed);
  }

  /** Lets go what was to be overtaken until this many packets had passed. */
  #let(passed: number): void {
    for (let p = this.#overtaken.get(passed); p !== null; p = this.#overtaken.get(passed)) this.#ready.put(p);
  }

  #flip(p: Packet): void {
    if (p.length === 0) return;
    const at = p.start + this.#random.below(p.length);
    p.bytes[at] ^= 1 << this.#random.below(8);
    this.#counts.corrupted++;
  }
}

function checked(options: FaultOptions): Checked {
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
