/**
 * Keeps frames out of a tunnel that are too large for it and tells who sent them, since neither end of a
 * VXLAN tunnel fragments (RFC 7348 section 4.3): ICMP Fragmentation Needed with the MTU (RFC 1191 section 4),
 * ICMPv6 Packet Too Big (RFC 4443 section 3.2), at a bounded rate (RFC 4443 section 2.4 f). A bridge cannot
 * fragment, so an IPv4 packet that would allow it (DF clear) is answered like one that would not.
 *
 * Outputs: `out`, frames that fit; `reply`, with `p.out` where the frame came from and `p.port` NONE. Every
 * frame that is too big counts as dropped for that, whether it was answered or not.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import type { Batch } from '../core/batch.ts';
import { TOO_BIG } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { GSO_NONE, isRemote, NONE, type Packet } from '../core/packet.ts';
import { ipOf } from './ecn.ts';
import { fragmentationNeeded, mayAnswer, packetTooBig } from './icmp-error.ts';
import { networkOf } from './vlan-tags.ts';

export interface TooBigOptions {
  /** Largest IP packet that fits, in bytes, 68..65535. Other frames may carry as much. */
  readonly mtu: number;
  /** Answers a second, 0 or more. Default 1000. */
  readonly perSecond?: number;
  /** Answers at once, 1 or more. Default 50. */
  readonly burst?: number;
}

const TOKENS = 0;
const COUNTED = 1;

const COUNTERS = ['answered4', 'answered6', 'limited'];
const ANSWERED4 = 0;
const ANSWERED6 = 1;
const LIMITED = 2;

export class TooBig extends Element {
  readonly #out = this.output('out');
  readonly #reply = this.output('reply');
  #mtu = 0;
  /** Answers a millisecond. */
  #rate = 0;
  #burst = 0;
  /** Answers that may be given now, and when they were counted in ms. A field would hold a new object for
   * every number. */
  readonly #bucket = new Float64Array(2);

  /** Throws a RangeError for numbers out of range. */
  constructor(context: Context, name: string, options: TooBigOptions) {
    check(options);
    super(context, name, COUNTERS);
    this.#bucket[TOKENS] = Number.POSITIVE_INFINITY;
    this.#bucket[COUNTED] = context.clock.now;
    this.#use(options);
  }

  /** Another MTU, another rate. */
  override configure(options: TooBigOptions): boolean {
    check(options);
    this.#use(options);
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      if (this.#fits(p)) packets[n++] = p;
      else this.#refuse(p);
    }
    batch.length = n;
    if (n > 0) this.#out.next.push(batch);
    this.#reply.flush();
  }

  /** A super-frame is as long as its segments. */
  #fits(p: Packet): boolean {
    const bytes = p.gsoType === GSO_NONE ? p.length : Math.min(p.hdrLen + p.gsoSize, p.length);
    if (bytes <= this.#mtu + ethernet.SIZE) return true;
    return bytes <= this.#mtu + networkOf(p.view, p.start, p.end) - p.start;
  }

  #refuse(p: Packet): void {
    const ip = this.#answerable(p);
    if (ip === NONE || !this.#spend()) {
      this.drop(p, TOO_BIG);
      return;
    }
    this.lost(TOO_BIG);
    if (this.context.onDrop !== null) this.context.onDrop(p, TOO_BIG, this.name);
    const v4 = p.view.getUint8(ip) >>> 4 === 4;
    this.count(v4 ? ANSWERED4 : ANSWERED6);
    const back = p.port;
    if (v4) fragmentationNeeded(p, ip, this.#mtu);
    else packetTooBig(p, ip, this.#mtu);
    p.out = back;
    this.#reply.add(p);
  }

  /** Offset of the IP header of a packet that may be answered, or NONE. */
  #answerable(p: Packet): number {
    if (p.port === NONE || isRemote(p.port)) return NONE;
    const ip = ipOf(p.view, p.start, p.end);
    return ip !== NONE && mayAnswer(p, ip) ? ip : NONE;
  }

  #spend(): boolean {
    const { now } = this.context.clock;
    const bucket = this.#bucket;
    bucket[TOKENS] = Math.min(bucket[TOKENS] + (now - bucket[COUNTED]) * this.#rate, this.#burst);
    bucket[COUNTED] = now;
    if (bucket[TOKENS] < 1) {
      this.count(LIMITED);
      return false;
    }
    bucket[TOKENS]--;
    return true;
  }

  #use({ mtu, perSecond = 1000, burst = 50 }: TooBigOptions): void {
    this.#mtu = mtu;
    this.#rate = perSecond / 1000;
    this.#burst = burst;
  }
}

function check({ mtu, perSecond = 0, burst = 1 }: TooBigOptions): void {
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) {
    throw new RangeError(`"mtu" expected an integer 68..65535, got ${mtu}`);
  }
  if (!(perSecond >= 0 && Number.isFinite(perSecond))) {
    throw new RangeError(`"perSecond" expected a number of at least 0, got ${perSecond}`);
  }
  if (!(burst >= 1 && Number.isFinite(burst))) {
    throw new RangeError(`"burst" expected a number of at least 1, got ${burst}`);
  }
}
