/** What a key ring knows of one peer: its two newest epochs, and which of ours it knows. */
import type { Announcement } from './announcement.ts';
import type { Association, Epoch } from './epoch.ts';
import { equal } from './kdf.ts';

/** Boots that are remembered. */
const MAX_GONE = 64;

export class Peer {
  /** What its packets come with. */
  readonly number: number;
  readonly node: string;
  /** Whether our keys are used only when it is known to know them. */
  readonly evidence: boolean;
  /** At most two epochs, newest first. */
  readonly live: Announcement[] = [];
  /** Number of our newest epoch that it is known to know; 0 for none. */
  knows = 0;
  /** Boots that another has followed: none of them comes back. */
  readonly #gone: Uint8Array[] = [];

  constructor(number: number, node: string, evidence: boolean) {
    this.number = number;
    this.node = node;
    this.evidence = evidence;
  }

  /** Whether an announcement is newer than what is known. */
  judge(theirs: Announcement): 'new' | 'known' | 'stale' {
    if (this.live.some(({ name }) => name === theirs.name)) return 'known';
    const [newest] = this.live;
    if (newest !== undefined && equal(newest.boot, theirs.boot)) {
      return theirs.epoch > newest.epoch ? 'new' : 'stale';
    }
    return this.#gone.some((boot) => equal(boot, theirs.boot)) ? 'stale' : 'new';
  }

  /** Makes a new announcement the newest, and returns those that it pushes out. */
  add(theirs: Announcement): Announcement[] {
    const [newest] = this.live;
    if (newest !== undefined && !equal(newest.boot, theirs.boot)) {
      this.#gone.push(newest.boot);
      if (this.#gone.length > MAX_GONE) this.#gone.shift();
      this.knows = 0; // it has to learn all again
    }
    this.live.unshift(theirs);
    return this.live.splice(2);
  }

  /** Takes note where a packet came that was sealed for a newer epoch than it was known to know. */
  listen(epochs: readonly Epoch[]): void {
    for (const epoch of epochs) {
      if (epoch.number <= this.knows) return;
      for (const theirs of this.live) {
        // What an earlier life of it knew, this one has forgotten.
        if (!equal(theirs.boot, this.live[0].boot)) continue;
        if (epoch.association(theirs)?.inbound.heard) this.knows = Math.max(this.knows, epoch.number);
      }
    }
  }

  /** The association to send with: the newest of ours that it knows, with the newest of its own. Where it knows none as
   * yet it is the oldest that is published: what comes before it has read that is lost, as all would be that waited. */
  choose(epochs: readonly Epoch[]): Association | null {
    const [theirs] = this.live;
    if (theirs === undefined) return null;
    const known = epochs.filter(({ number, graced }) => number <= this.knows || (!this.evidence && graced));
    const published = this.evidence ? [] : epochs.filter((epoch) => epoch.published).reverse();
    for (const epoch of [...known, ...published]) {
      const association = epoch.association(theirs);
      if (association !== null) return association;
    }
    return null;
  }
}
