/**
 * IPv6 extension headers, RFC 8200 section 4: a chain of hop-by-hop options (0), routing (43), fragment (44),
 * authentication (51) and destination options (60) in front of the upper layer.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |  Next header  |    Length     |  Fragment: offset, 00, M      |
 *     +---------------+---------------+-------------------------------+
 *
 * Odd: the length counts units of 8 bytes beyond the first 8, but in the authentication header words of 4
 * beyond the first two (RFC 4302 section 2.2); the fragment header has none and is 8 bytes. Whatever else
 * comes, known or not, ESP and "no next header" included, is the upper layer.
 *
 * The walk answers with one integer, an {@link Upper}, so that the packet path need not allocate:
 *
 *     const u = upper(v, at, end);
 *     if (u < 0) return -u;                            // a Fault
 *     if (upperProtocol(u) === udp.PROTOCOL && !isLaterFragment(u)) ... at + upperOffset(u) ...
 */
import { OPTIONS, TOO_DEEP, TRUNCATED } from './fault.ts';
import { nextHeader, SIZE } from './ipv6.ts';
import { AH, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING } from './protocol.ts';

/** The most extension headers that are followed. RFC 8200 gives no bound; real packets have one or two. */
export const MAX_HEADERS = 16;

/**
 * Where the chain ends, packed into 29 bits: the protocol of the upper layer in the low 8, three flags about
 * fragments, and the offset from the start of the IPv6 header above them. Negative: a `Fault`, negated.
 */
export type Upper = number;

/** A fragment header was met, be it that of a whole packet ("atomic", RFC 6946). */
const HAS_FRAGMENT_HEADER = 0x100;
/** The packet is a part of a larger one. */
const IS_FRAGMENT = 0x200;
/** It is not the first part. */
const IS_LATER = 0x400;
const OFFSET_SHIFT = 11;

/**
 * Walks the chain of the header at `at`, which has to be whole, without a look at or behind `end`: where the
 * payload ends, or where what was quoted of it does. A later fragment has no upper layer: the walk ends at
 * its data, whose protocol is that of the first header in the original's fragmentable part.
 *
 * Faults: TRUNCATED for a header that is cut, which in a whole first fragment RFC 7112 forbids; OPTIONS for
 * hop-by-hop options that are not first (RFC 8200 section 4); TOO_DEEP beyond {@link MAX_HEADERS}.
 */
export function upper(v: DataView, at: number, end: number): Upper {
  let protocol = nextHeader(v, at);
  let i = at + SIZE;
  let flags = 0;
  for (let n = 0; isExtension(protocol); n++) {
    if (n === MAX_HEADERS) return -TOO_DEEP;
    if (protocol === HOP_BY_HOP && n > 0) return -OPTIONS;
    if (end - i < 8) return -TRUNCATED;
    const bytes = headerLength(v, i, protocol);
    if (bytes > end - i) return -TRUNCATED;
    if (protocol === FRAGMENT) flags |= fragmentFlags(v, i);
    protocol = v.getUint8(i);
    i += bytes;
    if ((flags & IS_LATER) !== 0) break;
  }
  return ((i - at) << OFFSET_SHIFT) | flags | protocol;
}

/** Whether a next header is one that the walk steps over. */
export function isExtension(protocol: number): boolean {
  return (
    protocol === HOP_BY_HOP ||
    protocol === ROUTING ||
    protocol === FRAGMENT ||
    protocol === AH ||
    protocol === DESTINATION_OPTIONS
  );
}

/** Bytes of the extension header at `i`, which is of that protocol. */
export function headerLength(v: DataView, i: number, protocol: number): number {
  if (protocol === FRAGMENT) return 8;
  const length = v.getUint8(i + 1);
  return protocol === AH ? (length + 2) << 2 : (length + 1) << 3;
}

function fragmentFlags(v: DataView, i: number): number {
  const word = v.getUint16(i + 2);
  if ((word & 0xfff8) !== 0) return HAS_FRAGMENT_HEADER | IS_FRAGMENT | IS_LATER;
  return (word & 1) !== 0 ? HAS_FRAGMENT_HEADER | IS_FRAGMENT : HAS_FRAGMENT_HEADER;
}

/** Protocol of the upper layer. */
export function upperProtocol(u: Upper): number {
  return u & 0xff;
}

/** Bytes from the start of the IPv6 header to the upper layer's. */
export function upperOffset(u: Upper): number {
  return u >>> OFFSET_SHIFT;
}

/** Whether there is a fragment header at all: neighbor discovery must not have one (RFC 6980 section 5). */
export function hasFragmentHeader(u: Upper): boolean {
  return (u & HAS_FRAGMENT_HEADER) !== 0;
}

/** Whether this is a part of a packet: its first, a later or its last. */
export function isFragment(u: Upper): boolean {
  return (u & IS_FRAGMENT) !== 0;
}

/** Whether the packet is a fragment other than the first, which carries no transport header. */
export function isLaterFragment(u: Upper): boolean {
  return (u & IS_LATER) !== 0;
}
