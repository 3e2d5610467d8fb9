/** How many entries of a table each owner (a network, a port) has, and how many it may have. */

/** No bound: the table's own capacity is the only one. */
const UNLIMITED = 0x7ffffffe;

export class Quota {
  readonly #name: string;
  readonly #counts: Int32Array;
  /** The most for each owner, plus one; 0 where its default holds. Memory that is never touched costs none. */
  readonly #limits: Int32Array;

  /** `name` says in messages what an owner is; owners are 0..`owners` - 1. */
  constructor(name: string, owners: number) {
    this.#name = name;
    this.#counts = new Int32Array(owners);
    this.#limits = new Int32Array(owners);
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#counts.byteLength + this.#limits.byteLength;
  }

  count(owner: number): number {
    return this.#counts[owner];
  }

  /** Whether the owner may have one more; `most` holds where no limit of its own was given. Whoever is no
   * owner may have none. */
  admits(owner: number, most: number): boolean {
    const limit = this.#limits[owner];
    return this.#counts[owner] < (limit === 0 ? most : limit - 1);
  }

  add(owner: number): void {
    this.#counts[owner]++;
  }

  take(owner: number): void {
    this.#counts[owner]--;
  }

  /** Sets an owner's limit; Infinity lifts it. What is there already stays. */
  limit(owner: number, most: number): void {
    this.check(owner);
    const whole = Number.isInteger(most) && most >= 0;
    if (!whole && most !== Number.POSITIVE_INFINITY) {
      throw new RangeError(`"max" expected an integer of at least 0, got ${most}`);
    }
    this.#limits[owner] = Math.min(most, UNLIMITED) + 1;
  }

  /** Takes an owner's limit away: its default holds again. */
  reset(owner: number): void {
    this.check(owner);
    this.#limits[owner] = 0;
  }

  /** Throws a RangeError unless the owner is one. */
  check(owner: number): void {
    if (Number.isInteger(owner) && owner >= 0 && owner < this.#counts.length) return;
    throw new RangeError(`"${this.#name}" expected an integer 0..${this.#counts.length - 1}, got ${owner}`);
  }
}
