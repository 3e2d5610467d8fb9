/**
 * One direction of a port with faults: does to each packet what chance says, and keeps those that wait.
 *
 * Numbers with a fraction lie in arrays here, since one that is handed from function to function, or read from
 * an object, is allocated each time.
 */
import { BATCH, type Batch } from '../../core/batch.ts';
import { CLOSED, FAULT_INJECTED, PORT_FULL } from '../../core/drop.ts';
import type { Packet } from '../../core/packet.ts';
import { Random } from '../../core/random.ts';
import { Ring } from '../../core/ring.ts';
import type { PortStats } from '../port.ts';
import type { FaultCounts, FaultOptions } from './faults.ts';
import { Waiting } from './waiting.ts';

/** One more than the largest random number: 32 bits are drawn. */
const RANGE = 0x1_0000_0000;

// Places in a lane's numbers. Probabilities are numbers out of RANGE.
const DROP = 0;
const DUPLICATE = 1;
const CORRUPT = 2;
const REORDER = 3;
/** In ms. */
const MIN_DELAY = 4;
/** What is added for each of RANGE, in ms. */
const SPREAD = 5;

export class Lane {
  readonly #numbers: Float64Array;
  readonly #delays: boolean;
  readonly #depth: number;
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

  constructor(options: Required<FaultOptions>, seed: number, stats: PortStats, counts: FaultCounts) {
    const { drop, duplicate, corrupt, reorder, delay } = options;
    const chances = [drop, duplicate, corrupt, reorder.probability].map((chance) => chance * RANGE);
    this.#numbers = Float64Array.of(...chances, delay.min, (delay.max - delay.min) / RANGE);
    this.#delays = delay.max > 0;
    this.#depth = reorder.depth;
    this.#random = new Random(seed);
    this.#stats = stats;
    this.#counts = counts;
    this.#late = new Waiting(options.capacity);
    this.#overtaken = new Waiting(reorder.depth);
    // All that waits can become ready at once, and a batch with its duplicates beside it.
    const most = options.capacity + reorder.depth + 2 * BATCH;
    this.#ready = new Ring(2 ** Math.ceil(Math.log2(most)));
  }

  /** Packets that can go on. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Takes over all packets of a batch. Nothing may be ready but what `release` made so. */
  put(batch: Batch, now: number): void {
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      if (this.#chance(DROP)) {
        this.#counts.dropped++;
        this.#stats.drop(p, FAULT_INJECTED);
        continue;
      }
      const copy = this.#chance(DUPLICATE) ? p.pool.clone(p) : null;
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
    if (this.#chance(CORRUPT)) this.#flip(p);
    if (!this.#delays) {
      this.#pass(p);
      return;
    }
    const numbers = this.#numbers;
    this.#late.key[0] = now + numbers[MIN_DELAY] + numbers[SPREAD] * (this.#random.int32() >>> 0);
    if (this.#late.put(p)) this.#counts.delayed++;
    else this.#stats.drop(p, PORT_FULL);
  }

  #pass(p: Packet): void {
    if (this.#chance(REORDER)) {
      this.#overtaken.key[0] = this.#passed + 1 + this.#random.below(this.#depth);
      if (this.#overtaken.put(p)) {
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

  /** True with one of the probabilities. Those that are 0 take nothing from the sequence. */
  #chance(fault: number): boolean {
    const chance = this.#numbers[fault];
    return chance > 0 && this.#random.int32() >>> 0 < chance;
  }

  #flip(p: Packet): void {
    if (p.length === 0) return;
    const at = p.start + this.#random.below(p.length);
    p.bytes[at] ^= 1 << this.#random.below(8);
    this.#counts.corrupted++;
  }
}
