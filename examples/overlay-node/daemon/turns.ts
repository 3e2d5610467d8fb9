/** Work that must not run twice at once: one after the other, and what is asked for meanwhile is done once. */

interface Waiting {
  readonly done: Promise<void>;
  resolve(): void;
  reject(error: unknown): void;
}

export class Turns {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | null = null;
  #waiting: Waiting | null = null;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Resolves, or rejects, with a run that began after this call. */
  run(): Promise<void> {
    if (this.#running === null) return this.#begin();
    this.#waiting ??= waiting();
    return this.#waiting.done;
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running.catch(() => {});
  }

  #begin(): Promise<void> {
    this.#running = this.#work().finally(() => {
      this.#running = null;
      const next = this.#waiting;
      this.#waiting = null;
      if (next !== null) this.#begin().then(next.resolve, next.reject);
    });
    return this.#running;
  }
}

function waiting(): Waiting {
  let resolve = (): void => {};
  let reject = (_error: unknown): void => {};
  const done = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { done, resolve, reject };
}
