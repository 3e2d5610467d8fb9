/** Small helpers over DataView that several codecs share. The first two are hot, the others for people. */

/** Reads 24 bits, big-endian. */
export function u24(v: DataView, at: number): number {
  return (v.getUint16(at) << 8) | v.getUint8(at + 2);
}

/** Writes 24 bits, big-endian. */
export function setU24(v: DataView, at: number, value: number): void {
  v.setUint16(at, value >>> 8);
  v.setUint8(at + 2, value & 0xff);
}

/** A DataView over exactly the bytes of a typed array. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Hexadecimal digits of `length` bytes, without separators. */
export function hex(v: DataView, at: number, length: number): string {
  let text = '';
  for (let i = 0; i < length; i++)
    text += v
      .getUint8(at + i)
      .toString(16)
      .padStart(2, '0');
  return text;
}

/** Bytes from hexadecimal digits; white space is ignored. Throws a TypeError for anything else. */
export function fromHex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, '');
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) {
    throw new TypeError(`expected pairs of hexadecimal digits, got "${text.slice(0, 40)}"`);
  }
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
