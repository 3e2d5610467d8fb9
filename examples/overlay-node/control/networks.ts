/** The networks of the cluster: found, made, removed. Names, VNIs and subnets are told apart by one key that every new
 * network changes, so that of two made at the same instant the second sees the first. */
import { randomBytes } from 'node:crypto';
import { commit } from './commit.ts';
import { ControlError } from './errors.ts';
import { Feed } from './feed.ts';
import { place } from './ipam.ts';
import type { Link } from './link.ts';
import type { Endpoint, Network, NetworkRequest } from './model.ts';
import { ALLOCATIONS, keyOf, readEndpoint, readNetwork } from './records.ts';
import { checkNetworkRequest, type WantedNetwork } from './requests.ts';
import type { Entry, Store } from './store/store.ts';

/** A network and the revision of its record. */
export interface Found {
  readonly network: Network;
  readonly revision: number;
}

export class Networks {
  readonly feed: Feed<Network>;
  readonly #link: Link;
  readonly #now: () => number;

  /** `onRemove` is told the id of a network that was removed, by whomever. */
  constructor(link: Link, now: () => number, onRemove: (id: string) => void) {
    this.#link = link;
    this.#now = now;
    this.feed = new Feed({ prefix: 'networks/', read: readNetwork, onPut() {}, onRemove }, link);
  }

  /** All of them, as the store has them, or as they were known last where it is away. */
  async list(): Promise<readonly Network[]> {
    return (await this.#all()).map(({ network }) => network);
  }

  async find(nameOrId: string): Promise<Found> {
    // What is asked for most is a name that is known already.
    const known = this.feed.get(nameOrId) ?? first(this.feed.values(), ({ name }) => name === nameOrId);
    if (known !== undefined) return { network: known, revision: this.feed.revision(known.id) };
    return this.findFresh(nameOrId);
  }

  /** As {@link find}, though never what was removed or made an instant ago. */
  async findFresh(nameOrId: string): Promise<Found> {
    const all = await this.#all();
    const network = findIn(
      all.map(({ network }) => network),
      nameOrId,
    );
    return all.find((found) => found.network === network)!;
  }

  async #all(): Promise<Found[]> {
    try {
      if (this.#link.up) return await listNetworks(this.#link.store);
    } catch (error) {
      if ((error as ControlError).code !== 'AWAY') throw error;
    }
    return [...this.feed.values()].map((network) => ({ network, revision: this.feed.revision(network.id) }));
  }

  async create(request: NetworkRequest): Promise<Network> {
    const wanted = checkNetworkRequest(request);
    const id = randomBytes(32).toString('hex');
    const { store } = this.#link;
    for (;;) {
      const { network, allocations } = await this.#plan(id, wanted);
      const value = JSON.stringify(network);
      const vni = wanted.vni === null ? network.vni : lastVni(allocations);
      const done = await commit(
        store,
        [{ key: ALLOCATIONS, revision: allocations?.revision ?? 0 }],
        [
          { type: 'put', key: ALLOCATIONS, value: JSON.stringify({ vni }) },
          { type: 'put', key: keyOf.network(id), value },
        ],
        async () => (await store.get(keyOf.network(id)))?.value === value,
      );
      if (done) return network;
    }
  }

  /** The network as `create` would make it now. */
  async plan(request: NetworkRequest): Promise<Network> {
    const { network } = await this.#plan(randomBytes(32).toString('hex'), checkNetworkRequest(request));
    return network;
  }

  async #plan(id: string, wanted: WantedNetwork): Promise<{ network: Network; allocations: Entry | null }> {
    const { store } = this.#link;
    // Before the list: a network that is made after it changes this key.
    const allocations = await store.get(ALLOCATIONS);
    const others = (await listNetworks(store)).map(({ network }) => network);
    if (others.some(({ name }) => name === wanted.name)) {
      throw new ControlError('CONFLICT', `network with name ${wanted.name} already exists`);
    }
    const created = new Date(this.#now()).toISOString();
    return {
      network: { id, created, ...wanted, ...place(wanted, others, lastVni(allocations)) },
      allocations,
    };
  }

  /** Refuses while there are endpoints. An attachment changes the cursor in its own transaction, and so shows here. */
  async remove(nameOrId: string): Promise<Network> {
    const { store } = this.#link;
    for (;;) {
      const { network, revision } = await this.findFresh(nameOrId);
      const { id } = network;
      const cursor = await store.get(keyOf.cursor(id));
      const { entries } = await store.list(`endpoints/${id}/`);
      if (entries.length > 0) throw this.#active(network, entries);
      const done = await commit(
        store,
        [
          { key: keyOf.network(id), revision },
          { key: keyOf.cursor(id), revision: cursor?.revision ?? 0 },
        ],
        [
          { type: 'delete', key: keyOf.network(id) },
          { type: 'delete', key: keyOf.cursor(id) },
        ],
        async () => (await store.get(keyOf.network(id))) === null,
      );
      if (!done) continue;
      const { entries: leftovers } = await store.list(`addresses/${id}/`);
      for (const { key } of leftovers) await store.delete(key);
      return network;
    }
  }

  #active({ name, id }: Network, entries: readonly Entry[]): ControlError {
    const read = readEndpoint(id);
    const some = entries.slice(0, 3).flatMap(({ key, value }) => {
      try {
        const endpoint: Endpoint = read(value, key.slice(key.lastIndexOf('/') + 1));
        return [`${endpoint.name} on node ${endpoint.node}`];
      } catch {
        return [key];
      }
    });
    const more = entries.length > some.length ? ` and ${entries.length - some.length} more` : '';
    return new ControlError('CONFLICT', `network ${name} has active endpoints: ${some.join(', ')}${more}`);
  }
}

/** By id, name, or the beginning of an id. Throws `NOT_FOUND`, or `CONFLICT` where several begin so. */
export function findIn(networks: readonly Network[], nameOrId: string): Network {
  const exact = networks.find(({ id }) => id === nameOrId) ?? networks.find(({ name }) => name === nameOrId);
  if (exact !== undefined) return exact;
  const begin = nameOrId === '' ? [] : networks.filter(({ id }) => id.startsWith(nameOrId));
  if (begin.length === 1) return begin[0]!;
  if (begin.length === 0) throw notFound(nameOrId);
  throw new ControlError('CONFLICT', `network ${nameOrId} is ambiguous (${begin.length} matches found)`);
}

export function notFound(network: string): ControlError {
  return new ControlError('NOT_FOUND', `network ${network} not found`);
}

/** What is readable of them; the feed tells of the rest. */
async function listNetworks(store: Store): Promise<Found[]> {
  const { entries } = await store.list('networks/');
  return entries.flatMap(({ key, value, revision }) => {
    try {
      return [{ network: readNetwork(value, key.slice('networks/'.length)), revision }];
    } catch {
      return [];
    }
  });
}

function lastVni(entry: Entry | null): number {
  try {
    const { vni } = JSON.parse(entry?.value ?? '{}');
    return Number.isInteger(vni) ? vni : 0;
  } catch {
    return 0;
  }
}

function first<T>(values: Iterable<T>, test: (value: T) => boolean): T | undefined {
  for (const value of values) if (test(value)) return value;
  return undefined;
}
