/** A store whose changes can be held back: while it is copied to another, nobody may change it. */
import { ControlError } from '../errors.ts';
import type { Condition, Entry, Lease, Operation, Store, Watch, Watcher } from './store.ts';

/** A store that knows its leases by their ids. */
export interface LeasingStore extends Store {
  /** A lease that was granted to somebody who knows its id. */
  lease(id: string, ttl: number): Lease;
}

export class Gate implements LeasingStore {
  readonly #store: LeasingStore;
  readonly #underWay = new Set<Promise<unknown>>();
  #frozen = false;

  constructor(store: LeasingStore) {
    this.#store = store;
  }

  get name(): string {
    return this.#store.name;
  }
  get frozen(): boolean {
    return this.#frozen;
  }

  /** From now on changes are refused with `AWAY`; leases can be kept alive, and run out. Resolves when those under way are
   * made. */
  async freeze(): Promise<void> {
    this.#frozen = true;
    await Promise.allSettled(this.#underWay);
  }

  thaw(): void {
    this.#frozen = false;
  }

  get(key: string): Promise<Entry | null> {
    return this.#store.get(key);
  }
  list(prefix: string): ReturnType<Store['list']> {
    return this.#store.list(prefix);
  }
  put(key: string, value: string, lease?: Lease): Promise<number> {
    return this.#change(() => this.#store.put(key, value, lease));
  }
  delete(key: string): Promise<boolean> {
    return this.#change(() => this.#store.delete(key));
  }
  compareAndSet(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ readonly done: boolean; readonly revision: number }> {
    return this.#change(() => this.#store.compareAndSet(conditions, operations));
  }
  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    return this.#store.watch(prefix, revision, watcher);
  }
  async grant(ttl: number): Promise<Lease> {
    const { id, ttl: granted } = await this.#change(() => this.#store.grant(ttl));
    return this.lease(id, granted);
  }
  lease(id: string, ttl: number): Lease {
    const lease = this.#store.lease(id, ttl);
    return {
      id,
      ttl,
      keepAlive: () => lease.keepAlive(),
      revoke: () => this.#change(() => lease.revoke()),
    };
  }
  close(): Promise<void> {
    return this.#store.close();
  }

  async #change<T>(make: () => Promise<T>): Promise<T> {
    if (this.#frozen) throw new ControlError('AWAY', 'the store is being moved');
    const change = make();
    this.#underWay.add(change);
    try {
      return await change;
    } finally {
      this.#underWay.delete(change);
    }
  }
}
