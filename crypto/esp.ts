/**
 * ESP, RFC 4303, in transport mode with an AEAD (RFC 4106, RFC 7634), in the packet's own slot.
 *
 *      start     HEADER bytes        payload          at most 3 more    icv bytes
 *        |SPI|seq.|   IV    |=====================|padding|length|next|===ICV===|
 *                           |<------------- encrypted -------------->|
 *        |<-authenticated-->|<------------- authenticated ---------->|
 *
 * The IV is the whole sequence number: a counter is the natural unique IV (RFC 4106 section 3.1). A mask that
 * is constant for the association can be mixed in, and does not change that. The high half of an extended
 * number is authenticated at its place between SPI and low half, and does not travel.
 *
 * Nothing here throws for a packet's sake or allocates: what became of a packet is a {@link Result}. Where a
 * packet's parts lie follows from its ends, so nothing has to be returned: after `seal` the packet is
 * `start - HEADER .. sealedEnd(sa, start, end)`, after `open` its payload is
 * `start + HEADER .. payloadEnd(sa, v, end)`.
 */
import * as header from '../codecs/esp.ts';
import { IV } from './aead.ts';
import {
  BAD_ICV,
  BAD_TRAILER,
  DUMMY,
  EXHAUSTED,
  MALFORMED,
  NO_KEY,
  NO_ROOM,
  OK,
  type Result,
} from './result.ts';
import type { InboundSa, OutboundSa } from './sa.ts';

/** Bytes in front of the payload: SPI, sequence number, IV. */
export const HEADER = header.SIZE + IV;
/** Bytes of pad length and next header. */
export const TRAILER = 2;
/** What padding makes the encrypted part a multiple of, in bytes (RFC 4303 section 2.4). */
export const ALIGN = 4;
/** Next header of a dummy packet (RFC 4303 section 2.6). */
export const NO_NEXT_HEADER = 59;

/** Where a sealed packet ends whose payload was `start..end`. */
export function sealedEnd(sa: { readonly icv: number }, start: number, end: number): number {
  return start + padded(end - start) + sa.icv;
}

/** Bytes of payload, padding and trailer. */
function padded(length: number): number {
  return (length + TRAILER + ALIGN - 1) & -ALIGN;
}

/**
 * Seals the payload `start..end`, whose protocol is `nextHeader`. `v` is a view of the same `bytes`. OK,
 * NO_ROOM, EXHAUSTED or NO_KEY; unless OK the packet must not leave. TFC padding (RFC 4303 section 2.7) is
 * zeros at the end of a payload that tells its own length; a dummy is any payload with {@link NO_NEXT_HEADER}.
 */
export function seal(
  sa: OutboundSa,
  bytes: Uint8Array,
  v: DataView,
  start: number,
  end: number,
  nextHeader: number,
): Result {
  const at = start - HEADER;
  const tail = start + padded(end - start);
  if (at < 0 || tail + sa.icv > bytes.length) return NO_ROOM;
  if (!sa.advance(tail + sa.icv - at)) return EXHAUSTED;
  const pad = tail - TRAILER - end;
  for (let i = 0; i < pad; i++) bytes[end + i] = i + 1;
  bytes[tail - 2] = pad;
  bytes[tail - 1] = nextHeader;
  const lo = sa.lo;
  const ivHi = sa.ivHi;
  const ivLo = sa.ivLo;
  header.write(v, at, sa.spi, lo);
  v.setUint32(at + header.SIZE, ivHi);
  v.setUint32(at + header.SIZE + 4, ivLo);
  sa.prepare(sa.hi, lo, ivHi, ivLo);
  return sa.key.seal(bytes, start, tail, sa.aadLength) ? OK : NO_KEY;
}

/**
 * Opens the packet `start..end`, which `sa` was looked up for. OK and DUMMY mean that the peer sealed it and
 * that it is new; a DUMMY is to be discarded silently. Any other result means that nothing in it may be used.
 * The window moves only for what the ICV has verified (RFC 4303 section 3.4.3).
 */
export function open(sa: InboundSa, bytes: Uint8Array, v: DataView, start: number, end: number): Result {
  const at = start + HEADER;
  const tail = end - sa.icv;
  if (tail - at < ALIGN || ((tail - at) & (ALIGN - 1)) !== 0) return MALFORMED;
  if (header.spi(v, start) !== sa.spi) return BAD_ICV; // the ICV covers the SPI that the packet was looked up by
  const lo = header.seq(v, start);
  const window = sa.window;
  let hi = 0;
  if (window !== null) {
    const may = window.check(lo);
    if (may !== OK) return may;
    hi = window.hi;
  }
  sa.prepare(hi, lo, v.getUint32(start + header.SIZE), v.getUint32(start + header.SIZE + 4));
  if (!sa.key.open(bytes, at, tail, sa.aadLength)) return BAD_ICV;
  if (window !== null) {
    const marked = window.mark(hi, lo);
    if (marked !== OK) return marked;
  }
  sa.heard = true;
  // The plaintext of a dummy need not be well formed (RFC 4303 section 2.6).
  if (bytes[tail - 1] === NO_NEXT_HEADER) return DUMMY;
  return paddingIsRight(bytes, at, tail) ? OK : BAD_TRAILER;
}

/** Whether padding lies within the packet and reads 1, 2, 3 ... (RFC 4303 section 2.4). */
function paddingIsRight(bytes: Uint8Array, at: number, tail: number): boolean {
  const pad = bytes[tail - 2];
  const from = tail - TRAILER - pad;
  if (from < at) return false;
  for (let i = 0; i < pad; i++) if (bytes[from + i] !== i + 1) return false;
  return true;
}

/** Where the payload of an opened packet ends that ends at `end`; TFC padding belongs to it. */
export function payloadEnd(sa: InboundSa, bytes: Uint8Array, end: number): number {
  const trailer = end - sa.icv - TRAILER;
  return trailer - bytes[trailer];
}

/** The protocol of an opened packet's payload. */
export function nextHeader(sa: InboundSa, bytes: Uint8Array, end: number): number {
  return bytes[end - sa.icv - 1];
}

/** The most payload bytes of a sealed packet of `length` bytes, from ESP header to ICV; for MTUs. */
export function maxPayload(sa: { readonly icv: number }, length: number): number {
  return Math.floor((length - HEADER - sa.icv) / ALIGN) * ALIGN - TRAILER;
}
