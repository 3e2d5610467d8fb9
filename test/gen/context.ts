/** A dataplane's context for tests: virtual clock, seeded random numbers, a pool that finds mistakes. */

import type { Batch } from '../../lib/core/batch.ts';
import { VirtualClock } from '../../lib/core/clock.ts';
import { createContext, portHost } from '../../lib/core/context.ts';
import { Counters } from '../../lib/core/counters.ts';
import type { Context, Sink } from '../../lib/core/element.ts';
import { silent } from '../../lib/core/log.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { DebugPool, JUMBO_SLOT, type PoolOptions, SLOT } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import type { PortHost } from '../../lib/io/port.ts';
import { seed } from './seed.ts';

export interface TestContext extends Context {
  readonly pool: DebugPool;
  readonly jumbo: DebugPool;
  readonly clock: VirtualClock;
}

const JUMBOS = 32;
/** Ports count by themselves: 10,000 of them with counters of 4 MiB each would be 40 GB. */
const UNUSED = new Counters(new SharedArrayBuffer(1 << 12));

/** Both pools lie in one memory, as in {@link createContext}. */
export function testContext({ count = 256, slot = SLOT }: PoolOptions = {}, jumbos = JUMBOS): TestContext {
  const at = count * slot;
  const memory = new ArrayBuffer(at + jumbos * JUMBO_SLOT);
  return {
    pool: new DebugPool({ count, slot, memory }),
    clock: new VirtualClock(),
    random: new Random(seed),
    counters: new Counters(new SharedArrayBuffer(1 << 20)),
    log: silent,
    jumbo: new DebugPool({ count: jumbos, slot: JUMBO_SLOT, memory, at }),
    poll: null,
    onDrop: null,
  };
}

/** What a port is opened with outside of a graph. */
export function testHost(parts: Partial<Context>, wake: () => void = () => {}): PortHost {
  return portHost(createContext({ clock: new VirtualClock(), counters: UNUSED, ...parts }), wake);
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
