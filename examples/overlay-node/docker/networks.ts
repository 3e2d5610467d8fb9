/**
 * Networks of a Docker engine, each of which is a network of the overlay: `docker network create` with the same
 * `--ipam-opt network=NAME` on every host names the same one. It is made where it is absent.
 *
 * The engine asks for a pool of addresses first, and then makes the network, of which it tells neither the name nor the
 * pool's id, and whose id is another on every host. So a pool is planned and kept for a while, until a network comes
 * that has its subnet. What belongs together is remembered: an engine that starts again does not tell it again.
 */
import { cidr, formatCidr } from '../control/cidr.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import { type Network, type NetworkRequest, OWNER, type Subnet } from '../control/model.ts';
import type { Logger } from '../daemon/log.ts';
import type { Shelf } from './shelf.ts';

/** Of the pools that this plugin gives. */
export const ADDRESS_SPACE = 'packetweave';
/** Milliseconds that a pool is kept for a network that does not come. */
const KEPT = 30_000;

export interface NetworkRecord {
  /** The engine's id. */
  readonly id: string;
  /** How the overlay's network would be made again, by a host that knows it while no other does. */
  readonly request: NetworkRequest;
  /** Pools that the engine has of it, by id. */
  readonly pools: Readonly<Record<string, PoolRecord>>;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface PoolRecord {
  readonly family: 4 | 6;
  readonly subnet: Subnet;
}

/** A pool, and the name of its network. */
export interface Pool extends PoolRecord {
  readonly id: string;
  readonly name: string;
}

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

export interface NetworksOptions {
  readonly shelf: Shelf<NetworkRecord>;
  /** Throws where this host is in no overlay. */
  readonly control: () => Control;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface Pending extends Pool {
  readonly range: string;
  readonly at: number;
}

export class Networks {
  readonly #options: NetworksOptions;
  readonly #pending = new Map<string, Pending>();
  /** Networks are made and removed one after another. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: NetworksOptions) {
    this.#options = options;
  }

  all(): NetworkRecord[] {
    return this.#options.shelf.all();
  }

  /** Throws `NOT_FOUND`. */
  get(id: string): NetworkRecord {
    const record = this.#options.shelf.get(id);
    if (record !== undefined) return record;
    const advice = '"docker network rm" it and create it again';
    throw new ControlError('NOT_FOUND', `Docker network ${short(id)} is not known to packetweave: ${advice}`);
  }

  /** The network that has a pool, and the pool; null where none has. */
  ofPool(id: string): { readonly record: NetworkRecord; readonly pool: PoolRecord } | null {
    const record = this.all().find(({ pools }) => Object.hasOwn(pools, id));
    return record === undefined ? null : { record, pool: record.pools[id] };
  }

  /** A pool that no network has as yet. */
  pendingPool(id: string): Pool | null {
    this.#expire();
    return this.#pending.get(id) ?? null;
  }

  /** Chooses the subnet of a pool: the network's, or the one that it would have. */
  async requestPool(request: PoolRequest): Promise<Pool> {
    const { name, family, pool, range } = request;
    if (name === '') {
      const advice = 'add --ipam-opt network=NAME, with the same NAME on every host';
      throw new ControlError('INVALID', `say which network of the overlay this is: ${advice}`);
    }
    const network = await this.#find(name);
    const subnet = network === null ? await this.#plan(request) : subnetOf(network, request);
    const id = `${name}/${subnet.cidr}`;
    this.#expire();
    if (pool === '' && this.#pending.has(id)) {
      const advice = `say --subnet ${subnet.cidr} to have it all the same, or create ${name} with another subnet`;
      const what = `the subnet ${subnet.cidr} of network ${name} overlaps with a route of this host`;
      throw new ControlError('CONFLICT', `${what}: ${advice}`);
    }
    const { now } = this.#options;
    const pending = { id, name, family, subnet, range, at: now() };
    this.#pending.set(id, pending);
    return pending;
  }

  /** Forgets a pool that no network has; those of networks go with them. */
  releasePool(id: string): void {
    this.#pending.delete(id);
  }

  /** Makes the network, or finds it. Throws `CONFLICT` where the one that is there is another than was asked for. */
  create(wanted: WantedNetwork): Promise<NetworkRecord> {
    return this.#inTurn(() => this.#create(wanted));
  }

  async #create(wanted: WantedNetwork): Promise<NetworkRecord> {
    const { shelf, control, now } = this.#options;
    const known = shelf.get(wanted.id);
    if (known !== undefined) return known;
    const pools = this.#poolsOf(wanted);
    const { name } = pools[0];
    const other = this.all().find(({ request }) => request.name === name);
    if (other !== undefined) {
      const whose = `network ${name} of the overlay is Docker network ${short(other.id)} of this engine already`;
      throw new ControlError('CONFLICT', `${whose}: use that, or remove it first`);
    }
    const network = (await this.#find(name)) ?? (await make(control(), requestOf(name, wanted, pools)));
    checkSame(network, wanted);
    const ids = pools.map(({ id, family, subnet: { cidr } }) => {
      const subnet = network.subnets.find((one) => one.cidr === cidr);
      if (subnet === undefined) throw otherSubnets(network, cidr);
      return [id, { family, subnet }] as const;
    });
    const record = {
      id: wanted.id,
      request: requestAgain(network),
      pools: Object.fromEntries(ids),
      at: now(),
    };
    await shelf.put(record);
    for (const { id } of pools) this.#pending.delete(id);
    return record;
  }

  /** Forgets a network, and removes it from the overlay where Docker made it and nobody is on it. */
  remove(id: string): Promise<void> {
    return this.#inTurn(() => this.#remove(id));
  }

  async #remove(id: string): Promise<void> {
    const { shelf, control, log } = this.#options;
    const record = shelf.get(id);
    if (record === undefined) return;
    await shelf.remove(id);
    try {
      const network = await this.#find(record.request.name);
      if (network?.labels[OWNER] === 'docker') await control().removeNetwork(network.id);
    } catch (error) {
      log.debug(`network ${record.request.name} stays: ${(error as Error).message}`);
    }
  }

  /** The overlay's network of a record, made again where the last host but this one removed it. */
  async ensure({ request }: NetworkRecord): Promise<Network> {
    const network = (await this.#find(request.name)) ?? (await make(this.#options.control(), request));
    this.checkUnchanged({ request }, network);
    return network;
  }

  /** Throws `CONFLICT` where a network is not what the engine takes it for. */
  checkUnchanged({ request }: Pick<NetworkRecord, 'request'>, network: Network): void {
    const { subnets, encrypted, internal } = network;
    const same =
      JSON.stringify(subnets.map((one) => one.cidr)) === JSON.stringify(request.subnets) &&
      encrypted === isEncrypted(request.options ?? {}) &&
      internal === request.internal;
    if (same) return;
    const advice = '"docker network rm" it here and create it again';
    throw new ControlError('CONFLICT', `network ${network.name} was made anew, otherwise: ${advice}`);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** By name alone: the beginning of an id is no name. */
  async #find(name: string): Promise<Network | null> {
    const networks = await this.#options.control().networks();
    return networks.find((network) => network.name === name) ?? null;
  }

  async #plan({ name, family, pool, range }: PoolRequest): Promise<Subnet> {
    const { subnets } = await this.#options.control().planNetwork({
      name,
      subnets: pool === '' ? [] : [pool],
      ranges: range === '' ? [] : [range],
      ipv6: family === 6,
    });
    return subnets.find((subnet) => cidr(subnet.cidr).family === family)!;
  }

  /** The pools that the engine was given for a network. */
  #poolsOf({ id, options, subnets }: WantedNetwork): Pending[] {
    this.#expire();
    if (subnets.some(({ space }) => space !== ADDRESS_SPACE) || subnets.length === 0) {
      const advice = 'add --ipam-driver packetweave --ipam-opt network=NAME';
      const why = 'each engine would give the same addresses by itself';
      throw new ControlError(
        'INVALID',
        `Docker network ${short(id)} has another IPAM driver: ${advice} (${why})`,
      );
    }
    const all = [...this.#pending.values()].reverse();
    const pools = subnets.map(({ cidr }) => {
      const found = all.filter(({ subnet }) => subnet.cidr === canonical(cidr));
      const pool = found.find(({ name }) => name === options.network) ?? found[0];
      if (pool !== undefined) return pool;
      throw new ControlError('NOT_FOUND', `the pool ${cidr} was given back meanwhile: try again`);
    });
    const names = new Set([...pools.map(({ name }) => name), options.network ?? pools[0].name]);
    if (names.size === 1) return pools;
    const list = [...names].join(' and ');
    throw new ControlError(
      'INVALID',
      `several networks are named (${list}): name one, by --ipam-opt network=`,
    );
  }

  #expire(): void {
    const now = this.#options.now();
    for (const [id, { at }] of this.#pending) if (now - at > KEPT) this.#pending.delete(id);
  }
}

export function short(id: string): string {
  return id.slice(0, 12);
}

/** The text of a subnet as the overlay has it. Throws `INVALID`. */
function canonical(text: string): string {
  return formatCidr(cidr(text));
}

/** The subnet of a network that a pool is. */
function subnetOf(network: Network, { family, pool, range }: PoolRequest): Subnet {
  const subnets = network.subnets.filter((subnet) => cidr(subnet.cidr).family === family);
  const subnet = pool === '' ? subnets[0] : subnets.find((one) => one.cidr === canonical(pool));
  if (subnet === undefined) throw otherSubnets(network, pool === '' ? 'no IPv6' : pool);
  if (range === '' || canonical(range) === (subnet.range ?? subnet.cidr)) return subnet;
  const has = subnet.range === null ? 'none' : subnet.range;
  throw new ControlError('CONFLICT', `network ${network.name} is there with --ip-range ${has}, not ${range}`);
}

function otherSubnets({ name, subnets }: Network, wanted: string): ControlError {
  const list = subnets.map((subnet) => subnet.cidr).join(', ');
  const advice = 'leave --subnet out, or take another name';
  return new ControlError('CONFLICT', `network ${name} is there with ${list}, not ${wanted}: ${advice}`);
}

async function make(control: Control, request: NetworkRequest): Promise<Network> {
  try {
    return await control.createNetwork(request);
  } catch (error) {
    // Another host was faster.
    const found = (await control.networks()).find(({ name }) => name === request.name);
    if ((error as ControlError).code === 'CONFLICT' && found !== undefined) return found;
    throw error;
  }
}

function requestOf(
  name: string,
  { options, internal, subnets }: WantedNetwork,
  pools: Pending[],
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
function requestAgain(network: Network): NetworkRequest {
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
function checkSame(network: Network, { options, internal }: WantedNetwork): void {
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

function isEncrypted({ encrypted }: Readonly<Record<string, string>>): boolean {
  return encrypted !== undefined && encrypted !== 'false';
}

/** Without prefix length. */
function plain(address: string): string {
  return address.split('/', 1)[0];
}
