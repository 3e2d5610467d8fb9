/** What is to be carried here, from what control knows and where things are on this host: pure functions. */
import { isIP } from 'node:net';
import type { PublishedConfig } from 'packetweave';
import type { Interface } from '../attach/attach.ts';
import { GATEWAY_DEVICE, gatewayNamespace } from '../attach/gateway.ts';
import { cidr, contains, parseAddress } from '../control/cidr.ts';
import type { NetworkView } from '../control/control.ts';
import { macOf } from '../control/ipam.ts';
import type { Endpoint, Network, NodeState, PublishedPort } from '../control/model.ts';
import type { DataplaneLocal, DataplaneNetwork, LocalPort, RemoteEndpoint } from './dataplane.ts';
import { withoutLength } from './names.ts';

/** Where an endpoint of this node is. */
export interface Place {
  /** Name in `ip netns`, or a path; null for the daemon's own. */
  readonly namespace: string | null;
  /** Name of the device in it. */
  readonly device: string;
  /** Whether its default route leads here. */
  readonly main: boolean;
  /** Somebody else configures the device, as Docker does. */
  readonly managed?: boolean;
}

/** A port in a namespace of our own. */
export type GatewayPort = LocalPort & { readonly namespace: string };

/** What is answered for on every host: the same addresses and the same MAC. */
export function gatewayPort(network: Network, node: string): GatewayPort {
  const addresses = network.subnets.map(({ gateway }) => gateway);
  return {
    device: GATEWAY_DEVICE,
    namespace: gatewayNamespace(network.vni, node),
    id: `gateway ${network.id}`,
    mac: macOf(addresses.find((address) => isIP(address) === 4) ?? '10.0.0.1'),
    addresses,
    router: !network.internal,
    ports: [],
  };
}

export function gatewayInterface(network: Network, { device, mac }: LocalPort, mtu: number): Interface {
  const addresses = network.subnets.map(({ cidr, gateway }) => `${gateway}/${cidr.split('/')[1]}`);
  return { device, mac, mtu, addresses, onLink: [], gateways: [] };
}

/** A network as this node is to carry it. `place` tells where its own endpoints are; null: nowhere as yet. */
export function desiredNetwork(
  view: NetworkView,
  node: string,
  place: (endpoint: Endpoint) => Place | null,
  learning: boolean,
): DataplaneNetwork {
  const { network, peers } = view;
  const hosts = new Map(peers.map((peer) => [peer.id, peer.address]));
  const endpoints: RemoteEndpoint[] = [];
  const ports: LocalPort[] = [gatewayPort(network, node)];
  for (const endpoint of view.endpoints.values()) {
    const { id, mac, ports: published } = endpoint;
    const addresses = endpoint.addresses.map(withoutLength);
    const remote = hosts.get(endpoint.node);
    const at = endpoint.node === node ? place(endpoint) : null;
    if (at !== null) {
      const { device, namespace } = at;
      ports.push({ id, mac, addresses, router: false, ports: published, device, namespace });
    } else if (remote !== undefined) endpoints.push({ mac, remote, addresses });
  }
  return {
    vni: network.vni,
    mtu: network.mtu,
    encrypted: network.encrypted,
    remotes: remotes(network, peers),
    endpoints,
    ports,
    learning,
  };
}

/** What the library is told of encryption. */
export function espConfig({ secret, port, keys, period }: NonNullable<DataplaneLocal['esp']>) {
  return {
    secret,
    port,
    ...(keys !== null && { channel: keys }),
    ...(period !== undefined && { period }),
  };
}

/** A host that joined again is, for a moment, there twice. */
function remotes({ encrypted }: Network, peers: readonly NodeState[]): DataplaneNetwork['remotes'] {
  const ports = new Map(peers.map((peer) => [peer.address, encrypted ? peer.espPort : peer.dataPort]));
  return [...ports].map(([address, port]) => ({ address, port }));
}

/** The published ports as the library takes them: on the overlay it does not matter which address of the host each has,
 * and of two that differ in that alone the first counts. */
export function publications(ports: readonly PublishedPort[]): PublishedConfig[] {
  const overlaps = (a: PublishedConfig, b: PublishedPort) =>
    a.protocol === b.protocol &&
    a.published < b.published + b.count &&
    b.published < a.published + (a.count ?? 1);
  const kept: PublishedConfig[] = [];
  for (const one of ports) {
    const { protocol, published, port, count } = one;
    if (!kept.some((other) => overlaps(other, one))) kept.push({ protocol, published, port, count });
  }
  return kept;
}

/** How the device of an endpoint is to look in its namespace. */
export function interfaceOf(endpoint: Endpoint, network: Network, place: Place, mtu: number): Interface {
  const { mac, addresses } = endpoint;
  const parsed = addresses.map((address) => parseAddress(withoutLength(address))!);
  const own = network.subnets.filter((subnet) =>
    parsed.some((address) => contains(cidr(subnet.cidr), address)),
  );
  const others = network.subnets.filter((subnet) => !own.includes(subnet));
  const families = new Set(addresses.map((address) => isIP(withoutLength(address))));
  return {
    device: place.device,
    mac,
    mtu,
    addresses,
    onLink: others.map(({ cidr }) => cidr).filter((cidr) => families.has(isIP(withoutLength(cidr)))),
    gateways: place.main && !network.internal ? own.map(({ gateway }) => gateway) : [],
  };
}
