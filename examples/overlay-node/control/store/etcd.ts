/**
 * The store of a cluster that has an etcd, 3.4 or newer: everything lies under one prefix of it. Revisions are etcd's
 * own, those of all that lies in it. Reads are linearizable: they see every change that was confirmed to anybody.
 */
import { EtcdClient, type EtcdOptions, type Json } from './etcd-client.ts';
import { Compacted } from './etcd-errors.ts';
import { EtcdKeys, list, nextKey, number, revisionOf } from './etcd-keys.ts';
import { Pulse } from './etcd-pulse.ts';
import { EtcdWatch } from './etcd-watch.ts';
import { checkKey, checkTransaction, checkTtl } from './keys.ts';
import { noLease } from './ledger.ts';
import type { Condition, Entry, Lease, Operation, Store, Watch, Watcher } from './store.ts';

export interface EtcdStoreOptions extends EtcdOptions {
  /** Not empty; all keys begin with it. Default `/packetweave/`. */
  readonly prefix?: string;
}

/** Entries of the first page of a list; later ones have as many as make about `pageSize` characters of values. */
const firstPage = 256;
const pageSize = 1 << 20;
const maxPage = 4096;
/** A list that a compaction overtakes begins anew this often. */
const maxLists = 3;

export class EtcdStore implements Store {
  readonly name: string;
  readonly #client: EtcdClient;
  readonly #keys: EtcdKeys;
  readonly #pulse: Pulse;
  readonly #watches = new Set<EtcdWatch>();

  /** Connects with the first call. */
  constructor({ prefix = '/packetweave/', ...options }: EtcdStoreOptions) {
    this.#client = new EtcdClient(options);
    this.#keys = new EtcdKeys(prefix);
    this.#pulse = new Pulse(this.#client);
    this.name = this.#client.name;
  }

  async get(key: string): Promise<Entry | null> {
    checkKey(key);
    const { kvs } = await this.#client.read('/v3/kv/range', { key: this.#keys.key(key) });
    const [kv] = list(kvs);
    return kv ? this.#keys.entry(kv) : null;
  }

  async list(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    for (let n = 1; ; n++) {
      try {
        return await this.#pages(prefix);
      } catch (error) {
        if (!(error instanceof Compacted) || n === maxLists) throw error;
      }
    }
  }

  async put(key: string, value: string, lease?: Lease): Promise<number> {
    const put = { type: 'put' as const, key, value };
    return (await this.compareAndSet([], [lease ? { ...put, lease } : put])).revision;
  }

  async delete(key: string): Promise<boolean> {
    const answer = await this.#transact([], [{ type: 'delete', key }]);
    const [response] = list(answer.responses);
    return number((response?.response_delete_range as Json | undefined)?.deleted) > 0;
  }

  async compareAndSet(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ done: boolean; revision: number }> {
    const answer = await this.#transact(conditions, operations);
    return { done: answer.succeeded === true, revision: revisionOf(answer) };
  }

  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    const host = { client: this.#client, keys: this.#keys, pulse: this.#pulse };
    const watch = new EtcdWatch(host, prefix, revision, watcher, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    void watch.run();
    return watch;
  }

  /** The time to live is rounded up to whole seconds, or to what etcd has as the least. */
  async grant(ttl: number): Promise<Lease> {
    checkTtl(ttl);
    // Granted twice: the one that nobody knows runs out.
    const { ID, TTL } = await this.#client.read('/v3/lease/grant', { TTL: String(Math.ceil(ttl)) });
    return this.lease(String(ID), number(TTL));
  }

  /** A lease that was granted to somebody who knows its id. */
  lease(id: string, ttl: number): Lease {
    return {
      id,
      ttl,
      keepAlive: async () => {
        const { TTL } = await this.#client.read('/v3/lease/keepalive', { ID: id });
        if (number(TTL) <= 0) throw noLease();
      },
      revoke: async () => {
        await this.#client.write('/v3/lease/revoke', { ID: id });
      },
    };
  }

  /** Breaks off what is under way, and ends the watches without a word. */
  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    this.#client.close();
  }

  #transact(conditions: readonly Condition[], operations: readonly Operation[]): Promise<Json> {
    checkTransaction(conditions, operations);
    const compare = conditions.map((condition) => this.#keys.condition(condition));
    const success = operations.map((operation) => this.#keys.operation(operation));
    return this.#client.write('/v3/kv/txn', { compare, success });
  }

  /** All pages, as of the revision of the first. */
  async #pages(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    const { range_end, ...from } = this.#keys.range(prefix);
    const entries: Entry[] = [];
    let key = from.key;
    let revision = 0;
    for (let limit = firstPage; ; ) {
      const at = revision ? { revision: String(revision) } : {};
      const answer = await this.#client.read('/v3/kv/range', { key, range_end, limit: String(limit), ...at });
      revision ||= revisionOf(answer);
      const page = list(answer.kvs);
      for (const kv of page) entries.push(this.#keys.entry(kv));
      if (answer.more !== true || page.length === 0) return { entries, revision };
      key = nextKey(String(page.at(-1)!.key));
      const size = page.reduce((sum, kv) => sum + String(kv.value ?? '').length, page.length);
      limit = Math.min(maxPage, Math.max(1, Math.floor((pageSize / size) * page.length)));
    }
  }
}
