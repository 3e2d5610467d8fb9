/**
 * Addresses of packets, as numbers. An address is too large for one of V8's small integers, so each time that one is
 * computed or read from a field of its own it would be allocated anew: all of them are kept in arrays of mixed
 * elements, which hold the number's box.
 */

/** The boxed addresses of one memory, by hash of the offset: a place is computed again when it was lost. */
interface Known {
  readonly base: number;
  readonly shift: number;
  readonly offsets: Int32Array;
  readonly boxes: number[];
}

/** Bytes of memory for which a box is kept, and the most boxes, as a power of two. */
const GRAIN = 64;
const MAX_BITS = 16;

/** Numbers that stay boxed: the null makes the array one of mixed elements, so the first of them has index 1. */
export function boxed(...numbers: readonly number[]): number[] {
  return [null, ...numbers] as number[];
}

/** Addresses of places within ArrayBuffers. A pool's packets lie in one, each with few different starts. */
export class Addresses {
  readonly #addressOf: (memory: Uint8Array) => number;
  readonly #memories = new WeakMap<ArrayBufferLike, Known>();
  // Of the bytes that were asked for last: where they lie is what V8 tells slowly.
  #bytes: Uint8Array | null = null;
  #offset = 0;
  #buffer: ArrayBufferLike | null = null;
  #known: Known | null = null;

  constructor(addressOf: (memory: Uint8Array) => number) {
    this.#addressOf = addressOf;
  }

  /** The address of the first byte, for what asks once. */
  first(memory: Uint8Array): number {
    return this.#addressOf(memory);
  }

  /** The address of `bytes[at]`. */
  of(bytes: Uint8Array, at: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#offset = bytes.byteOffset;
      if (bytes.buffer !== this.#buffer) this.#turnTo(bytes.buffer);
    }
    const known = this.#known!;
    const offset = this.#offset + at;
    const i = Math.imul(offset, 0x9e3779b1) >>> known.shift;
    if (known.offsets[i] !== offset) {
      known.offsets[i] = offset;
      known.boxes[i] = known.base + offset;
    }
    return known.boxes[i];
  }

  #turnTo(buffer: ArrayBufferLike): void {
    let known = this.#memories.get(buffer);
    if (known === undefined) {
      const bits = Math.min(Math.ceil(Math.log2(buffer.byteLength / GRAIN + 2)), MAX_BITS);
      known = {
        base: this.#addressOf(new Uint8Array(buffer)),
        shift: 32 - bits,
        offsets: new Int32Array(1 << bits).fill(-1),
        boxes: new Array(1 << bits).fill(null),
      };
      this.#memories.set(buffer, known);
    }
    this.#buffer = buffer;
    this.#known = known;
  }
}
