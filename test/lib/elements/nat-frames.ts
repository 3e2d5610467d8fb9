/** Frames for the tests of published ports, made whole with every checksum: what a translation has to come to. */
import { viewOf } from '../../../codecs/bytes.ts';
import { pseudo4, pseudo6 } from '../../../codecs/checksum.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as icmp from '../../../codecs/icmp.ts';
import * as icmpv6 from '../../../codecs/icmpv6.ts';
import * as ip from '../../../codecs/ip.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import { DESTINATION_OPTIONS, FRAGMENT, ICMP, ICMPV6, SCTP, TCP, UDP } from '../../../codecs/protocol.ts';
import * as sctp from '../../../codecs/sctp.ts';
import * as tcp from '../../../codecs/tcp.ts';
import * as udp from '../../../codecs/udp.ts';
import { frame } from './tunnel.ts';

export interface Segment {
  readonly protocol: number;
  readonly src: string;
  readonly dst: string;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly payload?: Uint8Array;
  /** TCP flags, or the type of the first SCTP chunk. */
  readonly flags?: number;
  /** UDP without a checksum. */
  readonly zero?: boolean;
  /** The field holds the sum of the pseudo header. */
  readonly partial?: boolean;
  /** Bytes of IPv4 options, a multiple of 4, or of an IPv6 header of destination options, a multiple of 8. */
  readonly options?: number;
}

const PAYLOAD = new Uint8Array(5).fill(7);

/** The IP packet of a segment. */
export function packetOf(segment: Segment): Uint8Array {
  const { protocol, srcPort, dstPort, payload = PAYLOAD, flags = tcp.ACK } = segment;
  const size = { [TCP]: tcp.SIZE, [UDP]: udp.SIZE, [SCTP]: sctp.SIZE + 4 }[protocol]!;
  const bytes = new Uint8Array(size + payload.length);
  bytes.set(payload, size);
  const v = viewOf(bytes);
  if (protocol === TCP) tcp.write(v, 0, srcPort, dstPort, 1, 2, tcp.SIZE, flags, 1000);
  else if (protocol === UDP) udp.write(v, 0, srcPort, dstPort, bytes.length, 0);
  else {
    sctp.write(v, 0, srcPort, dstPort, 0x01020304);
    v.setUint32(sctp.SIZE, (flags << 24) | (bytes.length - sctp.SIZE));
  }
  const { packet, l4 } = inIp(segment, protocol, bytes);
  fill(segment, viewOf(packet), l4);
  return packet;
}

function fill({ protocol, zero, partial, src }: Segment, v: DataView, l4: number): void {
  const length = v.byteLength - l4;
  const pseudo = src.includes(':') ? pseudo6(v, 0, protocol, length) : pseudo4(v, 0, protocol, length);
  if (partial) v.setUint16(l4 + (protocol === TCP ? 16 : 6), pseudo);
  else if (protocol === TCP) tcp.fillChecksum(v, l4, v.byteLength, pseudo);
  else if (protocol === SCTP) sctp.fillChecksum(v, l4, v.byteLength);
  else if (!zero) udp.fillChecksum(v, l4, pseudo);
}

/** Puts IP headers in front; of IPv6 the pseudo header's sum is that of the addresses, whatever lies between. */
function inIp(
  { src, dst, options = 0 }: Omit<Segment, 'protocol' | 'srcPort' | 'dstPort'>,
  protocol: number,
  bytes: Uint8Array,
) {
  const [from, to] = [src, dst].map((text) => ip.parse(text).words);
  const size = src.includes(':') ? ipv6.SIZE : ipv4.SIZE;
  const l4 = size + options;
  const packet = new Uint8Array(l4 + bytes.length);
  packet.set(bytes, l4);
  const v = viewOf(packet);
  if (size === ipv4.SIZE) {
    ipv4.write(v, 0, 0, packet.length, 7, 0, 64, protocol, from[3], to[3]);
    ipv4.setHeaderLength(v, 0, l4);
    for (let i = size; i < l4; i++) packet[i] = 1;
    ipv4.fillChecksum(v, 0);
  } else {
    ipv6.write(v, 0, 0, 0, packet.length - size, options > 0 ? DESTINATION_OPTIONS : protocol, 64, from, to);
    if (options > 0) packet.set([protocol, options / 8 - 1, 1, options - 4], size);
  }
  return { packet, l4 };
}

export function frameOf(segment: Segment): Uint8Array {
  return around(packetOf(segment), segment.src);
}

/** An ICMP error of a type from `src` to `dst` that quotes the first bytes of an IP packet. */
export function errorOf(type: number, src: string, dst: string, quoted: Uint8Array, rest = 1400): Uint8Array {
  const six = src.includes(':');
  const bytes = new Uint8Array(8 + quoted.length);
  bytes.set(quoted, 8);
  if (six) icmpv6.write(viewOf(bytes), 0, type, 0, rest);
  else icmp.write(viewOf(bytes), 0, type, 4, rest);
  const { packet, l4 } = inIp({ src, dst }, six ? ICMPV6 : ICMP, bytes);
  const v = viewOf(packet);
  if (six) icmpv6.fillChecksum(v, l4, packet.length, pseudo6(v, 0, ICMPV6, bytes.length));
  else icmp.fillChecksum(v, l4, packet.length);
  return around(packet, src);
}

/** The fragments of an IP packet, the first with `first` bytes behind the IP header, as frames. */
export function fragments(packet: Uint8Array, first: number): Uint8Array[] {
  const six = packet[0] >>> 4 === 6;
  const size = six ? ipv6.SIZE : ipv4.SIZE;
  const piece = (from: number, to: number): Uint8Array => {
    const more = to < packet.length - size;
    const header = packet.slice(0, size);
    const v = viewOf(header);
    const body = packet.slice(size + from, size + to);
    if (!six) {
      ipv4.setTotalLength(v, 0, size + body.length);
      ipv4.setFragmentOffset(v, 0, from);
      ipv4.setFlags(v, 0, more ? ipv4.MF : 0);
      ipv4.fillChecksum(v, 0);
      return around(Uint8Array.of(...header, ...body), '');
    }
    const extension = Uint8Array.of(
      ipv6.nextHeader(v, 0),
      0,
      from >> 8,
      (from & 0xf8) | (more ? 1 : 0),
      0,
      0,
      0,
      9,
    );
    ipv6.setNextHeader(v, 0, FRAGMENT);
    ipv6.setPayloadLength(v, 0, 8 + body.length);
    return around(Uint8Array.of(...header, ...extension, ...body), ':');
  };
  return [piece(0, first), piece(first, packet.length - size)];
}

function around(packet: Uint8Array, src: string): Uint8Array {
  return frame(src.includes(':') ? ethernet.TYPE_IPV6 : ethernet.TYPE_IPV4, packet);
}
