/**
 * The store: where the hosts of an overlay keep what they all know. A seam: whatever can do this much can carry the
 * cluster. One conformance suite runs over every store (test/store-conformance.ts).
 *
 * Keys are UTF-8 strings in byte order, values are strings. Every change of anything has a revision that is larger than
 * all before it; a transaction's changes share one. All methods reject with a ControlError `AWAY` where the store cannot
 * be reached within `timeout`, and then a change may or may not have been made: repeat it with its conditions.
 */

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Revision of the last change of this key. */
  readonly revision: number;
}

/** A key that must have this revision; 0: it must not be there. */
export interface Condition {
  readonly key: string;
  readonly revision: number;
}

export type Operation =
  | {
      readonly type: 'put';
      readonly key: string;
      readonly value: string;
      /** The key goes away with this lease. */
      readonly lease?: Lease;
    }
  | { readonly type: 'delete'; readonly key: string };

export type Event =
  | { readonly type: 'put'; readonly entry: Entry }
  | { readonly type: 'delete'; readonly key: string; readonly revision: number };

/** A promise to be heard of. The store forgets what hangs on it when it was not kept alive for its time to live. */
export interface Lease {
  /** Opaque. */
  readonly id: string;
  /** In seconds. */
  readonly ttl: number;
  /** Begins the time to live anew. Rejects with a ControlError: `NOT_FOUND` where it has expired, `AWAY`. */
  keepAlive(): Promise<void>;
  /** Ends it now, and what hangs on it. */
  revoke(): Promise<void>;
}

/** Why a watch ended by itself: the changes since its revision are not known any more (`compacted`), or the connection
 * is gone (`away`). Who watches lists again and watches from there. */
export type WatchEnd = 'compacted' | 'away';

export interface Watch {
  close(): void;
}

export interface Watcher {
  /** Changes in order; all changes of one revision come in one call. */
  onEvents(events: readonly Event[], revision: number): void;
  /** Called at most once; nothing comes after it. Not called after `close`. */
  onEnd(why: WatchEnd): void;
}

export interface Store {
  /** For people: `embedded`, or the addresses. */
  readonly name: string;
  get(key: string): Promise<Entry | null>;
  /** Everything whose key begins with `prefix`, by key, and the revision of the whole store at that moment. */
  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }>;
  put(key: string, value: string, lease?: Lease): Promise<number>;
  /** Whether there was something. */
  delete(key: string): Promise<boolean>;
  /** Does all operations if all conditions hold, else nothing. At most 128 of both together. */
  compareAndSet(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ readonly done: boolean; readonly revision: number }>;
  /** Tells every change after `revision` of keys that begin with `prefix`. */
  watch(prefix: string, revision: number, watcher: Watcher): Watch;
  grant(ttl: number): Promise<Lease>;
  close(): Promise<void>;
}
