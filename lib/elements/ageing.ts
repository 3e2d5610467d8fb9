/** Tells tables the time: forgets a bounded part of what is too old at each tick. Takes no packets. */
import type { Batch } from '../core/batch.ts';
import type { Context } from '../core/context.ts';
import { NOT_CONNECTED } from '../core/drop.ts';
import { Element } from '../core/element.ts';
import type { Fdb } from '../tables/fdb.ts';
import type { FlowTable } from '../tables/flow.ts';

export interface AgeingOptions {
  readonly fdb: Fdb;
  /** Default: none. */
  readonly flows?: FlowTable;
}

/** Slots looked at in a tick: a table of 65,536 is walked in about two seconds. */
const BUDGET = 512;

const EXPIRED = 0;
const EXPIRED_FLOWS = 1;
/** Flows that made room for others before their time. */
const DISPLACED_FLOWS = 2;

export class Ageing extends Element {
  readonly #fdb: Fdb;
  readonly #flows: FlowTable | null;
  /** What was counted already. */
  #displaced = 0;

  constructor(context: Context, name: string, { fdb, flows }: AgeingOptions) {
    super(context, name, ['expired', 'expired-flows', 'displaced-flows']);
    this.#fdb = fdb;
    this.#flows = flows ?? null;
    this.#displaced = flows?.displaced ?? 0;
  }

  push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.drop(batch.packets[i], NOT_CONNECTED);
    batch.clear();
  }

  override tick(now: number): void {
    this.count(EXPIRED, this.#fdb.age(now, BUDGET));
    if (this.#flows !== null) this.#ageFlows(this.#flows, now);
  }

  #ageFlows(flows: FlowTable, now: number): void {
    this.count(EXPIRED_FLOWS, flows.age(now, BUDGET));
    this.count(DISPLACED_FLOWS, flows.displaced - this.#displaced);
    this.#displaced = flows.displaced;
  }
}
