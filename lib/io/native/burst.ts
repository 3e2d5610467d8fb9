/**
 * Receives messages of a socket in bursts (recvmmsg(2)). How many are asked for at once follows from how many there
 * were: one by one they need few packets in hand, and trains are large.
 */
import { BATCH, type Batch } from '../../core/batch.ts';
import type { Packet } from '../../core/packet.ts';
import type { PortHost } from '../port.ts';
import * as c from './constants.ts';
import { type Libc, libc } from './libc.ts';
import { BUDGET, Landing } from './memory.ts';
import { Messages } from './messages.ts';
import { Slab } from './slab.ts';

/** The most messages of a call. */
const MOST = 32;

/** Knows what the messages mean. */
export interface Taker {
  /** Adds message `i`, of so many bytes, to the batch, or drops it. The packet that holds it is null where none
   * was free. */
  take(i: number, bytes: number, p: Packet | null, batch: Batch): void;
}

export class Burst {
  readonly slab = new Slab(Landing.size(MOST) + Messages.size(MOST) + 64);
  readonly messages: Messages;
  readonly #libc: Libc;
  readonly #landing: Landing;
  #fd = -1;
  #count = 2;
  #drained = false;

  /** Each message has `lead` bytes in front of the frame; where that is negative, as many are left free for the
   * beginning of the frame, which the message does not have. */
  constructor(lead: number) {
    this.#libc = libc();
    this.#landing = new Landing(this.slab, MOST, lead);
    this.messages = new Messages(this.slab, MOST, this.#landing.iovecs);
    for (let i = 0; i < MOST; i++) this.messages.setIovecs(i, 2 * i, 2 * i + 2);
  }

  /** Receives from a socket from now on. */
  open(fd: number, host: PortHost): void {
    this.#fd = fd;
    this.#landing.open(host);
  }

  /** Whether the last `receive` left nothing in the socket. */
  get drained(): boolean {
    return this.#drained;
  }

  /** Fills the batch; returns an error number where the socket is broken, else 0. */
  receive(batch: Batch, taker: Taker): number {
    let errno = 0;
    this.#drained = false;
    for (let bytes = 0; bytes < BUDGET && batch.length < BATCH; ) {
      const wanted = Math.min(this.#count, BATCH - batch.length);
      const n = this.#call(wanted);
      if (n < 0) {
        errno = this.#libc.errno();
        this.#drained = errno === c.EAGAIN;
        break;
      }
      let got = 0;
      for (let i = 0; i < n; i++) {
        const length = this.messages.length(i);
        got += length;
        taker.take(i, length, this.#landing.take(i, length), batch);
      }
      bytes += got;
      this.#adapt(wanted, n, got);
      this.#drained = n < wanted;
      if (this.#drained) break;
    }
    this.#landing.release();
    // The last is an answer by ICMP to something sent before.
    return errno === c.EAGAIN || errno === c.EINTR || errno === c.ECONNREFUSED ? 0 : errno;
  }

  #call(wanted: number): number {
    for (let i = 0; i < wanted; i++) {
      this.#landing.prepare(i);
      this.messages.expect(i);
    }
    return this.#libc.recvmmsg(this.#fd, this.messages.address(0), wanted, c.MSG_DONTWAIT, 0);
  }

  /**
   * Twice as many where there were as many as could be; where not, one more than there were, so that the next call of
   * its kind sees that there are no others; few where they are long.
   */
  #adapt(wanted: number, n: number, bytes: number): void {
    if (n < wanted) this.#count = Math.min(n + 1, MOST);
    else if (2 * bytes < BUDGET) this.#count = Math.min(2 * wanted, MOST);
    else this.#count = Math.max(wanted >> 1, 1);
  }
}
