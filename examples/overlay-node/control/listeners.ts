/** Who is told of changes: at most once a turn of the event loop, however many there were. */
export class Listeners {
  readonly #all = new Set<() => void>();
  #due: NodeJS.Immediate | null = null;

  /** Calls back from now on; how to stop. */
  add(listener: () => void): () => void {
    const own = () => listener();
    this.#all.add(own);
    return () => void this.#all.delete(own);
  }

  /** Something has changed. */
  touch(): void {
    this.#due ??= setImmediate(() => {
      this.#due = null;
      for (const listener of [...this.#all]) listener();
    });
  }

  close(): void {
    this.#all.clear();
    if (this.#due !== null) clearImmediate(this.#due);
    this.#due = null;
  }
}
