/**
 * Frames out of a tunnel that never were on a wire. Where both ends of the underlay are on one machine, as with a
 * veth, the far kernel leaves the checksum of the *inner* packet to a network card that is not there, and does not
 * even cut a super-frame: what a socket gets is one datagram of up to 64 KiB, in which the TCP or UDP checksum field
 * still holds the sum of the pseudo header. That is how such a frame is known; nothing else tells of it.
 *
 * A packet whose right checksum happens to be equal to that sum is taken for one too, which does no harm:
 * completing it gives the same value again.
 *
 * A super-frame of UDP looks like a train: the socket tells the size of the inner datagrams as it tells the size of
 * the outer ones. Which it is decides who gets what lies in it, so hosts inside of the tunnel must have no say. In a
 * train the first packet ends where the first datagram does; in a super-frame it fills the whole, and no VXLAN
 * header follows where the next datagram would begin. What is neither one nor the other is told as a contradiction.
 */
import { pseudo4, pseudo6 } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, isTrain, NONE, type Packet } from '../core/packet.ts';
import { ipOf } from './ecn.ts';

const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
/** The last byte of a VXLAN header. */
const LAST = vxlan.SIZE - 1;

/** It is what it seems to be, a frame or a train. */
export const COMPLETE = 0;
/** Its checksum was left open, which is noted on it now, and what super-frame it is. */
export const OPEN = 1;
/** It must be dropped. */
export const CONTRADICTION = 2;
export type Finding = typeof COMPLETE | typeof OPEN | typeof CONTRADICTION;

/**
 * Finds out what a packet is that came from a socket, alone or as a train; its Ethernet header lies at `at`. One of
 * TCP is a super-frame where its IP packet is larger than `mtu`.
 */
export function noteLeftOpen(p: Packet, at: number, mtu: number): Finding {
  const { view: v, end } = p;
  if (end - at < ethernet.SIZE + ipv4.SIZE + udp.SIZE) return COMPLETE;
  const ip = ipOf(v, at, end);
  if (ip === NONE) return COMPLETE;
  const v4 = v.getUint8(ip) >>> 4 === 4;
  const stop = ip + (v4 ? ipv4.totalLength(v, ip) : ipv6.SIZE + ipv6.payloadLength(v, ip));
  const next = isTrain(p) ? p.start + p.gsoSize : end;
  if (stop <= next && next < end) return COMPLETE;
  const protocol = v4 ? ipv4.protocol(v, ip) : ipv6.nextHeader(v, ip);
  const l4 = stop === end ? transportOf(v, ip, end, protocol) : NONE;
  if (next < end && (l4 === NONE || protocol !== udp.PROTOCOL || continues(v, p.start, next, end))) {
    return CONTRADICTION;
  }
  if (l4 === NONE) return COMPLETE;
  note(p, ip, l4, protocol, mtu);
  return OPEN;
}

/** Where the transport header of a packet lies that ends at `end`, or NONE where its checksum was not left open. */
function transportOf(v: DataView, ip: number, end: number, protocol: number): number {
  const v4 = v.getUint8(ip) >>> 4 === 4;
  const l4 = ip + (v4 ? ipv4.headerLength(v, ip) : ipv6.SIZE);
  if (l4 < ip + ipv4.SIZE || (v4 && ipv4.isFragment(v, ip))) return NONE;
  const length = end - l4;
  const isTcp = protocol === tcp.PROTOCOL;
  if (length < (isTcp ? tcp.SIZE : udp.SIZE)) return NONE;
  if (isTcp) {
    const header = tcp.headerLength(v, l4);
    if (header < tcp.SIZE || header > length) return NONE;
  } else if (protocol !== udp.PROTOCOL) return NONE;
  const pseudo = v4 ? pseudo4(v, ip, protocol, length) : pseudo6(v, ip, protocol, length);
  return v.getUint16(l4 + (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM)) === pseudo ? l4 : NONE;
}

/** Whether there may be a VXLAN header at `at` by the same hand as that at `from`: but for VNI and group, they are equal. */
function continues(v: DataView, from: number, at: number, end: number): boolean {
  if (end - at < vxlan.SIZE || v.getUint8(at + LAST) !== v.getUint8(from + LAST)) return false;
  const differs = v.getInt32(at) ^ v.getInt32(from);
  return (vxlan.flags(v, at) & vxlan.FLAG_GBP) === 0 ? differs === 0 : differs >>> 24 === 0;
}

function note(p: Packet, ip: number, l4: number, protocol: number, mtu: number): void {
  const isTcp = protocol === tcp.PROTOCOL;
  const headers = l4 + (isTcp ? tcp.headerLength(p.view, l4) : udp.SIZE);
  // Of UDP the socket says whether it is a super-frame, and of what; of TCP nobody says anything.
  const size = isTcp ? mtu - (headers - ip) : isTrain(p) ? p.gsoSize : p.length;
  p.clearOffload();
  p.csumStart = l4;
  p.csumOffset = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  if (size < 1 || p.end - headers <= size) return;
  const overTcp = p.view.getUint8(ip) >>> 4 === 4 ? GSO_TCPV4 : GSO_TCPV6;
  p.gsoType = isTcp ? overTcp : GSO_UDP_L4;
  p.gsoSize = size;
  p.hdrLen = headers - p.start;
}
