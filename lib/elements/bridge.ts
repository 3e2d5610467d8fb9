/**
 * A learning bridge for one network (IEEE 802.1Q clause 8; RFC 7348 section 4.1): a frame goes to the place
 * of its destination address, and to all places where that address is a group's or not known.
 *
 * Places are local ports and remote tunnel endpoints (see core/packet.ts). A frame from a local port is
 * flooded to the other local ports and to all remote endpoints, one from a remote endpoint to the local ports
 * alone: the endpoints form a full mesh, and each has got its own copy from the sender (split horizon, RFC
 * 7432 section 12). Frames with `p.port` NONE were made by an element here; they count as local, and nothing
 * is learned from them.
 *
 * A static entry of the forwarding table ties an address to its place: a frame that bears the address and
 * comes from elsewhere is dropped, with learning or without (RFC 7432 section 15.2). An address that no room
 * is left for is not learned, and its frames go on. Frames to reserved addresses are learned from as others
 * are, and go nowhere.
 *
 * The forwarding table is shared by all networks of a dataplane, so its ageing is not the bridge's: whoever
 * made the table calls `fdb.age`.
 *
 * Outputs: `local`, with the port in `p.out`; `remote`, with `p.out` = remote(n) and `p.peer` = n, or `p.out`
 * = ALL_REMOTES for one frame that is to reach every remote endpoint.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import { isGroup, isReserved } from '../../codecs/mac.ts';
import { MAX_VNI } from '../../codecs/vxlan.ts';
import type { Batch } from '../core/batch.ts';
import {
  type Drop,
  FDB_FROZEN,
  GROUP_SOURCE,
  MALFORMED,
  NO_DESTINATION,
  NOT_OWNER,
  POOL_DRY,
  RESERVED_MULTICAST,
  SAME_PORT,
  SPLIT_HORIZON,
  SPOOFED_MAC,
} from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { ALL_REMOTES, isRemote, NONE, type Packet, REMOTE } from '../core/packet.ts';
import { type Fdb, FROZEN, KNOWN, LEARNED, MOVED, STATIC } from '../tables/fdb.ts';
import { Places } from '../tables/places.ts';

export interface BridgeOptions {
  /** The network's number in the forwarding table. */
  readonly domain: number;
  /** The network's VXLAN identifier, noted on every packet. */
  readonly vni: number;
  readonly fdb: Fdb;
  /** Local places that floods reach. */
  readonly ports: readonly number[];
  /** Whether source addresses are learned. Default true. */
  readonly learning?: boolean;
  /** Whether frames to unknown addresses are flooded; else they are dropped. Default true. */
  readonly floodUnknown?: boolean;
  /** Whether the network has a remote side, which floods reach too. Default true. */
  readonly remotes?: boolean;
}

/** No reason to drop a packet. */
const PASS: Drop = -1;

const COUNTERS = ['learned', 'moved', 'refused', 'flooded'];
const COUNT_LEARNED = 0;
const COUNT_MOVED = 1;
const COUNT_REFUSED = 2;
const COUNT_FLOODED = 3;

export class Bridge extends Element {
  readonly #local = this.output('local');
  readonly #remote = this.output('remote');
  #domain = 0;
  #vni = 0;
  #fdb: Fdb;
  #ports = new Int32Array(0);
  #learning = true;
  #floodUnknown = true;
  #remotes = true;

  /** Throws a RangeError for a VNI or ports that are none. */
  constructor(context: Context, name: string, options: BridgeOptions) {
    check(options);
    super(context, name, COUNTERS);
    this.#fdb = options.fdb;
    this.#use(options);
  }

  /** Takes over other ports and everything else; what was learned lies in the forwarding table. */
  override configure(options: BridgeOptions): boolean {
    check(options);
    this.#use(options);
    return true;
  }

  /**
   * All sources of a batch are learned before its first frame is forwarded: an answer finds its way though
   * question and answer came together, and each of the two loops fits V8's budget for inlining whole.
   */
  override push(batch: Batch): void {
    this.#admit(batch);
    this.#forward(batch);
    batch.clear();
    this.#local.flush();
    this.#remote.flush();
  }

  /** Leaves the frames in the batch that may go on. */
  #admit(batch: Batch): void {
    const { packets, length } = batch;
    // Whole, so that it stays a small integer, which costs nothing to hand over.
    const now = Math.floor(this.context.clock.now);
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const reason = this.#judge(p, now);
      if (reason === PASS) packets[n++] = p;
      else this.drop(p, reason);
    }
    batch.length = n;
  }

  /** Checks where a frame comes from, learns it, and says why it may not go on, or PASS. */
  #judge(p: Packet, now: number): Drop {
    const v = p.view;
    const at = p.start;
    if (ethernet.check(v, at, p.end) !== OK) return MALFORMED;
    const hi = ethernet.srcHi(v, at);
    if (isGroup(hi)) return GROUP_SOURCE;
    if (p.port === NONE) return PASS;
    const lo = ethernet.srcLo(v, at) | 0;
    if (!this.#learning) return this.#belongs(hi, lo, p.port) ? PASS : notOwned(p.port);
    const result = this.#fdb.learn(this.#domain, hi, lo, p.port, now);
    return result === KNOWN ? PASS : this.#tally(result, p.port);
  }

  /** Whether no static entry ties the address to another place. */
  #belongs(hi: number, lo: number, place: number): boolean {
    const known = this.#fdb.lookup(this.#domain, hi, lo);
    return known === place || known === NONE || !this.#fdb.isStatic(this.#domain, hi, lo);
  }

  /** Counts what learning came to where it came to anything but "known". */
  #tally(result: number, from: number): Drop {
    if (result === FROZEN) return FDB_FROZEN;
    if (result === STATIC) return notOwned(from);
    if (result === LEARNED) this.count(COUNT_LEARNED);
    else if (result === MOVED) this.count(COUNT_MOVED);
    else this.count(COUNT_REFUSED);
    return PASS;
  }

  /** Sends each frame where it belongs. */
  #forward(batch: Batch): void {
    const { packets, length } = batch;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const hi = ethernet.dstHi(p.view, p.start);
      const lo = ethernet.dstLo(p.view, p.start) | 0;
      const to = isGroup(hi) ? NONE : this.#fdb.lookup(this.#domain, hi, lo);
      p.vni = this.#vni;
      if (to === NONE) this.#flood(p, hi, lo);
      else if (to === p.port) this.drop(p, SAME_PORT);
      else if (isRemote(to) && isRemote(p.port)) this.drop(p, SPLIT_HORIZON);
      else this.#send(p, to);
    }
  }

  /** Sends copies to all places but the last, and the packet itself there. Its destination is `hi`, `lo`. */
  #flood(p: Packet, hi: number, lo: number): void {
    if (isReserved(hi, lo)) {
      this.drop(p, RESERVED_MULTICAST);
      return;
    }
    const last = isGroup(hi) || this.#floodUnknown ? this.#copyToAllButOne(p) : NONE;
    if (last === NONE) {
      this.drop(p, NO_DESTINATION);
      return;
    }
    this.count(COUNT_FLOODED);
    this.#send(p, last);
  }

  /** Returns the place that is left over, or NONE where there is no place at all. */
  #copyToAllButOne(p: Packet): number {
    const ports = this.#ports;
    const from = p.port;
    let last = NONE;
    for (let i = 0; i < ports.length; i++) {
      if (ports[i] === from) continue;
      if (last !== NONE) this.#copy(p, last);
      last = ports[i];
    }
    if (!this.#remotes || isRemote(from)) return last;
    if (last !== NONE) this.#copy(p, last);
    return ALL_REMOTES;
  }

  #copy(p: Packet, to: number): void {
    // From the packet's own pool, whose slots are large enough for it.
    const copy = p.pool.clone(p);
    if (copy === null) this.lost(POOL_DRY);
    else this.#send(copy, to);
  }

  #send(p: Packet, to: number): void {
    p.out = to;
    if (!isRemote(to)) {
      this.#local.add(p);
      return;
    }
    p.peer = to === ALL_REMOTES ? NONE : to - REMOTE;
    this.#remote.add(p);
  }

  #use(options: BridgeOptions): void {
    this.#domain = options.domain;
    this.#vni = options.vni;
    this.#fdb = options.fdb;
    this.#ports = Int32Array.from(options.ports);
    this.#learning = options.learning ?? true;
    this.#floodUnknown = options.floodUnknown ?? true;
    this.#remotes = options.remotes ?? true;
  }
}

/** Why a frame dies whose source address a static entry ties to another place than the one it came from. */
function notOwned(from: number): Drop {
  return isRemote(from) ? NOT_OWNER : SPOOFED_MAC;
}

function check({ vni, ports }: BridgeOptions): void {
  if (!Number.isInteger(vni) || vni < 0 || vni > MAX_VNI) {
    throw new RangeError(`"vni" expected an integer 0..${MAX_VNI}, got ${vni}`);
  }
  new Places(ports, 'ports');
}
