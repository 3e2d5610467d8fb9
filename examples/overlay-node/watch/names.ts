/** What people call the networks, ports and elements that the dataplane has by number and id. */
import type { NetworkView } from '../control/control.ts';
import { gatewayPort } from '../daemon/desired.ts';

/** Networks that this node takes part in, by id; see `Control`. */
export type Views = ReadonlyMap<string, NetworkView>;

/** Digits of an id that people see. */
const SHORT = 12;

/** The network's name, or `vni 4097` where none of this node's has that VNI. */
export function networkName(views: Views, vni: number): string {
  for (const { network } of views.values()) if (network.vni === vni) return network.name;
  return `vni ${vni}`;
}

/** Names of local ports by their ids: the container's, or `gateway`. `node` is this node's id. */
export function portNames(views: Views, node: string): Record<string, string> {
  const names: Record<string, string> = {};
  for (const { network, endpoints } of views.values()) {
    names[gatewayPort(network, node).id] = 'gateway';
    for (const { id, name, node: at } of endpoints.values()) if (at === node) names[id] = name;
  }
  return names;
}

/** What a port is called whose endpoint is perhaps gone meanwhile. */
export function portName(names: Readonly<Record<string, string>>, id: string): string {
  if (Object.hasOwn(names, id)) return names[id];
  return /^[0-9a-f]{64}$/.test(id) ? id.slice(0, SHORT) : id;
}

/** An element or port of the graph, such as `4097.guard` or `4097.eth0#3`, with the network's name in place of its VNI
 * and the container's in place of an id. */
export function elementName(views: Views, names: Readonly<Record<string, string>>, element: string): string {
  const [, vni, rest] = /^(\d+)\.(.*)$/.exec(element) ?? [];
  if (vni === undefined) return element;
  return `${networkName(views, Number(vni))}.${portName(names, rest)}`;
}
