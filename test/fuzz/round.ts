/** One round of fuzzing: up to a batch of frames for one door of one kind of overlay. */
import { BATCH, type Batch } from '../../lib/core/batch.ts';
import type { Random } from '../../lib/core/random.ts';
import { seedFrames, spoken, station } from './corpus.ts';
import { type Door, type Kind, OUTSIDER, STRANGER } from './ends.ts';
import { type Fabric, SILENT, VNIS } from './fabric.ts';
import { Mutator, Scratch } from './mutate.ts';
import { leadOf, writeFalseEsp, writeOuter, writeVxlan } from './outer.ts';

/** No packet, no bit. */
const NONE = -1;

export class Round {
  kind: Kind;
  /** Which of a fabric's doors. */
  door = 0;
  /** How many frames. */
  count = 0;
  readonly frames: readonly Scratch[] = Array.from({ length: BATCH }, () => new Scratch());
  readonly #tos = new Uint8Array(BATCH);
  /** In place of a frame, an encrypted packet, which each world has its own of: the number of a recorded one,
   * or of a withheld one behind these; the bit in it that is flipped; how many bytes it is short of. */
  readonly #packet = new Int16Array(BATCH);
  readonly #flip = new Int32Array(BATCH);
  readonly #short = new Int16Array(BATCH);
  readonly #r: Random;
  readonly #mutator: Mutator;
  /** What each station says. */
  readonly #spoken = new Map<number, readonly Uint8Array[]>();

  constructor(r: Random, kind: Kind) {
    this.#r = r;
    this.kind = kind;
    const frames = seedFrames(r);
    this.#mutator = new Mutator(r, frames);
    const all = [1, 2, 3, 11, 12, 13, STRANGER, SILENT];
    for (const n of all) {
      const others = all.filter((other) => other !== n).map(station);
      this.#spoken.set(n, spoken(frames, station(n), others, r));
    }
  }

  /** Makes frames for any door of a fabric. */
  make(kind: Kind, fabric: Fabric, count: number): void {
    const { doors } = fabric.ends;
    this.kind = kind;
    this.door = this.#r.below(doors.length);
    this.count = count;
    const door = doors[this.door];
    for (let i = 0; i < count; i++) {
      this.#tos[i] = this.#r.chance(0.3) ? this.#r.below(256) : 0;
      this.#packet[i] = NONE;
      if (door.station !== null) this.#local(this.frames[i], door.station.number);
      else if (!door.esp) this.#tunnelled(this.frames[i], door);
      else if (fabric.recorded.length > 0 && this.#r.chance(0.6)) this.#repeat(i, fabric);
      else this.#false(this.frames[i], door);
    }
  }

  /** Makes it one frame, as it is, for one door. */
  only(kind: Kind, door: number, frame: Uint8Array): void {
    this.kind = kind;
    this.door = door;
    this.count = 1;
    this.frames[0].load(frame);
    this.#packet[0] = NONE;
  }

  /** Fills a batch with the frames, in packets of a fabric. */
  fill(batch: Batch, fabric: Fabric): void {
    for (let i = 0; i < this.count; i++) {
      const { bytes, start, end } = this.frames[i];
      const p = fabric.pool.take()!;
      if (this.#packet[i] === NONE) p.set(bytes.subarray(start, end));
      else {
        p.set(this.#encrypted(i, fabric));
        p.end -= this.#short[i];
        const bit = this.#flip[i];
        if (bit !== NONE) p.bytes[p.start + (bit >> 3)] ^= 1 << (bit & 7);
      }
      p.tos = this.#tos[i];
      batch.add(p);
    }
  }

  /** To be repeated by hand. */
  describe(): string[] {
    return this.frames.slice(0, this.count).map(({ bytes, start, end }, i) => {
      const text =
        this.#packet[i] === NONE
          ? Buffer.from(bytes.subarray(start, end)).toString('hex')
          : `packet ${this.#packet[i]}, bit ${this.#flip[i]} flipped, ${this.#short[i]} bytes short`;
      return this.#tos[i] === 0 ? text : `${text} (TOS ${this.#tos[i]})`;
    });
  }

  /** Some stay as they are, so that the tables know something. */
  #local(frame: Scratch, n: number): void {
    frame.load(this.#say(n));
    if (this.#r.chance(0.8)) this.#mutator.mutate(frame);
  }

  #tunnelled(frame: Scratch, { host }: Door): void {
    const r = this.#r;
    const other = host === 1 ? 2 : 1;
    frame.load(this.#say(r.chance(0.7) ? STRANGER : other));
    if (r.chance(0.5)) this.#mutator.mutate(frame);
    writeVxlan(frame, r.chance(0.05) ? r.below(1 << 24) : VNIS[r.below(VNIS.length)]);
    const from = r.chance(0.8) ? STRANGER : r.chance(0.8) ? other : OUTSIDER;
    writeOuter(frame, this.kind, { from, to: host, esp: false }, r);
    if (r.chance(0.5)) this.#mutator.mutate(frame);
  }

  /** What comes on the port of ESP from somebody who has no keys. */
  #false(frame: Scratch, { host }: Door): void {
    const r = this.#r;
    frame.load(this.#say(STRANGER));
    writeFalseEsp(frame, r);
    if (r.chance(0.5)) this.#mutator.mutate(frame);
    writeOuter(frame, this.kind, { from: r.chance(0.5) ? STRANGER : 3 - host, to: host, esp: true }, r);
    if (r.chance(0.5)) this.#mutator.mutate(frame);
  }

  /**
   * Sends an encrypted packet again: a recorded one whole, cut, or with one bit flipped; one that was withheld
   * never as it was. Each world has keys of its own, so nothing is done whose outcome depends on the bytes.
   */
  #repeat(i: number, fabric: Fabric): void {
    const r = this.#r;
    const { recorded, withheld } = fabric;
    this.#packet[i] = r.below(recorded.length + withheld.length);
    const withheldOne = this.#packet[i] >= recorded.length;
    const { length } = this.#encrypted(i, fabric);
    this.#short[i] = r.chance(0.2) ? 1 + r.below(length - 1) : 0;
    // Behind the outer headers: where these lie about what follows, ciphertext is read as headers.
    const first = leadOf(this.kind, true);
    const bits = 8 * (length - this.#short[i] - first);
    const flips = bits > 0 && (withheldOne ? this.#short[i] === 0 : r.chance(0.5));
    this.#flip[i] = flips ? 8 * first + r.below(bits) : NONE;
  }

  #encrypted(i: number, { recorded, withheld }: Fabric): Uint8Array {
    const n = this.#packet[i];
    return n < recorded.length ? recorded[n] : withheld[n - recorded.length];
  }

  #say(n: number): Uint8Array {
    const list = this.#spoken.get(n)!;
    return list[this.#r.below(list.length)];
  }
}
