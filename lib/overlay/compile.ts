/**
 * The graph of an overlay: which elements there are and what leads where. The elements of a network, in the
 * order in which a frame from a port meets them:
 *
 *     port -> guard -> meter -> suppress -> bridge -> dispatch -> port
 *                                             |
 *                                             +-> too-big -> encap -> underlay
 *                                                              |
 *                                                              +-> esp-seal -> esp-underlay
 *     underlay -> decap -> bridge
 *     esp-underlay -> esp-open -> esp-decap -> bridge
 *                        |
 *                        +-> esp-keys -> esp-underlay
 *
 * Where ESP is on IP protocol 50 messages about keys have a port of their own, and nothing else goes by it:
 *
 *     esp-control -> esp-control-open -> esp-keys -> esp-control
 *
 * What a network does not need it does not have: no guard without declared addresses, no meter without
 * limits, no tunnel without remotes. A network is either plain or encrypted: an encrypted one has no way to
 * the plain underlay, and what comes from there for it is dropped as clear text.
 */

import { PORT } from '../../codecs/vxlan.ts';
import { Sad } from '../../crypto/sad.ts';
import { type ElementClass, type GraphConfig, type Links, type NodeSpec, node } from '../core/graph.ts';
import { Ageing } from '../elements/ageing.ts';
import { Bridge } from '../elements/bridge.ts';
import { Dispatch } from '../elements/dispatch.ts';
import { EspOpen } from '../elements/esp-open.ts';
import { EspSeal } from '../elements/esp-seal.ts';
import { Guard } from '../elements/guard.ts';
import { KeyExchange } from '../elements/key-exchange.ts';
import { Meter } from '../elements/meter.ts';
import { NeighborSuppress } from '../elements/neighbor-suppress.ts';
import { TooBig } from '../elements/too-big.ts';
import { type DecapNetwork, VxlanDecap } from '../elements/vxlan-decap.ts';
import { VxlanEncap } from '../elements/vxlan-encap.ts';
import { DATAGRAM, type Port } from '../io/port.ts';
import type { Wanted, WantedEsp, WantedNetwork } from './config.ts';
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
}

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

  constructor(wanted: Wanted, parts: Parts) {
    this.#wanted = wanted;
    this.#parts = parts;
  }

  graph(): GraphConfig {
    const dispatch: Record<string, string> = {};
    for (const network of this.#wanted.networks) {
      const first = this.#network(network);
      for (const { port } of network.ports) {
        const place = this.#parts.intent.place(port);
        const name = this.#free(`${network.vni}.${port.name}`, place);
        this.#nodes[name] = { port, place, to: { out: first } };
        dispatch[place] = name;
      }
    }
    this.#plain();
    this.#encrypted();
    this.#nodes.dispatch = node(Dispatch, {}, dispatch);
    this.#nodes.ageing = node(Ageing, { fdb: this.#parts.intent.fdb });
    return this.#nodes;
  }

  /** A name that no node has yet. */
  #free(name: string, place: number): string {
    return this.#nodes[name] === undefined ? name : `${name}#${place}`;
  }

  /** Where frames come from the plain underlay. */
  #plain(): void {
    const { local, networks } = this.#wanted;
    const { underlay, intent } = this.#parts;
    this.#nodes.underlay = { port: underlay, to: { out: 'decap' } };
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
    this.#nodes['esp-underlay'] = { port: underlay, to: { out: 'esp-open' } };
    if (control === null) {
      this.#nodes['esp-open'] = node(EspOpen, both, { out: 'esp-decap', control: 'esp-keys' });
      this.#nodes['esp-keys'] = node(KeyExchange, { ...both, keys }, { out: 'esp-underlay' });
    } else {
      this.#nodes['esp-open'] = node(EspOpen, both, { out: 'esp-decap' });
      // No association is known to the port of messages, so that ESP that comes there is refused.
      const apart = { ...both, medium: DATAGRAM, carrier: 'udp' } as const;
      this.#nodes['esp-control'] = { port: control, to: { out: 'esp-control-open' } };
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
    const guarded = network.ports
      .filter(({ macs }) => macs.length > 0)
      .map(({ port, macs, addresses }) => ({
        place: intent.place(port),
        macs,
        ...(addresses.length > 0 && { addresses }),
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
      { out: `${vni}.encap`, reply: 'dispatch' },
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
      { out: network.encrypted ? 'esp-seal' : 'underlay' },
    );
  }
}

/** The bridge of each network by VNI. */
function bridges(networks: readonly WantedNetwork[]): Links {
  return Object.fromEntries(networks.map(({ vni }) => [vni, `${vni}.bridge`]));
}

function espLocal({ local }: Wanted, { port, carrier }: WantedEsp) {
  return {
    local: { address: local.address, port, ...(local.mac && { mac: local.mac }) },
    carrier,
    vxlanPort: local.port === 0 ? PORT : local.port,
  };
}
