/**
 * Waiting for file descriptors, as the engine asks for it: what it is made of is a native port's
 * (lib/io/native/poller.ts), and without native ports there is none.
 */
export interface Poll {
  /** Whether `wait` would wait: not without descriptors. */
  readonly active: boolean;
  /** Calls `wake` whenever somebody waits and the descriptor can be read, until it is removed. */
  add(fd: number, wake: () => void): void;
  remove(fd: number): void;
  /**
   * Wakes those whose descriptors can be read; where there are none, waits up to `ms` milliseconds for the first,
   * blocking this thread. True where it was interrupted.
   */
  wait(ms: number): boolean;
  /** Lets other threads that are ready to run have this processor first. */
  giveWay(): void;
  /** Begins to wait without blocking: the descriptors' `wake` are called on the event loop, once. */
  arm(): void;
  /** Ends what waits, now or the next time. */
  interrupt(): void;
}
