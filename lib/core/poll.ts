/**
 * Waiting for file descriptors, as the engine asks for it: what it is made of is a native port's
 * (lib/io/native/poller.ts), and without native ports there is none.
 */
export interface Poll {
  /** Calls `wake` whenever the descriptor can be read when somebody looks, until it is removed. */
  add(fd: number, wake: () => void): void;
  remove(fd: number): void;
  /** Looks which descriptors can be read, and waits up to `ms` milliseconds for the first, blocking this thread. */
  wait(ms: number): void;
  /** Waits without blocking, until a descriptor can be read or `cancel`, and calls `then` once, on the event loop. */
  arm(then: () => void): void;
  /** Ends what waits, in whatever thread. */
  interrupt(): void;
}
