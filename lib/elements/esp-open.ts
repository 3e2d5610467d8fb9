/**
 * Opens what comes from tunnel endpoints in ESP (RFC 4303): behind the port that carries ESP, in front of a
 * decapsulator for DATAGRAM. The other half of {@link EspSeal}.
 *
 * Only what a peer sealed with its key, once, is handed on: the security association is looked up by the
 * peer's address and the SPI, so that nobody can speak for another. Every refusal is counted by its reason,
 * and told to the log at most once a second and kind (the auditable events of RFC 4303 section 4).
 *
 * Of what shares the port with ESP in UDP (RFC 3948), keepalives are swallowed, and packets behind the
 * non-ESP marker leave by `control`, marker taken off.
 */
import * as espHeader from '../../codecs/esp.ts';
import { format } from '../../codecs/ip.ts';
import * as udp from '../../codecs/udp.ts';
import * as esp from '../../crypto/esp.ts';
import * as result from '../../crypto/result.ts';
import type { Sad } from '../../crypto/sad.ts';
import type { Batch } from '../core/batch.ts';
import type { Context } from '../core/context.ts';
import * as drops from '../core/drop.ts';
import { Element } from '../core/element.ts';
import { Seldom } from '../core/log.ts';
import { isTrain, NONE, type Packet, segments } from '../core/packet.ts';
import { DATAGRAM, type Medium } from '../io/port.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { Carrier } from './esp-seal.ts';
import { OuterReader } from './outer-read.ts';
import { type LocalEndpoint, PASS } from './outer-write.ts';
import { copyPiece } from './pieces.ts';
import * as transport from './transport-udp.ts';

export interface EspOpenOptions {
  readonly sad: Sad;
  readonly vteps: VtepTable;
  /** What the underlay port gives. */
  readonly medium: Medium;
  /** This end, with the port that ESP listens on. */
  readonly local: LocalEndpoint;
  /** Default udp. */
  readonly carrier?: Carrier;
  /** UDP port of VXLAN inside ESP: nothing else is accepted (RFC 4301 section 5.2). Default 4789. */
  readonly vxlanPort?: number;
}

const COUNTERS = ['opened', 'keepalives', 'dummies', 'control'];
const OPENED = 0;
const KEEPALIVES = 1;
const DUMMIES = 2;
const CONTROL = 3;

/** Why a packet goes no further although nothing is wrong with it. */
const SWALLOW = -2;
/** It is to leave by `control`. */
const ASIDE = -3;

/** Drop reasons by result of opening. */
const REASONS: readonly drops.Drop[] = result.RESULTS.map((_, i) => {
  if (i === result.REPLAYED) return drops.REPLAYED;
  if (i === result.TOO_OLD) return drops.TOO_OLD;
  if (i === result.BAD_ICV) return drops.BAD_ICV;
  if (i === result.BAD_TRAILER) return drops.BAD_TRAILER;
  return i === result.NO_KEY ? drops.UNKNOWN_SPI : drops.MALFORMED;
});

export class EspOpen extends Element {
  readonly #out = this.output('out');
  readonly #control = this.output('control');
  readonly #sad: Sad;
  readonly #vteps: VtepTable;
  readonly #outer: OuterReader | null;
  readonly #udp: boolean;
  readonly #vxlanPort: number;
  readonly #sums: transport.AddressSums;
  readonly #audit = new Seldom(drops.DROPS.length);
  /** What lay in the datagram that was opened last. */
  #inner = 0;
  #innerEnd = 0;
  readonly #run = new Run();

  /** Throws a RangeError or TypeError that names the option. */
  constructor(context: Context, name: string, options: EspOpenOptions) {
    const { sad, vteps, local, carrier, vxlanPort = 4789 } = options;
    const outer = outerOf(options);
    super(context, name, COUNTERS);
    this.#sad = sad;
    this.#vteps = vteps;
    this.#outer = outer;
    this.#udp = carrier !== 'ip';
    this.#vxlanPort = vxlanPort;
    this.#sums = new transport.AddressSums(vteps, local.address);
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const wrong = this.#outer === null ? PASS : this.#outer.read(p);
      if (wrong !== PASS) this.#refuse(p, wrong);
      else if (p.peer === NONE) this.#refuse(p, drops.UNKNOWN_PEER);
      else if (isTrain(p)) this.#takeApart(p);
      else this.#take(p);
    }
    batch.clear();
    this.#control.flush();
    this.#out.flush();
  }

  #take(p: Packet): void {
    const outcome = this.#open(p, p.start, p.end);
    if (outcome === PASS) {
      p.start = this.#inner;
      p.end = this.#innerEnd;
      this.count(OPENED);
      this.#out.add(p);
    } else if (outcome === SWALLOW) p.pool.give(p);
    else if (outcome === ASIDE) this.#handAside(p);
    else this.#refuse(p, outcome);
  }

  /**
   * Opens each datagram of a train in its place. What comes out is a train again, with gaps where the ESP headers and
   * trailers were; only where something is amiss among them the others become packets of their own.
   */
  #takeApart(p: Packet): void {
    const n = segments(p);
    const step = p.gsoSize + p.gap;
    const run = this.#run;
    run.begin();
    let whole = true;
    for (let i = 0, at = p.start; i < n; i++, at += step) {
      const end = Math.min(at + p.gsoSize, p.end);
      const outcome = this.#open(p, at, end);
      if (outcome === PASS) whole = run.add(this.#inner, this.#innerEnd) && whole;
      else {
        whole = false;
        this.#lose(p, at, end, outcome);
      }
    }
    this.count(OPENED, run.count);
    if (!whole) {
      for (let i = 0; i < run.count; i++) this.#copyOut(p, run.from(i), run.to(i));
      p.pool.give(p);
      return;
    }
    p.start = run.from(0);
    p.end = run.to(n - 1);
    p.gsoSize = run.to(0) - run.from(0);
    p.gap = step - p.gsoSize;
    this.#out.add(p);
  }

  #copyOut(p: Packet, at: number, end: number): void {
    const piece = copyPiece(this.context, p, at, end);
    if (piece === null) this.lost(drops.POOL_DRY);
    else this.#out.add(piece);
  }

  /** A datagram of a train that goes no further with it. */
  #lose(p: Packet, at: number, end: number, outcome: number): void {
    if (outcome === SWALLOW) return;
    const piece = copyPiece(this.context, p, at, end);
    if (piece === null) this.lost(outcome === ASIDE ? drops.POOL_DRY : outcome);
    else if (outcome === ASIDE) this.#handAside(piece);
    else this.#refuse(piece, outcome);
  }

  /** A packet that is behind the non-ESP marker. */
  #handAside(p: Packet): void {
    p.start += espHeader.NON_ESP_MARKER;
    this.count(CONTROL);
    this.#control.add(p);
  }

  /** Opens the datagram `at..end` in its place: PASS with what it holds in `#inner` and `#innerEnd`, or why not. */
  #open(p: Packet, at: number, end: number): number {
    const { bytes, view: v } = p;
    if (this.#udp) {
      const other = this.#beside(p, at, end);
      if (other !== PASS) return other;
    }
    if (espHeader.check(v, at, end) !== 0) return drops.MALFORMED;
    const sa = this.#sad.lookup(p.peer, espHeader.spi(v, at));
    if (sa === null) return drops.UNKNOWN_SPI;
    const opened = esp.open(sa, bytes, v, at, end);
    if (opened === result.DUMMY) {
      this.count(DUMMIES);
      return SWALLOW;
    }
    if (opened !== result.OK) return REASONS[opened];
    const next = esp.nextHeader(sa, bytes, end);
    return next === udp.PROTOCOL
      ? this.#strip(p, at + esp.HEADER, esp.payloadEnd(sa, bytes, end))
      : drops.BAD_TRAILER;
  }

  /** Whether a datagram is ESP at all; what is not has a way of its own (RFC 3948 section 2). */
  #beside(p: Packet, at: number, end: number): number {
    const carried = espHeader.carried(p.view, at, end);
    if (carried === espHeader.CARRIED_ESP) return PASS;
    if (carried === espHeader.CARRIED_NOTHING) return drops.MALFORMED;
    if (carried !== espHeader.CARRIED_KEEPALIVE) return ASIDE;
    this.count(KEEPALIVES);
    return SWALLOW;
  }

  /** Steps over the UDP header; the packet has to be one for VXLAN. */
  #strip({ view: v, peer }: Packet, at: number, end: number): number {
    if (!transport.accepts(v, at, end, this.#vxlanPort, this.#sums.of(peer))) return drops.BAD_TRAILER;
    this.#inner = at + udp.SIZE;
    this.#innerEnd = at + udp.length(v, at);
    return PASS;
  }

  #refuse(p: Packet, reason: drops.Drop): void {
    if (this.#audit.due(reason, this.context.clock.now)) {
      const from = this.#vteps.get(p.peer);
      const who = from === undefined ? 'an unknown host' : format(from.address);
      this.context.log.warn(`${this.name}: dropped a packet from ${who}: ${drops.DROPS[reason].text}`);
    }
    this.drop(p, reason);
  }
}

function outerOf({ medium, vteps, local, carrier = 'udp' }: EspOpenOptions): OuterReader | null {
  if (medium !== DATAGRAM) return new OuterReader({ medium, vteps, local, carrier });
  if (carrier === 'udp') return null;
  throw new TypeError('"carrier" expected "udp" on a port that carries UDP payloads, got "ip"');
}

/** The most datagrams of a train: of one byte each in the largest of all. */
const MOST = 65536;

/** What lay in the datagrams of a train, as long as it is equally long and equally far apart. */
class Run {
  count = 0;
  readonly #from = new Int32Array(MOST);
  readonly #to = new Int32Array(MOST);

  begin(): void {
    this.count = 0;
  }

  from(i: number): number {
    return this.#from[i];
  }

  to(i: number): number {
    return this.#to[i];
  }

  /** Adds what lies at `from..to`, and says whether all is a train: equally long, but for a shorter one at the end. */
  add(from: number, to: number): boolean {
    const n = this.count++;
    this.#from[n] = from;
    this.#to[n] = to;
    if (n === 0) return true;
    const bytes = this.#to[0] - this.#from[0];
    const last = this.#to[n - 1] - this.#from[n - 1];
    return last === bytes && to - from <= bytes;
  }
}
