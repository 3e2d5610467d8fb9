/**
 * Elements: behaviour between ports. An element takes every packet of a batch that is pushed into it,
 * handles each (changes it, passes it on, keeps it, or drops it with a reason) and leaves the batch empty.
 *
 * An element is made with a context and a name, and its outputs are connected afterwards, by the graph or by
 * hand:
 *
 *     const a = new Meter(context, 'meter', { packetsPerSecond: 1000 });
 *     a.connect('out', b);
 */
import { BATCH, Batch } from './batch.ts';
import type { Context } from './context.ts';
import { DROPS, type Drop, NOT_CONNECTED } from './drop.ts';
import type { Packet } from './packet.ts';

export type { Context };

/** Whatever a batch can be pushed into. */
export interface Sink {
  /** Takes every packet and leaves the batch empty. */
  push(batch: Batch): void;
}

const DROP_NAMES = DROPS.map(({ name }) => `drop.${name}`);

export abstract class Element implements Sink {
  readonly name: string;
  protected readonly context: Context;
  readonly #outputs = new Map<string, Output>();
  readonly #values: Float64Array;
  // Numbers from the start, so that V8 need not ask whether they are.
  readonly #base: number = 0;
  readonly #drops: number = 0;

  /** `counters` names what the subclass counts with {@link count}, in the order of their numbers. */
  constructor(context: Context, name: string, counters: readonly string[] = []) {
    this.context = context;
    this.name = name;
    this.#values = context.counters.values;
    this.#base = context.counters.allocate(name, [...counters, ...DROP_NAMES]);
    this.#drops = this.#base + counters.length;
  }

  abstract push(batch: Batch): void;

  /** Does what is due; called by the engine about every 10 ms with `clock.now`. */
  tick?(now: number): void;

  /** Emits what it has queued, at most one batch, and says how many packets that was. */
  exhale?(): number;

  /** Takes changed options over without being replaced, and says whether it could. */
  configure?(options: unknown): boolean;

  /** Joins an output to what comes next; null cuts it. Throws a RangeError where it has no such output. */
  connect(output: string, next: Sink | null): void {
    const known = this.#outputs.get(output);
    if (known === undefined && next === null) return;
    const out = known ?? this.addOutput(output);
    if (out === null) {
      const names = [...this.#outputs.keys()].join(', ') || 'none';
      throw new RangeError(`"${this.name}" has no output "${output}"; it has: ${names}`);
    }
    out.next = next ?? this.#nowhere;
  }

  /** Drops what it holds and frees its counters. */
  close(): void {
    for (const out of this.#outputs.values()) this.#nowhere.push(out.batch);
    this.context.counters.release(this.name, this.#base);
  }

  /** Declares an output. Called by constructors. */
  protected output(name: string): Output {
    const out = new Output(this.#nowhere);
    this.#outputs.set(name, out);
    return out;
  }

  /** Makes an output that is asked for by name only now; elements with numbered outputs override it. */
  protected addOutput(_name: string): Output | null {
    return null;
  }

  /** Takes away an output that `addOutput` made. */
  protected removeOutput(name: string): void {
    this.#outputs.delete(name);
  }

  /** Adds `n` to one of the counters that the constructor was given, by its number. */
  protected count(counter: number, n = 1): void {
    this.#values[this.#base + counter] += n;
  }

  /** Drops a packet: counts it under its reason and gives it back. */
  drop(p: Packet, reason: Drop): void {
    this.#values[this.#drops + reason]++;
    if (this.context.onDrop !== null) this.context.onDrop(p, reason, this.name);
    p.pool.give(p);
  }

  /** Counts a loss for which no packet exists: a copy that could not be made. */
  protected lost(reason: Drop, n = 1): void {
    this.#values[this.#drops + reason] += n;
  }

  /** How many packets were dropped for a reason. */
  dropped(reason: Drop): number {
    return this.#values[this.#drops + reason];
  }

  readonly #nowhere: Sink = {
    push: (batch) => {
      for (let i = 0; i < batch.length; i++) this.drop(batch.packets[i], NOT_CONNECTED);
      batch.clear();
    },
  };
}

/** One way out of an element: gathers packets into a batch and pushes it on when it is full or flushed. */
export class Output {
  next: Sink;
  readonly batch = new Batch();

  constructor(next: Sink) {
    this.next = next;
  }

  add(p: Packet): void {
    if (this.batch.length === BATCH) this.next.push(this.batch);
    this.batch.packets[this.batch.length++] = p;
  }

  flush(): void {
    if (this.batch.length > 0) this.next.push(this.batch);
  }
}
