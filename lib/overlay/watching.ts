/** The captures and traces that run in an overlay, and what the graph has to know of them. */
import type { Context } from '../core/context.ts';
import type { Watcher } from '../core/watcher.ts';
import type { Port } from '../io/port.ts';
import type { VtepTable } from '../tables/vtep.ts';
import { type CaptureParts, type CaptureRequest, OverlayCapture } from './capture.ts';
import type { Underlay, Watched } from './compile.ts';
import { type Describe, DropTrace, type DropTraceOptions, type OnDrops } from './drop-trace.ts';

export class Watching implements Watched {
  readonly #context: Context;
  readonly #espPeers: VtepTable;
  /** Called after somebody has begun or ended to watch. */
  readonly #onChange: () => void;
  readonly #captures = new Set<OverlayCapture>();
  readonly #traces = new Set<DropTrace>();
  /** Who saw what was dropped before. */
  #before: Context['onDrop'] = null;

  constructor(context: Context, espPeers: VtepTable, onChange: () => void) {
    this.#context = context;
    this.#espPeers = espPeers;
    this.#onChange = onChange;
  }

  /** Whether somebody watches. */
  get any(): boolean {
    return this.#captures.size > 0 || this.#traces.size > 0;
  }

  /** Begins a capture. */
  capture(request: CaptureRequest, parts: Omit<CaptureParts, 'clock' | 'onEnd'>): OverlayCapture {
    const { clock } = this.#context;
    const onEnd = (ended: OverlayCapture) => {
      if (this.#captures.delete(ended)) this.#onChange();
    };
    const capture = new OverlayCapture(request, { ...parts, clock, onEnd });
    this.#captures.add(capture);
    return capture;
  }

  /** Begins to tell what is dropped; how to stop. Throws a RangeError for a limit that is none. */
  trace(describe: Describe, onDrops: OnDrops, options?: DropTraceOptions): () => void {
    const trace = new DropTrace(this.#context.clock, describe, onDrops, options);
    if (this.#traces.size === 0) this.#lookAtDrops();
    this.#traces.add(trace);
    return () => {
      if (!this.#traces.delete(trace)) return;
      if (this.#traces.size === 0) this.#context.onDrop = this.#before;
      trace.tell();
      this.#onChange();
    };
  }

  #lookAtDrops(): void {
    const before = this.#context.onDrop;
    this.#before = before;
    this.#context.onDrop = (p, reason, where) => {
      before?.(p, reason, where);
      for (const trace of this.#traces) trace.see(p, reason, where);
    };
  }

  port(vni: number, port: Port): readonly Watcher[] {
    return this.#all((capture) => capture.port(vni, port));
  }

  underlay(name: Underlay, port: Port): readonly Watcher[] {
    return this.#all((capture) => capture.underlay(name, port));
  }

  opened(): readonly Watcher[] {
    return this.#all((capture) => capture.opened(this.#espPeers));
  }

  readonly beat = (now: number): void => {
    for (const capture of this.#captures) capture.tick(now);
    for (const trace of this.#traces) trace.tick(now);
  };

  /** Ends all captures and traces: the overlay has stopped. */
  close(): void {
    const captures = [...this.#captures];
    this.#captures.clear();
    for (const capture of captures) capture.end('closed');
    for (const trace of this.#traces) trace.tell();
    if (this.#traces.size > 0) this.#context.onDrop = this.#before;
    this.#traces.clear();
  }

  #all(of: (capture: OverlayCapture) => readonly Watcher[]): readonly Watcher[] {
    return [...this.#captures].flatMap(of);
  }
}
