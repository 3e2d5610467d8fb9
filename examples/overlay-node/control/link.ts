/**
 * The connection to the store: whether it is there, what is told of it, and the way back. All feeds begin anew together
 * after an absence. A store that answers but does not carry our cluster (emptied, restored from elsewhere, another's) is
 * treated as one that is away: nobody's endpoints are withdrawn for it.
 */
import type { Log, Random } from 'packetweave';
import { findCluster } from './cluster.ts';
import type { ControlHealth } from './control.ts';
import { ControlError } from './errors.ts';
import type { AnyFeed, FeedHost } from './feed.ts';
import type { Store } from './store/store.ts';

export interface LinkOptions {
  readonly store: Store;
  /** Id of the cluster. */
  readonly cluster: string;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly random: Random;
  /** Milliseconds before the first attempt to come back, doubled up to 25 times as much; up to half of it is left to
   * chance, so that not all nodes come at once. */
  readonly backOff: number;
  /** The health has changed. */
  readonly onChange: () => void;
  /** All feeds are as the store has it. What it rejects with counts as a loss of the connection. */
  readonly onUp: () => Promise<void>;
  readonly onDown: () => void;
}

export class Link implements FeedHost {
  readonly #options: LinkOptions;
  readonly #feeds = new Set<AnyFeed>();
  readonly #unreadable = new Map<string, string>();
  #store: Store;
  #state: ControlHealth['state'] = 'away';
  #since: number;
  #error: string | null = null;
  /** Set from outside: what is wrong though the store is there. */
  #trouble: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #attempt = 0;
  #confirming: Promise<void> | null = null;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#since = options.now();
  }

  get store(): Store {
    return this.#store;
  }

  get up(): boolean {
    return this.#state === 'connected';
  }

  get health(): ControlHealth {
    const n = this.#unreadable.size;
    const some = [...this.#unreadable].slice(0, 3).map(([key, why]) => `${key} (${why})`);
    const left = n === 0 ? null : `${n} records are not readable and left out: ${some.join(', ')}`;
    const error = this.up
      ? [this.#trouble, left].filter((text) => text !== null).join('; ') || null
      : this.#error;
    return { state: this.#state, since: this.#since, error, store: this.#store.name };
  }

  set trouble(text: string | null) {
    if (text === this.#trouble) return;
    this.#trouble = text;
    this.#options.onChange();
  }

  /** Connects now. Rejects where that cannot be, and then goes on trying. */
  async connect(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#stopTimer();
    try {
      await this.#confirm(this.#store);
      await Promise.all([...this.#feeds].map((feed) => feed.sync(this.#store)));
      if (attempt !== this.#attempt || this.#closed) return;
      this.#set('connected', null);
      this.#failures = 0;
      await this.#options.onUp();
    } catch (error) {
      if (attempt === this.#attempt) this.lost(error as Error);
      throw error;
    }
  }

  /** Follows a feed from now on; resolves when it is as the store has it, or the store is away. */
  async follow(feed: AnyFeed): Promise<void> {
    this.#feeds.add(feed);
    if (!this.up) return;
    await feed.sync(this.#store).catch((error: Error) => this.lost(error));
  }

  unfollow(feed: AnyFeed): void {
    this.#feeds.delete(feed);
    feed.pause();
    for (const key of [...this.#unreadable.keys()]) {
      if (key.startsWith(feed.prefix)) this.unreadable(key, null);
    }
  }

  /** Takes another store that carries the same cluster. Rejects with everything as it was where it does not. */
  async use(store: Store): Promise<void> {
    await this.#confirm(store);
    for (const feed of this.#feeds) feed.pause();
    this.#store = store;
    this.#options.log.info(`the store is now ${store.name}`);
    this.#options.onDown();
    await this.connect();
  }

  /** All who ask in one turn of the event loop share one question. */
  confirm(): Promise<void> {
    this.#confirming ??= Promise.resolve().then(() => {
      this.#confirming = null;
      return this.#confirm(this.#store);
    });
    return this.#confirming;
  }

  lost(error: Error): void {
    if (this.#closed) return;
    this.#attempt++;
    for (const feed of this.#feeds) feed.pause();
    const wasUp = this.up;
    if (this.#error !== error.message) this.#options.log.warn(`the store is away: ${error.message}`);
    this.#set('away', error.message);
    if (wasUp) this.#options.onDown();
    this.#stopTimer();
    const { backOff, random } = this.#options;
    const wait = Math.min(backOff * 2 ** this.#failures++, backOff * 25) * (1 - random.float() / 2);
    this.#timer = setTimeout(() => this.connect().catch(() => {}), wait).unref();
  }

  unreadable(key: string, error: Error | null): void {
    if (error === null ? !this.#unreadable.delete(key) : this.#unreadable.get(key) === error.message) return;
    if (error !== null) {
      this.#unreadable.set(key, error.message);
      this.#options.log.warn(`the store has a record that is not readable, ${key}: ${error.message}`);
    }
    this.#options.onChange();
  }

  close(): void {
    this.#closed = true;
    this.#attempt++;
    this.#stopTimer();
    for (const feed of this.#feeds) feed.pause();
    this.#feeds.clear();
  }

  async #confirm(store: Store): Promise<void> {
    try {
      await findCluster(store, this.#options.cluster);
    } catch (error) {
      if (['AWAY', 'VERSION'].includes((error as ControlError).code)) throw error;
      const advice = 'nothing is withdrawn for it; restore the store, or leave and join again';
      throw new ControlError('CORRUPT', `${(error as Error).message}: ${advice}`);
    }
  }

  #set(state: ControlHealth['state'], error: string | null): void {
    if (state === this.#state && error === this.#error) return;
    if (state !== this.#state) {
      this.#since = this.#options.now();
      if (state === 'connected') this.#options.log.info(`connected to the store ${this.#store.name}`);
    }
    this.#state = state;
    this.#error = error;
    this.#options.onChange();
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
