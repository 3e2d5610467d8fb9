/** `GET /v1/trace`: a line of JSON for each packet that is dropped. */
import type { DropSeen } from 'packetweave';
import type { TraceLine } from '../api/api.ts';
import type { Dataplane } from '../daemon/dataplane.ts';
import { Flow } from './flow.ts';
import { elementName, portNames, type Views } from './names.ts';
import { countOf } from './query.ts';

export interface TraceParts {
  readonly dataplane: Pick<Dataplane, 'trace'>;
  /** As of now. */
  readonly views: () => Views;
  /** Id of this node. */
  readonly node: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Begins to tell what is dropped, each a TraceLine; `count` ends it after as many, `limit` is how many are told in a
 * second. What is left out, by the limit or because the reader is slow, is told as a number. It ends with `signal`, or
 * when nobody reads any more. Rejects with `INVALID`.
 */
export async function trace(
  parts: TraceParts,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<AsyncIterable<string>> {
  const tracer = new Tracer(parts, countOf(query));
  const limit = countOf(query, 'limit');
  const running = await parts.dataplane.trace(
    (drops, leftOut) => tracer.see(drops, leftOut),
    limit === null ? {} : { limit },
  );
  const end = AbortSignal.any([signal, tracer.over]);
  const stop = () => void running.stop().then(() => tracer.end());
  if (end.aborted) stop();
  else end.addEventListener('abort', stop, { once: true });
  return tracer.lines();
}

class Tracer {
  readonly #parts: TraceParts;
  readonly #over = new AbortController();
  readonly #flow = new Flow(() => this.#over.abort());
  /** Lines that may still be told. */
  #left: number;
  #leftOut = 0;

  constructor(parts: TraceParts, count: number | null) {
    this.#parts = parts;
    this.#left = count ?? Number.POSITIVE_INFINITY;
  }

  /** Aborted when there is nothing left to tell, or nobody to tell it to. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  see(drops: readonly DropSeen[], leftOut: number): void {
    const { views, node } = this.#parts;
    const known = views();
    const names = portNames(known, node);
    this.#leftOut += leftOut;
    for (const drop of drops) {
      if (this.#left === 0) break;
      if (this.#flow.behind) this.#leftOut++;
      else {
        this.#left--;
        this.#tell({ ...drop, where: elementName(known, names, drop.where) });
      }
    }
    if (this.#left === 0) this.#over.abort();
    else if (this.#leftOut > 0 && !this.#flow.behind) this.#tellLeftOut();
  }

  end(): void {
    this.#flow.end();
  }

  /** In parts that need not end with a line. */
  async *lines(): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    // An empty line, so that who asked hears at once that it has begun.
    yield '\n';
    for await (const part of this.#flow.parts) yield decoder.decode(part, { stream: true });
  }

  #tell(line: TraceLine): void {
    void this.#flow.write(`${JSON.stringify(line)}\n`);
  }

  #tellLeftOut(): void {
    const text = `${this.#leftOut} more were dropped than could be told`;
    this.#leftOut = 0;
    this.#tell({ at: this.#parts.now(), where: 'trace', reason: 'left-out', text, frame: '-' });
  }
}
