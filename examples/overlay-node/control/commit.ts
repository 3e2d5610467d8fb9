/** A transaction of which it is known afterwards whether it was made. */
import type { ControlError } from './errors.ts';
import type { Condition, Operation, Store } from './store/store.ts';

const TRIES = 3;

/**
 * Does all operations if all conditions hold; whether they are done. Where the answer was lost the change may have been
 * made all the same: it is repeated, and if its conditions hold no longer `made` tells from the store whether that was
 * our own doing. Rejects with `AWAY` where it stays unknown.
 */
export async function commit(
  store: Store,
  conditions: readonly Condition[],
  operations: readonly Operation[],
  made: () => Promise<boolean>,
): Promise<boolean> {
  let doubt = false;
  for (let left = TRIES; ; ) {
    try {
      const { done } = await store.compareAndSet(conditions, operations);
      return done || (doubt && (await made()));
    } catch (error) {
      if ((error as ControlError).code !== 'AWAY' || --left === 0) throw error;
      doubt = true;
    }
  }
}
