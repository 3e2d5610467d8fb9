/**
 * Memory for what native calls read and write: one piece for all structures of its owner. V8 moves typed arrays
 * of 64 bytes and less, so nothing smaller than a slab is ever handed out.
 *
 * Structures are laid out by hand, in the machine's byte order, which on both machines that native ports
 * run on is little-endian. Pointers are 64 bits wide.
 */
import { libc } from './libc.ts';

export class Slab {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The same as 32-bit words: `words[offset >> 2]`. */
  readonly words: Uint32Array;
  readonly #address: number;
  #next = 0;

  /** Throws a PortError where native code cannot be called. */
  constructor(size: number) {
    const memory = new ArrayBuffer(size);
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.words = new Uint32Array(memory);
    this.#address = libc().addressOf(this.bytes);
  }

  /** Takes `bytes` for a structure, aligned to 8, and returns their offset. Throws a RangeError when full. */
  reserve(bytes: number): number {
    const at = this.#next;
    if (at + bytes > this.bytes.length) {
      throw new RangeError(`a slab of ${this.bytes.length} bytes has no room for ${bytes} more`);
    }
    this.#next = (at + bytes + 7) & ~7;
    return at;
  }

  /** The address of an offset. It is a new number each time: ask once and keep it, see {@link Addresses}. */
  address(offset: number): number {
    return this.#address + offset;
  }

  /** Writes a pointer to another place of this slab. */
  point(offset: number, to: number): void {
    this.writeAddress(offset, this.#address + to);
  }

  /** Writes a pointer. */
  writeAddress(offset: number, address: number): void {
    this.words[offset >> 2] = address; // modulo 2^32
    this.words[(offset >> 2) + 1] = address / 0x1_0000_0000;
  }

  /** Writes a string and the zero byte behind it. */
  writeString(offset: number, text: string): void {
    this.bytes[offset + new TextEncoder().encodeInto(text, this.bytes.subarray(offset)).written] = 0;
  }

  /** Reads a string that ends with a zero byte, of at most `most` bytes. */
  readString(offset: number, most: number): string {
    const bytes = this.bytes.subarray(offset, offset + most);
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
}

/**
 * Addresses that are handed to native code for every packet. An address is too large for one of V8's small
 * integers, so that reading one from a field of its own would allocate it anew each time. The null makes this an
 * array of mixed elements, which holds the number's box.
 */
export function addresses(...values: number[]): readonly number[] {
  const boxed: unknown[] = [null, ...values];
  boxed.shift();
  return boxed as number[];
}
