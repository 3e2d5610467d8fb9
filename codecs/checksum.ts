/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * Two representations are told apart throughout: a *sum* is the folded one's complement sum of 16-bit
 * words (0..0xffff, big-endian sense) and can be added to with {@link add}; a *checksum* is its complement,
 * as it stands in a header. A datagram that carries a correct checksum sums to 0xffff.
 */
import { type FastCopySum, type FastSum, summedMemory } from './checksum-simd.ts';

/** One's complement sum of two sums. */
export function add(a: number, b: number): number {
  const s = a + b;
  return (s & 0xffff) + (s >>> 16);
}

/** The sum of many: of 16-bit words, or sums, that were added up plainly, which took at most 31 bits. */
export function fold(total: number): number {
  const s = (total & 0xffff) + (total >>> 16);
  return (s & 0xffff) + (s >>> 16);
}

/**
 * One's complement sum of the bytes `at..end`; an odd last byte counts as the high half of a word (RFC 1071
 * section 1). At most 8 MiB at a time, so that the running sum stays exact.
 *
 * Byte order does not matter to the sum (RFC 1071 section 2 B): words are read in the machine's usual order
 * and the result is swapped once at the end. Words of 32 bits are added up as floating point numbers, which
 * hold 53 bits: that takes three quarters of the time of splitting each into halves that cannot overflow.
 * Two running sums, of 32 bytes in turn, take a sixth less than one: no addition waits for the one before.
 */
export function sum(v: DataView, at: number, end: number): number {
  const s =
    end - at >= LONG && v.buffer === fastMemory
      ? fastSum(v.byteOffset + at, end - at)
      : sumByWords(v, at, end);
  return ((s & 0xff) << 8) | (s >>> 8);
}

/**
 * {@link sum} of the bytes `at..end`, which are copied to `to` of another view on the way; the two must not overlap.
 * That takes little longer than the sum alone. -1, and nothing is copied, where the bytes are few or not all of them lie in
 * {@link packetMemory}: there it would gain nothing.
 */
export function copySum(v: DataView, at: number, end: number, w: DataView, to: number): number {
  if (end - at < LONG || v.buffer !== fastMemory || w.buffer !== fastMemory) return -1;
  const s = fastCopySum(v.byteOffset + at, end - at, w.byteOffset + to);
  return ((s & 0xff) << 8) | (s >>> 8);
}

/** The sum in the machine's byte order. */
function sumByWords(v: DataView, at: number, end: number): number {
  let total = 0;
  let other = 0;
  let i = at;
  for (const stop = end - 31; i < stop; i += 32) {
    total +=
      v.getUint32(i, true) +
      v.getUint32(i + 4, true) +
      (v.getUint32(i + 8, true) + v.getUint32(i + 12, true));
    other +=
      v.getUint32(i + 16, true) +
      v.getUint32(i + 20, true) +
      (v.getUint32(i + 24, true) + v.getUint32(i + 28, true));
  }
  total += other;
  for (const stop = end - 3; i < stop; i += 4) total += v.getUint32(i, true);
  for (const stop = end - 1; i < stop; i += 2) total += v.getUint16(i, true);
  if (i < end) total += v.getUint8(i);
  return fold((total & 0xffff) + (total >>> 16) + Math.floor(total / 0x1_0000_0000));
}

/** Bytes from which a call into another program is worth its while. */
const LONG = 128;
let fastMemory: ArrayBufferLike | null = null;
let fastSum: FastSum = () => 0;
let fastCopySum: FastCopySum = () => 0;

/**
 * Memory of at least so many bytes for packets, over which {@link sum} is several times as fast where the machine can do
 * it (see checksum-simd.ts). There is one such memory in a thread: who comes first gets it, all others get plain
 * memory.
 */
export function packetMemory(bytes: number): ArrayBuffer {
  const fast = fastMemory === null ? summedMemory(bytes) : null;
  if (fast === null) return new ArrayBuffer(bytes);
  fastMemory = fast.memory;
  fastSum = fast.sum;
  fastCopySum = fast.copySum;
  return fast.memory;
}

/** The checksum that belongs to a sum. */
export function finish(s: number): number {
  return ~s & 0xffff;
}

/** Like {@link finish}, where zero means "no checksum": a computed 0 is sent as 0xffff (RFC 768, RFC 8200 8.1). */
export function finishNonZero(s: number): number {
  return s === 0xffff ? 0xffff : ~s & 0xffff;
}

/** Sum of an IPv4 pseudo header; `ip` is where the IPv4 header starts, `length` that of the upper layer. */
export function pseudo4(v: DataView, ip: number, protocol: number, length: number): number {
  return add(sum(v, ip + 12, ip + 20), add(protocol, length & 0xffff));
}

/** Sum of an IPv6 pseudo header (RFC 8200 section 8.1); `ip` is where the IPv6 header starts. */
export function pseudo6(v: DataView, ip: number, protocol: number, length: number): number {
  return add(sum(v, ip + 8, ip + 40), add(protocol, add(length >>> 16, length & 0xffff)));
}

/**
 * The checksum after one 16-bit word it covers changed, by equation 3 of RFC 1624: HC' = ~(~HC + ~m + m').
 * Must not be used on a UDP checksum of 0 over IPv4, which means "none".
 */
export function update(checksum: number, before: number, after: number): number {
  return ~add(~checksum & 0xffff, add(~before & 0xffff, after)) & 0xffff;
}

/** {@link update} for a 32-bit word: both halves at once, folded at the end. */
export function update32(checksum: number, before: number, after: number): number {
  const gone = (~before >>> 16) + (~before & 0xffff);
  return ~fold((~checksum & 0xffff) + gone + (after >>> 16) + (after & 0xffff)) & 0xffff;
}
