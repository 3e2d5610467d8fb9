/** A store behind a bad network: answers late, fails before or after a change is made, ends watches, or is gone. */
import type { Random } from 'packetweave';
import { ControlError } from '../../control/errors.ts';
import type { Condition, Lease, Operation, Store, Watch, Watcher } from '../../control/store/store.ts';

export class Flaky implements Store {
  readonly name: string;
  readonly #store: Store;
  readonly #random: Random;
  readonly #ends = new Set<() => void>();
  /** Probability that a call fails: in half of them after it has done what it was to do. */
  failing = 0;
  /** Whoever used it was killed: nothing is answered or told any more, though what was sent may arrive. */
  #dead = false;
  #tell = () => {};
  /** Resolves when it is killed. */
  readonly killed = new Promise<void>((resolve) => {
    this.#tell = resolve;
  });

  constructor(store: Store, random: Random) {
    this.#store = store;
    this.#random = random;
    this.name = store.name;
  }

  get(key: string) {
    return this.#call(() => this.#store.get(key));
  }
  list(prefix: string) {
    return this.#call(() => this.#store.list(prefix));
  }
  put(key: string, value: string, lease?: Lease) {
    return this.#call(() => this.#store.put(key, value, lease));
  }
  delete(key: string) {
    return this.#call(() => this.#store.delete(key));
  }
  compareAndSet(conditions: readonly Condition[], operations: readonly Operation[]) {
    return this.#call(() => this.#store.compareAndSet(conditions, operations));
  }
  async grant(ttl: number): Promise<Lease> {
    const lease = await this.#call(() => this.#store.grant(ttl));
    return {
      id: lease.id,
      ttl: lease.ttl,
      keepAlive: () => this.#call(() => lease.keepAlive()),
      revoke: () => this.#call(() => lease.revoke()),
    };
  }
  close() {
    return this.#store.close();
  }

  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    const watch = this.#store.watch(prefix, revision, {
      onEvents: (events, at) => {
        if (!this.#dead) watcher.onEvents(events, at);
      },
      onEnd: (why) => {
        if (!this.#dead) watcher.onEnd(why);
      },
    });
    const end = () => {
      watch.close();
      this.#ends.delete(end);
      watcher.onEnd('away');
    };
    this.#ends.add(end);
    return {
      close: () => {
        this.#ends.delete(end);
        watch.close();
      },
    };
  }

  /** Ends all watches, as when the connection is lost. */
  cut(): void {
    for (const end of [...this.#ends]) end();
  }

  kill(): void {
    this.#dead = true;
    this.#tell();
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    const random = this.#random;
    const never = new Promise<never>(() => {});
    await this.#late();
    if (this.#dead && random.chance(0.5)) return never;
    const fails = !this.#dead && random.chance(this.failing);
    if (fails && random.chance(0.5)) throw new ControlError('AWAY', 'the request was lost');
    const result = await work();
    await this.#late();
    if (this.#dead) return never;
    if (fails) throw new ControlError('AWAY', 'the answer was lost');
    return result;
  }

  async #late(): Promise<void> {
    for (let n = this.#random.below(4); n > 0; n--) await new Promise((resolve) => setImmediate(resolve));
  }
}
