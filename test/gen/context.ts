/** A dataplane's context for tests: virtual clock, seeded random numbers, a pool that finds mistakes. */

import type { Batch } from '../../lib/core/batch.ts';
import { VirtualClock } from '../../lib/core/clock.ts';
import { Counters } from '../../lib/core/counters.ts';
import type { Context, Sink } from '../../lib/core/element.ts';
import { silent } from '../../lib/core/log.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { DebugPool, type PoolOptions } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from './seed.ts';

export interface TestContext extends Context {
  readonly pool: DebugPool;
  readonly clock: VirtualClock;
}

export function testContext(pool: PoolOptions = { count: 256 }): TestContext {
  return {
    pool: new DebugPool(pool),
    clock: new VirtualClock(),
    random: new Random(seed),
    counters: new Counters(new SharedArrayBuffer(1 << 20)),
    log: silent,
    onDrop: null,
  };
}

/** Keeps what is pushed into it. */
export class Collector implements Sink {
  readonly packets: Packet[] = [];

  push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.packets.push(batch.packets[i]);
    batch.clear();
  }

  /** The frames in hexadecimal. */
  frames(): string[] {
    return this.packets.map((p) => Buffer.from(p.frame()).toString('hex'));
  }

  /** Gives everything back. */
  release(): void {
    for (const p of this.packets.splice(0)) p.pool.give(p);
  }
}
