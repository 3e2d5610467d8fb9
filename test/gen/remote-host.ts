/** The test's side of test/interop/overlay-host.ts: an overlay host in a network namespace, as an object. */
import type { ChildProcess } from 'node:child_process';
import type { NetworkSpec, Requests } from '../interop/overlay-host.ts';
import type { Namespaces } from './netns.ts';

export class RemoteHost {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  #next = 0;

  constructor(namespaces: Namespaces, name: string) {
    this.#child = namespaces.start(name, new URL('../interop/overlay-host.ts', import.meta.url));
    this.#child.on('message', ({ id, result, error }: { id: number; result?: never; error?: string }) => {
      const { resolve, reject } = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (error === undefined) resolve(result as never);
      else reject(new Error(error));
    });
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the host ended with code ${code}`));
      this.#waiting.clear();
    });
  }

  #ask<T>(name: keyof Requests, ...args: unknown[]): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, name, args });
    });
  }

  start(local: string, networks: readonly NetworkSpec[]): Promise<number> {
    return this.#ask('start', local, networks);
  }

  ping(from: string, to: string, size = 56): Promise<number | null> {
    return this.#ask('ping', from, to, size);
  }

  apply(networks: readonly NetworkSpec[]): Promise<void> {
    return this.#ask('apply', networks);
  }

  fdb(): Promise<string[]> {
    return this.#ask('fdb');
  }

  drops(): Promise<Record<string, number>> {
    return this.#ask('drops');
  }

  /** Stops the overlay and ends the process. */
  stop(): Promise<{ used: number }> {
    return this.#ask('stop');
  }
}
