/**
 * Puts Ethernet frames of one network into VXLAN (RFC 7348): the VXLAN header, and the outer headers where
 * the underlay port does not write them itself. All of that goes into the headroom; the frame stays in place.
 *
 * A frame for one tunnel endpoint has `p.out` = remote(n). One for ALL_REMOTES goes to each endpoint of the
 * flood list, one copy each: head-end replication, in place of the multicast group of RFC 7348 section 4.2.
 *
 * VLAN tags are taken off unless told otherwise (section 6.1). ECN is copied outside (RFC 6040 section 4.1);
 * DSCP is set to one value or copied (the pipe and uniform models of RFC 2983). The flow hash of the inner
 * frame becomes the UDP source port, and the flow label of IPv6 (RFC 6438).
 *
 * Output: `out`, with the endpoint in `p.peer`, `p.hash`, TOS or traffic class in `p.tos`, and in `p.l3` where the inner IP
 * header lies, or that of the outer one where it was written.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import { flowHash } from '../../codecs/flow-hash.ts';
import { isTag } from '../../codecs/vlan.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import type { Batch } from '../core/batch.ts';
import { type Drop, MALFORMED, NO_DESTINATION, NO_REMOTES, POOL_DRY, TOO_BIG } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { ALL_REMOTES, GSO_NONE, NONE, type Packet, REMOTE } from '../core/packet.ts';
import { DATAGRAM, type Medium } from '../io/port.ts';
import { checkPeer, checkVni } from '../tables/networks.ts';
import type { VtepTable } from '../tables/vtep.ts';
import { ipOf, tosOf } from './ecn.ts';
import { type LocalEndpoint, OuterWriter, PASS } from './outer-write.ts';
import { stripTags } from './vlan-tags.ts';

export interface VxlanEncapOptions {
  readonly vni: number;
  /** What the underlay port takes. */
  readonly medium: Medium;
  readonly vteps: VtepTable;
  /** The endpoints that flooded frames go to: numbers in `vteps`. */
  readonly remotes: readonly number[];
  readonly local: LocalEndpoint;
  /** TTL or hop limit of the outer header, 1..255. Default 64. */
  readonly ttl?: number;
  /** DSCP of the outer header, 0..63, or the inner one's. Default 0. */
  readonly dscp?: number | 'uniform';
  /** In compatibility mode the outer header is Not-ECT, for receivers that know no ECN (RFC 6040 section
   * 4.3). Default normal. */
  readonly ecn?: 'normal' | 'compatibility';
  /** Whether UDP checksums are computed. Default: over IPv6 only (RFC 7348 section 5, RFC 8200 8.1). */
  readonly udpChecksum?: boolean;
  /** Whether over IPv6 checksums are left out too (RFC 6936). Default false. */
  readonly zeroChecksum6?: boolean;
  /** Default strip. */
  readonly vlan?: 'strip' | 'keep';
  /** Seed of the flow hash, so that ports and labels are hard to guess (RFC 6437 section 3). */
  readonly seed: number;
}

const COUNTERS = ['untagged'];
const UNTAGGED = 0;

export class VxlanEncap extends Element {
  readonly #out = this.output('out');
  #vni = 0;
  #remotes: readonly number[] = [];
  #outer: OuterWriter | null = null;
  #seed = 0;
  #stripTags = true;
  /** Which bits of the inner TOS go outside, and which are set besides. */
  #tosMask = 0;
  #tosBits = 0;

  /** Throws a RangeError or TypeError that names the option. */
  constructor(context: Context, name: string, options: VxlanEncapOptions) {
    check(options);
    super(context, name, COUNTERS);
    this.#use(options);
  }

  /** Takes over any other options: an encapsulator keeps nothing from packet to packet. */
  override configure(options: VxlanEncapOptions): boolean {
    check(options);
    this.#use(options);
    return true;
  }

  /** Frames for one endpoint go on in their batch, copies behind them: a flow is either here or there. */
  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const reason = this.#prepare(p);
      if (reason !== PASS) this.drop(p, reason);
      else if (p.out === ALL_REMOTES) this.#replicate(p);
      else if (this.#wrap(p, p.out - REMOTE)) packets[n++] = p;
    }
    batch.length = n;
    if (n > 0) this.#out.next.push(batch);
    this.#out.flush();
  }

  /** Finds out what the outer header says of a frame. */
  #prepare(p: Packet): Drop {
    if (p.length < ethernet.SIZE || !this.#untagged(p)) return MALFORMED;
    if (p.hash === 0) p.hash = flowHash(p.view, p.start, p.end, this.#seed);
    const ip = ipOf(p.view, p.start, p.end);
    p.l3 = ip;
    p.tos = (ip === NONE ? 0 : tosOf(p.view, ip) & this.#tosMask) | this.#tosBits;
    return PASS;
  }

  /** Takes VLAN tags off where it has to, and says whether the frame is whole. */
  #untagged(p: Packet): boolean {
    if (!this.#stripTags || !isTag(ethernet.etherType(p.view, p.start))) return true;
    this.count(UNTAGGED);
    return stripTags(p);
  }

  /** A copy to each endpoint but the last, and the packet itself there. */
  #replicate(p: Packet): void {
    const remotes = this.#remotes;
    const last = remotes.length - 1;
    if (last < 0) {
      this.drop(p, NO_REMOTES);
      return;
    }
    for (let i = 0; i < last; i++) {
      // From the packet's own pool, whose slots are large enough for it.
      const copy = p.pool.clone(p);
      if (copy === null) this.lost(POOL_DRY);
      else if (this.#wrap(copy, remotes[i])) this.#out.add(copy);
    }
    if (this.#wrap(p, remotes[last])) this.#out.add(p);
  }

  /** Puts the headers in front, or drops the packet. `peer` is negative where its place is no endpoint. */
  #wrap(p: Packet, peer: number): boolean {
    if (peer < 0 || p.start < vxlan.SIZE) {
      this.drop(p, peer < 0 ? NO_DESTINATION : TOO_BIG);
      return false;
    }
    p.peer = peer;
    p.start -= vxlan.SIZE;
    vxlan.write(p.view, p.start, this.#vni);
    if (p.gsoType !== GSO_NONE) p.hdrLen += vxlan.SIZE;
    const reason = this.#outer === null ? PASS : this.#outer.write(p);
    if (reason !== PASS) this.drop(p, reason);
    return reason === PASS;
  }

  #use(options: VxlanEncapOptions): void {
    const { medium, dscp = 0, ecn = 'normal' } = options;
    this.#outer = medium === DATAGRAM ? null : new OuterWriter({ ...options, medium });
    this.#vni = options.vni;
    this.#remotes = [...options.remotes];
    this.#seed = options.seed;
    this.#stripTags = options.vlan !== 'keep';
    this.#tosMask = (dscp === 'uniform' ? 0xfc : 0) | (ecn === 'normal' ? 3 : 0);
    this.#tosBits = dscp === 'uniform' ? 0 : dscp << 2;
  }
}

function check({ vni, remotes, dscp = 0 }: VxlanEncapOptions): void {
  checkVni('vni', vni);
  for (const peer of remotes) checkPeer('remotes', peer);
  if (new Set(remotes).size < remotes.length) {
    throw new RangeError('"remotes" names an endpoint twice: it would get every flooded frame twice');
  }
  if (dscp !== 'uniform' && !(Number.isInteger(dscp) && dscp >= 0 && dscp <= 63)) {
    throw new RangeError(`"dscp" expected an integer 0..63 or "uniform", got ${dscp}`);
  }
}
