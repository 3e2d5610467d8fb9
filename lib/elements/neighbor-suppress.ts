/**
 * Answers questions for neighbors where control knows the answer, so that they need not be flooded (RFC 9161
 * section 3.3): ARP requests (RFC 826) and neighbor solicitations (RFC 4861). The question is turned into the
 * answer in place and goes back to the port that asked, in the name of the neighbor.
 *
 * Only what a local port sends to everybody is answered. These pass on, to be flooded or forwarded:
 *
 * - questions for addresses that are not known;
 * - questions from the one who has the address: gratuitous ARP and announcements (RFC 5227 section 3), and
 *   its own duplicate address detection, which must not find itself;
 * - unicast questions, by which a host finds out whether its neighbor is still alive (RFC 9161 section 3.4);
 * - what is not valid by RFC 4861 section 7.1.1, which its receivers will judge; and tagged frames.
 *
 * Somebody else's duplicate address detection, an ARP probe (RFC 5227 section 2.5) or a solicitation from ::,
 * is answered, so that it finds the owner.
 *
 * Outputs: `out`; `reply`, with `p.out` where the question came from and `p.port` NONE.
 */
import * as arp from '../../codecs/arp.ts';
import { pseudo6 } from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { isGroup } from '../../codecs/mac.ts';
import * as nd from '../../codecs/nd.ts';
import * as options from '../../codecs/nd-options.ts';
import type { Batch } from '../core/batch.ts';
import { type Context, Element } from '../core/element.ts';
import { isRemote, NONE, type Packet } from '../core/packet.ts';
import type { NeighborTable } from '../tables/neighbor.ts';

export interface NeighborSuppressOptions {
  /** The network's number in the table. */
  readonly domain: number;
  readonly neighbors: NeighborTable;
}

/** Bytes of an advertisement with the link-layer address. */
const ADVERTISEMENT = nd.SIZE + options.SIZE;
const HOP_LIMIT = 255;
// ff02::1, all nodes, and its MAC address (RFC 2464 section 7).
const ALL_NODES = 0xff020000 | 0;
const ALL_NODES_HI = 0x3333;

const COUNTERS = ['answered4', 'answered6', 'missed'];
const ANSWERED4 = 0;
const ANSWERED6 = 1;
const MISSED = 2;

export class NeighborSuppress extends Element {
  readonly #out = this.output('out');
  readonly #reply = this.output('reply');
  #domain = 0;
  #neighbors: NeighborTable;

  constructor(context: Context, name: string, options: NeighborSuppressOptions) {
    super(context, name, COUNTERS);
    this.#domain = options.domain;
    this.#neighbors = options.neighbors;
  }

  /** Another domain or table: nothing is kept from packet to packet. */
  override configure(options: NeighborSuppressOptions): boolean {
    this.#domain = options.domain;
    this.#neighbors = options.neighbors;
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      if (this.#answer(p)) this.#reply.add(p);
      else packets[n++] = p;
    }
    batch.length = n;
    if (n > 0) this.#out.next.push(batch);
    this.#reply.flush();
  }

  /** Turns a question into its answer, and says whether it was one that is answered. */
  #answer(p: Packet): boolean {
    if (p.length < ethernet.SIZE || p.port === NONE || isRemote(p.port)) return false;
    if (!isGroup(ethernet.dstHi(p.view, p.start))) return false;
    const type = ethernet.etherType(p.view, p.start);
    if (type === ethernet.TYPE_ARP) return this.#answer4(p);
    return type === ethernet.TYPE_IPV6 && this.#answer6(p);
  }

  #answer4(p: Packet): boolean {
    const v = p.view;
    const at = p.start + ethernet.SIZE;
    if (arp.check(v, at, p.end) !== OK || arp.op(v, at) !== arp.REQUEST) return false;
    const target = arp.tpa(v, at) | 0;
    if ((arp.spa(v, at) | 0) === target) return false;
    const i = this.#neighbors.lookup4(this.#domain, target);
    const hi = arp.shaHi(v, at);
    const lo = arp.shaLo(v, at) | 0;
    if (!this.#mayTell(i, hi, lo)) return false;
    const ownerHi = this.#neighbors.macHi(i);
    const ownerLo = this.#neighbors.macLo(i) | 0;
    arp.toReply(v, at, ownerHi, ownerLo);
    turn(p, hi, lo, ownerHi, ownerLo);
    this.count(ANSWERED4);
    return true;
  }

  #answer6(p: Packet): boolean {
    const v = p.view;
    const ip = p.start + ethernet.SIZE;
    const at = ip + ipv6.SIZE;
    if (!isQuestion6(p, ip, at)) return false;
    const i = this.#lookup6(v, at + nd.TARGET);
    const link = nd.option(v, at, ipv6.payloadEnd(v, ip), options.SOURCE_LINK);
    const hi = link < 0 ? ethernet.srcHi(v, p.start) : options.linkHi(v, link);
    const lo = (link < 0 ? ethernet.srcLo(v, p.start) : options.linkLo(v, link)) | 0;
    if (!this.#mayTell(i, hi, lo) || at + ADVERTISEMENT > p.bytes.length) return false;
    this.#advertise(p, ip, at, i, hi, lo);
    this.count(ANSWERED6);
    return true;
  }

  #lookup6(v: DataView, address: number): number {
    return this.#neighbors.lookup6(
      this.#domain,
      v.getInt32(address),
      v.getInt32(address + 4),
      v.getInt32(address + 8),
      v.getInt32(address + 12),
    );
  }

  /** Whether the entry `i` is there and another's than the one who asks. */
  #mayTell(i: number, hi: number, lo: number): boolean {
    if (i === NONE) {
      this.count(MISSED);
      return false;
    }
    if (isGroup(hi)) return false;
    return this.#neighbors.macHi(i) !== hi || (this.#neighbors.macLo(i) | 0) !== lo;
  }

  /** RFC 4861 section 7.2.4, by a proxy, which leaves O clear (section 7.2.8). The target stays in place. */
  #advertise(p: Packet, ip: number, at: number, i: number, hi: number, lo: number): void {
    const v = p.view;
    const ownerHi = this.#neighbors.macHi(i);
    const ownerLo = this.#neighbors.macLo(i) | 0;
    const probe = ipv6.isUnspecified(v, ip + ipv6.SRC);
    const flags = (this.#neighbors.isRouter(i) ? nd.ROUTER : 0) | (probe ? 0 : nd.SOLICITED);
    if (probe) ipv6.setAddress(v, ip + ipv6.DST, ALL_NODES, 0, 0, 1);
    else ipv6.copyAddress(v, ip + ipv6.SRC, ip + ipv6.DST);
    ipv6.copyAddress(v, at + nd.TARGET, ip + ipv6.SRC);
    v.setUint32(ip, 6 << 28);
    ipv6.setPayloadLength(v, ip, ADVERTISEMENT);
    ipv6.setHopLimit(v, ip, HOP_LIMIT);
    icmpv6.write(v, at, icmpv6.NEIGHBOR_ADVERTISEMENT, 0, flags << 24);
    options.writeLink(v, at + nd.SIZE, options.TARGET_LINK, ownerHi, ownerLo);
    p.end = at + ADVERTISEMENT;
    icmpv6.fillChecksum(v, at, p.end, pseudo6(v, ip, icmpv6.PROTOCOL, ADVERTISEMENT));
    turn(p, probe ? ALL_NODES_HI : hi, probe ? 1 : lo, ownerHi, ownerLo);
  }
}

/** Whether a packet is a valid solicitation to a solicited-node address, without extension headers. */
function isQuestion6(p: Packet, ip: number, at: number): boolean {
  const v = p.view;
  if (ipv6.check(v, ip, p.end) !== OK || ipv6.nextHeader(v, ip) !== icmpv6.PROTOCOL) return false;
  const end = ipv6.payloadEnd(v, ip);
  if (nd.check(v, at, end) !== OK || icmpv6.type(v, at) !== icmpv6.NEIGHBOR_SOLICITATION) return false;
  return ipv6.isSolicitedNode(v, ip + ipv6.DST) && nd.valid(v, ip, at, end);
}

/** Addresses the frame to the one who asked, in the name of the one who was asked for. */
function turn(p: Packet, hi: number, lo: number, ownerHi: number, ownerLo: number): void {
  ethernet.setDst(p.view, p.start, hi, lo);
  ethernet.setSrc(p.view, p.start, ownerHi, ownerLo);
  p.out = p.port;
  p.port = NONE;
  p.hash = 0;
  p.clearOffload();
}
