/**
 * Packets as native calls see them: lists of pieces of memory (struct iovec, linux/uio.h) to receive into and to
 * send from. Payload is never copied: what a super-frame left lying in pieces is sent from there.
 */
import { GSO_NONE, HEADROOM, type Packet, segments, TAILROOM } from '../../core/packet.ts';
import type { PortHost } from '../port.ts';
import { libc } from './libc.ts';
import type { Slab } from './slab.ts';

/** Bytes of struct iovec. */
export const IOVEC = 16;

/** Bytes after which the engine gets what was received: more would not stay in the processor's caches. */
export const BUDGET = 128 << 10;

/** Addresses of packets' bytes, for the few memories that pools have. */
class Memories {
  readonly #known = new Map<ArrayBufferLike, number>();
  #last: ArrayBufferLike | null = null;
  #address = 0;

  /** The address of `p.bytes[at]`. */
  address(p: Packet, at: number): number {
    const { memory } = p.pool;
    if (memory !== this.#last) this.#turnTo(memory);
    return this.#address + p.base + at;
  }

  #turnTo(memory: ArrayBufferLike): void {
    const address = this.#known.get(memory) ?? libc().addressOf(new Uint8Array(memory));
    this.#known.set(memory, address);
    this.#last = memory;
    this.#address = address;
  }
}

/** A list of iovecs in a slab. */
export class Iovecs {
  /** Offset in the slab. */
  readonly at: number;
  readonly capacity: number;
  readonly #slab: Slab;
  readonly #memories = new Memories();

  constructor(slab: Slab, capacity: number) {
    this.#slab = slab;
    this.capacity = capacity;
    this.at = slab.reserve(capacity * IOVEC);
  }

  /** Makes entry `i` the bytes `at..at + bytes` of a packet's slot. */
  set(i: number, p: Packet, at: number, bytes: number): void {
    this.#write(i, this.#memories.address(p, at), bytes);
  }

  /** Makes entry `i` a place in the slab itself. */
  setOwn(i: number, offset: number, bytes: number): void {
    this.#write(i, this.#slab.address(offset), bytes);
  }

  /** Makes the entries from `i` the frame of a packet, `lead` bytes in front of it included, without its
   * gaps; returns the entry behind. */
  setFrame(i: number, p: Packet, lead: number): number {
    const from = p.start - lead;
    if (p.gsoType === GSO_NONE || p.gap === 0) {
      this.set(i, p, from, p.end - from);
      return i + 1;
    }
    const step = p.gsoSize + p.gap;
    const n = segments(p);
    let at = p.start + p.hdrLen;
    this.set(i, p, from, at + p.gsoSize - from);
    for (let k = 1; k < n; k++) {
      at += step;
      this.set(i + k, p, at, Math.min(p.gsoSize, p.end - at));
    }
    return i + n;
  }

  #write(i: number, address: number, bytes: number): void {
    const { words } = this.#slab;
    const w = (this.at + i * IOVEC) >> 2;
    words[w] = address; // modulo 2^32
    words[w + 1] = address / 0x1_0000_0000;
    words[w + 2] = bytes;
    words[w + 3] = 0;
  }
}

/**
 * Packets to receive into, when nobody knows how long the next frame is: a small one, and behind it a jumbo for
 * what it cannot hold. A frame that fits costs a small packet and no copy; of a longer one the beginning is
 * copied to the jumbo.
 */
export class Landing {
  readonly iovecs: Iovecs;
  /** Bytes in front of the frame that are received too; negative: how many of the frame's first are not. */
  readonly #lead: number;
  readonly #count: number;
  readonly #small: (Packet | null)[];
  readonly #jumbo: (Packet | null)[];
  /** Where a frame goes that no packet is free for. */
  readonly #scratch: number;
  #host: PortHost | null = null;
  #room = 0;

  /** Room for `count` frames at once, each with `lead` bytes in front. */
  constructor(slab: Slab, count: number, lead: number) {
    this.#lead = lead;
    this.#count = count;
    this.iovecs = new Iovecs(slab, 2 * count);
    this.#small = new Array(count).fill(null);
    this.#jumbo = new Array(count).fill(null);
    this.#scratch = slab.reserve(SCRATCH);
  }

  open(host: PortHost): void {
    this.#host = host;
    this.#room = this.#lead + host.pool.slot - HEADROOM - TAILROOM;
  }

  /** Bytes, `lead` included, that a frame may have before it needs a jumbo. */
  get room(): number {
    return this.#room;
  }

  /** Makes place `i` ready: its two iovecs are valid afterwards. */
  prepare(i: number): void {
    const { pool, jumbo } = this.#host!;
    const from = HEADROOM - this.#lead;
    if (this.#small[i] === null) {
      const p = pool.take();
      this.#small[i] = p;
      if (p === null) this.iovecs.setOwn(2 * i, this.#scratch, SCRATCH);
      else this.iovecs.set(2 * i, p, from, this.#room);
    }
    if (this.#jumbo[i] !== null) return;
    const p = jumbo.take();
    this.#jumbo[i] = p;
    if (p === null) this.iovecs.setOwn(2 * i + 1, this.#scratch, SCRATCH);
    else this.iovecs.set(2 * i + 1, p, from + this.#room, p.bytes.length - TAILROOM - from - this.#room);
  }

  /** The packet that holds the `bytes` bytes received at place `i`, `lead` included; null where none was free. */
  take(i: number, bytes: number): Packet | null {
    const small = this.#small[i];
    const fits = bytes <= this.#room;
    const p = fits ? small : this.#jumbo[i];
    if (p === null || small === null) return null;
    if (fits) this.#small[i] = null;
    else {
      this.#jumbo[i] = null;
      const from = HEADROOM - this.#lead;
      p.pool.copy(small, from, from + this.#room, p, from);
    }
    p.end = HEADROOM + bytes - this.#lead;
    return p;
  }

  /** Gives back what is in hand. */
  release(): void {
    for (let i = 0; i < this.#count; i++) {
      const small = this.#small[i];
      const jumbo = this.#jumbo[i];
      if (small !== null) small.pool.give(small);
      if (jumbo !== null) jumbo.pool.give(jumbo);
      this.#small[i] = null;
      this.#jumbo[i] = null;
    }
  }

  /** Bytes of the slab that it takes. */
  static size(count: number): number {
    return 2 * count * IOVEC + SCRATCH + 16;
  }
}

/** Large enough for anything that is thrown away. */
const SCRATCH = 65536 + 64;
