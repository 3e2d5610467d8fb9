/**
 * Up to 64 packets that travel together. Every hop between elements costs one call a batch; a call a packet
 * costs four times more.
 */
import type { Packet } from './packet.ts';

/** The most packets in a batch. 64 carries some 5% more than 32 through an overlay, 128 no more than 64. */
export const BATCH = 64;

export class Batch {
  /** The first `length` are packets; what lies behind is stale and means nothing. */
  readonly packets: Packet[] = [];
  length = 0;

  get full(): boolean {
    return this.length === BATCH;
  }

  /** Appends a packet. The batch must not be full. */
  add(p: Packet): void {
    this.packets[this.length++] = p;
  }

  /** Forgets all packets: they have another owner now. */
  clear(): void {
    this.length = 0;
  }

  /** Gives all packets back to their pools: for a port that is closed, and for tests. */
  release(): void {
    for (let i = 0; i < this.length; i++) this.packets[i].pool.give(this.packets[i]);
    this.length = 0;
  }
}
