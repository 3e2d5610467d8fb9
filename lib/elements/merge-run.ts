/**
 * A run: consecutive packets of one TCP or UDP flow that one super-frame can stand for, as the kernel's
 * tcp_gro_receive and udp_gro_receive see it. Packets are called pieces here, since they may lie in a train.
 *
 * Pieces belong together where cutting the super-frame again ({@link Segmenter}) gives back every one of them,
 * bit for bit. So all headers are equal but for what counts up, no piece but the last is shorter than the
 * others or has PSH, and all checksums were verified: a super-frame has none, and must not make a wrong one
 * right. One thing may differ afterwards: the identification of IPv4 packets with DF, which is
 * nobody's business (RFC 6864 section 4.1).
 */
import { fold, sum } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, type Packet } from '../core/packet.ts';
import { MAX_HEADERS } from '../core/segmenter.ts';
import { CHECKSUM, TSO4, TSO6, USO } from '../io/port.ts';
import * as same from './same-headers.ts';

/** The most VLAN tags that are stepped over. */
const MAX_TAGS = 2;
/** The largest IP packet. */
const MAX_PACKET = 0xffff;
/** The most datagrams of a super-frame (UDP_MAX_SEGMENTS of kernels that know no more). */
const MAX_DATAGRAMS = 64;

/** The first 16 bits of an IPv4 header without options, and without TOS. */
const IP4_PLAIN = 0x4500;
/** DF in the 16 bits that tell of fragments. */
const IP4_DF = ipv4.DF << 13;

export class Run {
  /** Where the first piece lies, with the headers of all; null while there is no run. */
  p: Packet | null = null;
  /** Where in that packet the run begins and ends. */
  at = 0;
  end = 0;
  /** Bytes between the payload of one piece and that of the next. */
  gap = 0;
  /** Pieces. */
  count = 0;
  /** Bytes of the headers. */
  headers = 0;

  /** What kinds of super-frames may be made, and how many bytes are in front of the Ethernet header. */
  #kinds = 0;
  #prefix = 0;

  // Offsets from where a piece begins.
  #ip = 0;
  #l4 = 0;
  #v4 = false;
  #tcp = false;
  /** Bytes of payload of the first piece, and of all. */
  #size = 0;
  #payload = 0;
  /** Whether the last piece has PSH, and whether it can be followed by another. */
  #pushed = false;
  #open = false;
  /** Whether the checksums of the first piece are right. */
  #verified = false;
  /** Sums, not folded: of the IPv4 header without what changes, and of the pseudo header without the length. */
  #ipSum = 0;
  #pseudo = 0;

  /** What kinds of super-frames may be made (bits of `offloads`); bytes in front of the Ethernet header. */
  use(kinds: number, prefix: number): void {
    this.#kinds = (kinds & CHECKSUM) !== 0 ? kinds : 0;
    this.#prefix = prefix;
  }

  /**
   * Begins a run with the piece `at..end` of a packet, where the next piece may lie `gap` bytes behind it.
   * False where no other piece could follow it; then there is no run.
   */
  begin(p: Packet, at: number, end: number, gap: number): boolean {
    this.p = null;
    const v = p.view;
    let ip = at + this.#prefix + ethernet.SIZE;
    if (ip + ipv4.SIZE > end) return false;
    for (let n = 0; n < MAX_TAGS && vlan.isTag(v.getUint16(ip - 2)); n++) ip += vlan.SIZE;
    const type = v.getUint16(ip - 2);
    if (type === ethernet.TYPE_IPV4 ? !this.#begin4(v, ip, end) : !this.#begin6(v, type, ip, end))
      return false;
    const l4 = ip + (this.#v4 ? ipv4.SIZE : ipv6.SIZE);
    this.headers = l4 + (this.#tcp ? tcp.headerLength(v, l4) : udp.SIZE) - at;
    this.#size = end - at - this.headers;
    if (this.#size < 1 || this.headers > MAX_HEADERS) return false;
    if (!(this.#tcp ? mayFollow(v, l4) : udp.length(v, l4) === end - l4)) return false;
    this.#ip = ip - at;
    this.#l4 = l4 - at;
    this.#payload = this.#size;
    this.#pushed = false;
    this.#open = true;
    this.#verified = false;
    this.p = p;
    this.at = at;
    this.end = end;
    this.gap = gap + this.headers;
    this.count = 1;
    return true;
  }

  /** Whether the piece `at..end` is the next one of the run and right in all its checksums. */
  accepts(v: DataView, at: number, end: number): boolean {
    const bytes = end - at - this.headers;
    if (!this.#open || bytes < 1 || bytes > this.#size) return false;
    if (this.headers - this.#ip + this.#payload + bytes > MAX_PACKET) return false;
    if (!this.#tcp && this.count === MAX_DATAGRAMS) return false;
    const w = this.p!.view;
    const from = this.at;
    if (!this.#same(w, from, v, at, end)) return false;
    if (!this.#verified) {
      // The first piece may be followed by another only now that it is known to be right.
      this.#verified = this.#open = this.#right(w, from, from + this.headers + this.#size);
      if (!this.#open) return false;
    }
    return this.#right(v, at, end);
  }

  /** Counts the piece at `at` that it has accepted; in the run's packet its payload lies in front of `end`. */
  add(v: DataView, at: number, end: number): void {
    const bytes = end - this.end - this.gap;
    this.count++;
    this.end = end;
    this.#payload += bytes;
    this.#pushed = this.#tcp && (tcp.flags(v, at + this.#l4) & tcp.PSH) !== 0;
    this.#open = bytes === this.#size && !this.#pushed;
  }

  /** The run has been copied to the beginning of another packet. */
  moveTo(p: Packet): void {
    this.end += p.start - this.at;
    this.at = p.start;
    this.p = p;
  }

  /** Ends the run: its packet is the super-frame now, or the only piece as it was. */
  finish(): Packet {
    const p = this.p!;
    this.p = null;
    p.start = this.at;
    p.end = this.end;
    p.clearOffload();
    if (this.count > 1) this.#describe(p);
    return p;
  }

  /** Makes the headers those of the whole. */
  #describe(p: Packet): void {
    const v = p.view;
    const ip = p.start + this.#ip;
    const l4 = p.start + this.#l4;
    const length = this.headers - this.#l4 + this.#payload;
    if (this.#v4) {
      const total = length + ipv4.SIZE;
      ipv4.setTotalLength(v, ip, total);
      ipv4.setChecksum(v, ip, ~fold(this.#ipSum + total + ipv4.id(v, ip)));
    } else ipv6.setPayloadLength(v, ip, length);
    const pseudo = fold(this.#pseudo + length);
    if (this.#tcp) {
      if (this.#pushed) tcp.setFlags(v, l4, tcp.flags(v, l4) | tcp.PSH);
      tcp.setChecksum(v, l4, pseudo);
      p.gsoType = this.#v4 ? GSO_TCPV4 : GSO_TCPV6;
      p.csumOffset = 16;
    } else {
      udp.setLength(v, l4, length);
      udp.setChecksum(v, l4, pseudo);
      p.gsoType = GSO_UDP_L4;
      p.csumOffset = 6;
    }
    p.csumStart = l4;
    p.gsoSize = this.#size;
    p.hdrLen = this.headers;
    p.gap = this.gap;
  }

  /** Neither options nor fragments; `end` is where the packet ends, padding included, which there must not be. */
  #begin4(v: DataView, ip: number, end: number): boolean {
    if (end - ip < ipv4.SIZE + udp.SIZE || (v.getUint16(ip) & 0xff00) !== IP4_PLAIN) return false;
    if (v.getUint16(ip + 2) !== end - ip || (v.getUint16(ip + 6) & ~IP4_DF) !== 0) return false;
    const protocol = ipv4.protocol(v, ip);
    if (!this.#wants(protocol, TSO4, end - ip - ipv4.SIZE)) return false;
    this.#v4 = true;
    const addresses = halves(v, ip + 12) + halves(v, ip + 16);
    this.#pseudo = addresses + protocol;
    this.#ipSum = addresses + v.getUint16(ip) + v.getUint16(ip + 6) + v.getUint16(ip + 8);
    return true;
  }

  /** No extension headers. */
  #begin6(v: DataView, type: number, ip: number, end: number): boolean {
    if (type !== ethernet.TYPE_IPV6 || end - ip < ipv6.SIZE + udp.SIZE || v.getUint8(ip) >>> 4 !== 6)
      return false;
    const length = end - ip - ipv6.SIZE;
    const protocol = ipv6.nextHeader(v, ip);
    if (ipv6.payloadLength(v, ip) !== length || !this.#wants(protocol, TSO6, length)) return false;
    this.#v4 = false;
    this.#pseudo = sum(v, ip + ipv6.SRC, ip + ipv6.SIZE) + protocol;
    return true;
  }

  /** Whether super-frames of a protocol may be made; `tso` is the bit for TCP. The header must be there. */
  #wants(protocol: number, tso: number, length: number): boolean {
    this.#tcp = protocol === tcp.PROTOCOL;
    if (this.#tcp) return (this.#kinds & tso) !== 0 && length >= tcp.SIZE;
    return protocol === udp.PROTOCOL && (this.#kinds & USO) !== 0;
  }

  /** Whether the headers of a piece are those of the next one. */
  #same(w: DataView, from: number, v: DataView, at: number, end: number): boolean {
    const ip = this.#ip;
    const l4 = this.#l4;
    if (!same.bytes(w, from, v, at, ip)) return false;
    const sameIp = this.#v4
      ? same.ipv4(w, from + ip, v, at + ip, end, this.count)
      : same.ipv6(w, from + ip, v, at + ip, end);
    if (!sameIp) return false;
    return this.#tcp
      ? same.tcp(w, from + l4, v, at + l4, this.headers - l4, this.#payload)
      : same.udp(w, from + l4, v, at + l4, end);
  }

  /**
   * Whether the checksums of a piece are right, and written as a sender would: the other way to write 0 could
   * not be given back.
   */
  #right(v: DataView, at: number, end: number): boolean {
    const ip = at + this.#ip;
    const l4 = at + this.#l4;
    if (this.#v4) {
      const check = ipv4.checksum(v, ip);
      const s = this.#ipSum + (end - ip) + ipv4.id(v, ip) + check;
      if (check === 0xffff || fold(s) !== 0xffff) return false;
    }
    if (this.#tcp ? tcp.checksum(v, l4) === 0xffff : udp.checksum(v, l4) === 0) return false;
    return fold(this.#pseudo + (end - l4) + sum(v, l4, end)) === 0xffff;
  }
}

/** Whether a TCP segment can be followed by another: a whole header, ACK alone, reserved bits clear. */
function mayFollow(v: DataView, l4: number): boolean {
  return tcp.headerLength(v, l4) >= tcp.SIZE && (v.getUint16(l4 + 12) & 0xfff) === tcp.ACK;
}

function halves(v: DataView, at: number): number {
  return v.getUint16(at) + v.getUint16(at + 2);
}
