/** Whoever looks at packets that come by while somebody wants to see them. */
import type { Batch } from './batch.ts';

/** It must neither keep nor change the packets. */
export interface Watcher {
  /** What came in, before it goes on. */
  received(batch: Batch): void;
  /** What goes out, before it is decided whether it is sent. */
  sent(batch: Batch): void;
}

/** Nobody watches. */
export const NOBODY: readonly Watcher[] = [];
