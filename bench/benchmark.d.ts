// The part of `benchmark` (which ships no types) that run.ts uses.
declare module 'benchmark' {
  export interface Options {
    /** Seconds of one sample at the least. */
    minTime?: number;
    /** Seconds of sampling at the most. */
    maxTime?: number;
    minSamples?: number;
  }
  export default class Benchmark {
    constructor(name: string, fn: () => void, options?: Options);
    readonly error?: Error;
    /** Seconds of one call, in the samples taken. */
    readonly stats: { readonly sample: readonly number[] };
    run(): this;
  }
}
