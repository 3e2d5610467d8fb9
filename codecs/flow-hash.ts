/**
 * A hash of the flow that an Ethernet frame belongs to: for the source port of a tunnel (RFC 7348 section 5)
 * and for the IPv6 flow label (RFC 6438 section 3), which spread flows over paths and receive queues and must
 * be the same for all packets of a flow.
 *
 * Hashed are the MAC addresses and, of IP, the addresses, the protocol and the ports. Odd cases:
 *
 * - A fragment is hashed without ports, the first one too, since the others have none and would go another
 *   way; in IPv6 without the protocol as well, which later fragments cannot tell.
 * - VLAN tags are stepped over: a flow does not split where its priority changes.
 * - The length of an 802.3 frame differs from packet to packet and is not hashed.
 * - What is malformed is hashed as far as it is understood. No byte outside of `at..end` counts, nor padding.
 */
import * as ethernet from './ethernet.ts';
import { OK } from './fault.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import * as extensions from './ipv6-extensions.ts';
import { SCTP, TCP, UDP } from './protocol.ts';
import * as vlan from './vlan.ts';

/** A shorter way to it makes {@link add} so small that V8 inlines it wherever it is called. */
const { imul } = Math;

/** The most VLAN tags that are stepped over. */
const MAX_TAGS = 4;

/**
 * 32 bits, signed, never 0 (which on a packet means that nobody computed it). `seed` is any 32-bit number; a
 * secret one keeps strangers from choosing flows that share a path (RFC 6437 section 6).
 */
export function flowHash(v: DataView, at: number, end: number, seed: number): number {
  if (end - at < ethernet.SIZE) return finish(seed);
  // Both MAC addresses as three words. Signed, so that none is too large for a small integer.
  const h = add(add(add(seed, v.getInt32(at)), v.getInt32(at + 4)), v.getInt32(at + 8));
  let type = ethernet.etherType(v, at);
  let i = at + ethernet.SIZE;
  for (let n = 0; n < MAX_TAGS && vlan.isTag(type) && end - i >= vlan.SIZE; n++) {
    type = vlan.etherType(v, i);
    i += vlan.SIZE;
  }
  if (type === ethernet.TYPE_IPV4 && ipv4.check(v, i, end) === OK) return finish(hash4(v, i, h));
  if (type === ethernet.TYPE_IPV6 && ipv6.check(v, i, end) === OK) return finish(hash6(v, i, h));
  return finish(type <= ethernet.MAX_LENGTH ? h : add(h, type));
}

function hash4(v: DataView, ip: number, seed: number): number {
  const protocol = ipv4.protocol(v, ip);
  const h = add(add(add(seed, ipv4.src(v, ip) | 0), ipv4.dst(v, ip) | 0), protocol);
  if (ipv4.isFragment(v, ip)) return h;
  return hashPorts(v, ip + ipv4.headerLength(v, ip), ip + ipv4.totalLength(v, ip), protocol, h);
}

function hash6(v: DataView, ip: number, seed: number): number {
  let h = seed;
  for (let i = ip + ipv6.SRC; i < ip + ipv6.SIZE; i += 4) h = add(h, v.getInt32(i));
  const end = ipv6.payloadEnd(v, ip);
  const u = extensions.upper(v, ip, end);
  if (u < 0 || extensions.isFragment(u)) return h;
  const protocol = extensions.upperProtocol(u);
  return hashPorts(v, ip + extensions.upperOffset(u), end, protocol, add(h, protocol));
}

/** TCP, UDP and SCTP alike begin with the source and the destination port. */
function hashPorts(v: DataView, at: number, end: number, protocol: number, h: number): number {
  const ported = protocol === TCP || protocol === UDP || protocol === SCTP;
  return ported && end - at >= 4 ? add(h, v.getInt32(at)) : h;
}

/** Takes one word in. One multiplication is enough here and takes half the time of a better mix: what it
 * leaves in the high bits, the shift brings down, and {@link finish} spreads at the end. */
function add(h: number, word: number): number {
  const product = imul(h ^ word, 0x9e3779b1);
  return product ^ (product >>> 15);
}

/** Spreads every bit over all others, by the finalizer of MurmurHash3 (Austin Appleby, public domain). */
function finish(word: number): number {
  let h = imul(word ^ (word >>> 16), 0x85ebca6b);
  h = imul(h ^ (h >>> 13), 0xc2b2ae35);
  h ^= h >>> 16;
  return h === 0 ? 1 : h;
}
