/**
 * The security association database, RFC 4301 section 4.4.2: which association an arriving packet belongs
 * to, by source and SPI, and which one a packet to a host is sealed with.
 *
 * Inbound associations lie in an open-addressed table of two words a slot, at most half full. A made-up SPI
 * costs one short probe; it cannot make the table longer, for only control adds to it.
 */
import type { InboundSa, OutboundSa } from './sa.ts';

export class Sad {
  /** The most inbound associations that can be held at once. */
  readonly capacity: number;
  #count = 0;
  /** Peer and SPI of each slot. */
  readonly #keys: Int32Array;
  readonly #shift: number;
  /** The association of each slot, null where it is free. */
  readonly #inbound: (InboundSa | null)[];
  /** By peer. */
  readonly #outbound: (OutboundSa | null)[] = [];

  /** Throws a RangeError for a capacity other than 1..2^24. */
  constructor(capacity = 4096) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 2 ** 24) {
      throw new RangeError(`"capacity" expected an integer 1..${2 ** 24}, got ${capacity}`);
    }
    this.capacity = capacity;
    const bits = Math.ceil(Math.log2(capacity * 2));
    this.#shift = 32 - bits;
    this.#keys = new Int32Array(2 << bits);
    this.#inbound = new Array(1 << bits).fill(null);
  }

  /** Inbound associations held. */
  get count(): number {
    return this.#count;
  }

  /** The association of a packet from a peer, or null: discard, count, audit (RFC 4303 section 3.4.2). */
  lookup(peer: number, spi: number): InboundSa | null {
    return this.#inbound[this.#find(peer, spi)];
  }

  /** The association that seals what goes to a peer, or null: there is none yet, and nothing may leave. */
  outbound(peer: number): OutboundSa | null {
    return peer >= 0 && peer < this.#outbound.length ? this.#outbound[peer] : null;
  }

  /** Adds an inbound association, or puts it in place of the one with its peer and SPI, which is returned for
   * the caller to close. Throws a RangeError when full. */
  set(sa: InboundSa): InboundSa | null {
    const slot = this.#find(sa.peer, sa.spi);
    const before = this.#inbound[slot];
    if (before === null) {
      if (this.#count === this.capacity) {
        throw new RangeError(`no room for a security association: ${this.capacity} are known`);
      }
      this.#count++;
    }
    this.#put(slot, sa);
    return before;
  }

  /** Takes an inbound association out and returns it for the caller to close, or null. */
  remove(peer: number, spi: number): InboundSa | null {
    let hole = this.#find(peer, spi);
    const removed = this.#inbound[hole];
    if (removed === null) return null;
    this.#count--;
    this.#inbound[hole] = null;
    // What was pushed aside by it moves back, so that no probe ends too early.
    const mask = this.#inbound.length - 1;
    for (let i = (hole + 1) & mask; this.#inbound[i] !== null; i = (i + 1) & mask) {
      const sa = this.#inbound[i]!;
      const home = this.#home(sa.peer, sa.spi);
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      this.#put(hole, sa);
      this.#inbound[i] = null;
      hole = i;
    }
    return removed;
  }

  /** Makes an association the one that seals for its peer, and returns the former for the caller to close. */
  setOutbound(sa: OutboundSa): OutboundSa | null {
    while (this.#outbound.length <= sa.peer) this.#outbound.push(null);
    const before = this.#outbound[sa.peer];
    this.#outbound[sa.peer] = sa;
    return before;
  }

  /** Stops sealing for a peer, and returns what sealed for the caller to close. */
  removeOutbound(peer: number): OutboundSa | null {
    const before = this.outbound(peer);
    if (before !== null) this.#outbound[peer] = null;
    return before;
  }

  /** All inbound associations. */
  *entries(): Generator<InboundSa> {
    for (const sa of this.#inbound) if (sa !== null) yield sa;
  }

  /** Where an association is, or the free slot where it would be. */
  #find(peer: number, spi: number): number {
    const keys = this.#keys;
    const mask = this.#inbound.length - 1;
    let i = this.#home(peer, spi);
    while (this.#inbound[i] !== null && (keys[2 * i] !== peer || keys[2 * i + 1] !== (spi | 0))) {
      i = (i + 1) & mask;
    }
    return i;
  }

  /** SPIs are hashes or random already: one multiplication spreads the peers among them. */
  #home(peer: number, spi: number): number {
    return Math.imul(spi ^ Math.imul(peer, 0x85ebca6b), 0x9e3779b1) >>> this.#shift;
  }

  #put(slot: number, sa: InboundSa): void {
    this.#inbound[slot] = sa;
    this.#keys[2 * slot] = sa.peer;
    this.#keys[2 * slot + 1] = sa.spi | 0;
  }
}
