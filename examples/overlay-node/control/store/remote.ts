/**
 * The store of another node, over the network. It connects when something is asked of it, and again after the connection
 * was lost; what was under way then rejects with `AWAY`, and watches end as `away`. Leases outlive connections.
 */
import { ControlError } from '../errors.ts';
import { Call } from './call.ts';
import { Connection } from './connection.ts';
import { checkKey, checkTransaction, checkTtl } from './keys.ts';
import { type Answered, type Asked, type Method, place, wireOperation } from './protocol.ts';
import type { Identity } from './psk.ts';
import { RemoteWatch } from './remote-watch.ts';
import type { Condition, Entry, Lease, Operation, Store, Watch, Watcher } from './store.ts';

export interface RemoteOptions {
  readonly host: string;
  readonly port: number;
  /** Id of this node, and its key of 32 bytes. */
  readonly identity: { readonly node: string; readonly key: Buffer };
  /** Id of the cluster. */
  readonly cluster: string;
  /** Milliseconds in which a method is done, or rejects with `AWAY`. */
  readonly timeout?: number;
  /** Between two heartbeats, in ms; a server that is gone without a word is noticed after three. */
  readonly beat?: number;
  /** Before the second attempt to connect, in ms; doubled at each one up to 20 times as much. */
  readonly backOff?: number;
}

const TIMEOUT = 5000;
const BEAT = 1000;
const BACK_OFF = 100;

export class RemoteStore implements Store {
  readonly name: string;
  readonly #options: Required<RemoteOptions>;
  readonly #at: string;
  readonly #watches = new Set<RemoteWatch>();
  readonly #calls = new Set<Call>();
  #connection: Connection | null = null;
  #connecting: Promise<Connection> | null = null;
  #failures = 0;
  #closed = false;

  constructor(options: RemoteOptions) {
    this.#options = { timeout: TIMEOUT, beat: BEAT, backOff: BACK_OFF, ...options };
    this.#at = place(options.host, options.port);
    this.name = `embedded at ${this.#at}`;
  }

  async get(key: string): Promise<Entry | null> {
    checkKey(key);
    return this.#ask('get', { key });
  }

  async list(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    const call = this.#call('list', { prefix });
    const { revision } = await this.#answer<'list'>(call);
    return { entries: call.entries, revision };
  }

  async put(key: string, value: string, lease?: Lease): Promise<number> {
    const put = { type: 'put' as const, key, value };
    return (await this.compareAndSet([], [lease ? { ...put, lease } : put])).revision;
  }

  async delete(key: string): Promise<boolean> {
    checkKey(key);
    return this.#ask('delete', { key });
  }

  async compareAndSet(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ done: boolean; revision: number }> {
    checkTransaction(conditions, operations);
    return this.#ask('compareAndSet', { conditions, operations: operations.map(wireOperation) });
  }

  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    const watch = new RemoteWatch({
      onEvents: (events, revision) => watcher.onEvents(events, revision),
      onEnd: (why) => {
        this.#watches.delete(watch);
        watcher.onEnd(why);
      },
    });
    this.#watches.add(watch);
    this.#begin(watch, prefix, revision).catch(() => watch.end('away'));
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async grant(ttl: number): Promise<Lease> {
    checkTtl(ttl);
    const lease = await this.#ask('grant', { ttl });
    return {
      ...lease,
      keepAlive: async () => {
        await this.#ask('keepAlive', { lease });
      },
      revoke: async () => {
        await this.#ask('revoke', { lease });
      },
    };
  }

  /** What is under way rejects with `AWAY`; watches end without a word. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    for (const call of [...this.#calls]) call.reject(closed());
    this.#connection?.close();
  }

  #ask<M extends Method>(method: M, asked: Asked<M>): Promise<Answered<M>> {
    return this.#answer(this.#call(method, asked));
  }

  #call(method: Method, asked: Asked<Method>): Call {
    return new Call(method, asked, this.#options.timeout, this.#at);
  }

  #answer<M extends Method>(call: Call): Promise<Answered<M>> {
    this.#send(call, (connection) => connection.ask(call));
    return call.answer as Promise<Answered<M>>;
  }

  async #begin(watch: RemoteWatch, prefix: string, revision: number): Promise<void> {
    const call = this.#call('watch', { prefix, revision });
    this.#send(call, (connection) => {
      if (!watch.open) return call.resolve(null);
      const id = connection.watch(call, watch);
      watch.onClose = () => connection.unwatch(id);
    });
    await call.answer;
  }

  /** Sends as soon as there is a connection, if the call still waits then. */
  #send(call: Call, send: (connection: Connection) => void): void {
    this.#calls.add(call);
    const forget = () => this.#calls.delete(call);
    call.answer.then(forget, forget);
    if (this.#closed) call.reject(closed());
    else this.#connect().then(send, (error) => call.reject(error));
  }

  /** The connection that is there, or the next one. */
  async #connect(): Promise<Connection> {
    if (this.#connection?.open) return this.#connection;
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #open(): Promise<Connection> {
    const { identity, backOff } = this.#options;
    if (this.#failures > 0) await pause(Math.min(backOff * 2 ** (this.#failures - 1), backOff * 20));
    if (this.#closed) throw closed();
    try {
      const shown: Identity = { type: 'node', id: identity.node };
      const connection = await Connection.open({
        ...this.#options,
        identity: shown,
        key: identity.key,
        at: this.#at,
      });
      this.#failures = 0;
      this.#connection = connection;
      if (this.#closed) connection.close();
      return connection;
    } catch (error) {
      this.#failures++;
      throw error;
    }
  }
}

function closed(): ControlError {
  return new ControlError('AWAY', 'the store is closed');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
