/**
 * The freelist of packets. All slots are cut from one piece of memory when the pool is made; nothing is
 * allocated afterwards. The memory can be a SharedArrayBuffer, so that threads share slots by number.
 */
import { HEADROOM, Packet, TAILROOM } from './packet.ts';

/** Bytes of an ordinary slot: headroom, a frame of up to 1792 bytes, tailroom. */
export const SLOT = 2048;
/** Bytes of a slot for super-frames: 64 KiB of IP packet behind headroom and an Ethernet header. */
export const JUMBO_SLOT = 65536 + 512;

export interface PoolOptions {
  /** Number of packets, 1 or more. Default 4096. */
  count?: number;
  /** Bytes of a slot, a multiple of 8, at least 512. Default {@link SLOT}. */
  slot?: number;
  /** Where the slots lie: at least `at + count * slot` bytes. Pools that share it copy from one to the other
   * fastest. Default: a new ArrayBuffer. */
  memory?: ArrayBufferLike;
  /** Where in the memory the first slot begins, a multiple of 8. Default 0. */
  at?: number;
}

/** What a pool is asked for at construction and gets wrong is told by a RangeError that names the field. */
export function atLeast(field: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least) return value;
  throw new RangeError(`"${field}" expected an integer of at least ${least}, got ${value}`);
}

export class Pool {
  /** The memory that holds all slots, and perhaps those of other pools. */
  readonly memory: ArrayBufferLike;
  // A field without a first value is undefined at first, and V8 then asks at every use whether it is a number.
  /** Bytes of a slot. */
  readonly slot: number = 0;
  /** Number of packets, free or not. */
  readonly count: number = 0;
  /** The longest frame that fits between headroom and tailroom, in bytes. */
  readonly maxFrame: number = 0;
  /** How often `take` or `clone` found the pool dry. */
  dry = 0;

  readonly #all: Uint8Array;
  readonly #words: Float64Array;
  readonly #packets: Packet[];
  readonly #free: Packet[];
  #available = 0;

  constructor(options: PoolOptions = {}) {
    this.count = atLeast('count', options.count ?? 4096, 1);
    this.slot = atLeast('slot', options.slot ?? SLOT, 512);
    if (this.slot % 8 !== 0) throw new RangeError(`"slot" expected a multiple of 8, got ${this.slot}`);
    const at = atLeast('at', options.at ?? 0, 0);
    if (at % 8 !== 0) throw new RangeError(`"at" expected a multiple of 8, got ${at}`);
    const size = at + this.count * this.slot;
    this.memory = options.memory ?? new ArrayBuffer(size);
    if (this.memory.byteLength < size) {
      throw new RangeError(`"memory" expected at least ${size} bytes, got ${this.memory.byteLength}`);
    }
    this.maxFrame = this.slot - HEADROOM - TAILROOM;
    this.#all = new Uint8Array(this.memory);
    this.#words = new Float64Array(this.memory, 0, size / 8);
    this.#packets = Array.from(
      { length: this.count },
      (_, i) => new Packet(this, i, this.memory, at + i * this.slot, this.slot),
    );
    this.#free = [...this.#packets].reverse();
    this.#available = this.count;
  }

  /** Packets that can be taken now. */
  get available(): number {
    return this.#available;
  }

  /** Packets that are out: 0 when everything has come home. */
  get used(): number {
    return this.count - this.#available;
  }

  /** The packet in a slot, whoever owns it. */
  at(slot: number): Packet {
    return this.#packets[slot];
  }

  /** An empty packet, or null when the pool is dry: drop and count. */
  take(): Packet | null {
    if (this.#available === 0) {
      this.dry++;
      return null;
    }
    const p = this.#free[--this.#available];
    p.reset();
    return p;
  }

  /** Takes a packet back. */
  give(p: Packet): void {
    this.#free[this.#available++] = p;
  }

  /**
   * A copy of a packet, bytes and notes, with the frame at the same offset; null when the pool is dry or the
   * frame does not fit a slot of this pool.
   */
  clone(from: Packet): Packet | null {
    if (from.end > this.slot) {
      this.dry++;
      return null;
    }
    const p = this.take();
    if (p === null) return null;
    p.copyNotes(from);
    if (from.pool === this && from.end - from.start <= 512) this.#copyWords(from, p);
    else this.copy(from, from.start, from.end, p, from.start);
    return p;
  }

  /**
   * Copies the bytes `at..end` of a packet, of any pool, to `target` of a packet of this pool; the two must not
   * be the same. Where both lie in one memory the runtime does it, at ten times the speed. Neither way
   * allocates, as `bytes.set(subarray)` would.
   */
  copy(from: Packet, at: number, end: number, to: Packet, target: number): void {
    if (from.pool.memory === this.memory && end - at > 64) {
      this.#all.copyWithin(to.base + target, from.base + at, from.base + end);
      return;
    }
    const { view: v } = from;
    const shift = target - at;
    let i = at;
    for (const stop = end - 3; i < stop; i += 4) to.view.setInt32(i + shift, v.getInt32(i, true), true);
    for (; i < end; i++) to.view.setUint8(i + shift, v.getUint8(i));
  }

  /** Small frames are copied by 8-byte words where the offset stays, which beats the call into the runtime. */
  #copyWords(from: Packet, to: Packet): void {
    const words = this.#words;
    const shift = (to.base - from.base) / 8;
    for (let i = (from.base + from.start) >> 3, n = (from.base + from.end + 7) >> 3; i < n; i++) {
      words[i + shift] = words[i];
    }
  }
}

/** A pool for tests: what is given back is poisoned, and a packet given twice is an error that is thrown. */
export class DebugPool extends Pool {
  readonly #out: Uint8Array;
  readonly #poison: number;

  /** `poison` is the byte that free slots are filled with. */
  constructor(options: PoolOptions = {}, poison = 0xdb) {
    super(options);
    this.#out = new Uint8Array(this.count);
    this.#poison = poison;
    for (let slot = 0; slot < this.count; slot++) this.at(slot).bytes.fill(poison);
  }

  override take(): Packet | null {
    const p = super.take();
    if (p !== null) this.#out[p.slot] = 1;
    return p;
  }

  override give(p: Packet): void {
    if (p.pool !== this) throw new Error(`packet ${p.slot} was given to a pool that is not its own`);
    if (this.#out[p.slot] === 0) throw new Error(`packet ${p.slot} was given back twice`);
    if (p.start < 0 || p.end < p.start || p.end > this.slot) {
      throw new Error(`packet ${p.slot} came back with its frame at ${p.start}..${p.end} of ${this.slot}`);
    }
    this.#out[p.slot] = 0;
    p.bytes.fill(this.#poison);
    super.give(p);
  }

  /** Slots of the packets that have not come home, for the message of a failing test. */
  get leaked(): number[] {
    return [...this.#out.keys()].filter((slot) => this.#out[slot] === 1);
  }
}
