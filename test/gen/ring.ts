import { KeyRing } from '../../crypto/keyring.ts';

/** A ring that is ticked all the time, as an engine does, and not only when a test looks at it. */
export class SteadyRing extends KeyRing {
  #now = 0;

  override tick(now: number): void {
    for (; this.#now + 50 < now; this.#now += 50) super.tick(this.#now);
    this.jump(now);
  }

  /** One tick after the clock has jumped. */
  jump(now: number): void {
    this.#now = now;
    super.tick(now);
  }
}
