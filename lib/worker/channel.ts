/**
 * A key channel between threads: the overlay's keys are in the worker, the channel by which they travel, a store for
 * example, is the main thread's. Messages carry what one says to the other.
 */
import type { KeyChannel } from '../overlay/key-channel.ts';
import type { FromThread, ToThread } from './messages.ts';

/** Stands in for the channel in the worker. */
export class ChannelStub implements KeyChannel {
  readonly grace: number;
  readonly #post: (message: FromThread) => void;
  readonly #publishing = new Map<number, { resolve(): void; reject(error: Error): void }>();
  readonly #watching = new Map<number, (record: Uint8Array) => void>();
  #next = 0;

  constructor(grace: number, post: (message: FromThread) => void) {
    this.grace = grace;
    this.#post = post;
  }

  publish(node: string, record: Uint8Array): Promise<void> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#publishing.set(id, { resolve, reject });
      this.#post({ type: 'publish', id, node, record });
    });
  }

  watch(node: string, onRecord: (record: Uint8Array) => void): () => void {
    const id = this.#next++;
    this.#watching.set(id, onRecord);
    this.#post({ type: 'watch', id, node });
    return () => {
      if (this.#watching.delete(id)) this.#post({ type: 'unwatch', id });
    };
  }

  /** Takes what the channel says. */
  take(message: ToThread): void {
    if (message.type === 'record') this.#watching.get(message.id)?.(message.record);
    if (message.type !== 'published') return;
    const waiting = this.#publishing.get(message.id);
    this.#publishing.delete(message.id);
    if (message.error === undefined) waiting?.resolve();
    else waiting?.reject(new Error(message.error));
  }
}

/** Speaks with the channel for the worker. */
export class ChannelServer {
  readonly #channel: KeyChannel;
  readonly #post: (message: ToThread) => void;
  readonly #stops = new Map<number, () => void>();

  constructor(channel: KeyChannel, post: (message: ToThread) => void) {
    this.#channel = channel;
    this.#post = post;
  }

  /** Takes what the worker says. */
  take(message: FromThread): void {
    if (message.type === 'publish') void this.#publish(message.id, message.node, message.record);
    if (message.type === 'watch') {
      const { id, node } = message;
      this.#stops.set(
        id,
        this.#channel.watch(node, (record) => this.#post({ type: 'record', id, record })),
      );
    }
    if (message.type !== 'unwatch') return;
    this.#stops.get(message.id)?.();
    this.#stops.delete(message.id);
  }

  async #publish(id: number, node: string, record: Uint8Array): Promise<void> {
    try {
      await this.#channel.publish(node, record);
      this.#post({ type: 'published', id });
    } catch (error) {
      this.#post({ type: 'published', id, error: (error as Error).message });
    }
  }

  /** Stops watching. */
  close(): void {
    for (const stop of this.#stops.values()) stop();
    this.#stops.clear();
  }
}
