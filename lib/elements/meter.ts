/**
 * A meter: how many frames a second a local port may have flooded to everybody else. A token bucket a port
 * counts frames to broadcast and multicast addresses and to addresses that the forwarding table does not
 * know; frames to known addresses pass uncounted, and so does everything from ports that are not metered and
 * from remote endpoints.
 *
 * A super-frame costs what its segments would. It passes while there is a token left and may leave a debt, so
 * that a bucket smaller than one super-frame slows such frames and does not stop them.
 *
 * Output: `out`.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import { isGroup } from '../../codecs/mac.ts';
import type { Batch } from '../core/batch.ts';
import { MALFORMED, RATE_LIMITED } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { NONE, type Packet, segments } from '../core/packet.ts';
import type { Fdb } from '../tables/fdb.ts';
import { Places } from '../tables/places.ts';

export interface MeterOptions {
  /** The network's number in the forwarding table. */
  readonly domain: number;
  readonly fdb: Fdb;
  readonly ports: readonly MeteredPort[];
}

export interface MeteredPort {
  readonly place: number;
  /** Sustained rate, 0 or more. */
  readonly packetsPerSecond: number;
  /** The most frames at once, 1 or more. Default: those of one second, at least 1. */
  readonly burst?: number;
}

export class Meter extends Element {
  readonly #out = this.output('out');
  #domain = 0;
  #fdb: Fdb;
  #places = new Places([]);
  /** Tokens a millisecond, by index of the place. */
  #rate = new Float64Array(0);
  #burst = new Float64Array(0);
  #tokens = new Float64Array(0);
  /** When the tokens were counted, in ms. */
  #counted = new Float64Array(0);

  /** Throws a RangeError for ports or rates that are none. */
  constructor(context: Context, name: string, options: MeterOptions) {
    for (const port of options.ports) checkPort(port);
    const places = placesOf(options);
    super(context, name);
    this.#fdb = options.fdb;
    this.#use(options, places);
  }

  /** Takes over other ports and rates. A port that stays keeps the tokens that it has. */
  override configure(options: MeterOptions): boolean {
    for (const port of options.ports) checkPort(port);
    this.#use(options, placesOf(options));
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const index = this.#places.lookup(p.port);
      if (index !== NONE) {
        if (ethernet.check(p.view, p.start, p.end) !== OK) {
          this.drop(p, MALFORMED);
          continue;
        }
        if (this.#floods(p) && !this.#spend(index, p)) {
          this.drop(p, RATE_LIMITED);
          continue;
        }
      }
      packets[n++] = p;
    }
    batch.length = n;
    if (n > 0) this.#out.next.push(batch);
  }

  #floods(p: Packet): boolean {
    const hi = ethernet.dstHi(p.view, p.start);
    return isGroup(hi) || this.#fdb.lookup(this.#domain, hi, ethernet.dstLo(p.view, p.start) | 0) === NONE;
  }

  #spend(index: number, p: Packet): boolean {
    const { now } = this.context.clock;
    const gained = (now - this.#counted[index]) * this.#rate[index];
    const tokens = Math.min(this.#tokens[index] + gained, this.#burst[index]);
    const enough = tokens >= 1;
    this.#tokens[index] = enough ? tokens - segments(p) : tokens;
    this.#counted[index] = now;
    return enough;
  }

  #use(options: MeterOptions, places: Places): void {
    const { ports } = options;
    const { now } = this.context.clock;
    const rate = Float64Array.from(ports, ({ packetsPerSecond }) => packetsPerSecond / 1000);
    const burst = Float64Array.from(ports, burstOf);
    const tokens = burst.slice();
    const counted = new Float64Array(ports.length).fill(now);
    for (const [i, { place }] of ports.entries()) {
      const before = this.#places.lookup(place);
      if (before === NONE) continue;
      tokens[i] = this.#tokens[before] + (now - this.#counted[before]) * this.#rate[before];
    }
    this.#domain = options.domain;
    this.#fdb = options.fdb;
    this.#places = places;
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = tokens;
    this.#counted = counted;
  }
}

function burstOf(port: MeteredPort): number {
  return port.burst ?? Math.max(1, port.packetsPerSecond);
}

function placesOf({ ports }: MeterOptions): Places {
  return new Places(
    ports.map(({ place }) => place),
    'ports',
  );
}

function checkPort({ packetsPerSecond, burst }: MeteredPort): void {
  if (!Number.isFinite(packetsPerSecond) || packetsPerSecond < 0) {
    throw new RangeError(`"packetsPerSecond" expected a number of at least 0, got ${packetsPerSecond}`);
  }
  if (burst !== undefined && !(Number.isFinite(burst) && burst >= 1)) {
    throw new RangeError(`"burst" expected a number of at least 1, got ${burst}`);
  }
}
