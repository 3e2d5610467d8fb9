/** Things that outlive the daemon, one file each in a folder of the state, and all of them in memory. */
import type { StateFolder } from '../daemon/state.ts';

export interface Kept {
  readonly id: string;
}

export class Shelf<T extends Kept> {
  readonly #state: StateFolder;
  readonly #folder: string;
  readonly #things = new Map<string, T>();

  /** Reads what there is. What cannot be read is told, and left where it is. */
  static async open<T extends Kept>(
    state: StateFolder,
    folder: string,
    warn: (message: string) => void,
  ): Promise<Shelf<T>> {
    const shelf = new Shelf<T>(state, folder);
    for (const name of await state.names(folder)) {
      try {
        const thing = await state.read<T>(`${folder}/${name}`);
        if (thing?.id === name) shelf.#things.set(name, thing);
      } catch (error) {
        warn((error as Error).message);
      }
    }
    return shelf;
  }

  private constructor(state: StateFolder, folder: string) {
    this.#state = state;
    this.#folder = folder;
  }

  all(): T[] {
    return [...this.#things.values()];
  }

  get(id: string): T | undefined {
    return this.#things.get(id);
  }

  async put(thing: T): Promise<void> {
    this.#things.set(thing.id, thing);
    await this.#state.write(`${this.#folder}/${thing.id}`, thing);
  }

  async remove(id: string): Promise<void> {
    this.#things.delete(id);
    await this.#state.remove(`${this.#folder}/${id}`);
  }
}
