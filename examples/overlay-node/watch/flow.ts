/**
 * What is pushed by one side and read by the other, as a stream: the reader may be slow, and may go away. Who reads it to
 * its end has everything that was written before `end`.
 */
import { PassThrough } from 'node:stream';

export class Flow {
  readonly #stream = new PassThrough({ writableObjectMode: false, readableHighWaterMark: 1 << 16 });
  #ended = false;

  /** `onGone` is called once, when there will be no reader any more: it went away, or has read everything. */
  constructor(onGone: () => void) {
    this.#stream.once('close', onGone);
    // A reader that goes away is no failure of the writer's.
    this.#stream.on('error', () => {});
  }

  /** Whether what is written waits, because the reader is slow. */
  get behind(): boolean {
    return this.#stream.writableNeedDrain;
  }

  /** Resolves when there is room for more, or nobody reads any more. */
  write(part: string | Uint8Array): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => this.#stream.write(part, () => resolve()));
  }

  end(): void {
    this.#ended = true;
    this.#stream.end();
  }

  /** For the reader. */
  get parts(): AsyncIterable<Uint8Array> {
    return this.#stream;
  }
}
