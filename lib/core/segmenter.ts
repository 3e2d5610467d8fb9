/**
 * Cuts a super-frame into the packets that it stands for: the software half of segmentation offload, as a
 * network card does it (TSO and USO), after the rules of the kernel's tcp_gso_segment and udp_gso_segment.
 *
 *     if (!segmenter.begin(p, p.start)) return MALFORMED;
 *     for (let i = 0; i < segmenter.count; i++) {
 *       segmenter.write(i, v, at);                      // p.hdrLen bytes of headers, to anywhere
 *       ... segmenter.payloadAt(i), segmenter.payloadLength(i) ...   // in p.bytes, where it lies
 *       segmenter.copy(i, p, q, at);                    // or: the whole segment to another packet
 *     }
 *
 * Each segment has the headers of the whole, but lengths and checksums of its own, the IPv4 identification
 * and the TCP sequence number counted up; FIN and PSH are those of the last, CWR of the first (RFC 3168
 * section 6.1.2).
 *
 * What all segments have in common is summed once, so that a checksum costs the sum of the payload and seven
 * additions. The headers are kept in `#words`: a segment may be written over those of the super-frame.
 */
import { copySum, fold, sum } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as extensions from '../../codecs/ipv6-extensions.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NONE, type Packet } from './packet.ts';

/** The longest headers of a segment, `hdrLen`, in bytes. */
export const MAX_HEADERS = 256;
/** The most VLAN tags that are stepped over. */
const MAX_TAGS = 4;

/** TCP flags that only the last segment has. */
const LAST = tcp.FIN | tcp.PSH;

// Offsets of what changes from segment to segment.
const IP4_LENGTH = 2;
const IP4_ID = 4;
const IP4_CHECKSUM = 10;
const IP6_LENGTH = 4;
const TCP_SEQ = 4;
const TCP_FLAGS = 12;
const TCP_CHECKSUM = 16;
const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;

export class Segmenter {
  /** Segments of the super-frame that was begun. */
  count = 0;
  /** What the packet is cut from; nothing before the first. */
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** All headers, and how many bytes that is. */
  readonly #words = new Int32Array(MAX_HEADERS / 4);
  #bytes = 0;

  // Offsets from the start of the headers.
  #ip = 0;
  #l4 = 0;
  #v4 = false;
  #tcp = false;

  // Where the payload lies.
  #first = 0;
  #size = 0;
  #step = 0;
  #last = 0;

  // What changes from segment to segment, as the super-frame has it. The sequence number is in two halves,
  // which are small integers.
  #id = 0;
  #seqHi = 0;
  #seqLo = 0;
  /** The 16 bits with data offset and flags, without those that not all segments have. */
  #flags = 0;
  #firstFlags = 0;
  #lastFlags = 0;
  /** Sums, not folded, of what does not: of the IPv4 header, and of the transport header and its pseudo header. */
  #ipSum = 0;
  #l4Sum = 0;

  /**
   * Takes a super-frame whose Ethernet header lies at `at`; what is in front of that, from `p.start`, is
   * repeated by each segment as it is. False where the packet contradicts itself: then it must be dropped.
   * The packet must neither move nor change until its last segment is written.
   */
  begin(p: Packet, at: number): boolean {
    const end = p.start + p.hdrLen;
    let ip = at + ethernet.SIZE;
    if (at < p.start || ip > end || end > p.end) return false;
    let type = ethernet.etherType(p.view, at);
    for (let n = 0; n < MAX_TAGS && vlan.isTag(type) && end - ip >= vlan.SIZE; n++) {
      type = vlan.etherType(p.view, ip);
      ip += vlan.SIZE;
    }
    if (type === ethernet.TYPE_IPV4) return this.#begin4(p, ip, end);
    return type === ethernet.TYPE_IPV6 && this.#begin6(p, ip, end);
  }

  /** {@link begin} for a super-frame without an Ethernet header: an IP header lies at `at`. */
  beginIp(p: Packet, at: number): boolean {
    const end = p.start + p.hdrLen;
    if (at < p.start || at >= end || end > p.end) return false;
    return p.view.getUint8(at) >>> 4 === 4 ? this.#begin4(p, at, end) : this.#begin6(p, at, end);
  }

  /** Where the payload of segment `i` lies in `p.bytes`. */
  payloadAt(i: number): number {
    return this.#first + i * this.#step;
  }

  /** Bytes of payload of segment `i`. */
  payloadLength(i: number): number {
    return i === this.count - 1 ? this.#last : this.#size;
  }

  /** Writes all headers of segment `i`, `p.hdrLen` bytes, to `to`. */
  write(i: number, v: DataView, to: number): void {
    const at = this.#first + i * this.#step;
    const bytes = i === this.count - 1 ? this.#last : this.#size;
    this.#write(i, bytes, sum(this.#view, at, at + bytes), v, to);
  }

  /** Writes segment `i` of `p` whole, headers and payload, to a place in another packet. */
  copy(i: number, p: Packet, q: Packet, to: number): void {
    const at = this.#first + i * this.#step;
    const bytes = i === this.count - 1 ? this.#last : this.#size;
    const target = to + this.#bytes;
    let payload = copySum(p.view, at, at + bytes, q.view, target);
    if (payload < 0) {
      q.pool.copy(p, at, at + bytes, q, target);
      payload = sum(p.view, at, at + bytes);
    }
    this.#write(i, bytes, payload, q.view, to);
  }

  #begin4(p: Packet, ip: number, end: number): boolean {
    const v = p.view;
    // The header's own length is checked against `end` below: its total length is that of the super-frame.
    if (end - ip < ipv4.SIZE || v.getUint8(ip) >>> 4 !== 4 || ipv4.isFragment(v, ip)) return false;
    const l4 = ip + ipv4.headerLength(v, ip);
    if (l4 - ip < ipv4.SIZE || !this.#begin(p, ip, l4, end, ipv4.protocol(v, ip))) return false;
    if (ipv4.totalLength(v, ip) !== end - ip + this.#solid(p)) return false;
    const addresses = sum(v, ip + 12, ip + 20);
    const fixed = v.getUint16(ip) + v.getUint16(ip + 6) + v.getUint16(ip + 8) + addresses;
    this.#ipSum = l4 - ip === ipv4.SIZE ? fixed : fixed + sum(v, ip + ipv4.SIZE, l4);
    this.#id = ipv4.id(v, ip);
    this.#v4 = true;
    this.#sum(v, l4, end, addresses);
    return true;
  }

  #begin6(p: Packet, ip: number, end: number): boolean {
    const v = p.view;
    if (end - ip < ipv6.SIZE || v.getUint8(ip) >>> 4 !== 6) return false;
    const u = extensions.upper(v, ip, end);
    if (u < 0 || extensions.isFragment(u)) return false;
    const l4 = ip + extensions.upperOffset(u);
    if (!this.#begin(p, ip, l4, end, extensions.upperProtocol(u))) return false;
    if (ipv6.payloadLength(v, ip) !== end - ip - ipv6.SIZE + this.#solid(p)) return false;
    this.#v4 = false;
    this.#sum(v, l4, end, sum(v, ip + ipv6.SRC, ip + ipv6.SIZE));
    return true;
  }

  /** Checks the transport header and where the payload lies, and takes what all kinds have in common. */
  #begin(p: Packet, ip: number, l4: number, end: number, protocol: number): boolean {
    const v = p.view;
    this.#tcp = protocol === tcp.PROTOCOL;
    if (protocol !== protocolOf(p.gsoType, v.getUint8(ip) >>> 4)) return false;
    if (end - l4 < (this.#tcp ? tcp.SIZE : udp.SIZE)) return false;
    if (end - l4 !== (this.#tcp ? tcp.headerLength(v, l4) : udp.SIZE)) return false;
    if (p.hdrLen > MAX_HEADERS || p.gsoSize < 1 || p.gap < 0) return false;
    this.#first = end;
    this.#size = p.gsoSize;
    this.#step = p.gsoSize + p.gap;
    this.count = Math.max(Math.ceil((p.end - end) / this.#step), 1);
    // More than a segment's payload is left where the packet ends within a gap.
    this.#last = p.end - end - (this.count - 1) * this.#step;
    if (this.#last > this.#size) return false;
    if (!this.#tcp && udp.length(v, l4) !== udp.SIZE + this.#solid(p)) return false;
    this.#view = v;
    this.#ip = ip - p.start;
    this.#l4 = l4 - p.start;
    this.#bytes = p.hdrLen;
    this.#keep(v, p.start);
    return true;
  }

  /** Bytes of payload of all segments. */
  #solid(p: Packet): number {
    return p.end - this.#first - (this.count - 1) * p.gap;
  }

  /** Keeps the headers, the last word of four bytes so that it ends where they do. */
  #keep(v: DataView, start: number): void {
    const words = this.#words;
    const last = this.#bytes - 4;
    let k = 0;
    for (let i = 0; i < last; i += 4) words[k++] = v.getInt32(start + i, true);
    words[k] = v.getInt32(start + last, true);
  }

  /** Sums what all transport headers have in common; `addresses` is the sum of the pseudo header's. */
  #sum(v: DataView, l4: number, end: number, addresses: number): void {
    const ports = v.getUint16(l4) + v.getUint16(l4 + 2);
    if (!this.#tcp) {
      this.#l4Sum = addresses + udp.PROTOCOL + ports;
      return;
    }
    const acks = v.getUint16(l4 + 8) + v.getUint16(l4 + 10);
    const options = end - l4 === tcp.SIZE ? 0 : sum(v, l4 + tcp.SIZE, end);
    const rest = tcp.window(v, l4) + tcp.urgent(v, l4);
    this.#l4Sum = addresses + tcp.PROTOCOL + ports + acks + rest + options;
    this.#seqHi = v.getUint16(l4 + TCP_SEQ);
    this.#seqLo = v.getUint16(l4 + TCP_SEQ + 2);
    const flags = v.getUint16(l4 + TCP_FLAGS);
    this.#flags = flags & ~(LAST | tcp.CWR);
    this.#firstFlags = flags & tcp.CWR;
    this.#lastFlags = flags & LAST;
  }

  #write(i: number, bytes: number, payload: number, v: DataView, to: number): void {
    const words = this.#words;
    const last = this.#bytes - 4;
    let k = 0;
    for (let at = 0; at < last; at += 4) v.setInt32(to + at, words[k++], true);
    v.setInt32(to + last, words[k], true);

    const length = this.#bytes - this.#l4 + bytes;
    if (this.#v4) this.#write4(i, length, v, to + this.#ip);
    else v.setUint16(to + this.#ip + IP6_LENGTH, this.#l4 - this.#ip - ipv6.SIZE + length);
    if (this.#tcp) this.#writeTcp(i, length, payload, v, to + this.#l4);
    else this.#writeUdp(length, payload, v, to + this.#l4);
  }

  #write4(i: number, length: number, v: DataView, ip: number): void {
    const total = this.#l4 - this.#ip + length;
    const id = (this.#id + i) & 0xffff;
    v.setUint16(ip + IP4_LENGTH, total);
    v.setUint16(ip + IP4_ID, id);
    v.setUint16(ip + IP4_CHECKSUM, ~fold(this.#ipSum + total + id));
  }

  #writeTcp(i: number, length: number, payload: number, v: DataView, l4: number): void {
    const low = this.#seqLo + i * this.#size;
    const lo = low & 0xffff;
    const hi = (this.#seqHi + (low >>> 16)) & 0xffff;
    let flags = this.#flags;
    if (i === 0) flags |= this.#firstFlags;
    if (i === this.count - 1) flags |= this.#lastFlags;
    v.setUint16(l4 + TCP_SEQ, hi);
    v.setUint16(l4 + TCP_SEQ + 2, lo);
    v.setUint16(l4 + TCP_FLAGS, flags);
    v.setUint16(l4 + TCP_CHECKSUM, ~fold(this.#l4Sum + length + hi + lo + flags + payload));
  }

  /** The length counts twice, in the header and in the pseudo header. */
  #writeUdp(length: number, payload: number, v: DataView, l4: number): void {
    const s = fold(this.#l4Sum + 2 * length + payload);
    v.setUint16(l4 + UDP_LENGTH, length);
    v.setUint16(l4 + UDP_CHECKSUM, s === 0xffff ? s : ~s);
  }
}

/** The protocol of a kind of super-frame over that version of IP, or NONE where there is no such kind. */
function protocolOf(gsoType: number, version: number): number {
  const kind = gsoType & ~GSO_ECN;
  if (kind === GSO_UDP_L4) return udp.PROTOCOL;
  return kind === (version === 4 ? GSO_TCPV4 : GSO_TCPV6) ? tcp.PROTOCOL : NONE;
}
