/** Dropped packets in words, while somebody wants to read them: some a second, and how many more there were. */
import { Layers } from '../../codecs/layers.ts';
import type { Clock } from '../core/clock.ts';
import { DROPS, type Drop } from '../core/drop.ts';
import { isTrain, NONE, type Packet, segments } from '../core/packet.ts';
import { DATAGRAM, ETHERNET, type Medium, type Port } from '../io/port.ts';
import { describe, type Payload } from '../io/wrap/describe.ts';
import type { VtepTable } from '../tables/vtep.ts';
import { show } from './values.ts';

/** A packet that was dropped. */
export interface DropSeen {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Element or port that dropped it. */
  readonly where: string;
  /** Name and sentence of the reason. */
  readonly reason: string;
  readonly text: string;
  /** The frame in words. */
  readonly frame: string;
}

export interface DropTraceOptions {
  /** The most that are told in a second, 1..10,000. Default 100. */
  readonly limit?: number;
}

/** Takes what was dropped, and how many more there were that the limit left out. */
export type OnDrops = (drops: readonly DropSeen[], leftOut: number) => void;

export interface RunningTrace {
  /** Ends it, with what waits told. */
  stop(): Promise<void>;
}

const LIMIT = 100;
const MOST = 10_000;
const SECOND = 1000;
/** Milliseconds after which what was seen is told. */
const EVERY = 100;

/** Says what a packet is that was dropped somewhere. */
export type Describe = (p: Packet, where: string) => string;

export class DropTrace {
  readonly #clock: Clock;
  readonly #describe: Describe;
  readonly #onDrops: OnDrops;
  readonly #limit: number;
  #seen: DropSeen[] = [];
  #leftOut = 0;
  #told = Number.NEGATIVE_INFINITY;
  /** When the second began, and how many it has room for. */
  #since = Number.NEGATIVE_INFINITY;
  #left = 0;

  /** Throws a RangeError for a limit that is none. */
  constructor(clock: Clock, describe: Describe, onDrops: OnDrops, { limit = LIMIT }: DropTraceOptions = {}) {
    if (!Number.isInteger(limit) || limit < 1 || limit > MOST) {
      throw new RangeError(`"limit" expected an integer 1..${MOST}, got ${show(limit)}`);
    }
    this.#clock = clock;
    this.#describe = describe;
    this.#onDrops = onDrops;
    this.#limit = limit;
  }

  see(p: Packet, reason: Drop, where: string): void {
    const { now, origin } = this.#clock;
    if (now - this.#since >= SECOND) {
      this.#since = now;
      this.#left = this.#limit;
    }
    if (this.#left === 0) {
      this.#leftOut++;
      return;
    }
    this.#left--;
    const { name, text } = DROPS[reason];
    this.#seen.push({ at: origin + now, where, reason: name, text, frame: this.#describe(p, where) });
  }

  /** Tells what was seen, when it is time. */
  tick(now: number): void {
    if (now - this.#told < EVERY) return;
    this.#told = now;
    this.tell();
  }

  tell(): void {
    if (this.#seen.length === 0 && this.#leftOut === 0) return;
    const [seen, leftOut] = [this.#seen, this.#leftOut];
    this.#seen = [];
    this.#leftOut = 0;
    this.#onDrops(seen, leftOut);
  }
}

/** The ports to other hosts, and the tunnel endpoints of encrypted networks. */
export interface Outside {
  readonly underlay: Port;
  readonly esp: Port | null;
  readonly espPeers: VtepTable;
}

/** Elements whose packets begin as those of the underlay, of ESP, and of what ESP carries; all others have frames. */
const UNDERLAY = ['decap', 'coalesce'];
const ESP = ['esp-open', 'esp-control', 'esp-control-open', 'esp-keys'];
const OPENED = ['esp-seal', 'esp-decap', 'esp-coalesce'];

/** Says what packets of an overlay are. */
export function describer({ underlay, esp, espPeers }: Outside): Describe {
  const layers = new Layers();
  return (p, where) => {
    const train = isTrain(p) && p.gsoSize > 0;
    const end = train ? Math.min(p.start + p.gsoSize, p.end) : p.end;
    const say = (medium: Medium, peers?: VtepTable, payload?: Payload) =>
      describe(p, medium, peers, { layers }, payload, end);
    // Once an element knows the peer it has stepped over the outer headers.
    const behind = (port: Port | null) => (port === null || p.peer !== NONE ? DATAGRAM : port.medium);
    let text: string;
    if (where === 'underlay') text = say(underlay.medium, underlay.peers);
    else if (where === 'esp-underlay') text = say(esp?.medium ?? DATAGRAM, espPeers, 'esp');
    else if (UNDERLAY.includes(where)) text = say(behind(underlay), underlay.peers);
    else if (ESP.includes(where)) text = say(behind(esp), espPeers, 'esp');
    else if (OPENED.includes(where)) text = say(DATAGRAM, espPeers);
    else text = say(ETHERNET);
    return train ? `${text} (the first of ${segments(p)})` : text;
  };
}
