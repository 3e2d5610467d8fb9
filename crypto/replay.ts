/**
 * The anti-replay window, RFC 4303 section 3.4.3 and appendix A2.
 *
 * The window is the `size` numbers up to and including the highest that was verified, T = (Th, Tl). Only the
 * low half of an extended number travels, so the receiver infers the high half (A2.2):
 *
 *     case A, Tl >= W - 1: the window lies within one high half.     case B: it straddles two.
 *
 *          0    Bl         Tl      2^32                        0     Tl           Bl    2^32
 *          |-----[=========]--------|                          |=====]-------------[====|
 *          Th+1     Th        Th                                 Th       Th        Th-1
 *
 * A number below the window is therefore taken for one of the next high half; the ICV, which covers the
 * high half, then refuses it. `check` comes before the ICV is verified and changes nothing; `mark` comes
 * after, and looks again.
 *
 * The bits lie in a ring of 32-bit words. The ring is a word longer than the window, so that advancing
 * clears whole words, and the window itself is exact to the number, unlike that of RFC 6479, whose sample
 * accepts one number too many, refuses good ones next to 2^32, and the low half 0.
 */
import { OK, REPLAYED, type Result, TOO_OLD } from './result.ts';

export const MIN_WINDOW = 64;
export const MAX_WINDOW = 16384;
export const DEFAULT_WINDOW = 2048;

/** Refuses a size other than {@link MIN_WINDOW}..{@link MAX_WINDOW} with a RangeError. */
export function checkWindow(size: number): void {
  if (Number.isInteger(size) && size >= MIN_WINDOW && size <= MAX_WINDOW) return;
  throw new RangeError(`"window" expected an integer ${MIN_WINDOW}..${MAX_WINDOW}, got ${size}`);
}

export class ReplayWindow {
  /** Numbers in the window. */
  readonly size: number;
  /** Whether numbers have 64 bits, of which 32 travel. */
  readonly esn: boolean;
  readonly #bits: Int32Array;
  readonly #mask: number;
  /** Th, Tl, and the high half that the last `check` inferred. */
  readonly #state = new Uint32Array(3);

  /** Throws a RangeError for a size other than {@link MIN_WINDOW}..{@link MAX_WINDOW}. */
  constructor(size = DEFAULT_WINDOW, esn = true) {
    checkWindow(size);
    this.size = size;
    this.esn = esn;
    const words = 2 ** Math.ceil(Math.log2(Math.ceil(size / 32) + 1));
    this.#bits = new Int32Array(words);
    this.#mask = words - 1;
    this.#bits[0] = 1; // the number 0, in 64 bits, is never sent (RFC 4303 section 3.3.3)
  }

  /** High half of the highest number verified. */
  get topHi(): number {
    return this.#state[0];
  }

  /** Low half of the highest number verified. */
  get topLo(): number {
    return this.#state[1];
  }

  /** The high half that belongs to the number last given to {@link check}. */
  get hi(): number {
    return this.#state[2];
  }

  /** Whether a number may be new: OK, REPLAYED or TOO_OLD. Leaves its high half in {@link hi}. */
  check(lo: number): Result {
    const s = this.#state;
    s[2] = s[0];
    if (!this.esn && lo > s[1]) return OK;
    if ((s[1] - lo) >>> 0 < this.size) {
      if (lo > s[1]) {
        if (s[0] === 0) return TOO_OLD; // case B, and there is no high half before the first
        s[2] = s[0] - 1;
      }
      return this.#seen(lo) ? REPLAYED : OK;
    }
    if (lo > s[1]) return OK;
    if (!this.esn || s[0] === 0xffffffff) return TOO_OLD;
    s[2] = s[0] + 1;
    return OK;
  }

  /**
   * Notes a number that {@link check} let pass and whose packet was then verified. REPLAYED or TOO_OLD where
   * what was marked in between has made it so: of a batch that holds one number twice the first passes.
   */
  mark(hi: number, lo: number): Result {
    const s = this.#state;
    const behind = (s[0] - hi) * 2 ** 32 + s[1] - lo;
    if (behind >= this.size) return TOO_OLD;
    if (behind < 0) this.#advance(hi, lo);
    else if (this.#seen(lo)) return REPLAYED;
    this.#bits[(lo >>> 5) & this.#mask] |= 1 << (lo & 31);
    return OK;
  }

  #seen(lo: number): boolean {
    return (this.#bits[(lo >>> 5) & this.#mask] & (1 << (lo & 31))) !== 0;
  }

  /** Moves the top, and clears the words that it passes over. */
  #advance(hi: number, lo: number): void {
    const s = this.#state;
    const bits = this.#bits;
    const from = s[1] >>> 5;
    const words = Math.min((hi - s[0]) * 2 ** 27 + (lo >>> 5) - from, bits.length);
    for (let i = 1; i <= words; i++) bits[(from + i) & this.#mask] = 0;
    s[0] = hi;
    s[1] = lo;
  }
}
