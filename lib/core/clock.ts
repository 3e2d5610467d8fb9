/**
 * Time is an argument. Elements read `clock.now`; the engine refreshes it once a breath, so all packets of
 * a batch have one time and nobody asks the operating system per packet.
 */

export interface Clock {
  /** Milliseconds since an arbitrary start, never decreasing. */
  readonly now: number;
  /** What to add to `now` to get milliseconds since 1970, for time stamps in captures. */
  readonly origin: number;
  /** Refreshes `now`. */
  update(): void;
}

/** The machine's monotonic clock. */
export class RealClock implements Clock {
  readonly origin = performance.timeOrigin;
  now = performance.now();

  update(): void {
    this.now = performance.now();
  }
}

/** A clock that stands still until it is told otherwise: for tests and simulated networks. */
export class VirtualClock implements Clock {
  readonly origin: number;
  now = 0;

  /** `origin` is what the clock takes for 1970-based time at 0, in ms. */
  constructor(origin = 0) {
    this.origin = origin;
  }

  update(): void {}

  /** Moves on by `ms` milliseconds, 0 or more. */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`"ms" expected a number of at least 0, got ${ms}`);
    this.now += ms;
  }
}
