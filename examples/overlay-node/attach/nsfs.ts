/** Whether something is a network namespace, without anything of the system's tools. */
import { statfsSync } from 'node:fs';

/** NSFS_MAGIC of linux/magic.h. */
const NSFS = 0x6e736673;

/** Whether there is a network namespace at a path, or where a link at it leads: a file may be left where one was
 * mounted. */
export function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS;
  } catch {
    return false;
  }
}
