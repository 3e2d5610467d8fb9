/** A store that can be closed to changes while it is moved elsewhere: what is there can be read, and leases live on. */
import { ControlError } from '../errors.ts';
import type { Condition, Lease, Operation, Store, Watch, Watcher } from './store.ts';

export class GateStore implements Store {
  readonly #store: Store;
  #closed: string | null = null;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Refuses changes from now on, with `AWAY` and this reason; null: lets them through again. */
  shut(reason: string | null): void {
    this.#closed = reason;
  }

  get name(): string {
    return this.#store.name;
  }

  get(key: string) {
    return this.#store.get(key);
  }

  list(prefix: string) {
    return this.#store.list(prefix);
  }

  async put(key: string, value: string, lease?: Lease): Promise<number> {
    this.#pass();
    return this.#store.put(key, value, lease);
  }

  async delete(key: string): Promise<boolean> {
    this.#pass();
    return this.#store.delete(key);
  }

  async compareAndSet(conditions: readonly Condition[], operations: readonly Operation[]) {
    this.#pass();
    return this.#store.compareAndSet(conditions, operations);
  }

  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    return this.#store.watch(prefix, revision, watcher);
  }

  grant(ttl: number): Promise<Lease> {
    return this.#store.grant(ttl);
  }

  /** The store behind stays its owner's. */
  async close(): Promise<void> {}

  #pass(): void {
    if (this.#closed !== null) throw new ControlError('AWAY', this.#closed);
  }
}
