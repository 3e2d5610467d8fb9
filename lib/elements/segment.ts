/**
 * Makes what it passes on fit a way out that can do less than the packets ask for: a port, or an element in
 * front of one, such as ESP. What fits goes on as it is. A checksum that was left open is completed; a
 * super-frame becomes the packets that it stands for, a train its datagrams, each a copy with the notes of the
 * whole; and where gaps alone are in the way, the payload moves together.
 *
 * Output: `out`, in order.
 */
import * as vxlan from '../../codecs/vxlan.ts';
import type { Batch } from '../core/batch.ts';
import { MALFORMED, POOL_DRY, TOO_BIG } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { GSO_NONE, isTrain, type Packet, segments } from '../core/packet.ts';
import { completeChecksum } from '../core/partial-checksum.ts';
import { Segmenter } from '../core/segmenter.ts';
import { DATAGRAM, IP, type Medium, takes } from '../io/port.ts';
import { copyPiece, takeLike } from './pieces.ts';

export interface SegmentOptions {
  /** What packets start with. */
  readonly medium: Medium;
  /** Largest packet that the way out takes, as `mtu` of a port. */
  readonly mtu: number;
  /** What else it takes, as `offloads` of a port. */
  readonly offloads: number;
  /** Bytes in front of the Ethernet header, on IP of the IP header. Default: those of VXLAN on DATAGRAM, else 0. */
  readonly prefix?: number;
}

const COUNTERS = ['segmented', 'segments'];
const SEGMENTED = 0;
const SEGMENTS = 1;

export class Segment extends Element {
  readonly #out = this.output('out');
  readonly #segmenter = new Segmenter();
  #way: SegmentOptions;
  #ip = false;
  #prefix = 0;

  /** Throws a RangeError for numbers out of range. */
  constructor(context: Context, name: string, options: SegmentOptions) {
    check(options);
    super(context, name, COUNTERS);
    this.#way = options;
    this.#use(options);
  }

  /** Takes over another way out: nothing is kept from packet to packet. */
  override configure(options: SegmentOptions): boolean {
    check(options);
    this.#use(options);
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let i = 0;
    while (i < length && takes(this.#way, packets[i])) i++;
    if (i === length) {
      this.#out.next.push(batch);
      return;
    }
    for (i = 0; i < length; i++) {
      const p = packets[i];
      if (takes(this.#way, p)) this.#out.add(p);
      else if (p.gsoType === GSO_NONE) this.#complete(p);
      else this.#divide(p);
    }
    batch.clear();
    this.#out.flush();
  }

  #complete(p: Packet): void {
    if (p.length > this.#way.mtu) this.drop(p, TOO_BIG);
    else if (completeChecksum(p)) this.#out.add(p);
    else this.drop(p, MALFORMED);
  }

  #divide(p: Packet): void {
    if (!sane(p)) {
      this.drop(p, MALFORMED);
      return;
    }
    const { gap } = p;
    p.gap = 0;
    const together = gap > 0 && takes(this.#way, p);
    p.gap = gap;
    if (p.hdrLen + Math.min(p.gsoSize, p.length - p.hdrLen) > this.#way.mtu) this.drop(p, TOO_BIG);
    else if (together) this.#moveTogether(p);
    else if (isTrain(p)) this.#part(p);
    else this.#cut(p);
  }

  #moveTogether(p: Packet): void {
    const { bytes, gsoSize } = p;
    const step = gsoSize + p.gap;
    let to = Math.min(p.start + p.hdrLen + gsoSize, p.end);
    for (let at = p.start + p.hdrLen + step; at < p.end; at += step) {
      const end = Math.min(at + gsoSize, p.end);
      bytes.copyWithin(to, at, end);
      to += end - at;
    }
    p.end = to;
    p.gap = 0;
    this.#out.add(p);
  }

  /** The datagrams of a train. */
  #part(p: Packet): void {
    const n = segments(p);
    const step = p.gsoSize + p.gap;
    let done = 0;
    for (let at = p.start; done < n; done++, at += step) {
      const piece = copyPiece(this.context, p, at, Math.min(at + p.gsoSize, p.end));
      if (piece === null) break;
      this.#out.add(piece);
    }
    this.#done(p, n, done);
  }

  /** The segments of a super-frame. */
  #cut(p: Packet): void {
    const segmenter = this.#segmenter;
    const at = p.start + this.#prefix;
    if (!(this.#ip ? segmenter.beginIp(p, at) : segmenter.begin(p, at))) {
      this.drop(p, MALFORMED);
      return;
    }
    const n = segmenter.count;
    let done = 0;
    for (; done < n; done++) {
      const q = takeLike(this.context, p, p.hdrLen + segmenter.payloadLength(done));
      if (q === null) break;
      segmenter.copy(done, p, q, q.start);
      this.#out.add(q);
    }
    this.#done(p, n, done);
  }

  /** Gives the whole back, of whose `n` parts `done` went on. */
  #done(p: Packet, n: number, done: number): void {
    if (done < n) this.lost(POOL_DRY, n - done);
    this.count(SEGMENTED);
    this.count(SEGMENTS, done);
    p.pool.give(p);
  }

  #use(options: SegmentOptions): void {
    this.#way = options;
    this.#ip = options.medium === IP;
    this.#prefix = options.prefix ?? (options.medium === DATAGRAM ? vxlan.SIZE : 0);
  }
}

/** Whether a super-frame or train can be taken apart at all: its segments have bytes, and it ends in one. */
function sane(p: Packet): boolean {
  const bytes = p.length - p.hdrLen;
  if (p.gsoSize < 1 || p.gap < 0 || p.hdrLen < 0 || bytes < 0) return false;
  return bytes - (segments(p) - 1) * (p.gsoSize + p.gap) <= p.gsoSize;
}

function check({ mtu, prefix = 0 }: SegmentOptions): void {
  if (!Number.isInteger(mtu) || mtu < 1) {
    throw new RangeError(`"mtu" expected an integer of at least 1, got ${mtu}`);
  }
  if (!Number.isInteger(prefix) || prefix < 0) {
    throw new RangeError(`"prefix" expected an integer of at least 0, got ${prefix}`);
  }
}
