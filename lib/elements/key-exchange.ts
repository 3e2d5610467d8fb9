/**
 * Where keys meet packets: tells the keys of encrypted networks the time, and takes what shares the ESP port
 * with ESP (RFC 3948 section 2.2).
 */
import type { Batch } from '../core/batch.ts';
import type { Context } from '../core/context.ts';
import { NOT_FOR_US } from '../core/drop.ts';
import { Element } from '../core/element.ts';

export interface KeyExchangeOptions {
  readonly keys: { tick(now: number): void };
}

export class KeyExchange extends Element {
  readonly #keys: { tick(now: number): void };

  constructor(context: Context, name: string, { keys }: KeyExchangeOptions) {
    super(context, name);
    this.#keys = keys;
    this.output('out');
  }

  override push(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.drop(batch.packets[i], NOT_FOR_US);
    batch.clear();
  }

  override tick(now: number): void {
    this.#keys.tick(now);
  }
}
