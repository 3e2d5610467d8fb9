/** What the elements and ports of one dataplane share, and how it is made. */
import { packetMemory } from '../../codecs/checksum.ts';
import type { PortHost } from '../io/port.ts';
import { type Clock, RealClock } from './clock.ts';
import { Counters } from './counters.ts';
import type { Drop } from './drop.ts';
import { type Log, silent } from './log.ts';
import type { Packet } from './packet.ts';
import type { Poll } from './poll.ts';
import { atLeast, JUMBO_SLOT, Pool, SLOT } from './pool.ts';
import { Random } from './random.ts';

export interface Context {
  readonly pool: Pool;
  /** Packets for super-frames. */
  readonly jumbo: Pool;
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  readonly log: Log;
  /** What watches file descriptors, once a port needs it. */
  poll: Poll | null;
  /** Sees every packet that is dropped, before it goes home: for traces. Must not keep it. */
  onDrop: ((p: Packet, reason: Drop, where: string) => void) | null;
}

/** Packets, and super-frames, that can be under way at once by default: 8 and 16 MiB, of which pages that nobody
 * touches cost nothing. */
const PACKETS = 4096;
const JUMBOS = 256;

/** A context from the parts that are given and defaults for the others: real time, seeded by the clock. */
export function createContext(parts: Partial<Context> = {}): Context {
  const clock = parts.clock ?? new RealClock();
  const { pool, jumbo } = given(parts);
  return {
    clock,
    pool,
    jumbo,
    random: parts.random ?? new Random((clock.origin + clock.now) * 1000),
    counters: parts.counters ?? new Counters(),
    log: parts.log ?? silent,
    poll: parts.poll ?? null,
    onDrop: parts.onDrop ?? null,
  };
}

function given({ pool, jumbo }: Partial<Context>): Pick<Context, 'pool' | 'jumbo'> {
  if (pool === undefined && jumbo === undefined) return makePools();
  return {
    pool: pool ?? new Pool({ count: PACKETS }),
    jumbo: jumbo ?? new Pool({ count: JUMBOS, slot: JUMBO_SLOT }),
  };
}

/** Both pools in one memory: copying from one to the other is fastest then. Throws a RangeError for a count that is
 * none. */
export function makePools(packets = PACKETS, jumbos = JUMBOS): Pick<Context, 'pool' | 'jumbo'> {
  const at = atLeast('packets', packets, 1) * SLOT;
  const memory = packetMemory(at + atLeast('jumbos', jumbos, 1) * JUMBO_SLOT);
  return {
    pool: new Pool({ count: packets, memory }),
    jumbo: new Pool({ count: jumbos, slot: JUMBO_SLOT, memory, at }),
  };
}

/** What a port is opened with. `onPoll` is called where it asks for the poll. */
export function portHost(
  context: Context,
  wake: () => void = () => {},
  onPoll: () => void = () => {},
): PortHost {
  const { pool, jumbo, clock, log } = context;
  const poll = (make: () => Poll): Poll => {
    onPoll();
    context.poll ??= make();
    return context.poll;
  };
  return { pool, jumbo, clock, log, wake, poll };
}
