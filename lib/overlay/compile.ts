/**
 * The graph of an overlay: which elements there are and what leads where. The elements of a network, in the
 * order in which a frame from a port meets them:
 *
 *     port -> guard -> meter -> suppress -> bridge -> dispatch -> port
 *                                             |
 *                                             +-> too-big -> encap -> underlay
 *     underlay -> decap -> bridge
 *
 * What a network does not need it does not have: no guard without declared addresses, no meter without
 * limits, no tunnel without remotes.
 */
import { type GraphConfig, type NodeSpec, node } from '../core/graph.ts';
import { Ageing } from '../elements/ageing.ts';
import { Bridge } from '../elements/bridge.ts';
import { Dispatch } from '../elements/dispatch.ts';
import { Guard } from '../elements/guard.ts';
import { Meter } from '../elements/meter.ts';
import { NeighborSuppress } from '../elements/neighbor-suppress.ts';
import { TooBig } from '../elements/too-big.ts';
import { VxlanDecap } from '../elements/vxlan-decap.ts';
import { VxlanEncap } from '../elements/vxlan-encap.ts';
import type { Port } from '../io/port.ts';
import type { Wanted, WantedNetwork } from './config.ts';
import type { Intent } from './intent.ts';

/** The graph of a description whose numbers `intent` has given out. */
export function compile(wanted: Wanted, underlay: Port, intent: Intent, seed: number): GraphConfig {
  const nodes: Record<string, NodeSpec> = {};
  const dispatch: Record<string, string> = {};
  const decap: Record<string, string> = {};
  for (const network of wanted.networks) {
    decap[network.vni] = `${network.vni}.bridge`;
    const first = compileNetwork(wanted, network, underlay, intent, seed, nodes);
    for (const { port } of network.ports) {
      const place = intent.place(port);
      const taken = nodes[`${network.vni}.${port.name}`] !== undefined;
      const name = taken ? `${network.vni}.${port.name}#${place}` : `${network.vni}.${port.name}`;
      nodes[name] = { port, place, to: { out: first } };
      dispatch[place] = name;
    }
  }
  const { local } = wanted;
  nodes.underlay = { port: underlay, to: { out: 'decap' } };
  nodes.decap = node(
    VxlanDecap,
    {
      medium: underlay.medium,
      vteps: intent.peers,
      local: { address: local.address, port: local.port },
      networks: wanted.networks.map((network) => ({
        vni: network.vni,
        peers: intent.remotes(network),
        vlan: network.vlan === 'keep' ? ('keep' as const) : ('drop' as const),
      })),
      strictReserved: local.strictReserved,
      zeroChecksum6: local.zeroChecksum6,
    },
    decap,
  );
  nodes.dispatch = node(Dispatch, {}, dispatch);
  nodes.ageing = node(Ageing, { fdb: intent.fdb });
  return nodes;
}

/** Adds the elements of one network and returns the name of the one that its ports lead to. */
function compileNetwork(
  { local }: Wanted,
  network: WantedNetwork,
  underlay: Port,
  intent: Intent,
  seed: number,
  nodes: Record<string, NodeSpec>,
): string {
  const name = (element: string) => `${network.vni}.${element}`;
  const domain = intent.domain(network.vni);
  const { fdb, neighbors } = intent;
  const places = network.ports.map(({ port }) => intent.place(port));
  let first = name('bridge');

  nodes[name('bridge')] = node(
    Bridge,
    {
      domain,
      vni: network.vni,
      fdb,
      ports: places,
      learning: network.learning,
      floodUnknown: network.floodUnknown,
      remotes: network.remotes.length > 0,
    },
    network.remotes.length > 0 ? { local: 'dispatch', remote: name('too-big') } : { local: 'dispatch' },
  );
  if (network.remotes.length > 0) {
    nodes[name('too-big')] = node(TooBig, { mtu: network.mtu }, { out: name('encap'), reply: 'dispatch' });
    nodes[name('encap')] = node(
      VxlanEncap,
      {
        vni: network.vni,
        medium: underlay.medium,
        vteps: intent.peers,
        remotes: intent.remotes(network),
        local: { address: local.address, port: local.port, ...(local.mac && { mac: local.mac }) },
        zeroChecksum6: local.zeroChecksum6,
        vlan: network.vlan,
        seed: seed,
      },
      { out: 'underlay' },
    );
  }
  if (network.suppress) {
    nodes[name('suppress')] = node(
      NeighborSuppress,
      { domain, neighbors },
      { out: first, reply: 'dispatch' },
    );
    first = name('suppress');
  }
  const metered = network.ports.flatMap(({ port, floodPerSecond, burst }) =>
    floodPerSecond === null ? [] : [{ place: intent.place(port), packetsPerSecond: floodPerSecond, burst }],
  );
  if (metered.length > 0) {
    nodes[name('meter')] = node(Meter, { domain, fdb, ports: metered }, { out: first });
    first = name('meter');
  }
  const guarded = network.ports.flatMap(({ port, macs, addresses }) =>
    macs.length === 0
      ? []
      : [{ place: intent.place(port), macs, ...(addresses.length > 0 && { addresses }) }],
  );
  if (guarded.length > 0) {
    nodes[name('guard')] = node(Guard, { ports: guarded }, { out: first });
    first = name('guard');
  }
  return first;
}
