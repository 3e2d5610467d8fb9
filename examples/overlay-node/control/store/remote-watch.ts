/** A watch over a connection. */
import type { Event, Watch, WatchEnd, Watcher } from './store.ts';

export class RemoteWatch implements Watch {
  readonly #watcher: Watcher;
  /** Tells the server, where it has heard of it. */
  #unwatch: () => void = () => {};
  #open = true;

  constructor(watcher: Watcher) {
    this.#watcher = watcher;
  }

  get open(): boolean {
    return this.#open;
  }

  set onClose(unwatch: () => void) {
    this.#unwatch = unwatch;
  }

  tell(events: readonly Event[], revision: number): void {
    if (this.#open) this.#watcher.onEvents(events, revision);
  }

  end(why: WatchEnd): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watcher.onEnd(why);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unwatch();
  }
}
