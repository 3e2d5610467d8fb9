/**
 * Follows what lies under one prefix of the store, over all its absences: lists it, watches from there, and after every
 * interruption tells only what has become different.
 *
 * Nothing is believed to be gone before the store has shown that it is still our cluster's: a store that was emptied, or
 * started anew from nothing, has no `cluster` record. What cannot be read changes nothing: it is passed over, and what
 * was there before stays.
 */
import type { Read } from './records.ts';
import type { Event, Store, Watch } from './store/store.ts';

export interface FeedOptions<T> {
  /** Ends with `/`. */
  readonly prefix: string;
  readonly read: Read<T>;
  onPut(id: string, value: T, before: T | undefined): void;
  onRemove(id: string, before: T): void;
}

/** What a feed asks of the link. */
export interface FeedHost {
  /** Resolves when the store was seen to carry our cluster; rejects otherwise. */
  confirm(): Promise<void>;
  /** The connection is gone. */
  lost(error: Error): void;
  /** A record that is not readable; null where it is again, or is gone. */
  unreadable(key: string, error: Error | null): void;
}

interface Known<T> {
  readonly value: T;
  /** As it lies in the store. */
  readonly text: string;
  readonly revision: number;
}

/** A feed whatever its records are, as the link sees it. */
export interface AnyFeed {
  readonly prefix: string;
  sync(store: Store): Promise<void>;
  pause(): void;
}

export class Feed<T> implements AnyFeed {
  readonly #options: FeedOptions<T>;
  readonly #host: FeedHost;
  readonly #known = new Map<string, Known<T>>();
  #watch: Watch | null = null;
  /** Counts beginnings: what an earlier one still brings is nobody's. */
  #turn = 0;
  /** Events wait here while the store is asked whether it is ours. */
  #waiting: Promise<void> | null = null;

  constructor(options: FeedOptions<T>, host: FeedHost) {
    this.#options = options;
    this.#host = host;
  }

  get prefix(): string {
    return this.#options.prefix;
  }

  get(id: string): T | undefined {
    return this.#known.get(id)?.value;
  }

  /** Revision of the last change of a record, 0 where it is not there. */
  revision(id: string): number {
    return this.#known.get(id)?.revision ?? 0;
  }

  *values(): Iterable<T> {
    for (const { value } of this.#known.values()) yield value;
  }

  /** Begins anew with this store. Rejects where it is away or not ours, with everything as it was. */
  async sync(store: Store): Promise<void> {
    this.pause();
    const turn = this.#turn;
    const { entries, revision } = await store.list(this.#options.prefix);
    await this.#host.confirm();
    if (turn !== this.#turn) return;
    const found = new Set<string>();
    for (const { key, value, revision } of entries) {
      found.add(this.#id(key));
      this.#put(key, value, revision);
    }
    for (const id of [...this.#known.keys()]) if (!found.has(id)) this.#remove(id);
    this.#follow(store, revision);
  }

  pause(): void {
    this.#turn++;
    this.#watch?.close();
    this.#watch = null;
    this.#waiting = null;
  }

  #follow(store: Store, revision: number): void {
    const turn = this.#turn;
    const current = () => turn === this.#turn;
    this.#watch = store.watch(this.#options.prefix, revision, {
      onEvents: (events) => {
        if (current()) this.#receive(events, current);
      },
      onEnd: (why) => {
        if (!current()) return;
        if (why === 'away') this.#host.lost(new Error('the connection to the store is gone'));
        else this.sync(store).catch((error: Error) => this.#host.lost(error));
      },
    });
  }

  /** Applies events in order; those that remove something only when the store is seen to be ours. */
  #receive(events: readonly Event[], current: () => boolean): void {
    if (this.#waiting === null && events.every(({ type }) => type === 'put')) {
      this.#apply(events);
      return;
    }
    const before = this.#waiting ?? Promise.resolve();
    const turn = before.then(async () => {
      if (!current()) return;
      if (events.some(({ type }) => type === 'delete')) await this.#host.confirm();
      if (!current()) return;
      this.#apply(events);
      if (this.#waiting === turn) this.#waiting = null;
    });
    this.#waiting = turn;
    turn.catch((error: Error) => {
      if (current()) this.#host.lost(error);
    });
  }

  #apply(events: readonly Event[]): void {
    for (const event of events) {
      if (event.type === 'delete') this.#remove(this.#id(event.key));
      else this.#put(event.entry.key, event.entry.value, event.entry.revision);
    }
  }

  #put(key: string, text: string, revision: number): void {
    const id = this.#id(key);
    const before = this.#known.get(id);
    if (before?.text === text) {
      // There may have been rubbish in between.
      this.#host.unreadable(key, null);
      if (before.revision !== revision) this.#known.set(id, { ...before, revision });
      return;
    }
    let value: T;
    try {
      value = this.#options.read(text, id);
    } catch (error) {
      this.#host.unreadable(key, error as Error);
      return;
    }
    this.#host.unreadable(key, null);
    this.#known.set(id, { value, text, revision });
    this.#options.onPut(id, value, before?.value);
  }

  #remove(id: string): void {
    this.#host.unreadable(this.#options.prefix + id, null);
    const before = this.#known.get(id);
    if (before === undefined) return;
    this.#known.delete(id);
    this.#options.onRemove(id, before.value);
  }

  #id(key: string): string {
    return key.slice(this.#options.prefix.length);
  }
}
