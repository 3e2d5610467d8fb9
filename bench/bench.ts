/** What a file of benches exports: `export const benches: readonly Bench[]`. */

export interface Bench {
  /** `subject.what`, such as `fdb.lookup.1m`. */
  readonly name: string;
  /** Operations that one call makes: at least some hundred, so that calling costs nothing. */
  readonly ops: number;
  /**
   * Makes what is measured and returns the call. The sum of what calls return is kept, so that no work can
   * be left out. A number instead of a call is what another program measured: nanoseconds of one operation.
   * Rejects with a {@link Missing} where the bench cannot run on this machine.
   */
  prepare(): Call | Promise<Call>;
}

/** What is measured, or the nanoseconds that another program needs for the same. */
export type Call = (() => number) | number;

/** Says what a bench needs that this machine has not. */
export class Missing extends Error {}

/** What was measured. */
export interface Result {
  readonly name: string;
  /** Nanoseconds of one operation in the fastest sample: what else runs on the machine only adds to it. */
  readonly nsPerOp: number;
  readonly opsPerSecond: number;
  /** Bytes of heap that one operation uses. */
  readonly bytesPerOp: number;
}
