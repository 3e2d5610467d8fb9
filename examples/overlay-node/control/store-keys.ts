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
  readonly #feed: Feed<KeyRecord>;
  /** By address, which node's record counts. Of two nodes that had one address in turn it is what was written later:
   * by the order of the store, for clocks jump. */
  readonly #latest = new Map<string, string>();
  readonly #watchers = new Map<string, Set<(record: Uint8Array) => void>>();
  #following = false;

  constructor(link: Link, node: string) {
    this.#link = link;
    this.#node = node;
    const onPut = (id: string, record: KeyRecord) => this.#learn(id, record);
    // Who watches is not told: the dataplane forgets peers by itself.
    const onRemove = (id: string, { address }: KeyRecord) => {
      if (this.#latest.get(address) === id) this.#latest.delete(address);
    };
    this.#feed = new Feed({ prefix: 'keys/', read: readKeys, onPut, onRemove }, link);
  }

  async publish(address: string, record: Uint8Array): Promise<void> {
    const { up, store, health } = this.#link;
    if (!up) throw new ControlError('AWAY', health.error ?? 'the store is away');
    const text = Buffer.from(record).toString('base64');
    const value: KeyRecord = { address, record: text };
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
    const known = this.#feed.get(this.#latest.get(address) ?? '');
    if (known !== undefined) own(bytes(known));
    return () => {
      watchers.delete(own);
      if (watchers.size === 0 && this.#watchers.get(address) === watchers) this.#watchers.delete(address);
    };
  }

  #learn(id: string, record: KeyRecord): void {
    const known = this.#latest.get(record.address) ?? id;
    if (this.#feed.revision(known) > this.#feed.revision(id)) return;
    this.#latest.set(record.address, id);
    for (const onRecord of this.#watchers.get(record.address) ?? []) onRecord(bytes(record));
  }
}

function bytes({ record }: KeyRecord): Uint8Array {
  return new Uint8Array(Buffer.from(record, 'base64'));
}
