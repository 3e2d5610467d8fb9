/**
 * Shows what comes by to those who watch, and passes it on as it is. It is in the graph only while somebody does.
 *
 * Output: `out`.
 */
import type { Batch } from '../core/batch.ts';
import { type Context, Element } from '../core/element.ts';
import type { Watcher } from '../core/watcher.ts';

export interface WatchOptions {
  readonly watchers: readonly Watcher[];
  /** Which way packets go here. */
  readonly way: keyof Watcher;
  /** Called at every tick. */
  readonly beat?: (now: number) => void;
}

export class Watch extends Element {
  readonly #out = this.output('out');
  #options: WatchOptions;

  constructor(context: Context, name: string, options: WatchOptions) {
    super(context, name);
    this.#options = options;
  }

  override configure(options: WatchOptions): boolean {
    this.#options = options;
    return true;
  }

  override push(batch: Batch): void {
    const { watchers, way } = this.#options;
    for (const watcher of watchers) watcher[way](batch);
    this.#out.next.push(batch);
  }

  override tick(now: number): void {
    this.#options.beat?.(now);
  }
}
