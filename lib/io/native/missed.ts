/** What the kernel dropped of what was for a socket, because nobody received it in time (SO_MEMINFO, Linux 4.12). */
import { PORT_FULL } from '../../core/drop.ts';
import type { PortStats } from '../port.ts';
import * as c from './constants.ts';
import { type Libc, libc } from './libc.ts';
import { addresses, Slab } from './slab.ts';

/** Milliseconds between two looks. */
const LOOK = 1000;
/** Bytes of the answer, SK_MEMINFO_VARS words (linux/sock_diag.h), and where the drops lie. */
const BYTES = 36;
const DROPS = 32;
/** Where the answer's length lies. */
const LENGTH = 64;

export class Missed {
  readonly #libc: Libc;
  readonly #stats: PortStats;
  readonly #slab = new Slab(128);
  readonly #at: readonly number[];
  #fd = -1;
  #looked = 0;
  #seen = 0;

  constructor(stats: PortStats) {
    this.#libc = libc();
    this.#stats = stats;
    this.#at = addresses(this.#slab.address(0), this.#slab.address(LENGTH));
  }

  /** Looks after a socket from now on. */
  open(fd: number, now: number): void {
    this.#fd = fd;
    this.#looked = now;
    this.#seen = 0;
  }

  /** Counts what was dropped since the last look, where that was a while ago. */
  tick(now: number): void {
    if (now - this.#looked < LOOK) return;
    this.#looked = now;
    this.look();
  }

  /** Counts what was dropped since the last look. */
  look(): void {
    const { view } = this.#slab;
    view.setUint32(LENGTH, BYTES, true);
    if (this.#libc.getsockopt(this.#fd, c.SOL_SOCKET, c.SO_MEMINFO, this.#at[0], this.#at[1]) < 0) return;
    const drops = view.getUint32(DROPS, true);
    if (drops !== this.#seen) this.#stats.lost(PORT_FULL, (drops - this.#seen) >>> 0);
    this.#seen = drops;
  }
}
