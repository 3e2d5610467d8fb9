/** Chooses the addresses of an endpoint among those that are not taken, as far as that is known. */
import type { Random } from 'packetweave';
import { cidr, parseAddress } from './cidr.ts';
import { ControlError } from './errors.ts';
import { type Bounds, given, homeOf, macOf, nextAddresses } from './ipam.ts';
import type { Endpoint, Network, Subnet } from './model.ts';
import type { Claim } from './records.ts';
import type { WantedEndpoint } from './requests.ts';

export interface Choice {
  readonly network: Network;
  readonly wanted: WantedEndpoint;
  /** Of the endpoint. */
  readonly id: string;
  /** That it is on. */
  readonly node: string;
  readonly random: Random;
  /** What this node chooses from in a subnet; without it, all that the subnet gives. */
  readonly part?: (subnet: Subnet) => Bounds;
}

/** What is taken, as far as it is known. */
export interface Taken {
  /** Addresses given last, by subnet. */
  readonly cursor: Readonly<Record<string, string>>;
  /** By address and MAC; null where that was not asked for. */
  readonly claims: ReadonlyMap<string, Claim> | null;
}

/** The endpoint with its addresses, each drawn from the next `spread` that are free; null where none is left. Throws
 * `CONFLICT` where those that were asked for are taken. */
export function choose(choice: Choice, taken: Taken, spread: number): Endpoint | null {
  const { network, wanted, id, node } = choice;
  const { claims } = taken;
  for (const address of [wanted.ip, wanted.ip6, wanted.mac]) {
    const claim = address === null ? undefined : claims?.get(address);
    if (claim !== undefined) throw inUse(address!, claim, network);
  }
  const used = (address: string) => claims?.has(address) === true;
  const used4 = (address: string) => used(address) || (wanted.mac === null && used(macOf(address)));
  const ip = wanted.ip ?? draw(choice, taken, 4, used4, spread);
  const ip6 = network.ipv6 ? (wanted.ip6 ?? draw(choice, taken, 6, used, spread)) : null;
  if (ip === null || (ip6 === null && network.ipv6)) return null;
  const mac = wanted.mac ?? macOf(ip);
  const claim = claims?.get(mac);
  if (claim !== undefined) throw inUse(mac, claim, network);
  const { container, name, aliases, hostname, ports, labels } = wanted;
  const addresses = [ip, ...(ip6 === null ? [] : [ip6])].map(
    (text) => `${text}/${cidr(homeOf(text, network.subnets)!.cidr).length}`,
  );
  return { id, network: network.id, node, container, name, aliases, hostname, mac, addresses, ports, labels };
}

/** What an endpoint has in the network: MAC and addresses, without lengths. */
export function claimsOf({ mac, addresses }: Endpoint): string[] {
  return [mac, ...addresses.map((address) => address.slice(0, address.indexOf('/')))];
}

/** Addresses of an endpoint as those given last, by subnet. Those that were asked for from outside what is given say
 * nothing of what is next. */
export function cursorOf(
  { addresses }: Endpoint,
  { subnets }: Network,
  part: (subnet: Subnet) => Bounds = given,
): Record<string, string> {
  const cursor: Record<string, string> = {};
  for (const address of addresses) {
    const plain = address.slice(0, address.indexOf('/'));
    const subnet = homeOf(plain, subnets)!;
    const { first, last } = part(subnet);
    const { value } = parseAddress(plain)!;
    if (value >= first && value <= last) cursor[subnet.cidr] = plain;
  }
  return cursor;
}

function draw(
  { network, random, part }: Choice,
  { cursor }: Taken,
  family: 4 | 6,
  used: (address: string) => boolean,
  spread: number,
): string | null {
  for (const subnet of network.subnets) {
    if (cidr(subnet.cidr).family !== family) continue;
    const free = nextAddresses(subnet, cursor[subnet.cidr] ?? null, used, spread, part?.(subnet));
    if (free.length > 0) return free[random.below(free.length)]!;
  }
  return null;
}

function inUse(address: string, { endpoint, node }: Claim, { name }: Network): ControlError {
  const who = endpoint === '' ? '' : ` by endpoint ${endpoint.slice(0, 12)} on node ${node}`;
  return new ControlError('CONFLICT', `Address already in use: ${address} in network ${name}${who}`);
}
