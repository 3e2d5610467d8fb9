/** Where events that people should see go. Never called per packet. pino and console both fit. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** Says nothing. */
export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Bounds the lines that anybody on the network can cause: one of each kind in an interval. */
export class Seldom {
  readonly #said: Float64Array;
  readonly #interval: number;

  /** Kinds are numbers from 0; `interval` in ms. */
  constructor(kinds = 1, interval = 1000) {
    this.#interval = interval;
    this.#said = new Float64Array(kinds).fill(Number.NEGATIVE_INFINITY);
  }

  /** Whether a line may be said, at a time in ms. It counts as said then. */
  due(kind: number, now: number): boolean {
    if (now - this.#said[kind] < this.#interval) return false;
    this.#said[kind] = now;
    return true;
  }
}
