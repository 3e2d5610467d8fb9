/**
 * What a store knows, without a word of how it is kept: entries by key, the last changes, leases and who watches.
 * Synchronous. The stores in memory and in a folder are made of it; the latter writes a change down before it is applied.
 */
import { ControlError } from '../errors.ts';
import { SortedKeys } from './sorted-keys.ts';
import type { Condition, Entry, Event, Operation, Watch, WatchEnd, Watcher } from './store.ts';

/** What becomes of a key: `value` null when it goes away. */
export interface Change {
  readonly key: string;
  readonly value: string | null;
  /** Id of the lease that it hangs on. */
  readonly lease: string | null;
}

/** All changes of one revision. */
export interface Commit {
  readonly revision: number;
  readonly changes: readonly Change[];
}

/** Revisions between these two were never given, though larger ones were: a watch from there cannot go on. */
export interface Gap {
  readonly after: number;
  readonly until: number;
}

interface LeaseState {
  readonly ttl: number;
  deadline: number;
  readonly keys: Set<string>;
}

interface LedgerEntry extends Entry {
  readonly lease: string | null;
}

/** How many commits are remembered for watches, and of how many characters at the most. */
export interface HistoryLimits {
  readonly commits: number;
  readonly characters: number;
}

const historyLimits: HistoryLimits = { commits: 10_000, characters: 16 << 20 };

export class Ledger {
  #revision = 0;
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #keys = new SortedKeys();
  readonly #leases = new Map<string, LeaseState>();
  /** No lease runs out before. */
  #quiet = Number.POSITIVE_INFINITY;
  /** By prefix: many watch the same. */
  readonly #watches = new Map<string, Set<LedgerWatch>>();
  readonly #limits: HistoryLimits;
  #history: Commit[] = [];
  #characters = 0;
  #gaps: Gap[] = [];
  /** Watches from before this revision have lost something. */
  #compacted = 0;

  constructor(limits: Partial<HistoryLimits> = {}) {
    this.#limits = { ...historyLimits, ...limits };
  }

  get revision(): number {
    return this.#revision;
  }
  /** The oldest revision that a watch can begin after. */
  get compacted(): number {
    return this.#compacted;
  }
  get gaps(): readonly Gap[] {
    return this.#gaps;
  }
  get size(): number {
    return this.#keys.size;
  }

  get(key: string): LedgerEntry | null {
    return this.#entries.get(key) ?? null;
  }

  list(prefix: string): LedgerEntry[] {
    return this.#keys.startingWith(prefix).map((key) => this.#entries.get(key)!);
  }

  /** What the operations would change, or null where a condition does not hold. `staged` are changes that are not yet
   * applied though they come first. */
  plan(
    conditions: readonly Condition[],
    operations: readonly Operation[],
    staged?: ReadonlyMap<string, { readonly revision: number } | null>,
  ): Change[] | null {
    const now = (key: string) => (staged?.has(key) ? staged.get(key)! : this.get(key));
    for (const { key, revision } of conditions) if ((now(key)?.revision ?? 0) !== revision) return null;
    const changes: Change[] = [];
    for (const operation of operations) {
      const { key } = operation;
      if (operation.type === 'put') {
        const lease = operation.lease?.id ?? null;
        if (lease !== null && !this.#leases.has(lease)) throw noLease();
        changes.push({ key, value: operation.value, lease });
      } else if (now(key)) changes.push({ key, value: null, lease: null });
    }
    return changes;
  }

  /** Makes the changes the state of things, and tells who watches. */
  apply(commit: Commit): void {
    this.#revision = commit.revision;
    for (const change of commit.changes) this.#change(change, commit.revision);
    this.remember(commit);
    for (const [prefix, watches] of this.#watches) {
      if (touches(commit, prefix)) for (const watch of watches) watch.tell(commit);
    }
  }

  /** Puts an entry as it was kept, without telling anybody: for a ledger that is opened. */
  restore(change: Change, revision: number): void {
    this.#change(change, revision);
  }

  restoreRevision(revision: number): void {
    this.#revision = revision;
  }

  /** Sets the revision of a ledger that is opened; all from `after` to it were never given. */
  leap(after: number, until: number): void {
    this.#gaps.push({ after, until });
    this.#revision = until;
  }

  /** Begins history here. */
  forget(until: number): void {
    this.#compacted = Math.max(this.#compacted, until);
    this.#gaps = this.#gaps.filter((gap) => gap.until > this.#compacted);
  }

  /** Adds to history, and drops of it what is too much. */
  remember(commit: Commit): void {
    this.#history.push(commit);
    this.#characters += weight(commit);
    let n = 0;
    while (
      n < this.#history.length &&
      (this.#history.length - n > this.#limits.commits || this.#characters > this.#limits.characters)
    )
      this.#characters -= weight(this.#history[n++]!);
    // In strides: taking the first of a long array each time would copy it each time.
    if (n === 0) return;
    this.forget(this.#history[n - 1]!.revision);
    this.#history = this.#history.slice(n);
  }

  watch(prefix: string, revision: number, watcher: Watcher): LedgerWatch {
    const watch = new LedgerWatch(prefix, watcher, () => this.#unwatch(prefix, watch));
    const lost =
      revision < this.#compacted ||
      revision > this.#revision ||
      this.#gaps.some((gap) => revision > gap.after && revision < gap.until);
    if (lost) {
      watch.end('compacted');
      return watch;
    }
    const others = this.#watches.get(prefix) ?? new Set();
    this.#watches.set(prefix, others.add(watch));
    for (const commit of this.#history) {
      if (commit.revision > revision && touches(commit, prefix)) watch.tell(commit);
    }
    return watch;
  }

  #unwatch(prefix: string, watch: LedgerWatch): void {
    const others = this.#watches.get(prefix);
    others?.delete(watch);
    if (others?.size === 0) this.#watches.delete(prefix);
  }

  grant(id: string, ttl: number, now: number): void {
    const deadline = now + ttl * 1000;
    this.#leases.set(id, { ttl, deadline, keys: new Set() });
    this.#quiet = Math.min(this.#quiet, deadline);
  }
  keepAlive(id: string, now: number): void {
    const lease = this.#leases.get(id);
    if (!lease || lease.deadline <= now) throw noLease();
    lease.deadline = now + lease.ttl * 1000;
  }
  hasLease(id: string): boolean {
    return this.#leases.has(id);
  }
  get leases(): string[] {
    return [...this.#leases.keys()];
  }
  /** Leases that ran out. */
  expired(now: number): string[] {
    if (now < this.#quiet) return [];
    this.#quiet = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#leases.values()) this.#quiet = Math.min(this.#quiet, deadline);
    return [...this.#leases].filter(([, lease]) => lease.deadline <= now).map(([id]) => id);
  }
  /** When to look for leases that ran out; Infinity where there is none. No lease runs out before, though perhaps none
   * does then: it may have been kept alive. */
  get nextDeadline(): number {
    return this.#leases.size === 0 ? Number.POSITIVE_INFINITY : this.#quiet;
  }
  /** What goes away with a lease. */
  hangingOn(id: string): Change[] {
    return [...(this.#leases.get(id)?.keys ?? [])].map((key) => ({ key, value: null, lease: null }));
  }
  dropLease(id: string): void {
    this.#leases.delete(id);
  }

  #change({ key, value, lease }: Change, revision: number): void {
    const before = this.#entries.get(key);
    if (before?.lease) this.#leases.get(before.lease)?.keys.delete(key);
    if (value === null) {
      if (before) this.#keys.remove(key);
      this.#entries.delete(key);
      return;
    }
    if (!before) this.#keys.add(key);
    this.#entries.set(key, { key, value, revision, lease });
    if (lease) this.#leases.get(lease)?.keys.add(key);
  }
}

/** Tells in a later microtask, in order: never before `watch` has returned. */
export class LedgerWatch implements Watch {
  readonly #prefix: string;
  readonly #watcher: Watcher;
  readonly #gone: () => void;
  #queue: Commit[] = [];
  #why: WatchEnd | null = null;
  #open = true;
  #due = false;

  constructor(prefix: string, watcher: Watcher, gone: () => void) {
    this.#prefix = prefix;
    this.#watcher = watcher;
    this.#gone = gone;
  }

  /** A commit that touches the prefix. */
  tell(commit: Commit): void {
    this.#queue.push(commit);
    this.#later();
  }

  end(why: WatchEnd): void {
    this.#why ??= why;
    this.#gone();
    this.#later();
  }

  close(): void {
    this.#open = false;
    this.#queue = [];
    this.#gone();
  }

  #later(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (const { revision, changes } of this.#queue.splice(0)) {
      if (!this.#open) return;
      const events = changes
        .filter(({ key }) => key.startsWith(this.#prefix))
        .map(
          ({ key, value }): Event =>
            value === null
              ? { type: 'delete', key, revision }
              : { type: 'put', entry: { key, value, revision } },
        );
      this.#watcher.onEvents(events, revision);
    }
    if (!this.#open || this.#why === null) return;
    this.#open = false;
    this.#watcher.onEnd(this.#why);
  }
}

export function noLease(): ControlError {
  return new ControlError('NOT_FOUND', 'the lease has expired or was revoked');
}

function touches({ changes }: Commit, prefix: string): boolean {
  return changes.some(({ key }) => key.startsWith(prefix));
}

function weight(commit: Commit): number {
  return commit.changes.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
}
