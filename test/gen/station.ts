/** The test's side of test/interop/station-process.ts: a user of the network in a namespace, as an object. */
import type { ChildProcess } from 'node:child_process';
import type { Download, Requests } from '../interop/station-process.ts';
import type { Namespaces } from './netns.ts';

export class Station {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  #next = 0;

  /** Starts the process in a namespace, with which it ends. */
  constructor(namespaces: Namespaces, name: string) {
    this.#child = namespaces.start(name, new URL('../interop/station-process.ts', import.meta.url));
    this.#child.on('message', ({ id, result, error }: { id: number; result?: never; error?: string }) => {
      const { resolve, reject } = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (error === undefined) resolve(result as never);
      else reject(new Error(error));
    });
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`it ended with code ${code}`));
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

  serve(port: number): Promise<void> {
    return this.#ask('serve', port);
  }

  /** Fetches bytes from a station that serves at an address. */
  download(address: string, port: number, bytes: number): Promise<Download> {
    return this.#ask('download', address.includes(':') ? `[${address}]` : address, port, bytes);
  }

  /** Lengths of datagrams that did not come back from a station that serves. */
  echo(address: string, port: number, lengths: readonly number[]): Promise<number[]> {
    return this.#ask('echo', address, port, lengths);
  }

  /** How many of `count` datagrams that leave in one piece come back from a station that serves. */
  echoTrain(address: string, port: number, length: number, count: number): Promise<number> {
    return this.#ask('echoTrain', address, port, length, count);
  }
}
