/**
 * Writes packets into a capture as what they are: a frame as it is, a super-frame as one frame, its payload moved
 * together where it lies in pieces, a train as the datagrams that it is made of, each behind outer headers that are made
 * up where the port hides them.
 */
import { OUTBOUND } from '../../../codecs/capture.ts';
import { isTrain, type Packet, segments, solidLength } from '../../core/packet.ts';
import type { Recorder } from '../recorder.ts';
import type { Outer } from './outer.ts';

export class FrameWriter {
  readonly #recorder: Recorder;
  readonly #interface: number;
  readonly #outer: Outer | null;
  /** Where a super-frame's payload is moved together: the packet itself goes on as it is. */
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);

  /** `iface` is the number that the recorder's writer gave the interface. */
  constructor(recorder: Recorder, iface: number, outer: Outer | null) {
    this.#recorder = recorder;
    this.#interface = iface;
    this.#outer = outer;
  }

  /** Writes a packet with the recorder's time: of a train at most `most` datagrams. Returns how many records it is. */
  write(p: Packet, direction: number, most = Number.POSITIVE_INFINITY): number {
    const step = p.gsoSize + p.gap;
    if (this.#outer !== null && isTrain(p) && p.gsoSize > 0) {
      let n = 0;
      for (let at = p.start; at < p.end && n < most; at += step, n++) {
        this.#put(p, p.bytes, p.view, at, Math.min(at + p.gsoSize, p.end), direction);
      }
      return n;
    }
    if (p.gap > 0 && segments(p) > 1) {
      const length = this.#gather(p);
      this.#put(p, this.#bytes, this.#view, 0, length, direction);
    } else this.#put(p, p.bytes, p.view, p.start, p.end, direction);
    return 1;
  }

  /** Writes `bytes[at..end)`, behind made-up headers where there are any. */
  #put(p: Packet, bytes: Uint8Array, view: DataView, at: number, end: number, direction: number): void {
    const { writer, seconds, nanoseconds } = this.#recorder;
    const outer = this.#outer;
    if (outer === null) {
      writer.frame(this.#interface, seconds, nanoseconds, direction, bytes, at, end);
      return;
    }
    const original = outer.size + end - at;
    const captured = Math.min(original, writer.snaplen);
    const to = writer.packet(this.#interface, seconds, nanoseconds, direction, captured, original);
    outer.write(writer.view, to, p, view, at, end, direction === OUTBOUND);
    writer.bytes.set(bytes.subarray(at, at + captured - outer.size), to + outer.size);
  }

  /** Copies a super-frame without its gaps, and returns how many bytes that is. */
  #gather(p: Packet): number {
    const length = solidLength(p);
    if (this.#bytes.length < length) {
      this.#bytes = new Uint8Array(length);
      this.#view = new DataView(this.#bytes.buffer);
    }
    let to = p.hdrLen;
    this.#bytes.set(p.bytes.subarray(p.start, p.start + p.hdrLen));
    for (let at = p.start + p.hdrLen; at < p.end; at += p.gsoSize + p.gap) {
      const piece = p.bytes.subarray(at, Math.min(at + p.gsoSize, p.end));
      this.#bytes.set(piece, to);
      to += piece.length;
    }
    return to;
  }
}
