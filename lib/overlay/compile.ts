/**
 * The graph of an overlay: which elements there are and what leads where. The elements of a network, in the
 * order in which a frame from a port meets them:
 *
 *     port -> guard -> [nat ->] meter -> suppress -> bridge -> dispatch -> [nat ->] [segment ->] port
 *                                                      |
 *                                                      +-> too-big -> [segment ->] encap -> underlay
 *                                                                                    |
 *                                                                                    +-> esp-seal -> esp-underlay
 *     underlay -> [coalesce ->] decap -> bridge
 *     esp-underlay -> esp-open -> [coalesce ->] esp-decap -> bridge
 *                        |
 *                        +-> esp-keys -> esp-underlay
 *
 * Where a port gives super-frames, what cannot take them has a segment in front, and what arrives in trains is
 * coalesced once for all networks.
 *
 * Where ESP is on IP protocol 50 messages about keys have a port of their own, and nothing else goes by it:
 *
 *     esp-control -> esp-control-open -> esp-keys -> esp-control
 *
 * What a network does not need it does not have: no guard without declared addresses, no meter without
 * limits, no nat without published ports, and on the way in only in front of the ports that publish some, no
 * tunnel without remotes. A network is either plain or encrypted: an encrypted one has no way to
 * the plain underlay, and what comes from there for it is dropped as clear text.
 */

import * as ethernet from '../../codecs/ethernet.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { Sad } from '../../crypto/sad.ts';
import { type ElementClass, type GraphConfig, type Links, type NodeSpec, node } from '../core/graph.ts';
import { NOBODY, type Watcher } from '../core/watcher.ts';
import { Ageing } from '../elements/ageing.ts';
import { Bridge } from '../elements/bridge.ts';
import { Coalesce } from '../elements/coalesce.ts';
import { Dispatch } from '../elements/dispatch.ts';
import { EspOpen } from '../elements/esp-open.ts';
import { EspSeal } from '../elements/esp-seal.ts';
import { Guard } from '../elements/guard.ts';
import { KeyExchange } from '../elements/key-exchange.ts';
import { Meter } from '../elements/meter.ts';
import { NatIn } from '../elements/nat-in.ts';
import { NatOut } from '../elements/nat-out.ts';
import { NeighborSuppress } from '../elements/neighbor-suppress.ts';
import { Segment } from '../elements/segment.ts';
import { TooBig } from '../elements/too-big.ts';
import { type DecapNetwork, VxlanDecap } from '../elements/vxlan-decap.ts';
import { VxlanEncap } from '../elements/vxlan-encap.ts';
import { Watch, type WatchOptions } from '../elements/watch.ts';
import {
  CHECKSUM,
  DATAGRAM,
  ETHERNET,
  GAPS,
  type Medium,
  type Port,
  TRAIN,
  TSO4,
  TSO6,
  USO,
} from '../io/port.ts';
import type { Wanted, WantedEsp, WantedNetwork, WantedPort } from './config.ts';
import type { Intent } from './intent.ts';
import type { Keys } from './keys.ts';

/** What a graph is compiled for, beside the description. */
export interface Parts {
  readonly underlay: Port;
  readonly intent: Intent;
  /** Keys the flow hash. */
  readonly seed: number;
  /** What encrypted networks use; null where there can be none. */
  readonly esp: EspParts | null;
  /** Who watches what; null while nobody does. */
  readonly watching: Watched | null;
}

/** Who watches what. */
export interface Watched {
  port(vni: number, port: Port): readonly Watcher[];
  underlay(name: Underlay, port: Port): readonly Watcher[];
  /** What ESP carries, in clear: VXLAN as a DATAGRAM port carries it. */
  opened(): readonly Watcher[];
  /** Called at every tick. */
  readonly beat: (now: number) => void;
}

/** Names of the ports to other hosts. */
export type Underlay = 'underlay' | 'esp-underlay' | 'esp-control';

export interface EspParts {
  readonly underlay: Port;
  /** Carries messages about keys; null where they travel by `underlay` or not at all. */
  readonly control: Port | null;
  readonly sad: Sad;
  readonly keys: Keys;
  /** Called when the key for a peer asks to be replaced. */
  readonly onRekey: (peer: number) => void;
}

/** Empty, and stays so. */
const NO_SAD = new Sad(1);

/** The graph of a description whose numbers `parts.intent` has given out. */
export function compile(wanted: Wanted, parts: Parts): GraphConfig {
  return new Compiler(wanted, parts).graph();
}

class Compiler {
  readonly #wanted: Wanted;
  readonly #parts: Parts;
  readonly #nodes: Record<string, NodeSpec> = {};
  /** What local ports give and take, together. */
  readonly #offloads: number;
  /** Whether there are super-frames or trains at all. */
  readonly #large: boolean;

  constructor(wanted: Wanted, parts: Parts) {
    this.#wanted = wanted;
    this.#parts = parts;
    const ports = wanted.networks.flatMap((network) => network.ports);
    this.#offloads = ports.reduce((all, { port }) => all | (port.offloads & OFFLOADS), 0);
    const underlays = parts.underlay.offloads | (parts.esp?.underlay.offloads ?? 0);
    this.#large = this.#offloads !== 0 || (underlays & TRAIN) !== 0;
  }

  graph(): GraphConfig {
    const { watching } = this.#parts;
    const dispatch: Record<string, string> = {};
    for (const network of this.#wanted.networks) {
      const first = this.#network(network);
      for (const wantedPort of network.ports) {
        const { port } = wantedPort;
        const place = this.#parts.intent.place(port);
        const name = this.#parts.intent.name(network.vni, port);
        const watchers = watching?.port(network.vni, port) ?? NOBODY;
        this.#nodes[name] = { port, place, watchers, to: { out: first } };
        dispatch[place] = this.#published(name, wantedPort, this.#segmented(name, port, ETHERNET));
      }
    }
    this.#plain();
    this.#encrypted();
    this.#nodes.dispatch = node(Dispatch, {}, dispatch);
    const { fdb, flows } = this.#parts.intent;
    const publishing = this.#wanted.networks.some(({ ports }) => ports.some(publishes));
    this.#nodes.ageing = node(Ageing, { fdb, ...(publishing && { flows }) });
    if (watching !== null) {
      this.#nodes.watch = node<WatchOptions>(Watch, { watchers: NOBODY, way: 'sent', beat: watching.beat });
    }
    return this.#nodes;
  }

  /** The node that leads to what leads to a port: itself, or a nat in front of it where the port publishes some. */
  #published(name: string, wanted: WantedPort, next: string): string {
    if (!publishes(wanted)) return next;
    const { port, addresses, published } = wanted;
    const { flows } = this.#parts.intent;
    const place = this.#parts.intent.place(port);
    const nat = this.#free(`${name}.nat`, place);
    this.#nodes[nat] = node(NatIn, { place, addresses, published, flows }, { out: next });
    return nat;
  }

  /** The node that leads to a port: itself, or a segment in front of one that cannot take what may come. */
  #segmented(name: string, { mtu, offloads }: Port, medium: Medium): string {
    const all = OFFLOADS | GAPS;
    if (!this.#large || (offloads & all) === all) return name;
    this.#nodes[`${name}.segment`] = node(Segment, { medium, mtu, offloads }, { out: name });
    return `${name}.segment`;
  }

  /** The node that leads to a network's encapsulator: a segment where its underlay takes no super-frames. */
  #tunneled({ vni, encrypted }: WantedNetwork): string {
    const { esp, underlay } = this.#parts;
    const sealed = encrypted && esp !== null;
    const { medium, offloads } = sealed ? esp.underlay : underlay;
    // ESP makes trains of them.
    const needed = sealed ? TRAIN : OFFLOADS | GAPS;
    const whole = medium === DATAGRAM && (offloads & needed) === needed;
    if (!this.#large || whole) return `${vni}.encap`;
    const options = { medium: ETHERNET, mtu: ANY_LENGTH, offloads: 0 } as const;
    this.#nodes[`${vni}.segment`] = node(Segment, options, { out: `${vni}.encap` });
    return `${vni}.segment`;
  }

  /** The node that leads to a decapsulator: a coalesce where trains come, or local ports take super-frames. */
  #coalesced(decap: string, { medium, mtu }: { readonly medium: Medium; readonly mtu: number }): string {
    if (medium !== DATAGRAM || !this.#large) return decap;
    const name = decap.replace('decap', 'coalesce');
    this.#nodes[name] = node(Coalesce, { offloads: this.#offloads, mtu }, { out: decap });
    return name;
  }

  /** A name that no node has yet. */
  #free(name: string, place: number): string {
    return this.#nodes[name] === undefined ? name : `${name}#${place}`;
  }

  /** Where frames come from the plain underlay. */
  #plain(): void {
    const { local, networks } = this.#wanted;
    const { underlay, intent } = this.#parts;
    const first = this.#coalesced('decap', { medium: underlay.medium, mtu: this.#smallest() });
    this.#underlay('underlay', underlay, first);
    this.#nodes.decap = node(
      VxlanDecap,
      {
        medium: underlay.medium,
        vteps: intent.peers,
        local: { address: local.address, port: local.port },
        networks: networks.map((network) => this.#decapNetwork(network, network.encrypted)),
        strictReserved: local.strictReserved,
        zeroChecksum6: local.zeroChecksum6,
      },
      bridges(networks.filter(({ encrypted }) => !encrypted)),
    );
  }

  #underlay(name: Underlay, port: Port, out: string): void {
    const watchers = this.#parts.watching?.underlay(name, port) ?? NOBODY;
    this.#nodes[name] = { port, watchers, to: { out } };
  }

  /** The node that leads to `next`, behind ESP, with somebody between who sees what came out of it; and what goes into
   * it likewise. */
  #opened(next: string): string {
    const watchers = this.#parts.watching?.opened() ?? NOBODY;
    if (watchers.length === 0) return next;
    this.#nodes['esp-open.watch'] = node<WatchOptions>(Watch, { watchers, way: 'received' }, { out: next });
    this.#nodes['esp-seal.watch'] = node<WatchOptions>(Watch, { watchers, way: 'sent' }, { out: 'esp-seal' });
    return 'esp-open.watch';
  }

  /** The node that leads to ESP. */
  get #sealed(): string {
    return (this.#parts.watching?.opened() ?? NOBODY).length === 0 ? 'esp-seal' : 'esp-seal.watch';
  }

  /** The largest IP packet that fits the underlay, every plain network and every port of one. */
  #smallest(): number {
    const plain = this.#wanted.networks.filter(({ encrypted }) => !encrypted);
    const inside = this.#parts.underlay.mtu - vxlan.SIZE - ethernet.SIZE;
    return plain.reduce((mtu, network) => {
      const ports = network.ports.map(({ port }) => port.mtu - ethernet.SIZE);
      return ports.reduce((a, b) => Math.min(a, b), Math.min(mtu, network.mtu));
    }, inside);
  }

  /** Where frames come from ESP and go there. */
  #encrypted(): void {
    const { local } = this.#wanted;
    const { esp: parts, intent } = this.#parts;
    const networks = this.#wanted.networks.filter(({ encrypted }) => encrypted);
    if (parts === null || local.esp === null || networks.length === 0) return;
    const { sad, underlay, control, onRekey, keys } = parts;
    const both = {
      sad,
      vteps: intent.espPeers,
      medium: underlay.medium,
      ...espLocal(this.#wanted, local.esp),
    };
    // Once ESP was opened it is what a DATAGRAM port would give, whatever carried it.
    const decap = this.#opened(this.#coalesced('esp-decap', { medium: DATAGRAM, mtu: 0 }));
    this.#underlay('esp-underlay', underlay, 'esp-open');
    if (control === null) {
      this.#nodes['esp-open'] = node(EspOpen, both, { out: decap, control: 'esp-keys' });
      this.#nodes['esp-keys'] = node(KeyExchange, { ...both, keys }, { out: 'esp-underlay' });
    } else {
      this.#nodes['esp-open'] = node(EspOpen, both, { out: decap });
      // No association is known to the port of messages, so that ESP that comes there is refused.
      const apart = { ...both, medium: DATAGRAM, carrier: 'udp' } as const;
      this.#underlay('esp-control', control, 'esp-control-open');
      this.#nodes['esp-control-open'] = node(EspOpen, { ...apart, sad: NO_SAD }, { control: 'esp-keys' });
      this.#nodes['esp-keys'] = node(KeyExchange, { ...apart, keys }, { out: 'esp-control' });
    }
    this.#nodes['esp-seal'] = node(EspSeal, { ...both, onRekey }, { out: 'esp-underlay' });
    this.#nodes['esp-decap'] = node(
      VxlanDecap,
      {
        medium: DATAGRAM,
        vteps: intent.espPeers,
        local: { address: local.address, port: local.port },
        networks: networks.map((network) => this.#decapNetwork(network, false)),
        strictReserved: local.strictReserved,
      },
      bridges(networks),
    );
  }

  #decapNetwork(network: WantedNetwork, encrypted: boolean): DecapNetwork {
    const peers = encrypted ? ('any-known' as const) : this.#parts.intent.remotes(network);
    return { vni: network.vni, peers, vlan: network.vlan === 'keep' ? 'keep' : 'drop', encrypted };
  }

  /** Adds the elements of one network and returns the name of the one that its ports lead to. */
  #network(network: WantedNetwork): string {
    const { intent } = this.#parts;
    const { fdb, neighbors } = intent;
    const domain = intent.domain(network.vni);
    this.#bridge(network, domain);
    let first = `${network.vni}.bridge`;
    const inFront = <O>(name: string, element: ElementClass<O>, options: O, to: Links = {}): void => {
      this.#nodes[`${network.vni}.${name}`] = node(element, options, { out: first, ...to });
      first = `${network.vni}.${name}`;
    };

    if (network.suppress) inFront('suppress', NeighborSuppress, { domain, neighbors }, { reply: 'dispatch' });
    const metered = network.ports.flatMap(({ port, floodPerSecond, burst }) =>
      floodPerSecond === null ? [] : [{ place: intent.place(port), packetsPerSecond: floodPerSecond, burst }],
    );
    if (metered.length > 0) inFront('meter', Meter, { domain, fdb, ports: metered });
    const publishers = network.ports
      .filter(publishes)
      .map(({ port, published }) => ({ place: intent.place(port), published }));
    if (publishers.length > 0) inFront('nat', NatOut, { ports: publishers, flows: intent.flows });
    const guarded = network.ports
      .filter(({ macs }) => macs.length > 0)
      .map(({ port, macs, addresses, router }) => ({
        place: intent.place(port),
        macs,
        ...(addresses.length > 0 && !router && { addresses }),
      }));
    if (guarded.length > 0) inFront('guard', Guard, { ports: guarded });
    return first;
  }

  /** The bridge of a network, and its way to the tunnel. */
  #bridge(network: WantedNetwork, domain: number): void {
    const { vni, learning, floodUnknown } = network;
    const { intent } = this.#parts;
    const remotes = network.remotes.length > 0;
    const ports = network.ports.map(({ port }) => intent.place(port));
    this.#nodes[`${vni}.bridge`] = node(
      Bridge,
      { domain, vni, fdb: intent.fdb, ports, learning, floodUnknown, remotes },
      { local: 'dispatch', ...(remotes && { remote: `${vni}.too-big` }) },
    );
    if (!remotes) return;
    const { local } = this.#wanted;
    this.#nodes[`${vni}.too-big`] = node(
      TooBig,
      { mtu: network.mtu },
      { out: this.#tunneled(network), reply: 'dispatch' },
    );
    this.#nodes[`${vni}.encap`] = node(
      VxlanEncap,
      {
        vni,
        medium: network.encrypted ? DATAGRAM : this.#parts.underlay.medium,
        vteps: intent.peersOf(network),
        remotes: intent.remotes(network),
        local: { address: local.address, port: local.port, ...(local.mac && { mac: local.mac }) },
        zeroChecksum6: local.zeroChecksum6,
        vlan: network.vlan,
        seed: this.#parts.seed,
      },
      { out: network.encrypted ? this.#sealed : 'underlay' },
    );
  }
}

/** What packets of local ports can ask for. */
const OFFLOADS = CHECKSUM | TSO4 | TSO6 | USO;
/** Bytes of the largest packet there can be: nothing is too long for an element. */
const ANY_LENGTH = 0x10000;

function publishes({ published }: WantedPort): boolean {
  return published.length > 0;
}

/** The bridge of each network by VNI. */
function bridges(networks: readonly WantedNetwork[]): Links {
  return Object.fromEntries(networks.map(({ vni }) => [vni, `${vni}.bridge`]));
}

function espLocal({ local }: Wanted, { port, carrier }: WantedEsp) {
  return {
    local: { address: local.address, port, ...(local.mac && { mac: local.mac }) },
    carrier,
    vxlanPort: local.port === 0 ? vxlan.PORT : local.port,
  };
}
