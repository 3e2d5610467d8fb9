/** Networks of the overlay as an engine asks for them, and whether the one that is there is what was asked for: functions. */
import { cidr, formatCidr } from '../control/cidr.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import { type Network, type NetworkRequest, OWNER, type Subnet } from '../control/model.ts';

export interface PoolRequest {
  readonly name: string;
  readonly family: 4 | 6;
  /** What the user said; empty: nothing. */
  readonly pool: string;
  readonly range: string;
}

/** A subnet of a network that the engine makes. */
export interface WantedSubnet {
  readonly space: string;
  readonly cidr: string;
  /** Empty where it is not said. */
  readonly gateway: string;
  /** Name and address. */
  readonly auxiliary: Readonly<Record<string, string>>;
}

export interface WantedNetwork {
  /** The engine's id. */
  readonly id: string;
  readonly options: Readonly<Record<string, string>>;
  readonly internal: boolean;
  readonly subnets: readonly WantedSubnet[];
}

/** A subnet that was chosen before its network is there. */
export interface PlannedPool {
  readonly family: 4 | 6;
  readonly subnet: Subnet;
  /** As it was asked for; empty for the whole. */
  readonly range: string;
}

/** The text of a subnet as the overlay has it. Throws `INVALID`. */
export function canonical(text: string): string {
  return formatCidr(cidr(text));
}

/** The subnet of a network that a pool is. */
export function subnetOf(network: Network, { family, pool, range }: PoolRequest): Subnet {
  const subnets = network.subnets.filter((subnet) => cidr(subnet.cidr).family === family);
  const subnet = pool === '' ? subnets[0] : subnets.find((one) => one.cidr === canonical(pool));
  if (subnet === undefined) throw otherSubnets(network, pool === '' ? 'no IPv6' : pool);
  if (range === '' || canonical(range) === (subnet.range ?? subnet.cidr)) return subnet;
  const has = subnet.range === null ? 'none' : subnet.range;
  throw new ControlError('CONFLICT', `network ${network.name} is there with --ip-range ${has}, not ${range}`);
}

export function otherSubnets({ name, subnets }: Network, wanted: string): ControlError {
  const list = subnets.map((subnet) => subnet.cidr).join(', ');
  const advice = 'leave --subnet out, or take another name';
  return new ControlError('CONFLICT', `network ${name} is there with ${list}, not ${wanted}: ${advice}`);
}

/** Makes a network, or finds the one that another host made at the same time. */
export async function make(control: Control, request: NetworkRequest): Promise<Network> {
  try {
    return await control.createNetwork(request);
  } catch (error) {
    const found = (await control.networks()).find(({ name }) => name === request.name);
    if ((error as ControlError).code === 'CONFLICT' && found !== undefined) return found;
    throw error;
  }
}

/** What a network is made of where the engine asks for it first. */
export function requestOf(
  name: string,
  { options, internal, subnets }: WantedNetwork,
  pools: readonly PlannedPool[],
): NetworkRequest {
  const { network: _, ...rest } = options;
  return {
    name,
    attachable: true,
    internal,
    ipv6: pools.some(({ family }) => family === 6),
    subnets: subnets.map(({ cidr }) => cidr),
    ranges: rangesOf(pools.map(({ range, subnet }) => ({ range: range || null, cidr: subnet.cidr }))),
    gateways: subnets.map(({ gateway }, i) => plain(gateway) || pools[i].subnet.gateway),
    auxiliary: subnets.flatMap(({ auxiliary }) =>
      Object.entries(auxiliary).map(([name, address]) => `${name}=${plain(address)}`),
    ),
    options: rest,
    labels: { [OWNER]: 'docker' },
  };
}

/** A range of its own or the whole, so that each stays with its subnet; none where all have the whole. */
function rangesOf(subnets: readonly { readonly range: string | null; readonly cidr: string }[]): string[] {
  if (subnets.every(({ range }) => range === null)) return [];
  return subnets.map(({ range, cidr }) => range ?? cidr);
}

/** How a network is made that is like this one. */
export function requestAgain(network: Network): NetworkRequest {
  const { name, attachable, internal, ipv6, subnets, options, labels, encrypted } = network;
  return {
    name,
    attachable,
    internal,
    ipv6,
    subnets: subnets.map(({ cidr }) => cidr),
    ranges: rangesOf(subnets),
    gateways: subnets.map(({ gateway }) => gateway),
    auxiliary: subnets.flatMap(({ auxiliary }) =>
      Object.entries(auxiliary).map(([name, address]) => `${name}=${address}`),
    ),
    options: encrypted ? { ...options, encrypted: '' } : options,
    labels,
  };
}

/** Throws `CONFLICT` where the network that is there is not what somebody asks for. */
export function checkSame(network: Network, { options, internal }: WantedNetwork): void {
  const { name, encrypted, attachable, mtu } = network;
  const there = (text: string) => new ControlError('CONFLICT', `network ${name} is there, and ${text}`);
  if (!attachable) throw there('containers cannot attach to it: create it with --attachable');
  if (!encrypted && isEncrypted(options)) {
    throw there('is not encrypted: leave --opt encrypted out, or take another name');
  }
  if (network.internal !== internal) {
    throw there(network.internal ? 'is internal: add --internal' : 'is not internal: leave --internal out');
  }
  if (options.mtu !== undefined && Number(options.mtu) !== mtu)
    throw there(`has another MTU: leave --opt mtu out`);
}

/** Throws `CONFLICT` where a network is not what an engine that knew it takes it for. */
export function checkUnchanged(request: NetworkRequest, network: Network): void {
  const { name, subnets, encrypted, internal } = network;
  const same =
    JSON.stringify(subnets.map((one) => one.cidr)) === JSON.stringify(request.subnets) &&
    encrypted === isEncrypted(request.options ?? {}) &&
    internal === request.internal;
  if (same) return;
  const advice = '"docker network rm" it here and create it again';
  throw new ControlError('CONFLICT', `network ${name} was made anew, otherwise: ${advice}`);
}

function isEncrypted({ encrypted }: Readonly<Record<string, string>>): boolean {
  return encrypted !== undefined && encrypted !== 'false';
}

/** Without prefix length. */
function plain(address: string): string {
  return address.split('/', 1)[0];
}
