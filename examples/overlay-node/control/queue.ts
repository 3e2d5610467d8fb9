/** Work that must not run at the same time: one after another, whatever became of the one before. */

export class Queue {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs work when all that came before has ended; its outcome. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Resolves when all that has come by now has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }
}

/** A queue for each of many keys, kept as long as something is in it. */
export class Queues {
  readonly #queues = new Map<string, { readonly queue: Queue; waiting: number }>();

  /** Whether something with this key runs or waits. */
  has(key: string): boolean {
    return this.#queues.has(key);
  }

  /** Runs work when all with the same key that came before has ended; its outcome. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#queues.get(key) ?? { queue: new Queue(), waiting: 0 };
    this.#queues.set(key, entry);
    entry.waiting++;
    return entry.queue.run(async () => {
      try {
        return await work();
      } finally {
        if (--entry.waiting === 0) this.#queues.delete(key);
      }
    });
  }

  /** Resolves when all that has come by now has ended. */
  async idle(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(({ queue }) => queue.idle()));
  }
}
