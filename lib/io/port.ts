/**
 * Ports join the dataplane to the world. Every port keeps the same contract, which one conformance suite
 * (test/lib/io/conformance.ts) checks on all of them:
 *
 * - `open` fails with a PortError that says in one sentence what is missing and how to get it.
 * - `receive` never blocks. It fills an empty batch with packets that the caller then owns.
 * - `send` owns what it is given: it sends or drops every packet, counts which, and leaves the batch empty.
 *   A frame longer than `mtu`, or a super-frame that the port did not declare, is dropped and counted.
 * - After `close` nothing is received, what is sent is dropped as `closed`, and no packet is kept.
 * - A DATAGRAM port receives from the endpoints in `peers` alone: `packet.peer` says from which.
 * - A port calls `wake` when `receive` has something to give after it last had nothing.
 */
import type { Batch } from '../core/batch.ts';
import type { Clock } from '../core/clock.ts';
import type { Context } from '../core/context.ts';
import type { Counters } from '../core/counters.ts';
import * as drops from '../core/drop.ts';
import type { Log } from '../core/log.ts';
import { GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NONE, type Packet } from '../core/packet.ts';
import type { Poll } from '../core/poll.ts';
import type { Pool } from '../core/pool.ts';
import type { VtepTable } from '../tables/vtep.ts';

/** What a port's frames start with. */
export type Medium = typeof ETHERNET | typeof IP | typeof DATAGRAM;
/** A MAC header. */
export const ETHERNET = 1;
/** An IPv4 or IPv6 header. */
export const IP = 2;
/** A UDP payload; the port writes and hides the outer headers and speaks of endpoints as `packet.peer`. */
export const DATAGRAM = 3;

// What a port takes and gives (bits of `offloads`).

/** Frames whose transport checksum is still to be completed (`csumStart`). */
export const CHECKSUM = 0x01;
/** TCP over IPv4 super-frames. */
export const TSO4 = 0x02;
/** TCP over IPv6 super-frames. */
export const TSO6 = 0x04;
/** UDP super-frames. */
export const USO = 0x08;
/** Trains of equal datagrams to one peer. */
export const TRAIN = 0x10;
/** Super-frames whose segments lie apart (`gap`). */
export const GAPS = 0x20;

/** What a port gets when it is opened. */
export interface PortHost {
  /** Where it takes packets to receive into. */
  readonly pool: Pool;
  /** Where it takes packets for what is larger than those of `pool`; they go home by `p.pool`. */
  readonly jumbo: Pool;
  readonly clock: Clock;
  readonly log: Log;
  /** Tells that there is something to receive. Cheap; may be called more often than needed. */
  wake(): void;
  /** What watches file descriptors; `make` makes it for the first port that asks. */
  poll(make: () => Poll): Poll;
}

export interface Port {
  readonly name: string;
  readonly medium: Medium;
  /** Largest frame in bytes: the MAC header included on ETHERNET, FCS never; the UDP payload on DATAGRAM. */
  readonly mtu: number;
  readonly offloads: number;
  readonly stats: PortStats;
  /** The endpoints that `packet.peer` counts, on DATAGRAM ports. */
  readonly peers?: VtepTable;
  /** Whether the last `receive` left nothing behind, on ports that the poll wakes: the engine then waits for that,
   * where it would otherwise ask once more. */
  readonly drained?: boolean;
  /** Called when the port failed while running. The port has then closed itself; it can be opened again. */
  onError: ((error: PortError) => void) | null;
  open(host: PortHost): Promise<void>;
  /** Fills the empty batch and returns its length. */
  receive(batch: Batch): number;
  send(batch: Batch): void;
  /** Does what is due; called by the engine about every 10 ms. */
  tick?(now: number): void;
  close(): Promise<void>;
}

/** Stable codes of {@link PortError}. */
export type PortErrorCode =
  | 'ADDRESS_IN_USE'
  | 'NO_SUCH_ADDRESS'
  | 'NO_SUCH_DEVICE'
  | 'NO_SUCH_FILE'
  | 'BAD_FILE'
  | 'PERMISSION'
  | 'NOT_INSTALLED'
  | 'NOT_SUPPORTED'
  | 'STATE'
  | 'IO';

/** What a port could not do, and what to do about it. */
export class PortError extends Error {
  override readonly name = 'PortError';
  readonly code: PortErrorCode;

  constructor(code: PortErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Reasons for which ports themselves drop. */
const PORT_DROPS: readonly drops.Drop[] = [
  drops.POOL_DRY,
  drops.MALFORMED,
  drops.TOO_BIG,
  drops.CLOSED,
  drops.UNKNOWN_PEER,
  drops.PORT_FULL,
  drops.PORT_ERROR,
  drops.FAULT_INJECTED,
  drops.NOT_FOR_US,
];
const PLACE = new Int8Array(drops.DROPS.length).fill(-1);
PORT_DROPS.forEach((reason, i) => {
  PLACE[reason] = i;
});

const RX_PACKETS = 0;
const RX_BYTES = 1;
const TX_PACKETS = 2;
const TX_BYTES = 3;
const FIRST_DROP = 4;
const NAMES = [
  'rx.packets',
  'rx.bytes',
  'tx.packets',
  'tx.bytes',
  ...PORT_DROPS.map((reason) => `drop.${drops.DROPS[reason].name}`),
];

/**
 * What a port has carried and dropped. The numbers start in memory of their own and move to the dataplane's
 * shared counters when the port is attached to an engine.
 */
export class PortStats {
  #values: Float64Array = new Float64Array(NAMES.length);
  #at = 0;
  /** Who sees what is dropped, and what it is told about where. */
  #drops: Pick<Context, 'onDrop'> | null = null;
  #owner = '';

  /** Packets received from the world and handed to the dataplane. */
  get rxPackets(): number {
    return this.#values[this.#at + RX_PACKETS];
  }

  get rxBytes(): number {
    return this.#values[this.#at + RX_BYTES];
  }

  /** Packets handed to the world. */
  get txPackets(): number {
    return this.#values[this.#at + TX_PACKETS];
  }

  get txBytes(): number {
    return this.#values[this.#at + TX_BYTES];
  }

  /** Packets dropped in either direction, for all reasons. */
  get dropped(): number {
    let n = 0;
    for (let i = 0; i < PORT_DROPS.length; i++) n += this.#values[this.#at + FIRST_DROP + i];
    return n;
  }

  /** Packets dropped for one reason. */
  droppedFor(reason: drops.Drop): number {
    return PLACE[reason] < 0 ? 0 : this.#values[this.#at + FIRST_DROP + PLACE[reason]];
  }

  received(bytes: number, packets = 1): void {
    this.#values[this.#at + RX_PACKETS] += packets;
    this.#values[this.#at + RX_BYTES] += bytes;
  }

  sent(bytes: number, packets = 1): void {
    this.#values[this.#at + TX_PACKETS] += packets;
    this.#values[this.#at + TX_BYTES] += bytes;
  }

  /** Counts a loss for which no packet existed. The reason must be one that ports have. */
  lost(reason: drops.Drop, n = 1): void {
    this.#values[this.#at + FIRST_DROP + PLACE[reason]] += n;
  }

  /** Drops a packet: counts it and gives it back. The reason must be one that ports have. */
  drop(p: Packet, reason: drops.Drop): void {
    this.#values[this.#at + FIRST_DROP + PLACE[reason]]++;
    if (this.#drops !== null && this.#drops.onDrop !== null) this.#drops.onDrop(p, reason, this.#owner);
    p.pool.give(p);
  }

  /** Moves the numbers into shared counters under a name, and shows what is dropped to who wants to see it. */
  attach(counters: Counters, owner: string, context: Pick<Context, 'onDrop'> | null = null): void {
    this.#drops = context;
    this.#owner = owner;
    const at = counters.allocate(owner, NAMES);
    this.#moveTo(counters.values, at);
  }

  /** Moves the numbers back into memory of their own. */
  detach(counters: Counters, owner: string): void {
    const at = this.#at;
    this.#drops = null;
    this.#moveTo(new Float64Array(NAMES.length), 0);
    counters.release(owner, at);
  }

  #moveTo(values: Float64Array, at: number): void {
    for (let i = 0; i < NAMES.length; i++) values[at + i] = this.#values[this.#at + i];
    this.#values = values;
    this.#at = at;
  }
}

/** Drops everything in a batch for one reason: what a closed port does with what it is sent. */
export function dropAll(batch: Batch, stats: PortStats, reason: drops.Drop): void {
  for (let i = 0; i < batch.length; i++) stats.drop(batch.packets[i], reason);
  batch.clear();
}

/**
 * Whether a port can send a packet as it is: no longer than its `mtu`, its checksums complete, and not a
 * super-frame, except for what it declares in `offloads`. The `mtu` bounds each segment of a super-frame.
 */
export function takes(port: Pick<Port, 'mtu' | 'offloads'>, p: Packet): boolean {
  if (p.gsoType !== GSO_NONE) {
    const wanted = p.hdrLen === 0 ? TRAIN : offloadOf(p.gsoType);
    if ((port.offloads & wanted) === 0 || (p.gap > 0 && (port.offloads & GAPS) === 0)) return false;
    return p.hdrLen + p.gsoSize <= port.mtu;
  }
  return p.length <= port.mtu && (p.csumStart === NONE || (port.offloads & CHECKSUM) !== 0);
}

/** The bit of `offloads` that must be declared for a kind of super-frame. */
function offloadOf(gsoType: number): number {
  switch (gsoType & ~GSO_ECN) {
    case GSO_TCPV4:
      return TSO4;
    case GSO_TCPV6:
      return TSO6;
    case GSO_UDP_L4:
      return USO;
    default:
      return 0;
  }
}
