/**
 * A watch of etcd. When its connection breaks it goes on at another member from where it was, unseen, where one answers
 * at once; else it ends.
 *
 * It begins at the revision that its owner has seen, not after it, and passes that one over: compacting at a revision
 * also removes what was deleted in it, and a watch that begins just there would not be told (etcd before 3.5.18).
 *
 * Progress notifications of etcd are not asked for: before 3.4.25 and 3.5.8 they could overtake events. Instead the
 * member is asked every few seconds whether it lives, and TCP's keepalive watches over the connection.
 */
import { ControlError } from '../errors.ts';
import type { EtcdClient, Json, Results } from './etcd-client.ts';
import { Failure } from './etcd-errors.ts';
import { type EtcdKeys, list, number, revisionOf } from './etcd-keys.ts';
import type { Pulse } from './etcd-pulse.ts';
import type { Event, Watch, WatchEnd, Watcher } from './store.ts';

/** What all watches of one store share. */
export interface WatchHost {
  readonly client: EtcdClient;
  readonly keys: EtcdKeys;
  readonly pulse: Pulse;
}

/** Connections in a row that may end without having told anything. */
const maxIdle = 3;

export class EtcdWatch implements Watch {
  readonly #host: WatchHost;
  readonly #prefix: string;
  readonly #watcher: Watcher;
  readonly #gone: () => void;
  /** All up to here has been told. */
  #revision: number;
  /** Id of the cluster that it began with. */
  #cluster: unknown = null;
  #results: Results | null = null;
  /** Events of an answer that comes in fragments. */
  #events: Json[] = [];
  #open = true;

  constructor(host: WatchHost, prefix: string, revision: number, watcher: Watcher, gone: () => void) {
    this.#host = host;
    this.#prefix = prefix;
    this.#revision = revision;
    this.#watcher = watcher;
    this.#gone = gone;
  }

  /** To be called once. Rejects with what the watcher throws. */
  async run(): Promise<void> {
    let idle = 0;
    while (this.#open) {
      const before = this.#revision;
      const why = await this.#follow();
      idle = this.#revision === before ? idle + 1 : 0;
      if (why !== null || idle === maxIdle) this.#end(why ?? 'away');
    }
  }

  close(): void {
    this.#open = false;
    this.#results?.abort('the watch is closed');
    this.#gone();
  }

  #end(why: WatchEnd): void {
    if (!this.#open) return;
    this.close();
    this.#watcher.onEnd(why);
  }

  /** One connection, from its beginning to its end. Null: another may go on. */
  async #follow(): Promise<WatchEnd | null> {
    try {
      this.#results = await this.#begin();
    } catch (error) {
      if (error instanceof ControlError) return 'away';
      throw error;
    }
    if (this.#results === null) return 'compacted';
    const stop = this.#host.pulse.follow(this.#results);
    try {
      return await this.#read(this.#results);
    } finally {
      stop();
      this.#results.abort('the watch is over');
    }
  }

  /** Null where the store is not the one that it was: what it has told up to our revision is not what we were told. */
  async #begin(): Promise<Results | null> {
    const { client, keys } = this.#host;
    const range = keys.range(this.#prefix);
    const start = { start_revision: String(Math.max(1, this.#revision)), fragment: true };
    const results = await client.stream('/v3/watch', { create_request: { ...range, ...start } });
    const cluster = (results.first.header as Json).cluster_id;
    this.#cluster ??= cluster;
    // A member may lag behind; the cluster does not.
    const lags = revisionOf(results.first) < this.#revision;
    if (cluster === this.#cluster && !(lags && (await this.#newest()) < this.#revision)) return results;
    results.abort('another store');
    return null;
  }

  async #newest(): Promise<number> {
    const { client, keys } = this.#host;
    return revisionOf(await client.read('/v3/kv/range', { ...keys.range(''), count_only: true }));
  }

  async #read(results: Results): Promise<WatchEnd | null> {
    this.#events = [];
    let message = results.first;
    while (this.#open) {
      if (message.canceled) return this.#canceled(message);
      this.#take(message);
      try {
        message = await results.next();
      } catch (error) {
        if (error instanceof Failure) return null;
        if (error instanceof ControlError) return 'away';
        throw error;
      }
    }
    return null;
  }

  #canceled({ compact_revision }: Json): WatchEnd | null {
    if (number(compact_revision) > 0) return 'compacted';
    // Permission is missing, perhaps only because the token has expired: etcd 3.4 does not tell these apart.
    this.#host.client.forgetToken();
    return null;
  }

  #take({ events, fragment }: Json): void {
    this.#events.push(...list(events));
    if (fragment) return;
    let same: Event[] = [];
    let revision = 0;
    for (const json of this.#events.splice(0)) {
      const event = this.#host.keys.event(json);
      const its = event.type === 'put' ? event.entry.revision : event.revision;
      if (its !== revision) this.#tell(same, revision);
      if (its !== revision) same = [];
      revision = its;
      same.push(event);
    }
    this.#tell(same, revision);
  }

  #tell(events: readonly Event[], revision: number): void {
    if (!this.#open || revision <= this.#revision) return;
    this.#revision = revision;
    this.#watcher.onEvents(events, revision);
  }
}
