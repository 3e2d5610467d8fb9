/**
 * Mutations of frames, in place and without allocation: flipped bits, values at the edges of what a field can
 * hold, lengths that lie, truncation, extension, pieces of other frames.
 */
import { viewOf } from '../../codecs/bytes.ts';
import type { Random } from '../../lib/core/random.ts';

/** Longest frame that mutations make, in bytes: what an ordinary slot holds, and more than an MTU. */
export const MOST = 1750;
/** Bytes kept free in front, for headers that are put there afterwards. */
const ROOM = 128;
/** Lengths mostly stand near the start. */
const HEADERS = 96;

/** A frame in the making: `bytes[start..end)`. What lies outside is of former frames. */
export class Scratch {
  readonly bytes = new Uint8Array(ROOM + MOST);
  readonly view: DataView = viewOf(this.bytes);
  start = ROOM;
  end = ROOM;

  get length(): number {
    return this.end - this.start;
  }

  /** Starts anew with a copy of a frame of up to {@link MOST} bytes. */
  load(frame: Uint8Array): void {
    this.bytes.set(frame, ROOM);
    this.start = ROOM;
    this.end = ROOM + frame.length;
  }
}

export class Mutator {
  readonly #r: Random;
  readonly #pieces: readonly Uint8Array[];

  /** `pieces` are the frames that others are spliced with. */
  constructor(r: Random, pieces: readonly Uint8Array[]) {
    this.#r = r;
    this.#pieces = pieces;
  }

  /** Applies one to four mutations. */
  mutate(frame: Scratch): void {
    for (let n = 1 + this.#r.below(4); n > 0 && frame.length > 0; n--) this.#once(frame);
  }

  #once(frame: Scratch): void {
    const kind = this.#r.below(8);
    if (kind <= 1) this.#flip(frame);
    else if (kind === 2) this.#edge(frame);
    else if (kind <= 4) this.#lie(frame);
    else if (kind === 5) frame.end = frame.start + this.#r.below(frame.length);
    else if (kind === 6) this.#extend(frame);
    else this.#splice(frame);
  }

  #flip({ bytes, start, length }: Scratch): void {
    for (let n = 1 + this.#r.below(8); n > 0; n--) {
      bytes[start + this.#r.below(length)] ^= 1 << this.#r.below(8);
    }
  }

  /** A byte becomes the least or the most that it can be, or next to it. */
  #edge({ bytes, start, length }: Scratch): void {
    const edges = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    bytes[start + this.#r.below(Math.min(length, HEADERS))] = edges[this.#r.below(6)];
  }

  /** A field of one or two bytes says a length that might be, and is not, right. */
  #lie({ bytes, start, length }: Scratch): void {
    const at = this.#r.below(Math.min(length, HEADERS));
    const value = Math.max(0, length - at + this.#r.below(9) - 4) * (this.#r.chance(0.2) ? 2 : 1);
    if (at + 1 < length && this.#r.chance(0.7)) bytes[start + at] = value >>> 8;
    bytes[start + Math.min(at + 1, length - 1)] = this.#r.chance(0.7) ? value : value >>> 2;
  }

  /** Bytes are appended: a few, or as many as there is room for. */
  #extend(frame: Scratch): void {
    const room = MOST - frame.length;
    const bytes = this.#r.below(Math.min(room, this.#r.chance(0.1) ? room : 64) + 1);
    frame.bytes.fill(this.#r.below(256), frame.end, frame.end + bytes);
    frame.end += bytes;
  }

  /** Part of another frame lies over part of this one. */
  #splice({ bytes, start, end }: Scratch): void {
    const other = this.#pieces[this.#r.below(this.#pieces.length)];
    const from = this.#r.below(other.length);
    const to = start + this.#r.below(end - start);
    const most = Math.min(other.length - from, end - to, 1 + this.#r.below(200));
    for (let i = 0; i < most; i++) bytes[to + i] = other[from + i];
  }
}
