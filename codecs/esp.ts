/**
 * ESP, RFC 4303 section 2: the part of the packet that is never encrypted.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *     |               Security Parameters Index (SPI)                 |
 *     +---------------------------------------------------------------+
 *     |                      Sequence number                          |
 *     +---------------------------------------------------------------+
 *
 * Odd: the pad length and the next header are the last bytes of what is encrypted, so they are `crypto/`'s.
 * ESP rides on IP protocol 50 or in UDP port 4500 (RFC 3948); there it shares the port with IKE, whose
 * messages begin with four zero bytes where the SPI would be, and with keepalives of one byte.
 */
import { type Fault, OK, SHORT, TYPE } from './fault.ts';
import { type Layout, struct, u32 } from './layout.ts';

export const layout: Layout = struct(u32('spi'), u32('seq'));

const SPI = layout.offsetOf('spi');
const SEQ = layout.offsetOf('seq');

/** Bytes of the header. */
export const SIZE = layout.span;
/** IP protocol number. */
export const PROTOCOL = 50;
/** UDP port of ESP in UDP (RFC 3948 section 2). */
export const UDP_PORT = 4500;
/** The smallest SPI that may be chosen: 1..255 are reserved by IANA (RFC 4303 section 2.1). */
export const MIN_SPI = 256;
/** Bytes of zeros in front of an IKE message on port 4500 (RFC 3948 section 2.2). */
export const NON_ESP_MARKER = 4;

/** OK for a whole header; TYPE where the SPI is 0, which never goes on the wire (RFC 4303 section 2.1). */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  return v.getUint32(at + SPI) === 0 ? TYPE : OK;
}

/** What {@link carried} answers. */
export const CARRIED_NOTHING = 0;
export const CARRIED_ESP = 1;
export const CARRIED_IKE = 2;
export const CARRIED_KEEPALIVE = 3;

/** What the UDP payload `at..end` of port 4500 is; CARRIED_NOTHING where it is too short for any. */
export function carried(v: DataView, at: number, end: number): number {
  if (end - at === 1 && v.getUint8(at) === 0xff) return CARRIED_KEEPALIVE;
  if (end - at < NON_ESP_MARKER) return CARRIED_NOTHING;
  if (v.getUint32(at) === 0) return CARRIED_IKE;
  return end - at < SIZE ? CARRIED_NOTHING : CARRIED_ESP;
}

/** Security Parameters Index, unsigned. */
export function spi(v: DataView, at: number): number {
  return v.getUint32(at + SPI);
}

/** Sequence number, or its low half where numbers are extended to 64 bits; unsigned. */
export function seq(v: DataView, at: number): number {
  return v.getUint32(at + SEQ);
}

export function setSpi(v: DataView, at: number, spi: number): void {
  v.setUint32(at + SPI, spi);
}

export function setSeq(v: DataView, at: number, seq: number): void {
  v.setUint32(at + SEQ, seq);
}

/** Writes the whole header. */
export function write(v: DataView, at: number, spi: number, seq: number): void {
  setSpi(v, at, spi);
  setSeq(v, at, seq);
}

/** A decoded header, for people and tools. */
export interface Esp {
  spi: number;
  seq: number;
}

export function decode(v: DataView, at: number): Esp {
  return layout.decode(v, at) as unknown as Esp;
}

/** Writes a decoded header; the cold twin of {@link write}. */
export function encode(fields: Esp, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

/** `ESP(spi=0x12345678,seq=0x1), length 116`, as tcpdump prints it; `end` is where the packet ends. */
export function format(v: DataView, at: number, end: number = at + SIZE): string {
  const spiDigits = spi(v, at).toString(16).padStart(8, '0');
  return `ESP(spi=0x${spiDigits},seq=0x${seq(v, at).toString(16)}), length ${end - at}`;
}
