/**
 * The store of a cluster without etcd: in a folder of one node, which serves it to the others.
 *
 * Everything lies in memory as well, so that reading waits for nothing. A change is on the disk before it is seen or
 * confirmed; changes that wait while one is written go to the disk together.
 *
 * Revisions begin anew at the wall clock's microseconds whenever the folder is opened. So what another life of the store
 * gave out, before the folder was lost or put back from a copy, is never taken for a revision of this one: a watch from
 * there ends as `compacted`.
 */
import { randomBytes } from 'node:crypto';
import { ControlError } from '../errors.ts';
import { Folder, type LeaseChange } from './folder.ts';
import { checkKey, checkTransaction, checkTtl } from './keys.ts';
import { type Change, type Commit, type HistoryLimits, Ledger, type LedgerWatch, noLease } from './ledger.ts';
import type { Condition, Entry, Lease, Operation, Store, Watch, Watcher } from './store.ts';

export interface EmbeddedOptions {
  readonly history?: Partial<HistoryLimits>;
  /** Wall clock, milliseconds since 1970. */
  readonly wall?: () => number;
  /** Steady clock of the leases, in milliseconds. */
  readonly now?: () => number;
}

type Staged = Map<string, { readonly revision: number } | null>;

/** A change that waits for its turn. */
interface Job {
  /** Null: a condition does not hold. Throws where it makes no sense any more. */
  readonly plan: (staged: Staged) => readonly Change[] | null;
  /** A lease's change, which is written alone. */
  readonly lease: LeaseChange | null;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}
interface Outcome {
  readonly done: boolean;
  readonly changed: number;
  readonly revision: number;
}
/** Jobs that are written together, and what each of them comes to. */
interface Group {
  readonly jobs: { readonly job: Job; readonly outcome: Outcome }[];
  readonly commits: Commit[];
  readonly leases: LeaseChange[];
}

const groupSize = 256;
/** Commits after which forgotten history is removed from the disk. */
const trimEvery = 1000;

export class EmbeddedStore implements Store {
  readonly name = 'embedded';
  readonly #folder: Folder;
  readonly #ledger: Ledger;
  readonly #now: () => number;
  readonly #watches = new Set<LedgerWatch>();
  readonly #expiring = new Set<string>();
  #queue: Job[] = [];
  #working: Promise<void> | null = null;
  #sinceTrim = 0;
  #timer: NodeJS.Timeout | null = null;
  #closing: Promise<void> | null = null;

  private constructor(folder: Folder, ledger: Ledger, now: () => number) {
    this.#folder = folder;
    this.#ledger = ledger;
    this.#now = now;
  }

  /** Opens the store of a folder, or makes it. Rejects with a ControlError: `CONFLICT` where another process has it,
   * `CORRUPT`, `VERSION`, `AWAY` where the disk does not work. */
  static async open(path: string, options: EmbeddedOptions = {}): Promise<EmbeddedStore> {
    const { wall = Date.now, now = () => performance.now() } = options;
    const folder = await Folder.open(path);
    const ledger = new Ledger(options.history);
    try {
      // Whoever held a lease could not keep it alive while the store was closed: it has its whole time again.
      await folder.load(ledger, (id, ttl) => ledger.grant(id, ttl, now()));
      const before = ledger.revision;
      ledger.leap(before, Math.max(before + 1, wall() * 1000));
      if (before === 0) ledger.forget(ledger.revision);
      await folder.write(ledger, [], []);
    } catch (error) {
      await folder.close();
      throw error;
    }
    const store = new EmbeddedStore(folder, ledger, now);
    store.#schedule();
    return store;
  }

  get folder(): string {
    return this.#folder.path;
  }

  async get(key: string): Promise<Entry | null> {
    this.#enter();
    checkKey(key);
    const entry = this.#ledger.get(key);
    return entry && plain(entry);
  }

  async list(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    this.#enter();
    return { entries: this.#ledger.list(prefix).map(plain), revision: this.#ledger.revision };
  }

  async put(key: string, value: string, lease?: Lease): Promise<number> {
    const put = { type: 'put' as const, key, value };
    return (await this.#transact([], [lease ? { ...put, lease } : put])).revision;
  }

  async delete(key: string): Promise<boolean> {
    return (await this.#transact([], [{ type: 'delete', key }])).changed > 0;
  }

  async compareAndSet(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ done: boolean; revision: number }> {
    const { done, revision } = await this.#transact(conditions, operations);
    return { done, revision };
  }

  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    const watch = this.#ledger.watch(prefix, revision, watcher);
    this.#watches.add(watch);
    if (this.#closing) watch.end('away');
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
    const id = randomBytes(8).toString('hex');
    await this.#do(() => [], { id, ttl });
    return this.lease(id, ttl);
  }

  /** A lease that was granted to somebody who knows its id. */
  lease(id: string, ttl: number): Lease {
    return {
      id,
      ttl,
      keepAlive: async () => {
        this.#enter();
        this.#ledger.keepAlive(id, this.#now());
      },
      revoke: async () => {
        this.#enter();
        await this.#revoke(id);
      },
    };
  }

  /** Forgets the changes up to now: watches begin from now on. */
  async compact(): Promise<void> {
    this.#enter();
    this.#ledger.forget(this.#ledger.revision);
    await this.#folder.trim(this.#ledger.compacted);
  }

  /** Writes what is under way, and ends the watches without a word. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    await this.#working;
    await this.#folder.close();
  }

  #enter(): void {
    if (this.#closing) throw new ControlError('AWAY', 'the store is closed');
  }

  async #transact(conditions: readonly Condition[], operations: readonly Operation[]): Promise<Outcome> {
    this.#enter();
    checkTransaction(conditions, operations);
    return this.#do((staged) => this.#ledger.plan(conditions, operations, staged), null);
  }

  async #revoke(id: string): Promise<void> {
    await this.#do(
      () => {
        if (!this.#ledger.hasLease(id)) throw noLease();
        return this.#ledger.hangingOn(id);
      },
      { id, ttl: null },
    );
  }

  #do(plan: Job['plan'], lease: LeaseChange | null): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ plan, lease, resolve, reject });
      this.#working ??= this.#work();
    });
  }

  async #work(): Promise<void> {
    // What is asked for in the same turn is written together.
    await null;
    while (this.#queue.length) {
      try {
        if (this.#folder.broken) await this.#recover();
      } catch (error) {
        for (const job of this.#queue.splice(0)) job.reject(error);
        break;
      }
      await this.#write(this.#group());
    }
    this.#working = null;
  }

  /** The next jobs of the queue. */
  #group(): Group {
    const group: Group = { jobs: [], commits: [], leases: [] };
    const staged: Staged = new Map();
    let { revision } = this.#ledger;
    while (this.#queue.length && group.jobs.length < groupSize) {
      if (this.#queue[0]!.lease && group.jobs.length) break;
      const job = this.#queue.shift()!;
      try {
        const changes = job.plan(staged);
        if (changes?.length) {
          group.commits.push({ revision: ++revision, changes });
          for (const { key, value } of changes) staged.set(key, value === null ? null : { revision });
        }
        group.jobs.push({
          job,
          outcome: { done: changes !== null, changed: changes?.length ?? 0, revision },
        });
      } catch (error) {
        job.reject(error);
        continue;
      }
      if (!job.lease) continue;
      group.leases.push(job.lease);
      break;
    }
    return group;
  }

  async #write({ jobs, commits, leases }: Group): Promise<void> {
    try {
      if (commits.length || leases.length) await this.#folder.write(this.#ledger, commits, leases);
    } catch (error) {
      for (const { job } of jobs) job.reject(error);
      return;
    }
    this.#apply(commits, leases);
    for (const { job, outcome } of jobs) job.resolve(outcome);
    this.#sinceTrim += commits.length;
    if (this.#sinceTrim < trimEvery) return;
    this.#sinceTrim = 0;
    // What could not be removed is removed the next time.
    await this.#folder.trim(this.#ledger.compacted).catch(() => {});
  }

  #apply(commits: readonly Commit[], leases: readonly LeaseChange[]): void {
    for (const { id, ttl } of leases) {
      if (ttl === null) this.#ledger.dropLease(id);
      else this.#ledger.grant(id, ttl, this.#now());
      this.#expiring.delete(id);
    }
    for (const commit of commits) this.#ledger.apply(commit);
    if (leases.length) this.#schedule();
  }

  /** A failed batch may have reached the disk nevertheless: then it counts. */
  async #recover(): Promise<void> {
    await this.#folder.reopen();
    const kept = await this.#folder.leases();
    const commits = await this.#folder.commits(this.#ledger.revision);
    const gone = this.#ledger.leases.filter((id) => !kept.has(id)).map((id) => ({ id, ttl: null }));
    const fresh = [...kept].filter(([id]) => !this.#ledger.hasLease(id)).map(([id, ttl]) => ({ id, ttl }));
    this.#apply(commits, [...gone, ...fresh]);
  }

  /** Wakes when the next lease may have run out. */
  #schedule(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#closing) return;
    const next = this.#ledger.nextDeadline;
    if (next === Number.POSITIVE_INFINITY) return;
    const wait = Math.min(Math.max(50, next - this.#now()), 1 << 30);
    this.#timer = setTimeout(() => this.#expire(), wait).unref();
  }

  #expire(): void {
    for (const id of this.#ledger.expired(this.#now())) {
      if (this.#expiring.has(id)) continue;
      this.#expiring.add(id);
      // The disk may be full: it is tried again.
      this.#revoke(id).catch(() => setTimeout(() => this.#expiring.delete(id), 1000).unref());
    }
    this.#schedule();
  }
}

function plain({ key, value, revision }: Entry): Entry {
  return { key, value, revision };
}
