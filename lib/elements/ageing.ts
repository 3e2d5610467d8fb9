/** Tells a forwarding table the time: forgets a bounded part of what is too old at each tick. Takes no packets. */
import type { Batch } from '../core/batch.ts';
import type { Context } from '../core/context.ts';
import { NOT_CONNECTED } from '../core/drop.ts';
import { Element } from '../core/element.ts';
import type { Fdb } from '../tables/fdb.ts';

export interface AgeingOptions {
  readonly fdb: Fdb;
}

/** Slots looked at in a tick: a table of 65,536 is walked in about two seconds. */
const BUDGET = 512;

const EXPIRED = 0;

export class Ageing extends Element {
  readonly #fdb: Fdb;

  constructor(context: Context, name: string, { fdb }: AgeingOptions) {
    super(context, name, ['expired']);
    this.#fdb = fdb;
  }

  push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.drop(batch.packets[i], NOT_CONNECTED);
    batch.clear();
  }

  override tick(now: number): void {
    this.count(EXPIRED, this.#fdb.age(now, BUDGET));
  }
}
