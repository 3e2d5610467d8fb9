/**
 * ICMP errors about Ethernet frames with IP, made out of the frame itself: what is quoted stays where it is,
 * and headers are put in front.
 *
 * A bridge has no address of its own, so the error bears the address that the packet was for, as if its
 * destination had sent it; and the MAC addresses are swapped.
 */
import { pseudo6 } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { isLaterFragment, upper, upperOffset, upperProtocol } from '../../codecs/ipv6-extensions.ts';
import { isGroup } from '../../codecs/mac.ts';
import type { Packet } from '../core/packet.ts';
import { networkOf } from './vlan-tags.ts';

/** Most bytes of a packet that are quoted, so that the error is no longer than 576 bytes (RFC 1812 section
 * 4.3.2.3) or 1280 (RFC 4443 section 3.2). */
const QUOTE4 = 576 - ipv4.SIZE - icmp.SIZE;
const QUOTE6 = 1280 - ipv6.SIZE - icmpv6.SIZE;
/** Bytes in front of a frame that an error needs at the most. */
const ROOM = ipv6.SIZE + icmpv6.SIZE;
/** Internetwork control (RFC 1812 section 4.3.2.5). */
const TOS = 0xc0;
const TTL = 64;

/**
 * Whether a frame may be answered by an error; `ip` is where its IP header starts, as `ipOf` found it. ICMP
 * errors, fragments but the first, and what was sent to a group or does not come from a single host may not
 * (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
 */
export function mayAnswer(p: Packet, ip: number): boolean {
  const v = p.view;
  const at = p.start;
  if (at < ROOM || isGroup(ethernet.dstHi(v, at)) || isGroup(ethernet.srcHi(v, at))) return false;
  return v.getUint8(ip) >>> 4 === 4 ? mayAnswer4(v, ip, p.end) : mayAnswer6(v, ip, p.end);
}

function mayAnswer4(v: DataView, ip: number, end: number): boolean {
  if (ipv4.check(v, ip, end) !== OK || !ipv4.verifyChecksum(v, ip)) return false;
  if (!isHost4(ipv4.src(v, ip) | 0) || !isHost4(ipv4.dst(v, ip) | 0) || ipv4.isLaterFragment(v, ip))
    return false;
  if (ipv4.protocol(v, ip) !== icmp.PROTOCOL) return true;
  const at = ip + ipv4.headerLength(v, ip);
  return icmp.check(v, at, ip + ipv4.totalLength(v, ip)) === OK && !icmp.isError(icmp.type(v, at));
}

/** Whether an IPv4 address can be a single host's: not 0/8, 127/8, multicast, reserved or broadcast (RFC 1122
 * section 3.2.1.3). */
function isHost4(address: number): boolean {
  const net = address >>> 24;
  return net !== 0 && net !== 127 && net < 224;
}

function mayAnswer6(v: DataView, ip: number, end: number): boolean {
  if (ipv6.check(v, ip, end) !== OK) return false;
  // Packets to a group could be answered, but not in the group's name.
  if (ipv6.isMulticast(v, ip + ipv6.DST) || ipv6.isMulticast(v, ip + ipv6.SRC)) return false;
  if (ipv6.isUnspecified(v, ip + ipv6.SRC)) return false;
  const stop = ipv6.payloadEnd(v, ip);
  const chain = upper(v, ip, stop);
  if (chain < 0 || isLaterFragment(chain)) return false;
  if (upperProtocol(chain) !== icmpv6.PROTOCOL) return true;
  const at = ip + upperOffset(chain);
  if (icmpv6.check(v, at, stop) !== OK) return false;
  return !icmpv6.isError(icmpv6.type(v, at)) && icmpv6.type(v, at) !== icmpv6.REDIRECT;
}

/** Turns a packet into ICMP Fragmentation Needed with the MTU of the next hop (RFC 1191 section 4). */
export function fragmentationNeeded(p: Packet, ip: number, mtu: number): void {
  const v = p.view;
  const at = ip - icmp.SIZE;
  const header = at - ipv4.SIZE;
  const from = ipv4.dst(v, ip) | 0;
  const to = ipv4.src(v, ip) | 0;
  turn(p, ip - header);
  p.end = ip + Math.min(ipv4.totalLength(v, ip), QUOTE4);
  ipv4.write(v, header, TOS, p.end - header, 0, ipv4.DF, TTL, icmp.PROTOCOL, from, to);
  icmp.write(v, at, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, mtu);
  icmp.fillChecksum(v, at, p.end);
}

/** Turns a packet into ICMPv6 Packet Too Big (RFC 4443 section 3.2). */
export function packetTooBig(p: Packet, ip: number, mtu: number): void {
  const v = p.view;
  const at = ip - icmpv6.SIZE;
  const header = at - ipv6.SIZE;
  turn(p, ip - header);
  p.end = ip + Math.min(ipv6.SIZE + ipv6.payloadLength(v, ip), QUOTE6);
  v.setUint32(header, 6 << 28);
  ipv6.setPayloadLength(v, header, p.end - at);
  ipv6.setNextHeader(v, header, icmpv6.PROTOCOL);
  ipv6.setHopLimit(v, header, TTL);
  ipv6.copyAddress(v, ip + ipv6.DST, header + ipv6.SRC);
  ipv6.copyAddress(v, ip + ipv6.SRC, header + ipv6.DST);
  icmpv6.write(v, at, icmpv6.PACKET_TOO_BIG, 0, mtu);
  icmpv6.fillChecksum(v, at, p.end, pseudo6(v, header, icmpv6.PROTOCOL, p.end - at));
}

/** Moves the MAC header, tags included, to the front, at least as far as it is long, and swaps the addresses.
 * What was noted about the frame is forgotten. */
function turn(p: Packet, bytes: number): void {
  const v = p.view;
  const from = p.start;
  const to = from - bytes;
  const end = networkOf(v, from, p.end);
  ethernet.setDst(v, to, ethernet.srcHi(v, from), ethernet.srcLo(v, from) | 0);
  ethernet.setSrc(v, to, ethernet.dstHi(v, from), ethernet.dstLo(v, from) | 0);
  for (let i = from + 12; i < end; i += 2) v.setUint16(i - bytes, v.getUint16(i));
  p.start = to;
  p.forget();
  p.clearOffload();
}
