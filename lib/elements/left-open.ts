/**
 * Frames out of a tunnel that never were on a wire. Where both ends of the underlay are on one machine, as with a
 * veth, the far kernel leaves the checksum of the *inner* packet to a network card that is not there, and does not
 * even cut a super-frame: what a socket gets is one datagram of up to 64 KiB, in which the TCP or UDP checksum field
 * still holds the sum of the pseudo header. That is how such a frame is known; nothing else tells of it.
 *
 * A packet whose right checksum happens to be equal to that sum is taken for one too, which does no harm:
 * completing it gives the same value again.
 */
import { add, pseudo4, pseudo6 } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import { GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NONE, type Packet } from '../core/packet.ts';
import { ipOf } from './ecn.ts';

const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/**
 * Notes on a packet, which came alone or as a train, that its checksum was left open, and what super-frame it is where
 * its IP packet is larger than `mtu`. False where it is neither: the packet is as it was. Its Ethernet header lies
 * at `at`.
 */
export function noteLeftOpen(p: Packet, at: number, mtu: number): boolean {
  const v = p.view;
  if (p.end - at < ethernet.SIZE + ipv4.SIZE + udp.SIZE) return false;
  const ip = ipOf(v, at, p.end);
  if (ip === NONE) return false;
  const v4 = v.getUint8(ip) >>> 4 === 4;
  const l4 = ip + (v4 ? ipv4.headerLength(v, ip) : ipv6.SIZE);
  const length = p.end - l4;
  if (
    v4
      ? ipv4.totalLength(v, ip) !== p.end - ip || ipv4.isFragment(v, ip)
      : ipv6.payloadLength(v, ip) !== length
  ) {
    return false;
  }
  const protocol = v4 ? ipv4.protocol(v, ip) : ipv6.nextHeader(v, ip);
  const isTcp = protocol === tcp.PROTOCOL;
  if (!isTcp && protocol !== udp.PROTOCOL) return false;
  if (length < (isTcp ? tcp.SIZE : udp.SIZE)) return false;
  const offset = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  const pseudo = v4 ? pseudo4(v, ip, protocol, length) : pseudo6(v, ip, protocol, length);
  if (v.getUint16(l4 + offset) !== add(pseudo, 0)) return false;
  const headers = l4 + (isTcp ? tcp.headerLength(v, l4) : udp.SIZE);
  if (headers > p.end || (isTcp && headers < l4 + tcp.SIZE)) return false;
  // What the socket says of a super-frame of UDP is the size of the inner datagrams.
  const size = p.gsoType === GSO_NONE ? mtu - (headers - ip) : p.gsoSize;
  p.clearOffload();
  p.csumStart = l4;
  p.csumOffset = offset;
  if (size < 1 || p.end - headers <= size || (!isTcp && p.end - ip <= mtu)) return true;
  p.gsoType = isTcp ? (v4 ? GSO_TCPV4 : GSO_TCPV6) : GSO_UDP_L4;
  p.gsoSize = size;
  p.hdrLen = headers - p.start;
  return true;
}
