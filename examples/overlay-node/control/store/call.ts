/** A question to a server of the store that waits for its answer, and not for ever. */
import { ControlError } from '../errors.ts';
import type { Asked, Method } from './protocol.ts';
import type { Entry } from './store.ts';

interface Settle {
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

export class Call {
  readonly question: { readonly method: Method; readonly asked: Asked<Method> };
  /** Its type is the method's. */
  readonly answer: Promise<unknown>;
  /** What came before the answer, of a list. */
  readonly entries: Entry[] = [];
  /** Called when there is an answer or none will come. */
  onSettled: () => void = () => {};
  #settle: Settle | null = null;
  readonly #timer: NodeJS.Timeout;

  /** Rejects with `AWAY` after `timeout` ms in which nothing came. `at` is HOST:PORT. */
  constructor(method: Method, asked: Asked<Method>, timeout: number, at: string) {
    this.question = { method, asked };
    this.answer = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#timer = setTimeout(() => {
      this.reject(new ControlError('AWAY', `${at} did not answer for ${timeout} ms`));
    }, timeout);
  }

  get settled(): boolean {
    return this.#settle === null;
  }

  /** A part of a list: the rest may take as long again. */
  add(part: readonly Entry[]): void {
    if (this.settled) return;
    for (const entry of part) this.entries.push(entry);
    this.#timer.refresh();
  }

  resolve(answer: unknown): void {
    this.#end()?.resolve(answer);
  }

  reject(error: Error): void {
    this.#end()?.reject(error);
  }

  #end(): Settle | null {
    const settle = this.#settle;
    if (settle === null) return null;
    this.#settle = null;
    clearTimeout(this.#timer);
    this.onSettled();
    return settle;
  }
}
