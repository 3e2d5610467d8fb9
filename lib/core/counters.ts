/**
 * Counters lie side by side in one SharedArrayBuffer as 64-bit floats, so another thread reads them without
 * asking and counting is one addition. Integers are exact up to 2^53.
 *
 * A block is a run of counters that belong to one owner: an element, a port. Names are kept beside the
 * memory; `directory()` tells another thread which index means what.
 */

import { DROPS } from './drop.ts';

/** How many counters there is room for by default: 4 MiB of memory, which is 10,000 ports and as many elements
 * as an overlay has. Pages that are never touched cost nothing. */
const ROOM = 524288;

export class Counters {
  /** The counters themselves: `values[index]++`. */
  readonly values: Float64Array;
  /** An owner has one block, and two while it is replaced by one of another kind. The last is the one to read. */
  readonly #blocks = new Map<string, Block[]>();
  readonly #free = new Map<number, number[]>();
  #next = 0;
  #version = 0;

  /** `memory` holds the counters; another thread gives it to a Float64Array of its own. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(ROOM * 8)) {
    this.values = new Float64Array(memory);
  }

  /**
   * Makes a block with one counter a name, all zero, and returns the index of the first. An owner that has
   * one of the same names already goes on with it, so that counting continues where an element is replaced.
   * Throws a RangeError where the memory is used up.
   */
  allocate(owner: string, names: readonly string[]): number {
    const own = this.#blocks.get(owner) ?? [];
    const block = own.find((block) => block.names.join() === names.join());
    if (block !== undefined) {
      block.owners++;
      return block.at;
    }
    this.#version++;
    const at = this.#free.get(names.length)?.pop() ?? this.#extend(owner, names.length);
    this.values.fill(0, at, at + names.length);
    this.#blocks.set(owner, [...own, { at, names, owners: 1 }]);
    return at;
  }

  /** Forgets the block that `allocate` put at an index, once for each time it did; its place is used again. */
  release(owner: string, at: number): void {
    const own = this.#blocks.get(owner) ?? [];
    const block = own.find((block) => block.at === at);
    if (block === undefined || --block.owners > 0) return;
    this.#version++;
    const rest = own.filter((other) => other !== block);
    if (rest.length > 0) this.#blocks.set(owner, rest);
    else this.#blocks.delete(owner);
    const places = this.#free.get(block.names.length) ?? [];
    places.push(block.at);
    this.#free.set(block.names.length, places);
  }

  #extend(owner: string, count: number): number {
    const at = this.#next;
    if (at + count > this.values.length) {
      throw new RangeError(`no room for the counters of "${owner}": give Counters a larger memory`);
    }
    this.#next += count;
    return at;
  }

  /** The value of one counter, 0 where there is none of that name. */
  get(owner: string, name: string): number {
    const block = this.#blocks.get(owner)?.at(-1);
    const i = block?.names.indexOf(name) ?? -1;
    return block === undefined || i < 0 ? 0 : this.values[block.at + i];
  }

  /** All counters of an owner that are not zero. */
  read(owner: string): Record<string, number> {
    const block = this.#blocks.get(owner)?.at(-1);
    const out: Record<string, number> = {};
    block?.names.forEach((name, i) => {
      const value = this.values[block.at + i];
      if (value !== 0) out[name] = value;
    });
    return out;
  }

  /** Everybody's counters that are not zero. */
  snapshot(): Record<string, Record<string, number>> {
    const out: Record<string, Record<string, number>> = {};
    for (const owner of this.#blocks.keys()) {
      const block = this.read(owner);
      if (Object.keys(block).length > 0) out[owner] = block;
    }
    return out;
  }

  /** How many packets died, by reason, everywhere. */
  drops(): Record<string, number> {
    const out: Record<string, number> = {};
    const blocks = Object.values(this.snapshot());
    for (const { name } of DROPS) {
      const n = blocks.reduce((sum, block) => sum + (block[`drop.${name}`] ?? 0), 0);
      if (n > 0) out[name] = n;
    }
    return out;
  }

  /** Changes whenever blocks come or go. */
  get version(): number {
    return this.#version;
  }

  /** The block that each owner is read from. */
  *blocks(): Generator<CounterBlock> {
    for (const [owner, own] of this.#blocks) yield { owner, at: own.at(-1)!.at, names: own.at(-1)!.names };
  }

  /** Makes the owners' blocks, in memory that is another thread's, what they are there. */
  mirror(blocks: Iterable<CounterBlock>, gone: Iterable<string>): void {
    for (const owner of gone) this.#blocks.delete(owner);
    for (const { owner, at, names } of blocks) this.#blocks.set(owner, [{ at, names, owners: 1 }]);
  }

  /** Which index means what. */
  directory(): { owner: string; name: string; index: number }[] {
    return [...this.#blocks.keys()].flatMap((owner) => {
      const { at, names } = this.#blocks.get(owner)!.at(-1)!;
      return names.map((name, i) => ({ owner, name, index: at + i }));
    });
  }
}

/** A run of counters. */
export interface CounterBlock {
  readonly owner: string;
  /** Index of the first. */
  readonly at: number;
  readonly names: readonly string[];
}

interface Block {
  readonly at: number;
  readonly names: readonly string[];
  /** How often it was allocated and not released. */
  owners: number;
}
