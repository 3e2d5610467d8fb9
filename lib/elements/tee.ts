/**
 * A tee: every packet goes on as it is, and a copy of it goes another way. Where no packet is free to copy
 * into, there is no copy; that is counted, and the original goes on.
 *
 * Outputs: `out`, `copy`.
 */
import type { Batch } from '../core/batch.ts';
import { POOL_DRY } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';

export class Tee extends Element {
  readonly #out = this.output('out');
  readonly #copy = this.output('copy');

  /** It has no options. */
  constructor(context: Context, name: string, _options: object = {}) {
    super(context, name);
  }

  override push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      // From the packet's own pool, whose slots are large enough for it.
      const copy = p.pool.clone(p);
      if (copy === null) this.lost(POOL_DRY);
      else this.#copy.add(copy);
    }
    this.#copy.flush();
    this.#out.next.push(batch);
  }
}
