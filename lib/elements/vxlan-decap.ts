/**
 * Takes Ethernet frames out of VXLAN (RFC 7348) and hands each to its network: the output named by the VNI in
 * decimal. A frame is taken only from a tunnel endpoint that its network accepts. Outer headers, where the
 * underlay port shows them, are checked and taken off by the OuterReader.
 *
 * Reserved bits are ignored (section 5) unless `strictReserved` asks for what Linux does. Frames with a VLAN
 * tag are dropped unless their network keeps them (section 6.1). Congestion that the outer header tells of is
 * handed on to the inner packet as RFC 6040 section 4.2 says; an inner frame other than IP has no such field.
 * TTL and DSCP of the inner packet stay: the tunnel is a bridge, and the outer DSCP is its own (RFC 2983).
 *
 * Outputs: by VNI, with `p.port` = remote(n), `p.peer` = n and `p.vni`. An output can be connected before and
 * after there is a network of its VNI.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import { OK, TYPE } from '../../codecs/fault.ts';
import { isTag } from '../../codecs/vlan.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import type { Batch } from '../core/batch.ts';
import {
  CLEAR_TEXT,
  type Drop,
  ECN,
  INNER_VLAN,
  MALFORMED,
  NOT_CONNECTED,
  NOT_VXLAN,
  RESERVED_BITS,
  UNKNOWN_PEER,
  UNKNOWN_VNI,
} from '../core/drop.ts';
import { type Context, Element, type Output, type Sink } from '../core/element.ts';
import { GSO_NONE, NONE, type Packet, remote } from '../core/packet.ts';
import { DATAGRAM, type Medium } from '../io/port.ts';
import { type Network, Networks } from '../tables/networks.ts';
import type { VtepTable } from '../tables/vtep.ts';
import { DANGEROUS, DROP, decapsulate, ipOf, setEcn, tosOf, UNUSED } from './ecn.ts';
import { OuterReader } from './outer-read.ts';
import { type LocalEndpoint, PASS } from './outer-write.ts';

export interface VxlanDecapOptions {
  /** What the underlay port gives. */
  readonly medium: Medium;
  readonly vteps: VtepTable;
  readonly local: LocalEndpoint;
  readonly networks: readonly DecapNetwork[];
  /** Whether frames with reserved bits set are dropped. Default false. */
  readonly strictReserved?: boolean;
  /** Whether outer UDP checksums are verified where they are there. Default true. */
  readonly verifyChecksum?: boolean;
  /** Whether they may be missing over IPv6 (RFC 6936). Default false. */
  readonly zeroChecksum6?: boolean;
}

export interface DecapNetwork extends Network {
  /** What becomes of inner frames with a VLAN tag. Default drop. */
  readonly vlan?: 'drop' | 'keep';
  /** Whether the network is encrypted, so that what arrives here, in clear, is dropped. Default false. */
  readonly encrypted?: boolean;
}

const COUNTERS = ['ecn.marked', 'ecn.dangerous', 'ecn.unused'];
const ECN_MARKED = 0;
const ECN_DANGEROUS = 1;
const ECN_UNUSED = 2;

export class VxlanDecap extends Element {
  #outer: OuterReader | null = null;
  #strict = false;
  #networks = new Networks([]);
  #keepTags: readonly boolean[] = [];
  #encrypted: readonly boolean[] = [];
  /** The VNI that was last looked for, and the index of its network or NONE: packets come in trains. */
  #vni = NONE;
  #network = NONE;
  /** Outputs by VNI, and by the network's index, null where it is not connected. */
  readonly #outputs = new Map<number, Output>();
  #ways: (Output | null)[] = [];
  /** Outputs that hold packets of the batch at hand. */
  readonly #dirty: Output[] = [];
  #dirtyCount = 0;

  /** Throws a RangeError or TypeError that names the option. */
  constructor(context: Context, name: string, options: VxlanDecapOptions) {
    const networks = new Networks(options.networks);
    const outer = outerOf(options);
    super(context, name, COUNTERS);
    this.#use(options, networks, outer);
  }

  /** Takes over other networks and peers, and everything else: nothing is kept from packet to packet. */
  override configure(options: VxlanDecapOptions): boolean {
    this.#use(options, new Networks(options.networks), outerOf(options));
    return true;
  }

  /** Throws a RangeError where `output` is not a VNI in decimal. */
  override connect(output: string, next: Sink | null): void {
    const vni = vniOf(output);
    if (next !== null) super.connect(output, next);
    else if (this.#outputs.delete(vni)) {
      this.removeOutput(output);
      this.#lead(vni, null);
    }
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const reason = this.#open(p);
      if (reason === PASS) packets[n++] = p;
      else this.drop(p, reason);
    }
    batch.length = n;
    if (n > 0) this.#hand(batch);
  }

  /** What is of one network goes on as it came. */
  #hand(batch: Batch): void {
    const { packets, length } = batch;
    const { vni } = packets[0];
    let i = 1;
    while (i < length && packets[i].vni === vni) i++;
    const way = this.#way(vni);
    if (i === length && way !== null) way.next.push(batch);
    else this.#sort(batch);
  }

  #sort(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      const way = this.#way(p.vni);
      if (way === null) {
        this.drop(p, NOT_CONNECTED);
        continue;
      }
      if (way.batch.length === 0) this.#dirty[this.#dirtyCount++] = way;
      way.add(p);
    }
    batch.clear();
    while (this.#dirtyCount > 0) this.#dirty[--this.#dirtyCount].flush();
  }

  protected override addOutput(name: string): Output {
    const vni = vniOf(name);
    const way = this.output(name);
    this.#outputs.set(vni, way);
    this.#lead(vni, way);
    return way;
  }

  #lead(vni: number, way: Output | null): void {
    const index = this.#networks.lookup(vni);
    if (index !== NONE) this.#ways[index] = way;
  }

  /** Hands on what lies in the packet, or says why not. */
  #open(p: Packet): Drop {
    const wrong = this.#outer === null ? PASS : this.#outer.read(p);
    if (wrong !== PASS) return wrong;
    const v = p.view;
    const at = p.start;
    const fault = vxlan.check(v, at, p.end);
    if (fault !== OK) return fault === TYPE ? NOT_VXLAN : MALFORMED;
    if (this.#strict && vxlan.reservedBits(v, at) !== 0) return RESERVED_BITS;
    const vni = vxlan.vni(v, at);
    const network = this.#find(vni);
    if (network === NONE) return UNKNOWN_VNI;
    if (this.#encrypted[network]) return CLEAR_TEXT;
    if (!this.#networks.accepts(network, p.peer)) return UNKNOWN_PEER;
    const inner = at + vxlan.SIZE;
    if (p.end - inner < ethernet.SIZE) return MALFORMED;
    if (!this.#keepTags[network] && isTag(ethernet.etherType(v, inner))) return INNER_VLAN;
    if (!this.#strip(p, inner)) return MALFORMED;
    if ((p.tos & 3) !== 0 && !this.#congestion(p)) return ECN;
    p.tos = 0;
    p.vni = vni;
    p.port = remote(p.peer);
    p.out = NONE;
    return PASS;
  }

  /** The index of a network, or NONE. */
  #find(vni: number): number {
    if (vni !== this.#vni) {
      this.#network = this.#networks.lookup(vni);
      this.#vni = vni;
    }
    return this.#network;
  }

  /** Where the frames of a network go, if anywhere. */
  #way(vni: number): Output | null {
    return this.#ways[this.#find(vni)];
  }

  /** Takes the VXLAN header off; false for a train of datagrams, which somebody has to take apart before. */
  #strip(p: Packet, inner: number): boolean {
    p.start = inner;
    if (p.gsoType === GSO_NONE) return true;
    p.hdrLen -= vxlan.SIZE;
    return p.hdrLen >= ethernet.SIZE;
  }

  /** Gives the inner packet its ECN field, or says that it must be dropped. */
  #congestion(p: Packet): boolean {
    const v = p.view;
    const ip = ipOf(v, p.start, p.end);
    if (ip === NONE) return true;
    const before = tosOf(v, ip) & 3;
    const outcome = decapsulate(before, p.tos);
    if ((outcome & DANGEROUS) !== 0) this.count(ECN_DANGEROUS);
    if ((outcome & UNUSED) !== 0) this.count(ECN_UNUSED);
    if ((outcome & DROP) !== 0) return false;
    const after = outcome & 3;
    if (after === before) return true;
    this.count(ECN_MARKED);
    setEcn(v, ip, after);
    return true;
  }

  #use(options: VxlanDecapOptions, networks: Networks, outer: OuterReader | null): void {
    this.#ways = options.networks.map(({ vni }) => this.#outputs.get(vni) ?? null);
    this.#networks = networks;
    this.#vni = NONE;
    this.#outer = outer;
    this.#strict = options.strictReserved ?? false;
    this.#keepTags = options.networks.map(({ vlan }) => vlan === 'keep');
    this.#encrypted = options.networks.map(({ encrypted = false }) => encrypted);
  }
}

function vniOf(output: string): number {
  const vni = Number(output);
  if (/^(0|[1-9]\d*)$/.test(output) && vni <= vxlan.MAX_VNI) return vni;
  throw new RangeError(`an output is a VNI 0..${vxlan.MAX_VNI} in decimal, got "${output}"`);
}

function outerOf(options: VxlanDecapOptions): OuterReader | null {
  const { medium } = options;
  return medium === DATAGRAM ? null : new OuterReader({ ...options, medium });
}
