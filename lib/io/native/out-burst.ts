/** Sends packets in bursts, a message each (sendmmsg(2)): no more system calls than batches, unless one is refused. */
import { BATCH } from '../../core/batch.ts';
import * as drops from '../../core/drop.ts';
import { type Packet, segments, solidLength } from '../../core/packet.ts';
import type { PortStats } from '../port.ts';
import * as c from './constants.ts';
import { type Libc, libc } from './libc.ts';
import { IOVEC, Iovecs } from './memory.ts';
import { Messages } from './messages.ts';
import { reasonOf } from './refusals.ts';
import { Slab } from './slab.ts';

/** The most pieces that a burst sends, and a packet has. */
export const PIECES = 256;

export class OutBurst {
  /** Told of a packet that the system refused, with the error number and its bytes; not of a full buffer. */
  onRefused: (errno: number, bytes: number) => void = () => {};
  readonly slab = new Slab(Messages.size(BATCH) + PIECES * IOVEC + 64);
  readonly messages: Messages;
  readonly #iovecs: Iovecs;
  readonly #libc: Libc;
  readonly #stats: PortStats;
  readonly #packets: Packet[] = [];
  #fd = -1;
  #count = 0;
  #pieces = 0;

  constructor(stats: PortStats) {
    this.#libc = libc();
    this.#stats = stats;
    this.#iovecs = new Iovecs(this.slab, PIECES);
    this.messages = new Messages(this.slab, BATCH, this.#iovecs);
  }

  /** Sends by a socket from now on. */
  open(fd: number): void {
    this.#fd = fd;
  }

  /** Makes room for a packet and returns the number of its message, for the address to be written. */
  next(p: Packet): number {
    const pieces = p.gap === 0 ? 1 : segments(p);
    if (this.#count === BATCH || this.#pieces + pieces > PIECES) this.flush();
    return this.#count;
  }

  /** Adds a packet of at most {@link PIECES} pieces behind {@link next}, with `lead` bytes in front of it and an
   * address of so many bytes. */
  add(p: Packet, lead: number, address: number): void {
    const i = this.#count++;
    const from = this.#pieces;
    this.#pieces = this.#iovecs.setFrame(from, p, lead);
    this.messages.sendToOwn(i, address);
    this.messages.setIovecs(i, from, this.#pieces);
    this.#packets[i] = p;
  }

  /** Sends what was added, counts what became of it, and gives the packets back. */
  flush(): void {
    const n = this.#count;
    for (let i = 0; i < n; ) i += this.#send(i);
    for (let i = 0; i < n; i++) this.#packets[i].pool.give(this.#packets[i]);
    this.#count = 0;
    this.#pieces = 0;
  }

  /** Sends the messages from `i`, and returns how many of them are dealt with. */
  #send(i: number): number {
    const n = this.#libc.sendmmsg(this.#fd, this.messages.address(i), this.#count - i, 0);
    for (let k = i; k < i + n; k++) {
      this.#stats.sent(solidLength(this.#packets[k]), segments(this.#packets[k]));
    }
    if (n > 0) return n;
    const errno = this.#libc.errno();
    // The last is an answer by ICMP to something sent before.
    if (errno === c.EINTR || errno === c.ECONNREFUSED) return 0;
    const reason = reasonOf(errno);
    this.#stats.lost(reason, segments(this.#packets[i]));
    if (reason !== drops.PORT_FULL) this.onRefused(errno, this.#packets[i].length);
    return 1;
  }
}
