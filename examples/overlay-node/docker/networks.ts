/**
 * Networks of a Docker engine, each of which is a network of the overlay: `docker network create` with the same
 * `--ipam-opt network=NAME` on every host names the same one. It is made where it is absent.
 *
 * The engine asks for a pool of addresses first, and then makes the network, of which it tells neither the name nor the
 * pool's id, and whose id is another on every host. So a pool is planned and kept for a while, until a network comes
 * that has its subnet. What belongs together is remembered: an engine that starts again does not tell it again.
 */
import { cidr } from '../control/cidr.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import { type Network, type NetworkRequest, OWNER, type Subnet } from '../control/model.ts';
import { Queue } from '../control/queue.ts';
import type { Logger } from '../daemon/log.ts';
import {
  checkSame,
  checkUnchanged,
  make,
  otherSubnets,
  type PlannedPool,
  type PoolRequest,
  requestAgain,
  requestOf,
  subnetOf,
  type WantedNetwork,
} from './overlay-network.ts';
import { type Pool, Pools } from './pools.ts';
import type { Shelf } from './shelf.ts';

export type PoolRecord = Pick<PlannedPool, 'family' | 'subnet'>;

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

export interface NetworksOptions {
  readonly shelf: Shelf<NetworkRecord>;
  /** Throws where this host is in no overlay. */
  readonly control: () => Control;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export class Networks {
  readonly #options: NetworksOptions;
  readonly #pending: Pools;
  /** Networks are made and removed one after another. */
  readonly #queue = new Queue();

  constructor(options: NetworksOptions) {
    this.#options = options;
    this.#pending = new Pools(options.now);
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

  /** Chooses the subnet of a pool: the network's, or the one that it would have. */
  async requestPool(request: PoolRequest): Promise<Pool> {
    const { name, family, pool, range } = request;
    if (name === '') {
      const advice = 'add --ipam-opt network=NAME, with the same NAME on every host';
      throw new ControlError('INVALID', `say which network of the overlay this is: ${advice}`);
    }
    const subnet = await this.#subnet(request);
    const id = `${name}/${subnet.cidr}`;
    if (pool === '' && this.#pending.get(id) !== null) {
      const advice = `say --subnet ${subnet.cidr} to have it all the same, or create ${name} with another subnet`;
      const what = `the subnet ${subnet.cidr} of network ${name} overlaps with a route of this host`;
      throw new ControlError('CONFLICT', `${what}: ${advice}`);
    }
    const planned = { id, name, family, subnet, range };
    this.#pending.add(planned);
    return planned;
  }

  /** The subnet of a network that is there, or that it would have. */
  async #subnet(request: PoolRequest): Promise<Subnet> {
    const network = await this.#find(request.name);
    if (network !== null) return subnetOf(network, request);
    try {
      return await this.#plan(request);
    } catch (error) {
      // Another host may have made it meanwhile.
      const made = (error as ControlError).code === 'CONFLICT' ? await this.#find(request.name) : null;
      if (made === null) throw error;
      return subnetOf(made, request);
    }
  }

  /** A pool that no network has as yet; null where there is none. */
  pendingPool(id: string): Pool | null {
    return this.#pending.get(id);
  }

  /** Forgets a pool that no network has; those of networks go with them. */
  releasePool(id: string): void {
    this.#pending.remove(id);
  }

  /** Makes the network, or finds it. Throws `CONFLICT` where the one that is there is another than was asked for. */
  create(wanted: WantedNetwork): Promise<NetworkRecord> {
    return this.#queue.run(() => this.#create(wanted));
  }

  async #create(wanted: WantedNetwork): Promise<NetworkRecord> {
    const { shelf, control, now } = this.#options;
    const known = shelf.get(wanted.id);
    if (known !== undefined) return known;
    const pools = this.#pending.of(wanted);
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
    for (const { id } of pools) this.#pending.remove(id);
    return record;
  }

  /** Forgets a network, and removes it from the overlay where Docker made it and nobody is on it. */
  remove(id: string): Promise<void> {
    return this.#queue.run(() => this.#remove(id));
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
    checkUnchanged(request, network);
    return network;
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
}

export function short(id: string): string {
  return id.slice(0, 12);
}
