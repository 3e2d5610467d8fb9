/** Lets the others hear of this node: a lease that is kept alive as long as the store is there. */
import { ControlError } from './errors.ts';
import { keyOf } from './records.ts';
import type { Lease, Store } from './store/store.ts';

export interface HeartbeatOptions {
  /** Id of this node. */
  readonly node: string;
  /** Of the lease, in seconds. */
  readonly ttl: number;
  /** How often it is kept alive, in ms. */
  readonly beat: number;
  /** The store is away. */
  readonly lost: (error: Error) => void;
  /** Whether the others can see that this node lives, as far as is known here. */
  readonly seen: () => boolean;
  /** The node's record is gone: somebody removed it. */
  readonly removed: () => void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #store: Store | null = null;
  #lease: Lease | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** One at a time: of two leases only one would hold the record, and perhaps not the one that is kept alive. */
  #beating: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Resolves when the others can know that this node lives. Rejects where the store is away. */
  async start(store: Store): Promise<void> {
    this.stop();
    if (store !== this.#store) this.#lease = null;
    this.#store = store;
    await this.#inTurn(store);
    if (store !== this.#store || this.#timer !== null) return;
    this.#timer = setInterval(() => {
      // A store that is slow is not asked again before it has answered.
      if (this.#busy) return;
      this.#inTurn(store).catch((error: Error) => {
        this.stop();
        this.#options.lost(error);
      });
    }, this.#options.beat).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Tells the others at once that this node is gone. */
  async end(): Promise<void> {
    this.stop();
    await this.#lease?.revoke().catch(() => {});
    this.#lease = null;
  }

  #inTurn(store: Store): Promise<void> {
    this.#busy = true;
    const turn = this.#beating.then(() => this.#beat(store));
    const settled = turn
      .catch(() => {})
      .then(() => {
        if (this.#beating === settled) this.#busy = false;
      });
    this.#beating = settled;
    return turn;
  }

  async #beat(store: Store): Promise<void> {
    // A record that somebody deleted is written again, with another lease.
    if (this.#lease !== null && this.#options.seen()) {
      try {
        await this.#lease.keepAlive();
        return;
      } catch (error) {
        if ((error as ControlError).code !== 'NOT_FOUND') throw error;
      }
    }
    const { node, ttl, removed } = this.#options;
    const record = await store.get(keyOf.node(node));
    if (record === null) {
      removed();
      return;
    }
    const lease = await store.grant(ttl);
    const { done } = await store.compareAndSet(
      [{ key: record.key, revision: record.revision }],
      [{ type: 'put', key: keyOf.alive(node), value: '{}', lease }],
    );
    if (!done) throw new ControlError('AWAY', `the record of node ${node} has changed meanwhile`);
    if (store === this.#store) this.#lease = lease;
  }
}
