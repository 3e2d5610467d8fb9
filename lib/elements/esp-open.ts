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
import { NONE, type Packet } from '../core/packet.ts';
import { DATAGRAM, type Medium } from '../io/port.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { Carrier } from './esp-seal.ts';
import { OuterReader } from './outer-read.ts';
import { type LocalEndpoint, PASS } from './outer-write.ts';
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
/** It left by `control`. */
const GONE = -3;

/** Drop reasons by result of opening. */
const REASONS: readonly drops.Drop[] = result.RESULTS.map((_, i) => {
  if (i === result.REPLAYED) return drops.REPLAYED;
  if (i === result.TOO_OLD) return drops.TOO_OLD;
  if (i === result.BAD_ICV) return drops.BAD_ICV;
  if (i === result.BAD_TRAILER) return drops.BAD_TRAILER;
  return i === result.NO_KEY ? drops.UNKNOWN_SPI : drops.MALFORMED;
});

/** Milliseconds between two lines about the same kind of refusal. */
const AUDIT = 1000;

export class EspOpen extends Element {
  readonly #out = this.output('out');
  readonly #control = this.output('control');
  #sad: Sad;
  #vteps: VtepTable;
  #outer: OuterReader | null = null;
  #udp = true;
  #vxlanPort = 4789;
  #sums: transport.AddressSums;
  /** When each reason was told last. */
  readonly #told: number[] = drops.DROPS.map(() => Number.NEGATIVE_INFINITY);

  /** Throws a RangeError or TypeError that names the option. */
  constructor(context: Context, name: string, options: EspOpenOptions) {
    const outer = outerOf(options);
    super(context, name, COUNTERS);
    this.#sad = options.sad;
    this.#vteps = options.vteps;
    this.#sums = new transport.AddressSums(options.vteps, options.local.address);
    this.#use(options, outer);
  }

  override configure(options: EspOpenOptions): boolean {
    this.#use(options, outerOf(options));
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const outcome = this.#open(p);
      if (outcome === PASS) packets[n++] = p;
      else if (outcome === SWALLOW) p.pool.give(p);
      else if (outcome !== GONE) this.#refuse(p, outcome);
    }
    batch.length = n;
    this.count(OPENED, n);
    this.#control.flush();
    if (n > 0) this.#out.next.push(batch);
  }

  #open(p: Packet): number {
    const wrong = this.#outer === null ? PASS : this.#outer.read(p);
    if (wrong !== PASS) return wrong;
    if (p.peer === NONE) return drops.UNKNOWN_PEER;
    if (this.#udp) {
      const other = this.#beside(p);
      if (other !== PASS) return other;
    }
    if (espHeader.check(p.view, p.start, p.end) !== 0) return drops.MALFORMED;
    const sa = this.#sad.lookup(p.peer, espHeader.spi(p.view, p.start));
    if (sa === null) return drops.UNKNOWN_SPI;
    const opened = esp.open(sa, p.bytes, p.view, p.start, p.end);
    if (opened === result.DUMMY) {
      this.count(DUMMIES);
      return SWALLOW;
    }
    if (opened !== result.OK) return REASONS[opened];
    const next = esp.nextHeader(sa, p.bytes, p.end);
    p.end = esp.payloadEnd(sa, p.bytes, p.end);
    p.start += esp.HEADER;
    return next === udp.PROTOCOL ? this.#strip(p) : drops.BAD_TRAILER;
  }

  /** Whether the datagram is ESP at all; what is not has a way of its own (RFC 3948 section 2). */
  #beside(p: Packet): number {
    const carried = espHeader.carried(p.view, p.start, p.end);
    if (carried === espHeader.CARRIED_ESP) return PASS;
    if (carried === espHeader.CARRIED_NOTHING) return drops.MALFORMED;
    if (carried === espHeader.CARRIED_KEEPALIVE) {
      this.count(KEEPALIVES);
      return SWALLOW;
    }
    p.start += espHeader.NON_ESP_MARKER;
    this.count(CONTROL);
    this.#control.add(p);
    return GONE;
  }

  /** Takes the UDP header off; the packet has to be one for VXLAN. */
  #strip(p: Packet): number {
    const { view: v, start } = p;
    if (!transport.accepts(v, start, p.end, this.#vxlanPort, this.#sums.of(p.peer))) return drops.BAD_TRAILER;
    p.end = start + udp.length(v, start);
    p.start = start + udp.SIZE;
    return PASS;
  }

  #refuse(p: Packet, reason: drops.Drop): void {
    const { now } = this.context.clock;
    if (now - this.#told[reason] >= AUDIT) {
      this.#told[reason] = now;
      const from = this.#vteps.get(p.peer);
      const who = from === undefined ? 'an unknown host' : format(from.address);
      this.context.log.warn(`${this.name}: dropped a packet from ${who}: ${drops.DROPS[reason].text}`);
    }
    this.drop(p, reason);
  }

  #use(options: EspOpenOptions, outer: OuterReader | null): void {
    this.#sad = options.sad;
    this.#vteps = options.vteps;
    this.#sums = new transport.AddressSums(options.vteps, options.local.address);
    this.#outer = outer;
    this.#udp = options.carrier !== 'ip';
    this.#vxlanPort = options.vxlanPort ?? 4789;
  }
}

function outerOf({ medium, vteps, local, carrier = 'udp' }: EspOpenOptions): OuterReader | null {
  if (medium !== DATAGRAM) return new OuterReader({ medium, vteps, local, carrier });
  if (carrier === 'udp') return null;
  throw new TypeError('"carrier" expected "udp" on a port that carries UDP payloads, got "ip"');
}
