/**
 * Ports in packets: where they lie, and changing them with the checksums that cover them. Both ports of a header are
 * one word of 32 bits, the source in the upper half.
 */
import { update, update32 } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as extensions from '../../codecs/ipv6-extensions.ts';
import { SCTP, TCP, UDP } from '../../codecs/protocol.ts';
import * as sctp from '../../codecs/sctp.ts';
import * as chunk from '../../codecs/sctp-chunk.ts';
import * as tcp from '../../codecs/tcp.ts';
import { type Drop, MALFORMED, PUBLISHED_FRAGMENT, SCTP_CHECKSUM } from '../core/drop.ts';
import { NONE, type Packet } from '../core/packet.ts';
import { ASKED, BEGUN, CLIENT_DONE, DONE, ENDPOINT_DONE, SIX } from '../tables/flow.ts';

/** No reason to drop a packet. */
export const PASS: Drop = -1;
/** None either, and its ports have been changed. */
export const CHANGED: Drop = -2;

/** Offsets of addresses in an IPv4 header. */
const SRC4 = 12;
const DST4 = 16;
/** Where the IPv4 header has flags and fragment offset, and both in it. */
const FRAGMENT4 = 6;
const MF = ipv4.MF << 13;
const OFFSET = 0x1fff;
const FRAGMENTED = (MF | OFFSET) << 16;
/** The EtherType of IPv4, its version, and a header length of 20. */
const PLAIN = (ethernet.TYPE_IPV4 << 16) | 0x4500;
/** Bytes of the least IPv4 packet with ports. */
const LEAST = ipv4.SIZE + 8;
/** Offsets of checksums in transport headers. */
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const ICMP_CHECKSUM = 2;

/**
 * Where the transport header is: its offset above bit 10, a flag for IPv6 and one for fragments, the protocol in the low
 * 8 bits. NONE where there is none with ports.
 */
export type Transport = number;
const FRAGMENT = 0x100;
const IPV6 = 0x200;
const SHIFT = 10;

/**
 * The same for what nearly all frames are, and NONE for others: an untagged frame with a whole IPv4 packet without options.
 * Three words tell, and {@link ipOf} and {@link transportOf} would say the same.
 */
export function plainOf(v: DataView, start: number, end: number): Transport {
  const room = end - start - ethernet.SIZE;
  // EtherType, version, header length, TOS.
  if (room < LEAST || (v.getInt32(start + ethernet.SIZE - 2) & ~0xff) !== PLAIN) return NONE;
  const total = v.getUint16(start + ethernet.SIZE + 2);
  // Flags, fragment offset, TTL, protocol.
  const word = v.getInt32(start + ethernet.SIZE + FRAGMENT4);
  if (total < LEAST || total > room || (word & FRAGMENTED) !== 0) return NONE;
  return ((start + ethernet.SIZE + ipv4.SIZE) << SHIFT) | (word & 0xff);
}

/** Where the IP header of a packet is that {@link plainOf} found. */
export function plainIp(t: Transport): number {
  return offsetOf(t) - ipv4.SIZE;
}

/**
 * The transport header of the IP packet at `ip`, as {@link ipOf} found it: whole, or a first fragment at the most; at
 * least 8 bytes of it are there.
 */
export function transportOf(v: DataView, ip: number, end: number): Transport {
  // Version, header length, TOS, total length. One look instead of five: every packet comes by here.
  const word = v.getInt32(ip);
  if (word >>> 28 !== 4) return whole6(v, ip, end);
  const header = (word >>> 22) & 0x3c;
  const total = word & 0xffff;
  const fragment = v.getUint16(ip + FRAGMENT4);
  if (header < ipv4.SIZE || header + 8 > total || total > end - ip) return NONE;
  if ((fragment & OFFSET) !== 0) return NONE;
  return ((ip + header) << SHIFT) | ((fragment & MF) !== 0 ? FRAGMENT : 0) | ipv4.protocol(v, ip);
}

function whole6(v: DataView, ip: number, end: number): Transport {
  return ipv6.check(v, ip, end) === OK ? transport6(v, ip, ipv6.payloadEnd(v, ip), 8) : NONE;
}

/** The same for what an ICMP error quotes, of which 4 bytes of the transport header have to be there. */
export function quotedTransport(v: DataView, ip: number, end: number, six: boolean): Transport {
  const size = six ? ipv6.SIZE : ipv4.SIZE;
  if (end - ip < size || v.getUint8(ip) >>> 4 !== (six ? 6 : 4)) return NONE;
  if (six) return transport6(v, ip, end, 4);
  const l4 = ip + ipv4.headerLength(v, ip);
  if (l4 < ip + size || l4 + 4 > end || ipv4.isLaterFragment(v, ip)) return NONE;
  return (l4 << SHIFT) | ipv4.protocol(v, ip);
}

function transport6(v: DataView, ip: number, end: number, least: number): Transport {
  const upper = extensions.upper(v, ip, end);
  if (upper < 0 || extensions.isLaterFragment(upper)) return NONE;
  const l4 = ip + extensions.upperOffset(upper);
  if (l4 + least > end) return NONE;
  const fragment = extensions.isFragment(upper) ? FRAGMENT : 0;
  return (l4 << SHIFT) | IPV6 | fragment | extensions.upperProtocol(upper);
}

export function protocolOf(t: Transport): number {
  return t & 0xff;
}

export function offsetOf(t: Transport): number {
  return t >>> SHIFT;
}

/** Protocol and IP version as the second word of a flow's key has them. */
export function kindOf(t: Transport): number {
  return (t << 24) | (isSix(t) ? SIX : 0);
}

/** Whether the packet is an IPv6 one. */
export function isSix(t: Transport): boolean {
  return (t & IPV6) !== 0;
}

/** Where the source address of the IP packet lies. */
export function sourceOf(ip: number, six: boolean): number {
  return ip + (six ? ipv6.SRC : SRC4);
}

/** Where the destination address of the IP packet lies. */
export function destinationOf(ip: number, six: boolean): number {
  return ip + (six ? ipv6.DST : DST4);
}

/** Whether a message reports an error about a packet that it quotes. */
export function isError(v: DataView, t: Transport): boolean {
  const at = offsetOf(t);
  if (isSix(t)) return protocolOf(t) === icmpv6.PROTOCOL && icmpv6.isError(icmpv6.type(v, at));
  return protocolOf(t) === icmp.PROTOCOL && icmp.isError(icmp.type(v, at));
}

/** What a packet says about its flow; `side` says where it comes from, ASKED or ANSWERED. */
export function flagsOf(v: DataView, t: Transport, end: number, side: number): number {
  return protocolOf(t) === UDP ? side : side | saidOf(v, t, end, side);
}

function saidOf(v: DataView, t: Transport, end: number, side: number): number {
  const at = offsetOf(t);
  if (protocolOf(t) === TCP) {
    if (at + tcp.SIZE > end) return 0;
    const flags = tcp.flags(v, at);
    if ((flags & (tcp.SYN | tcp.FIN | tcp.RST)) === 0) return 0;
    if ((flags & tcp.RST) !== 0) return DONE;
    if ((flags & (tcp.SYN | tcp.ACK)) === tcp.SYN) return BEGUN;
    return (flags & tcp.FIN) === 0 ? 0 : side === ASKED ? CLIENT_DONE : ENDPOINT_DONE;
  }
  if (at + sctp.SIZE + chunk.SIZE > end) return 0;
  const first = chunk.type(v, at + sctp.SIZE);
  if (first === chunk.INIT) return BEGUN;
  return first === chunk.ABORT || first === chunk.SHUTDOWN_COMPLETE ? DONE : 0;
}

/**
 * Changes both ports of the packet whose IP header is at `ip`, and its checksum, and says why that cannot be, or CHANGED.
 * What was left to be completed covers the ports only when it is: the field holds the pseudo header alone.
 */
export function rewrite(p: Packet, ip: number, t: Transport, before: number, after: number): Drop {
  if (protocolOf(t) !== UDP) return rewriteOther(p, ip, t, before, after);
  const v = p.view;
  const at = offsetOf(t);
  const old = v.getUint16(at + UDP_CHECKSUM);
  v.setInt32(at, after);
  // A checksum of 0 would mean that there is none.
  if (old !== 0 && p.csumStart !== at) {
    v.setUint16(at + UDP_CHECKSUM, update32(old, before, after) || 0xffff);
  }
  return CHANGED;
}

function rewriteOther(p: Packet, ip: number, t: Transport, before: number, after: number): Drop {
  const v = p.view;
  const at = offsetOf(t);
  const partial = p.csumStart === at;
  if (protocolOf(t) === SCTP) return rewriteSctp(v, ip, t, after, partial);
  if (at + TCP_CHECKSUM + 2 > payloadEnd(v, ip)) return (t & FRAGMENT) !== 0 ? PUBLISHED_FRAGMENT : MALFORMED;
  if (!partial) updateAt(v, at + TCP_CHECKSUM, before, after);
  v.setInt32(at, after);
  return CHANGED;
}

/** A checksum that was wrong stays so for everybody who can tell: the packet goes no further. */
function rewriteSctp(v: DataView, ip: number, t: Transport, ports: number, partial: boolean): Drop {
  if ((t & FRAGMENT) !== 0) return PUBLISHED_FRAGMENT;
  const at = offsetOf(t);
  const end = payloadEnd(v, ip);
  if (sctp.check(v, at, end) !== OK) return MALFORMED;
  if (!partial && !sctp.verifyChecksum(v, at, end)) return SCTP_CHECKSUM;
  v.setInt32(at, ports);
  if (!partial) sctp.fillChecksum(v, at, end);
  return CHANGED;
}

/**
 * Changes both ports of a packet that the ICMP error at `l4` quotes, whose transport header `t` names, and the
 * checksum of the error. The quoted packet's own checksum follows where it is quoted, so that it stays what it was:
 * right, or wrong. That of SCTP, of which the quoted part is not enough, does not.
 */
export function rewriteQuoted(p: Packet, l4: number, t: Transport, end: number, ports: number): void {
  const v = p.view;
  const at = offsetOf(t);
  const before = v.getInt32(at);
  const protocol = protocolOf(t);
  const open = p.csumStart === l4;
  v.setInt32(at, ports);
  if (!open) updateAt(v, l4 + ICMP_CHECKSUM, before, ports);
  const field = at + (protocol === TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
  if ((protocol !== TCP && protocol !== UDP) || field + 2 > end) return;
  const old = v.getUint16(field);
  if (protocol === TCP) updateAt(v, field, before, ports);
  else if (old !== 0) updateUdp(v, field, before, ports);
  if (!open) {
    const own = l4 + ICMP_CHECKSUM;
    v.setUint16(own, update(v.getUint16(own), old, v.getUint16(field)));
  }
}

/** Where the IP packet ends, padding excluded. */
export function payloadEnd(v: DataView, ip: number): number {
  return v.getUint8(ip) >>> 4 === 4 ? ip + ipv4.totalLength(v, ip) : ipv6.payloadEnd(v, ip);
}

function updateAt(v: DataView, field: number, before: number, after: number): void {
  v.setUint16(field, update32(v.getUint16(field), before, after));
}

/** A checksum of 0 would mean that there is none. */
function updateUdp(v: DataView, field: number, before: number, after: number): void {
  v.setUint16(field, update32(v.getUint16(field), before, after) || 0xffff);
}
