/**
 * How the hosts of an overlay tell each other their public keys: a seam. What travels is authentic by itself
 * (see crypto/announcement.ts), so a channel need not be trusted, only to be there.
 */

export interface KeyChannel {
  /** How long after `publish` is done every host knows of it, in ms. */
  readonly grace: number;
  /** Puts a host's record in place of its former one. Resolves when the others can read it, rejects where it
   * could not be: the record is published again later, and nothing is replaced meanwhile. */
  publish(node: string, record: Uint8Array): Promise<void> | void;
  /** Tells a host's record, now if there is one and whenever it changes, until the returned function is called. */
  watch(node: string, onRecord: (record: Uint8Array) => void): () => void;
}

/** A channel within one process: for overlays that run side by side, in tests and in simulations. */
export class KeyDirectory implements KeyChannel {
  readonly grace = 1;
  readonly #records = new Map<string, Uint8Array>();
  readonly #watchers = new Map<string, Set<(record: Uint8Array) => void>>();

  publish(node: string, record: Uint8Array): void {
    this.#records.set(node, record);
    for (const onRecord of this.#watchers.get(node) ?? []) onRecord(record);
  }

  watch(node: string, onRecord: (record: Uint8Array) => void): () => void {
    const watchers = this.#watchers.get(node) ?? new Set();
    this.#watchers.set(node, watchers.add(onRecord));
    const record = this.#records.get(node);
    if (record !== undefined) onRecord(record);
    return () => void watchers.delete(onRecord);
  }
}
