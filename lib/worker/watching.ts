/** Captures and traces across threads: the overlay's are in the worker, who reads them is on the main thread. */
import type { CaptureCounts, CaptureRequest, OnBytes, RunningCapture } from '../overlay/capture.ts';
import type { OnDrops, RunningTrace } from '../overlay/drop-trace.ts';
import type { FromThread, ToThread } from './messages.ts';

/** What `WatchTeller` needs of an overlay. */
export interface Watchable {
  capture(request: CaptureRequest, onBytes: OnBytes): Promise<RunningCapture>;
  trace(onDrops: OnDrops, options?: { readonly limit?: number }): Promise<RunningTrace>;
}

/** The worker's side. */
export class WatchTeller {
  readonly #post: (message: FromThread, transfer?: readonly ArrayBuffer[]) => void;
  readonly #captures = new Map<number, RunningCapture>();
  /** What each capture waits for, the oldest first. */
  readonly #untaken = new Map<number, (() => void)[]>();
  readonly #traces = new Map<number, RunningTrace>();

  constructor(post: (message: FromThread, transfer?: readonly ArrayBuffer[]) => void) {
    this.#post = post;
  }

  async capture(overlay: Pick<Watchable, 'capture'>, id: number, request: CaptureRequest): Promise<void> {
    const untaken: (() => void)[] = [];
    this.#untaken.set(id, untaken);
    try {
      const running = await overlay.capture(request, (bytes) => {
        this.#post({ type: 'captured', id, bytes }, [bytes.buffer as ArrayBuffer]);
        return new Promise((resolve) => {
          untaken.push(resolve);
        });
      });
      this.#captures.set(id, running);
      void running.ended.then((counts) => {
        this.#forget(id);
        this.#post({ type: 'capture-ended', id, counts });
      });
    } catch (error) {
      this.#forget(id);
      throw error;
    }
  }

  async trace(overlay: Pick<Watchable, 'trace'>, id: number, limit?: number): Promise<void> {
    const tell: OnDrops = (drops, leftOut) => this.#post({ type: 'drops', id, drops, leftOut });
    this.#traces.set(id, await overlay.trace(tell, limit === undefined ? {} : { limit }));
  }

  /** Ends a capture or trace. */
  async end(id: number): Promise<void> {
    await this.#captures.get(id)?.stop();
    await this.#traces.get(id)?.stop();
    this.#traces.delete(id);
  }

  /** Takes what the main thread says. */
  take(message: ToThread): void {
    if (message.type === 'taken') this.#untaken.get(message.id)?.shift()?.();
  }

  #forget(id: number): void {
    this.#captures.delete(id);
    this.#untaken.delete(id);
  }
}

interface Reader {
  readonly onBytes: OnBytes;
  readonly end: (counts: CaptureCounts) => void;
  /** What the reader threw. */
  error: Error | null;
}

/** The main thread's side. */
export class WatchReader {
  readonly #post: (message: ToThread) => void;
  readonly #ask: (name: 'capture' | 'trace' | 'unwatch', ...args: unknown[]) => Promise<void>;
  readonly #readers = new Map<number, Reader>();
  readonly #traces = new Map<number, OnDrops>();
  #next = 0;

  constructor(
    post: (message: ToThread) => void,
    ask: (name: 'capture' | 'trace' | 'unwatch', ...args: unknown[]) => Promise<void>,
  ) {
    this.#post = post;
    this.#ask = ask;
  }

  async capture(request: CaptureRequest, onBytes: OnBytes): Promise<RunningCapture> {
    const id = this.#next++;
    const ended = new Promise<CaptureCounts>((end) => {
      this.#readers.set(id, { onBytes, end, error: null });
    });
    try {
      await this.#ask('capture', id, request);
    } catch (error) {
      this.#readers.delete(id);
      throw error;
    }
    const stop = async () => {
      // Where the thread is gone it has ended already.
      await this.#ask('unwatch', id).catch(() => {});
      return ended;
    };
    return { ended, stop };
  }

  async trace(onDrops: OnDrops, limit?: number): Promise<RunningTrace> {
    const id = this.#next++;
    this.#traces.set(id, onDrops);
    try {
      await this.#ask('trace', id, limit);
    } catch (error) {
      this.#traces.delete(id);
      throw error;
    }
    const stop = async () => {
      await this.#ask('unwatch', id).catch(() => {});
      this.#traces.delete(id);
    };
    return { stop };
  }

  /** Takes what the worker says. */
  take(message: FromThread): void {
    if (message.type === 'captured') void this.#read(message.id, message.bytes);
    if (message.type === 'drops') this.#traces.get(message.id)?.(message.drops, message.leftOut);
    if (message.type === 'capture-ended') this.#end(message.id, message.counts);
  }

  async #read(id: number, bytes: Uint8Array): Promise<void> {
    const reader = this.#readers.get(id);
    try {
      if (reader?.error === null) await reader.onBytes(bytes);
    } catch (error) {
      reader!.error = error as Error;
      void this.#ask('unwatch', id).catch(() => {});
    }
    this.#post({ type: 'taken', id });
  }

  #end(id: number, counts: CaptureCounts): void {
    const reader = this.#readers.get(id);
    this.#readers.delete(id);
    const error = reader?.error ?? null;
    reader?.end(error === null ? counts : { ...counts, why: 'failed', error: error.message });
  }

  /** The thread is gone. */
  close(): void {
    const counts = { why: 'closed', error: null, packets: 0, bytes: 0, dropped: 0 } as const;
    for (const id of [...this.#readers.keys()]) this.#end(id, counts);
    this.#traces.clear();
  }
}
