/** The endpoints of this node: attached, detached, found again after a restart, put back where the store lost them. */
import type { Log, Random } from 'packetweave';
import { allocate, newId, putEndpoint, removedNode } from './allocate.ts';
import { commit } from './commit.ts';
import { ControlError } from './errors.ts';
import type { Link } from './link.ts';
import type { Endpoint, EndpointChange, EndpointRequest } from './model.ts';
import type { Found, Networks } from './networks.ts';
import { Queues } from './queue.ts';
import { isId, keyOf, readEndpoint } from './records.ts';
import { releaseAll, releaseEndpoint } from './release.ts';
import { changedEndpoint, checkEndpointRequest } from './requests.ts';
import type { Entry } from './store/store.ts';
import type { Views } from './views.ts';

export interface EndpointsOptions {
  readonly link: Link;
  readonly node: string;
  /** Revision of this node's record, 0 where it is gone. */
  readonly nodeRevision: () => number;
  readonly networks: Networks;
  readonly views: Views;
  readonly random: Random;
  readonly log: Log;
  /** As of {@link Timing}. */
  readonly linger: number;
}

export class Endpoints {
  readonly #options: EndpointsOptions;
  readonly #own = new Map<string, Endpoint>();
  /** Ids that are being written. */
  readonly #pending = new Set<string>();
  /** One thing at a time in each network: what they would only dispute with each other. */
  readonly #turns = new Queues();
  /** Ids of what was not readable when this node began: left as it is. */
  readonly #strange = new Set<string>();
  #loaded = false;

  constructor(options: EndpointsOptions) {
    this.#options = options;
  }

  list(): readonly Endpoint[] {
    return [...this.#own.values()];
  }

  /** Whether those are known that were there when this node began. */
  get loaded(): boolean {
    return this.#loaded;
  }

  async attach(request: EndpointRequest): Promise<Endpoint> {
    const { link, networks, node, nodeRevision } = this.#options;
    const found = await networks.find(request.network);
    if (!this.#loaded) throw new ControlError('AWAY', `the store ${link.store.name} was not there yet`);
    if (nodeRevision() === 0) throw removedNode(node);
    try {
      return await this.#attach(request, found);
    } catch (error) {
      if ((error as ControlError).code !== 'NOT_FOUND') throw error;
      // It is gone, and what is known here is late: another may have its name.
      return this.#attach(request, await networks.findFresh(request.network));
    }
  }

  #attach(request: EndpointRequest, found: Found): Promise<Endpoint> {
    const { link, node, nodeRevision, random, views } = this.#options;
    const { network } = found;
    const wanted = checkEndpointRequest(request, network);
    return this.#turns.run(network.id, async () => {
      const id = newId();
      this.#pending.add(id);
      try {
        const endpoint = await allocate({
          store: link.store,
          node,
          nodeRevision: nodeRevision(),
          found,
          wanted,
          id,
          random,
        });
        this.#own.set(id, endpoint);
        await views.host(network);
        views.group(network.id)?.put(endpoint);
        views.touch(network.id);
        return endpoint;
      } finally {
        // Whatever was written all the same is found by the next `reconcile`.
        this.#pending.delete(id);
      }
    });
  }

  /** Rejects with `AWAY` with everything as it was, as far as is known. */
  async update(id: string, change: EndpointChange): Promise<Endpoint> {
    const { link, views } = this.#options;
    const found = this.#own.get(id);
    if (found === undefined) throw notHere(id);
    return this.#turns.run(found.network, async () => {
      const before = this.#own.get(id);
      if (before === undefined) throw notHere(id);
      const endpoint = changedEndpoint(before, change);
      const key = keyOf.endpoint(endpoint.network, id);
      const entry = await link.store.get(key);
      const value = JSON.stringify(endpoint);
      // What the store has lost is put back as it is then.
      if (entry !== null && entry.value !== value) {
        const conditions = [{ key, revision: entry.revision }];
        const operations = [{ type: 'put' as const, key, value }];
        const made = async () => (await link.store.get(key))?.value === value;
        if (!(await commit(link.store, conditions, operations, made))) throw notHere(id);
      }
      if (!this.#own.has(id)) throw notHere(id);
      this.#own.set(id, endpoint);
      views.group(endpoint.network)?.put(endpoint);
      views.touch(endpoint.network);
      return endpoint;
    });
  }

  /** Rejects with `AWAY` where the store has it still; it is gone from the views, and from the store when that is back. */
  async detach(id: string): Promise<void> {
    const { link, views, linger } = this.#options;
    const endpoint = this.#own.get(id);
    if (endpoint === undefined) throw notHere(id);
    this.#own.delete(id);
    views.group(endpoint.network)?.remove(endpoint);
    views.touch(endpoint.network);
    await this.#turns.run(endpoint.network, async () => {
      const last = ![...this.#own.values()].some(({ network }) => network === endpoint.network);
      if (last) views.unhostAfter(endpoint.network, linger);
      await releaseEndpoint(link.store, endpoint);
    });
  }

  /** Makes the store's word and ours one: takes what is there after a restart, then puts back what the store has lost
   * and takes away what it should not have. Rejects with `AWAY`. */
  async reconcile(): Promise<void> {
    const { link, node } = this.#options;
    if (!this.#loaded) await this.#load();
    const pending = new Set(this.#pending);
    const prefix = `on/${node}/`;
    const { entries } = await link.store.list(prefix);
    const there = new Set(entries.map(({ key }) => key.slice(prefix.length)));
    for (const { key, value } of entries) {
      const id = key.slice(prefix.length);
      const busy = [pending, this.#pending, this.#own, this.#strange].some((ids) => ids.has(id));
      if (!busy) await releaseAll(link.store, node, id, value);
    }
    for (const id of this.#strange) {
      if (there.has(id)) continue;
      this.#strange.delete(id);
      link.unreadable(keyOf.on(node, id), null);
    }
    for (const endpoint of this.list()) if (!there.has(endpoint.id)) await this.#restore(endpoint);
  }

  /** Takes everything back. */
  async clear(): Promise<void> {
    for (const { id } of this.list()) await this.detach(id);
  }

  async #load(): Promise<void> {
    const { link, networks, node, views } = this.#options;
    const prefix = `on/${node}/`;
    const { entries } = await link.store.list(prefix);
    const read = async ({ key, value }: Entry): Promise<Endpoint | null> => {
      const id = key.slice(prefix.length);
      const entry = isId(value) && isId(id) ? await link.store.get(keyOf.endpoint(value, id)) : null;
      if (entry === null) return null;
      try {
        if (networks.feed.get(value) === undefined)
          throw new ControlError('CORRUPT', 'its network is not there');
        const endpoint = readEndpoint(value)(entry.value, id);
        return endpoint.node === node ? endpoint : null;
      } catch (error) {
        this.#strange.add(id);
        link.unreadable(keyOf.on(node, id), error as Error);
        return null;
      }
    };
    for (const endpoint of await Promise.all(entries.map(read))) {
      if (endpoint === null) continue;
      this.#own.set(endpoint.id, endpoint);
      await views.host(networks.feed.get(endpoint.network)!);
      views.group(endpoint.network)!.put(endpoint);
      views.touch(endpoint.network);
    }
    this.#loaded = true;
    views.touch(null);
  }

  async #restore(endpoint: Endpoint): Promise<void> {
    const { link, log, networks, node } = this.#options;
    if (!this.#own.has(endpoint.id)) return;
    const what = `endpoint ${endpoint.name} (${endpoint.addresses.join(', ')})`;
    if (networks.feed.get(endpoint.network) === undefined) {
      log.error(`${what} was lost by the store, and its network is: make that again and start it anew`);
      return;
    }
    const { conditions, operations } = putEndpoint(endpoint);
    // What is known of it here may be late.
    const record = await link.store.get(keyOf.node(node));
    if (record === null) return;
    conditions.push({ key: record.key, revision: record.revision });
    const key = keyOf.endpoint(endpoint.network, endpoint.id);
    const value = JSON.stringify(endpoint);
    const made = async () => (await link.store.get(key))?.value === value;
    const done = await commit(link.store, conditions, operations, made);
    if (done) log.warn(`${what} was lost by the store, and is put back`);
    else log.error(`${what} was lost by the store, and others have its addresses: start it anew`);
  }
}

function notHere(id: string): ControlError {
  return new ControlError('NOT_FOUND', `endpoint ${id} not found on this node`);
}
