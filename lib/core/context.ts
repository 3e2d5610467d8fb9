/** What the elements and ports of one dataplane share, and how it is made. */
import { type Clock, RealClock } from './clock.ts';
import { Counters } from './counters.ts';
import type { Drop } from './drop.ts';
import { type Log, silent } from './log.ts';
import type { Packet } from './packet.ts';
import { Pool } from './pool.ts';
import { Random } from './random.ts';

export interface Context {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  readonly log: Log;
  /** Sees every packet that is dropped, before it goes home: for traces. Must not keep it. */
  onDrop: ((p: Packet, reason: Drop, where: string) => void) | null;
}

/** A context from the parts that are given and defaults for the others: real time, seeded by the clock. */
export function createContext(parts: Partial<Context> = {}): Context {
  const clock = parts.clock ?? new RealClock();
  return {
    clock,
    pool: parts.pool ?? new Pool(),
    random: parts.random ?? new Random((clock.origin + clock.now) * 1000),
    counters: parts.counters ?? new Counters(),
    log: parts.log ?? silent,
    onDrop: parts.onDrop ?? null,
  };
}
