/**
 * Keeps frames out of a tunnel that are too large for it and tells who sent them, since neither end of a
 * VXLAN tunnel fragments (RFC 7348 section 4.3): ICMP Fragmentation Needed with the MTU (RFC 1191 section 4),
 * ICMPv6 Packet Too Big (RFC 4443 section 3.2). The frame itself is turned into the answer: what it quotes
 * stays where it is, and headers are put in front.
 *
 * A bridge has no address of its own, so the answer bears the address that the packet was for, as a
 * destination's own error would; and it cannot fragment, so that an IPv4 packet that would allow it (DF clear)
 * is answered like one that would not.
 *
 * No answer is given to ICMP errors, to fragments but the first, to what was sent to a group or does not come
 * from a single host (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e), and beyond a rate (section 2.4 f).
 *
 * Outputs: `out`, frames that fit; `reply`, with `p.out` where the frame came from and `p.port` NONE. Every
 * frame that is too big counts as dropped for that, whether it was answered or not.
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
import type { Batch } from '../core/batch.ts';
import { TOO_BIG } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { GSO_NONE, isRemote, NONE, type Packet } from '../core/packet.ts';
import { ipOf } from './ecn.ts';
import { networkOf } from './vlan-tags.ts';

export interface TooBigOptions {
  /** Largest IP packet that fits, in bytes, 68..65535. Other frames may carry as much. */
  readonly mtu: number;
  /** Answers a second, 0 or more. Default 1000. */
  readonly perSecond?: number;
  /** Answers at once, 1 or more. Default 50. */
  readonly burst?: number;
}

/** Most bytes of a packet that are quoted, so that the answer is no longer than 576 bytes (RFC 1812 section
 * 4.3.2.3) or 1280 (RFC 4443 section 3.2). */
const QUOTE4 = 576 - ipv4.SIZE - icmp.SIZE;
const QUOTE6 = 1280 - ipv6.SIZE - icmpv6.SIZE;
/** Internetwork control (RFC 1812 section 4.3.2.5). */
const TOS = 0xc0;
const TTL = 64;

const TOKENS = 0;
const COUNTED = 1;

const COUNTERS = ['answered4', 'answered6', 'limited'];
const ANSWERED4 = 0;
const ANSWERED6 = 1;
const LIMITED = 2;

export class TooBig extends Element {
  readonly #out = this.output('out');
  readonly #reply = this.output('reply');
  #mtu = 0;
  /** Answers a millisecond. */
  #rate = 0;
  #burst = 0;
  /** Answers that may be given now, and when they were counted in ms. A field would hold a new object for
   * every number. */
  readonly #bucket = new Float64Array(2);

  /** Throws a RangeError for numbers out of range. */
  constructor(context: Context, name: string, options: TooBigOptions) {
    check(options);
    super(context, name, COUNTERS);
    this.#bucket[TOKENS] = Number.POSITIVE_INFINITY;
    this.#bucket[COUNTED] = context.clock.now;
    this.#use(options);
  }

  /** Another MTU, another rate. */
  override configure(options: TooBigOptions): boolean {
    check(options);
    this.#use(options);
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      if (this.#fits(p)) packets[n++] = p;
      else this.#refuse(p);
    }
    batch.length = n;
    if (n > 0) this.#out.next.push(batch);
    this.#reply.flush();
  }

  /** A super-frame is as long as its segments. */
  #fits(p: Packet): boolean {
    const bytes = p.gsoType === GSO_NONE ? p.length : Math.min(p.hdrLen + p.gsoSize, p.length);
    if (bytes <= this.#mtu + ethernet.SIZE) return true;
    return bytes <= this.#mtu + networkOf(p.view, p.start, p.end) - p.start;
  }

  #refuse(p: Packet): void {
    const ip = this.#answerable(p);
    if (ip === NONE || !this.#spend()) {
      this.drop(p, TOO_BIG);
      return;
    }
    this.lost(TOO_BIG);
    if (this.context.onDrop !== null) this.context.onDrop(p, TOO_BIG, this.name);
    if (p.view.getUint8(ip) >>> 4 === 4) this.#answer4(p, ip);
    else this.#answer6(p, ip);
    p.out = p.port;
    p.port = NONE;
    p.peer = NONE;
    p.hash = 0;
    p.l3 = NONE;
    p.l4 = NONE;
    p.clearOffload();
    this.#reply.add(p);
  }

  /** Offset of the IP header of a packet that may be answered, or NONE. */
  #answerable(p: Packet): number {
    const v = p.view;
    const at = p.start;
    if (p.port === NONE || isRemote(p.port)) return NONE;
    if (isGroup(ethernet.dstHi(v, at)) || isGroup(ethernet.srcHi(v, at))) return NONE;
    const ip = ipOf(v, at, p.end);
    if (ip === NONE || at < ipv6.SIZE + icmpv6.SIZE) return NONE;
    const yes = v.getUint8(ip) >>> 4 === 4 ? answerable4(v, ip, p.end) : answerable6(v, ip, p.end);
    return yes ? ip : NONE;
  }

  #spend(): boolean {
    const { now } = this.context.clock;
    const bucket = this.#bucket;
    bucket[TOKENS] = Math.min(bucket[TOKENS] + (now - bucket[COUNTED]) * this.#rate, this.#burst);
    bucket[COUNTED] = now;
    if (bucket[TOKENS] < 1) {
      this.count(LIMITED);
      return false;
    }
    bucket[TOKENS]--;
    return true;
  }

  #answer4(p: Packet, ip: number): void {
    const v = p.view;
    const at = ip - icmp.SIZE;
    const header = at - ipv4.SIZE;
    const from = ipv4.dst(v, ip) | 0;
    const to = ipv4.src(v, ip) | 0;
    turn(p, ip - header);
    p.end = ip + Math.min(ipv4.totalLength(v, ip), QUOTE4);
    ipv4.write(v, header, TOS, p.end - header, 0, ipv4.DF, TTL, icmp.PROTOCOL, from, to);
    icmp.write(v, at, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, this.#mtu);
    icmp.fillChecksum(v, at, p.end);
    this.count(ANSWERED4);
  }

  #answer6(p: Packet, ip: number): void {
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
    icmpv6.write(v, at, icmpv6.PACKET_TOO_BIG, 0, this.#mtu);
    icmpv6.fillChecksum(v, at, p.end, pseudo6(v, header, icmpv6.PROTOCOL, p.end - at));
    this.count(ANSWERED6);
  }

  #use({ mtu, perSecond = 1000, burst = 50 }: TooBigOptions): void {
    this.#mtu = mtu;
    this.#rate = perSecond / 1000;
    this.#burst = burst;
  }
}

/** Moves the MAC header, tags included, `bytes` to the front, addresses swapped: at least as far as it is long. */
function turn(p: Packet, bytes: number): void {
  const v = p.view;
  const from = p.start;
  const to = from - bytes;
  const end = networkOf(v, from, p.end);
  ethernet.setDst(v, to, ethernet.srcHi(v, from), ethernet.srcLo(v, from) | 0);
  ethernet.setSrc(v, to, ethernet.dstHi(v, from), ethernet.dstLo(v, from) | 0);
  for (let i = from + 12; i < end; i += 2) v.setUint16(i - bytes, v.getUint16(i));
  p.start = to;
}

function answerable4(v: DataView, ip: number, end: number): boolean {
  if (ipv4.check(v, ip, end) !== OK || !ipv4.verifyChecksum(v, ip)) return false;
  if (!isHost4(ipv4.src(v, ip)) || !isHost4(ipv4.dst(v, ip)) || ipv4.isLaterFragment(v, ip)) return false;
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

function answerable6(v: DataView, ip: number, end: number): boolean {
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

function check({ mtu, perSecond = 0, burst = 1 }: TooBigOptions): void {
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) {
    throw new RangeError(`"mtu" expected an integer 68..65535, got ${mtu}`);
  }
  if (!(perSecond >= 0 && Number.isFinite(perSecond))) {
    throw new RangeError(`"perSecond" expected a number of at least 0, got ${perSecond}`);
  }
  if (!(burst >= 1 && Number.isFinite(burst))) {
    throw new RangeError(`"burst" expected a number of at least 1, got ${burst}`);
  }
}
