/** A whole store in the memory of one process: for tests, and as what the other stores are held against. */
import { ControlError } from '../errors.ts';
import { checkKey, checkTransaction, checkTtl } from './keys.ts';
import { type HistoryLimits, Ledger, type LedgerWatch, noLease } from './ledger.ts';
import type { Condition, Entry, Lease, Operation, Store, Watch, Watcher } from './store.ts';

export interface MemoryOptions {
  /** Milliseconds. Where it is given, leases end at `tick()` and at every call, and no timer runs. */
  readonly now?: () => number;
  readonly history?: Partial<HistoryLimits>;
}

interface Shared {
  readonly ledger: Ledger;
  readonly now: () => number;
  readonly timers: boolean;
  timer: NodeJS.Timeout | null;
  /** When the timer is due. */
  due: number;
  leases: number;
}

export class MemoryStore implements Store {
  readonly name = 'memory';
  readonly #shared: Shared;
  readonly #watches = new Set<LedgerWatch>();
  #away = false;
  #closed = false;

  constructor(options: MemoryOptions | MemoryStore = {}) {
    if (options instanceof MemoryStore) {
      this.#shared = options.#shared;
      return;
    }
    this.#shared = {
      ledger: new Ledger(options.history),
      now: options.now ?? (() => performance.now()),
      timers: !options.now,
      timer: null,
      due: 0,
      leases: 0,
    };
  }

  /** Another client of the same data, with an `away` and a `close` of its own. */
  client(): MemoryStore {
    return new MemoryStore(this);
  }

  /** As if the network to the store were cut: calls reject, watches end. */
  get away(): boolean {
    return this.#away;
  }
  set away(away: boolean) {
    this.#away = away;
    if (away) for (const watch of this.#watches) watch.end('away');
    if (away) this.#watches.clear();
  }

  /** Ends leases that ran out. */
  tick(): void {
    const { ledger, now } = this.#shared;
    for (const id of ledger.expired(now())) this.#revoke(id);
    this.#schedule();
  }

  async get(key: string): Promise<Entry | null> {
    this.#enter();
    checkKey(key);
    const entry = this.#shared.ledger.get(key);
    return entry && plain(entry);
  }

  async list(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    this.#enter();
    const { ledger } = this.#shared;
    return { entries: ledger.list(prefix).map(plain), revision: ledger.revision };
  }

  async put(key: string, value: string, lease?: Lease): Promise<number> {
    const put = { type: 'put' as const, key, value };
    return (await this.compareAndSet([], [lease ? { ...put, lease } : put])).revision;
  }

  async delete(key: string): Promise<boolean> {
    this.#enter();
    const had = this.#shared.ledger.get(key) !== null;
    await this.compareAndSet([], [{ type: 'delete', key }]);
    return had;
  }

  async compareAndSet(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ done: boolean; revision: number }> {
    this.#enter();
    checkTransaction(conditions, operations);
    const { ledger } = this.#shared;
    const changes = ledger.plan(conditions, operations);
    if (changes?.length) ledger.apply({ revision: ledger.revision + 1, changes });
    return { done: changes !== null, revision: ledger.revision };
  }

  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    const watch = this.#shared.ledger.watch(prefix, revision, watcher);
    this.#watches.add(watch);
    if (this.#away || this.#closed) watch.end('away');
    return {
      close: () => {
        watch.close();
        this.#watches.delete(watch);
      },
    };
  }

  async grant(ttl: number): Promise<Lease> {
    this.#enter();
    checkTtl(ttl);
    const { ledger, now } = this.#shared;
    const id = String(++this.#shared.leases);
    ledger.grant(id, ttl, now());
    this.#schedule();
    return this.lease(id, ttl);
  }

  /** A lease that was granted to somebody who knows its id. */
  lease(id: string, ttl: number): Lease {
    const { ledger, now } = this.#shared;
    return {
      id,
      ttl,
      keepAlive: async () => {
        this.#enter();
        ledger.keepAlive(id, now());
        this.#schedule();
      },
      revoke: async () => {
        this.#enter();
        if (!ledger.hasLease(id)) throw noLease();
        this.#revoke(id);
      },
    };
  }

  /** Ends what this client watches, without a word. The data stays for the others. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
  }

  #enter(): void {
    if (this.#closed) throw new ControlError('AWAY', 'the store is closed');
    if (this.#away) throw new ControlError('AWAY', 'the store cannot be reached');
    const { ledger, now } = this.#shared;
    if (now() >= ledger.nextDeadline) this.tick();
  }

  #revoke(id: string): void {
    const { ledger } = this.#shared;
    const changes = ledger.hangingOn(id);
    ledger.dropLease(id);
    if (changes.length) ledger.apply({ revision: ledger.revision + 1, changes });
  }

  #schedule(): void {
    const shared = this.#shared;
    const next = shared.ledger.nextDeadline;
    if (!shared.timers || next === Number.POSITIVE_INFINITY) return;
    if (shared.timer !== null && shared.due <= next) return;
    if (shared.timer !== null) clearTimeout(shared.timer);
    shared.due = next;
    const wait = Math.min(Math.max(1, next - shared.now()), 1 << 30);
    shared.timer = setTimeout(() => {
      shared.timer = null;
      this.tick();
    }, wait).unref();
  }
}

function plain({ key, value, revision }: Entry): Entry {
  return { key, value, revision };
}
