/** Keys in byte order, in rows of bounded length: an insertion among half a million moves a few hundred. */
import { compareKeys } from './keys.ts';

/** Keys of a row at which it is cut in two. */
const LONGEST = 1024;

export class SortedKeys {
  /** Each in order, none empty, all of one before all of the next. */
  readonly #rows: string[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a key that is not there. */
  add(key: string): void {
    this.#size++;
    const at = Math.max(0, this.#rowOf(key));
    const row = this.#rows[at];
    if (row === undefined) {
      this.#rows.push([key]);
      return;
    }
    row.splice(placeOf(row, key), 0, key);
    if (row.length >= LONGEST) this.#rows.splice(at + 1, 0, row.splice(LONGEST / 2));
  }

  /** Removes a key that is there. */
  remove(key: string): void {
    this.#size--;
    const at = this.#rowOf(key);
    const row = this.#rows[at]!;
    row.splice(placeOf(row, key), 1);
    if (row.length === 0) this.#rows.splice(at, 1);
  }

  /** Those that begin with `prefix`, in order. */
  startingWith(prefix: string): string[] {
    const found: string[] = [];
    let at = Math.max(0, this.#rowOf(prefix));
    let i = at < this.#rows.length ? placeOf(this.#rows[at]!, prefix) : 0;
    for (; at < this.#rows.length; at++, i = 0) {
      const row = this.#rows[at]!;
      for (; i < row.length; i++) {
        const key = row[i]!;
        if (!key.startsWith(prefix)) return found;
        found.push(key);
      }
    }
    return found;
  }

  /** Index of the last row whose first key is not behind `key`; -1 where all are. */
  #rowOf(key: string): number {
    let low = 0;
    let high = this.#rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#rows[middle]![0]!, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Index of the first key of a row that is not before this one. */
function placeOf(row: readonly string[], key: string): number {
  let low = 0;
  let high = row.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(row[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
