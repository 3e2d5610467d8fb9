/** The public keys of all nodes in the store: how they tell each other with whom to encrypt. */
import type { KeyChannel } from 'packetweave';
import { ControlError } from './errors.ts';
import { Feed } from './feed.ts';
import type { Link } from './link.ts';
import { type KeyRecord, keyOf, readKeys } from './records.ts';

/** A node that was cut off for less than this has the others' keys in time; its peers know that it lives for as long. */
const GRACE = 10_000;

export class StoreKeys implements KeyChannel {
  readonly grace = GRACE;
  readonly #link: Link;
  readonly #node: string;
  readonly #now: () => number;
  readonly #feed: Feed<KeyRecord>;
  readonly #latest = new Map<string, KeyRecord>();
  readonly #watchers = new Map<string, Set<(record: Uint8Array) => void>>();
  #following = false;

  constructor(link: Link, node: string, now: () => number) {
    this.#link = link;
    this.#node = node;
    this.#now = now;
    const onPut = (_: string, record: KeyRecord) => this.#learn(record);
    // Keys of a node that is gone harm nobody: the dataplane forgets peers by itself.
    this.#feed = new Feed({ prefix: 'keys/', read: readKeys, onPut, onRemove() {} }, link);
  }

  async publish(address: string, record: Uint8Array): Promise<void> {
    const { up, store, health } = this.#link;
    if (!up) throw new ControlError('AWAY', health.error ?? 'the store is away');
    const text = Buffer.from(record).toString('base64');
    const value: KeyRecord = { address, at: this.#now(), record: text };
    await store.put(keyOf.keys(this.#node), JSON.stringify(value));
  }

  watch(address: string, onRecord: (record: Uint8Array) => void): () => void {
    if (!this.#following) {
      // Whoever encrypts nothing does not listen.
      this.#following = true;
      void this.#link.follow(this.#feed);
    }
    const watchers = this.#watchers.get(address) ?? new Set();
    const own = (record: Uint8Array) => onRecord(record);
    this.#watchers.set(address, watchers.add(own));
    const known = this.#latest.get(address);
    if (known !== undefined) own(bytes(known));
    return () => {
      watchers.delete(own);
      if (watchers.size === 0 && this.#watchers.get(address) === watchers) this.#watchers.delete(address);
    };
  }

  #learn(record: KeyRecord): void {
    const known = this.#latest.get(record.address);
    if (known !== undefined && known.at > record.at) return;
    this.#latest.set(record.address, record);
    for (const onRecord of this.#watchers.get(record.address) ?? []) onRecord(bytes(record));
  }
}

function bytes({ record }: KeyRecord): Uint8Array {
  return new Uint8Array(Buffer.from(record, 'base64'));
}
