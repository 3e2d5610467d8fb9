/**
 * Waits for file descriptors to become readable, by epoll, which costs the same for two descriptors and two
 * thousand. One more descriptor, an eventfd, ends a wait from any thread.
 *
 * An engine in a worker blocks in `wait`: nothing wakes faster. One on an event loop cannot block it, and libuv
 * watches no descriptor but its own: there `arm` waits on a thread of libuv's pool.
 */
import type { Poll } from '../../core/poll.ts';
import * as c from './constants.ts';
import { portError } from './errors.ts';
import { type Libc, libc } from './libc.ts';
import { addresses, Slab } from './slab.ts';

/** The most descriptors told of at once. */
const MOST = 64;
/** struct epoll_event is packed on x86-64 alone (linux/eventpoll.h). */
const EVENT = process.arch === 'x64' ? 12 : 16;
const EVENT_DATA = EVENT - 8;
/** Milliseconds after which a wait on another thread looks whether it is still wanted. */
const PATIENCE = 100;

export class Poller implements Poll {
  readonly #libc: Libc;
  readonly #slab = new Slab(4096);
  readonly #events: number;
  readonly #armedEvents: number;
  /** Addresses of both. */
  readonly #at: readonly number[];
  /** Where an eventfd's count is read to. */
  readonly #count: number;
  readonly #wakes = new Map<number, () => void>();
  /** Open as long as there are descriptors, or with somebody else's eventfd until `close`. */
  #epoll = -1;
  #eventfd = -1;
  readonly #lent: boolean;
  #armed = false;

  /**
   * `interrupter` is an eventfd of somebody else's, which ends waits from the start and stays theirs (see
   * {@link makeInterrupter}). Default: one that comes and goes with the descriptors. Throws a PortError where native
   * code cannot be called.
   */
  constructor(interrupter = -1) {
    this.#libc = libc();
    this.#events = this.#slab.reserve(MOST * EVENT);
    this.#armedEvents = this.#slab.reserve(MOST * EVENT);
    this.#count = this.#slab.reserve(8);
    this.#at = addresses(
      this.#slab.address(this.#events),
      this.#slab.address(this.#armedEvents),
      this.#slab.address(this.#count),
    );
    this.#lent = interrupter >= 0;
    if (this.#lent) this.#open(interrupter);
  }

  get active(): boolean {
    return this.#epoll >= 0;
  }

  /** What another thread hands to {@link interrupt}; -1 without descriptors. */
  get interrupter(): number {
    return this.#eventfd;
  }

  add(fd: number, wake: () => void): void {
    if (this.#epoll < 0) this.#open(this.#libc.eventfd(0, EVENTFD_FLAGS));
    this.#control(c.EPOLL_CTL_ADD, fd);
    this.#wakes.set(fd, wake);
    // What waits on another thread is told of it by the kernel.
  }

  remove(fd: number): void {
    if (!this.#wakes.delete(fd)) return;
    this.#libc.epollControl(this.#epoll, c.EPOLL_CTL_DEL, fd, 0);
    if (this.#wakes.size > 0 || this.#lent) return;
    this.interrupt();
    // A thread may still wait on them: it closes them when it returns.
    if (!this.#armed) this.close();
  }

  wait(ms: number): boolean {
    if (this.#epoll < 0) return false;
    const n = this.#libc.epollWait(this.#epoll, this.#at[0], MOST, ms);
    return n > 0 && this.#tell(this.#events, n);
  }

  giveWay(): void {
    this.#libc.schedYield();
  }

  arm(): void {
    if (this.#armed || this.#epoll < 0) return;
    this.#armed = true;
    this.#libc.epollWaitAsync(this.#epoll, this.#at[1], MOST, PATIENCE, (_error, n) => {
      this.#armed = false;
      if (this.#wakes.size === 0 && !this.#lent) this.close();
      // An interruption may be meant for descriptors that are gone, while others were added.
      else if (n <= 0 || this.#tell(this.#armedEvents, n)) this.arm();
    });
  }

  interrupt(): void {
    interrupt(this.#eventfd);
  }

  /** Calls the wakes of the first `n` events, and says whether one of them is an interruption. */
  #tell(events: number, n: number): boolean {
    const { view } = this.#slab;
    let interrupted = false;
    for (let i = 0; i < n; i++) {
      const fd = view.getInt32(events + i * EVENT + EVENT_DATA, true);
      if (fd !== this.#eventfd) this.#wakes.get(fd)?.();
      else {
        this.#libc.read(fd, this.#at[2], 8);
        interrupted = true;
      }
    }
    return interrupted;
  }

  #open(eventfd: number): void {
    this.#epoll = this.#libc.epollCreate(c.EPOLL_CLOEXEC);
    this.#eventfd = eventfd;
    if (this.#epoll < 0 || this.#eventfd < 0) {
      const error = portError(this.#libc.errno(), 'no descriptor for epoll can be had');
      this.close();
      throw error;
    }
    this.#control(c.EPOLL_CTL_ADD, this.#eventfd);
  }

  #control(operation: number, fd: number): void {
    const { view } = this.#slab;
    view.setUint32(this.#events, c.EPOLLIN, true);
    view.setInt32(this.#events + EVENT_DATA, fd, true);
    view.setInt32(this.#events + EVENT_DATA + 4, 0, true);
    if (this.#libc.epollControl(this.#epoll, operation, fd, this.#at[0]) === 0) return;
    throw portError(this.#libc.errno(), `descriptor ${fd} cannot be watched`);
  }

  /** Gives its descriptors back. Nothing can be waited for until one is added. */
  close(): void {
    if (this.#epoll >= 0) this.#libc.close(this.#epoll);
    if (this.#eventfd >= 0 && !this.#lent) this.#libc.close(this.#eventfd);
    this.#epoll = -1;
    this.#eventfd = -1;
  }
}

const EVENTFD_FLAGS = c.EFD_CLOEXEC | c.EFD_NONBLOCK;

/** An eventfd for a poller of another thread; who makes it closes it when that thread has ended. */
export function makeInterrupter(): number {
  const fd = libc().eventfd(0, EVENTFD_FLAGS);
  if (fd < 0) throw portError(libc().errno(), 'no descriptor for an eventfd can be had');
  return fd;
}

let one: Slab | null = null;

/** Ends what waits at a poller, which may be another thread's, by its `interrupter`. */
export function interrupt(fd: number): void {
  if (fd < 0) return;
  if (one === null) {
    one = new Slab(128);
    one.view.setBigUint64(0, 1n, true);
  }
  libc().write(fd, one.address(0), 8);
}
