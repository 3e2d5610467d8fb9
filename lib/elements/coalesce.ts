/**
 * Makes super-frames of what comes in one by one: behind an underlay port for DATAGRAM, or behind ESP, in
 * front of a decapsulator, so that everything after it handles many packets of a flow as one. The other half
 * of {@link Segment}; what belongs together is {@link Run}'s matter.
 *
 * A train of one flow, which is what a port with receive offload gives, becomes a super-frame where it lies:
 * the payload of each piece stays, and the headers between become the gap. Where a train is not of one flow,
 * what is not the largest part is copied out. Pieces that come as packets of their own are copied behind each
 * other. Whatever belongs to nothing else goes on as it came, and as a packet of its own.
 *
 * Output: `out`, in order. When `push` returns, everything has gone on.
 */
import * as vxlan from '../../codecs/vxlan.ts';
import type { Batch } from '../core/batch.ts';
import { MALFORMED, POOL_DRY } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import {
  GSO_NONE,
  GSO_UDP_L4,
  HEADROOM,
  isTrain,
  NONE,
  type Packet,
  segments,
  TAILROOM,
} from '../core/packet.ts';
import { COMPLETE, CONTRADICTION, type Finding, noteLeftOpen, OPEN } from './left-open.ts';
import { Run } from './merge-run.ts';
import { copyPiece } from './pieces.ts';

export interface CoalesceOptions {
  /** What may be made, bits of a port's `offloads`: nothing without CHECKSUM, and TSO4, TSO6, USO. */
  readonly offloads: number;
  /** Bytes in front of the Ethernet header. Default: those of VXLAN. */
  readonly prefix?: number;
  /**
   * Bytes of the largest IP packet that comes in unless it is a super-frame: given where frames can come straight
   * from a kernel (see left-open.ts). Default 0: none do, as behind ESP.
   */
  readonly mtu?: number;
}

const COUNTERS = ['merged', 'pieces', 'copied'];
const MERGED = 0;
const PIECES = 1;
const COPIED = 2;

export class Coalesce extends Element {
  readonly #out = this.output('out');
  /** The run that the next piece may belong to. */
  readonly #run = new Run();
  #prefix = 0;
  #mtu = 0;

  /** Throws a RangeError for a prefix that is none. */
  constructor(context: Context, name: string, options: CoalesceOptions) {
    check(options);
    super(context, name, COUNTERS);
    this.configure(options);
  }

  override configure(options: CoalesceOptions): boolean {
    check(options);
    this.#prefix = options.prefix ?? vxlan.SIZE;
    this.#mtu = options.mtu ?? 0;
    this.#run.use(options.offloads, this.#prefix);
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const found = this.#mtu === 0 || p.csumStart !== NONE ? COMPLETE : this.#look(p);
      if (found === CONTRADICTION) this.drop(p, MALFORMED);
      else if (found === OPEN) this.#alone(p);
      else if (isTrain(p)) this.#train(p);
      else if (p.gsoType === GSO_NONE && p.csumStart === NONE) this.#single(p);
      else this.#alone(p);
    }
    batch.clear();
    this.#close();
    this.#out.flush();
  }

  #look(p: Packet): Finding {
    return noteLeftOpen(p, p.start + this.#prefix, this.#mtu);
  }

  #alone(p: Packet): void {
    this.#close();
    this.#out.add(p);
  }

  #single(p: Packet): void {
    if (this.#follows(p, p.start, p.end)) {
      p.pool.give(p);
      return;
    }
    this.#close();
    if (!this.#run.begin(p, p.start, p.end, 0)) this.#out.add(p);
  }

  /** What continues the run at hand is copied behind it, and everything else stays as far as it can. */
  #train(p: Packet): void {
    if (p.gsoSize < 1 || p.gap < 0) {
      this.drop(p, MALFORMED);
      return;
    }
    const step = p.gsoSize + p.gap;
    let at = p.start;
    while (at < p.end && this.#follows(p, at, Math.min(at + p.gsoSize, p.end))) at += step;
    if (at >= p.end) {
      p.pool.give(p);
      return;
    }
    this.#close();
    p.start = at;
    let rest: Packet | null = p;
    while (rest !== null) rest = this.#part(rest);
  }

  /**
   * Takes the first run, or the first piece, off a train and hands it on, or keeps it as the run at hand where
   * it is all that there is. Returns what is left of the train, or null.
   */
  #part(p: Packet): Packet | null {
    const run = this.#run;
    const { view: v, start, end, gsoSize } = p;
    const step = gsoSize + p.gap;
    let next = start + step;
    let stop = Math.min(start + gsoSize, end);
    if (run.begin(p, start, stop, p.gap)) {
      for (; next < end; next += step) {
        const to = Math.min(next + gsoSize, end);
        if (!run.accepts(v, next, to)) break;
        run.add(v, next, to);
        stop = to;
      }
    }
    if (next < end)
      return stop - start <= end - next ? this.#copyFirst(p, stop, next) : this.#copyRest(p, stop, next);
    if (run.p === null) this.#emit(p, stop);
    return null;
  }

  /** Hands a copy of `p.start..stop` on; the packet begins at `next` then. */
  #copyFirst(p: Packet, stop: number, next: number): Packet {
    const run = this.#run;
    const n = run.p === null ? 1 : run.count;
    const copy = copyPiece(this.context, p, p.start, stop);
    if (copy === null) {
      this.lost(POOL_DRY, n);
      run.p = null;
    } else {
      this.count(COPIED, n);
      if (run.p !== null) run.moveTo(copy);
      this.#emit(copy, copy.end);
    }
    p.start = next;
    return p;
  }

  /** Hands on the packet with `p.start..stop` alone and returns a copy of the train that begins at `next`. */
  #copyRest(p: Packet, stop: number, next: number): Packet {
    const { end, gsoSize, gap } = p;
    const rest = copyPiece(this.context, p, next, end);
    if (rest === null) return this.#copyFirst(p, stop, next);
    rest.gsoType = GSO_UDP_L4;
    rest.gsoSize = gsoSize;
    rest.gap = gap;
    this.count(COPIED, segments(rest));
    this.#emit(p, stop);
    return rest;
  }

  /** Hands on the run at hand, or where there is none a packet that now ends at `end`. */
  #emit(p: Packet, end: number): void {
    if (this.#run.p !== null) {
      this.#close();
      return;
    }
    p.end = end;
    p.clearOffload();
    this.#out.add(p);
  }

  #close(): void {
    const run = this.#run;
    if (run.p === null) return;
    const { count } = run;
    this.#out.add(run.finish());
    if (count === 1) return;
    this.count(MERGED);
    this.count(PIECES, count);
  }

  /** Copies the piece `at..end` of a packet behind the run at hand, if it belongs there and finds room. */
  #follows(p: Packet, at: number, end: number): boolean {
    const run = this.#run;
    const { p: to } = run;
    if (to === null || to.peer !== p.peer || to.tos !== p.tos || to.port !== p.port) return false;
    const bytes = end - at - run.headers;
    if (!this.#hasRoom(to, bytes) || !run.accepts(p.view, at, end)) return false;
    if (run.count === 1) run.gap = 0;
    if (run.end + run.gap + bytes > to.bytes.length - TAILROOM) this.#enlarge(to);
    const target = run.end + run.gap;
    const { p: q } = run;
    q!.pool.copy(p, end - bytes, end, q!, target);
    run.add(p.view, at, target + bytes);
    this.count(COPIED);
    return true;
  }

  /** Whether that many bytes fit behind the run, in its packet or in a larger one. */
  #hasRoom(to: Packet, bytes: number): boolean {
    const { end, gap, at, count } = this.#run;
    const more = count === 1 ? bytes : gap + bytes;
    if (end + more <= to.bytes.length - TAILROOM) return true;
    const { jumbo } = this.context;
    return to.bytes.length < jumbo.slot && end - at + more <= jumbo.maxFrame && jumbo.available > 0;
  }

  /** Moves the run into a jumbo packet. */
  #enlarge(p: Packet): void {
    const run = this.#run;
    const { jumbo } = this.context;
    const q = jumbo.take()!;
    q.copyNotes(p);
    q.start = HEADROOM;
    q.end = HEADROOM + run.end - run.at;
    jumbo.copy(p, run.at, run.end, q, q.start);
    run.moveTo(q);
    p.pool.give(p);
  }
}

function check({ prefix = 0 }: CoalesceOptions): void {
  if (!Number.isInteger(prefix) || prefix < 0) {
    throw new RangeError(`"prefix" expected an integer of at least 0, got ${prefix}`);
  }
}
