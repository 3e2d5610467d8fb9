/**
 * The engine drives a graph, one breath after the other, in the manner of Snabb: inhale a batch from every
 * port that has something, push it through, exhale what elements queued, tell the time to whoever asked,
 * and sleep when nothing moved.
 *
 * `step` is one breath and knows nothing of event loops; `start` runs breaths on the event loop of this
 * thread; `simulate` runs several engines on one virtual clock.
 */
import type { VirtualClock } from './clock.ts';
import type { Context } from './context.ts';
import { Graph, type GraphConfig } from './graph.ts';

/** Milliseconds between two ticks. */
const TICK = 10;
/** Breaths before the event loop gets its turn. */
const BREATHS = 16;
/** Breaths under load for which the time is asked once: asking allocates a number. */
const BREATHS_PER_TIME = 4;

export class Engine {
  readonly context: Context;
  readonly graph: Graph;
  #ticked = Number.NEGATIVE_INFINITY;
  /** Breaths since the time was asked; the time is old after an idle one. */
  #breaths = BREATHS_PER_TIME;
  #state: 'stopped' | 'idle' | 'busy' = 'stopped';
  #timer: NodeJS.Timeout | null = null;
  #immediate: NodeJS.Immediate | null = null;

  constructor(context: Context) {
    this.context = context;
    this.graph = new Graph(context);
    this.graph.onWake = () => {
      if (this.#state === 'idle') this.#soon();
    };
  }

  /** Changes the graph; see {@link Graph.apply}. */
  apply(config: GraphConfig): Promise<void> {
    return this.graph.apply(config);
  }

  /** One breath. Returns how many packets were received and emitted: 0 when there is nothing to do. */
  step(): number {
    const { clock } = this.context;
    if (++this.#breaths >= BREATHS_PER_TIME) {
      this.#breaths = 0;
      clock.update();
    }
    let moved = this.#inhale();
    for (const element of this.graph.exhaling) moved += element.exhale!();
    if (moved === 0) this.#breaths = BREATHS_PER_TIME;
    if (clock.now - this.#ticked >= TICK) {
      this.#ticked = clock.now;
      for (const x of this.graph.ticking) x.tick!(clock.now);
    }
    return moved;
  }

  /** A port stays in the list until it has nothing; it wakes us when that changes. */
  #inhale(): number {
    const { ready } = this.graph;
    let moved = 0;
    let kept = 0;
    const count = ready.length;
    for (let i = 0; i < count; i++) {
      const port = ready[i];
      const n = port.inhale();
      if (n === 0) port.ready = false;
      else ready[kept++] = port;
      moved += n;
    }
    if (kept === count) return moved;
    // Ports that woke meanwhile stand behind `count` and move up. `splice` would make an array each time.
    for (let i = count; i < ready.length; i++) ready[kept++] = ready[i];
    while (ready.length > kept) ready.pop();
    return moved;
  }

  /** Runs on the event loop of this thread until `stop`. */
  start(): void {
    if (this.#state === 'stopped') this.#soon();
  }

  /** Stops running. The graph stays; what waits in ports and queues waits on. */
  stop(): void {
    this.#state = 'stopped';
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#timer = null;
    this.#immediate = null;
  }

  /** Stops, and closes every port and element. */
  async close(): Promise<void> {
    this.stop();
    await this.graph.close();
  }

  #soon(): void {
    this.#state = 'busy';
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#immediate = setImmediate(this.#run);
  }

  readonly #run = (): void => {
    this.#immediate = null;
    let moved = 1;
    for (let i = 0; i < BREATHS && moved > 0; i++) moved = this.step();
    if (this.#state === 'stopped') return;
    if (moved > 0 || this.graph.ready.length > 0) this.#soon();
    else {
      this.#state = 'idle';
      this.#timer = setTimeout(this.#run, TICK);
    }
  };
}

/** Something that can be driven one breath at a time. */
export interface Steppable {
  /** Returns how much moved: 0 when there is nothing to do. */
  step(): number;
}

/**
 * Runs engines that share one virtual clock for `ms` milliseconds of its time: at every point until nothing
 * moves any more, then `every` milliseconds on. Throws an Error where the network does not come to rest, as
 * one with a forwarding loop would not.
 */
export function simulate(engines: readonly Steppable[], clock: VirtualClock, ms: number, every = TICK): void {
  const end = clock.now + ms;
  for (;;) {
    settle(engines);
    if (clock.now >= end) return;
    clock.advance(Math.min(every, end - clock.now));
  }
}

/** Steps engines until nothing moves. */
export function settle(engines: readonly Steppable[]): void {
  for (let i = 0; i < 10_000_000; i++) {
    let moved = 0;
    for (const engine of engines) moved += engine.step();
    if (moved === 0) return;
  }
  throw new Error('the network does not come to rest: is there a forwarding loop?');
}
