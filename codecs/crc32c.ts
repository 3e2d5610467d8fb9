/**
 * CRC32c (Castagnoli), the checksum of SCTP (RFC 9260 section 6.8 and appendix A) and iSCSI (RFC 3720
 * section 12.1): polynomial 0x1edc6f41, bits reflected, state begun with ones and complemented at the end.
 *
 * Eight bytes go through eight tables at once ("slicing by 8", Kounavis and Berry 2005): the table `n`
 * holds what a byte adds to the state after `n` more bytes of zeros, so the eight look-ups do not wait for
 * each other as they would one byte at a time. The tables lie one behind the other in one array.
 */

const POLYNOMIAL = 0x82f63b78; // 0x1edc6f41, its bits reversed

const table = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let c = byte;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ POLYNOMIAL : c >>> 1;
  table[byte] = c;
}
for (let i = 256; i < table.length; i++) {
  const before = table[i - 256];
  table[i] = (before >>> 8) ^ table[before & 0xff];
}

/** The state before the first byte. */
export const START = -1;

/** The state after the bytes `at..end`; states are signed 32-bit integers. */
export function update(state: number, v: DataView, at: number, end: number): number {
  let c = state | 0;
  let i = at;
  for (const stop = end - 7; i < stop; i += 8) {
    const a = c ^ v.getInt32(i, true);
    const b = v.getInt32(i + 4, true);
    c =
      table[0x700 + (a & 0xff)] ^
      table[0x600 + ((a >>> 8) & 0xff)] ^
      table[0x500 + ((a >>> 16) & 0xff)] ^
      table[0x400 + (a >>> 24)] ^
      table[0x300 + (b & 0xff)] ^
      table[0x200 + ((b >>> 8) & 0xff)] ^
      table[0x100 + ((b >>> 16) & 0xff)] ^
      table[b >>> 24];
  }
  for (; i < end; i++) c = (c >>> 8) ^ table[(c ^ v.getUint8(i)) & 0xff];
  return c;
}

/** The state after `count` bytes of zeros: a checksum field that is left out of its own sum. */
export function skip(state: number, count: number): number {
  let c = state | 0;
  for (let n = 0; n < count; n++) c = (c >>> 8) ^ table[c & 0xff];
  return c;
}

/** The CRC that belongs to a state, unsigned. */
export function finish(state: number): number {
  return ~state >>> 0;
}

/** The CRC of the bytes `at..end`, unsigned. */
export function crc32c(v: DataView, at: number, end: number): number {
  return finish(update(START, v, at, end));
}
