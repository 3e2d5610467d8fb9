/**
 * The engine drives a graph, one breath after the other, in the manner of Snabb: inhale a batch from every
 * port that has something, push it through, exhale what elements queued, tell the time to whoever asked,
 * and sleep when nothing moved.
 *
 * `step` is one breath and knows nothing of event loops; `start` runs breaths on this thread; `simulate` runs
 * several engines on one virtual clock.
 *
 * There are two ways to sleep. On the event loop the engine is one guest among others: it arms the poll and goes,
 * and a descriptor wakes it by way of another thread, which takes some 50 µs. A thread that is the engine's own
 * blocks in the poll, which nothing beats; the event loop gets its turn once a tick and whenever the poll is
 * interrupted. A system call costs about a microsecond, so under load the poll is asked every few breaths, and a
 * port that says it is drained is not asked again.
 */
import type { VirtualClock } from './clock.ts';
import type { Context } from './context.ts';
import { Graph, type GraphConfig } from './graph.ts';
import type { Poll } from './poll.ts';

/** Milliseconds between two ticks. */
const TICK = 10;
/** Breaths before the event loop gets its turn. */
const BREATHS = 16;
/** Breaths under load for which the time is asked once: asking allocates a number. */
const BREATHS_PER_TIME = 4;
/** Breaths under load after which the poll is asked for other ports' descriptors. */
const BREATHS_PER_POLL = 2;
/** The most breaths of a thread that is ours before the event loop gets its turn, whatever the clock says. */
const MOST_BREATHS = 65536;
/** The most milliseconds that are spent on carrying what waits when an engine is to stop, and on dropping the rest. */
const DRAIN = 500;
/** The most microseconds that the poll may be asked in vain. */
const MOST_BUSY = 1_000_000;

/** How an engine runs. */
export interface RunOptions {
  /**
   * Sleep in the poll, blocking this thread, as long as every port has a descriptor that the poll watches; where one
   * has none, the engine runs on the event loop. For a thread that has nothing else to do. Default false.
   */
  readonly blocking?: boolean;
  /** Microseconds for which the poll is asked again and again before the thread blocks, 0..1,000,000: a faster wake for a
   * busy processor, as long as packets come at shorter intervals than that. Other threads go first. Needs `blocking`.
   * Default 0. */
  readonly busyPoll?: number;
}

export class Engine {
  readonly context: Context;
  readonly graph: Graph;
  #ticked = Number.NEGATIVE_INFINITY;
  /** Breaths since the time was asked; the time is old after an idle one. */
  #breaths = BREATHS_PER_TIME;
  #state: 'stopped' | 'idle' | 'busy' = 'stopped';
  #timer: NodeJS.Timeout | null = null;
  #immediate: NodeJS.Immediate | null = null;
  /** Whether the last breath left something that the next one can move. */
  #more = false;
  #blocking = false;
  #busyPoll = 0;
  /** Whether the last packets came so soon that the poll is asked busily for the next. */
  #lively = false;
  /** Since when nothing has come; not a number where something came last. */
  #quiet = Number.NaN;

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
    const inhaled = this.#inhale();
    let moved = inhaled;
    for (const element of this.graph.exhaling) moved += element.exhale!();
    this.#more = moved > inhaled || this.graph.ready.length > 0;
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
      if (n === 0 || port.drained) port.ready = false;
      else ready[kept++] = port;
      moved += n;
    }
    if (kept === count) return moved;
    // Ports that woke meanwhile stand behind `count` and move up. `splice` would make an array each time.
    for (let i = count; i < ready.length; i++) ready[kept++] = ready[i];
    while (ready.length > kept) ready.pop();
    return moved;
  }

  /** Runs on this thread until `stop`. Throws a RangeError for options that make no sense. */
  start({ blocking = false, busyPoll = 0 }: RunOptions = {}): void {
    if (!Number.isInteger(busyPoll) || busyPoll < 0 || busyPoll > MOST_BUSY) {
      throw new RangeError(`"busyPoll" expected an integer 0..${MOST_BUSY}, got ${busyPoll}`);
    }
    if (this.#state !== 'stopped') return;
    this.#blocking = blocking;
    this.#busyPoll = busyPoll;
    this.#soon();
  }

  /** Stops running. The graph stays; what waits in ports and queues waits on. */
  stop(): void {
    this.#state = 'stopped';
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#timer = null;
    this.#immediate = null;
  }

  /**
   * Stops, and carries what waits in ports and queues to its end first: a batch at a time until nothing moves, for
   * half a second at the most, because more may come all the while. What is left then, the ports receive and drop as
   * `closed`, which takes a fraction of the time, and what queues hold is sent: half a second at the most, too. What
   * still comes after that has come to an engine that is stopped: it stays in the ports, and nobody counts it here.
   */
  drain(): void {
    this.stop();
    if (this.#empty()) return;
    this.graph.shut(true);
    this.#empty();
    this.graph.shut(false);
  }

  /** Breathes until nothing moves; false where that was not so in time. */
  #empty(): boolean {
    const { clock, poll } = this.context;
    clock.update();
    const end = clock.now + DRAIN;
    for (let i = 0; i < MOST_BREATHS && clock.now < end; i++) {
      poll?.wait(0);
      if (this.step() === 0 && this.graph.ready.length === 0) return true;
    }
    return false;
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
    const { poll } = this.context;
    if (this.#blocking && poll?.active && this.graph.watched) this.#stay(poll);
    else this.#visit();
    if (this.#state === 'stopped') return;
    if (this.#more) this.#soon();
    else {
      this.#state = 'idle';
      poll?.arm();
      this.#timer = setTimeout(this.#run, TICK);
    }
  };

  /** Some breaths, as a guest on the event loop. */
  #visit(): void {
    for (let i = 1; i <= BREATHS; i++) {
      this.step();
      if (this.#state === 'stopped') return;
      // Before the engine goes to sleep too: a descriptor found now spares the way by another thread.
      if (!this.#more || i % BREATHS_PER_POLL === 0) this.context.poll?.wait(0);
      this.#more ||= this.graph.ready.length > 0;
      if (!this.#more) return;
    }
  }

  /** Breathes and blocks in turn, until a tick was due or somebody interrupts. */
  #stay(poll: Poll): void {
    const ticked = this.#ticked;
    let breaths = 0;
    for (let i = 0; i < MOST_BREATHS; i++) {
      this.step();
      if (this.#state === 'stopped' || this.#ticked !== ticked) break;
      if (this.#more && ++breaths < BREATHS_PER_POLL) continue;
      breaths = 0;
      if (this.#more ? poll.wait(0) : this.#rest(poll)) break;
    }
    // Whatever is left, we come back after the event loop's turn.
    this.#more = true;
  }

  /** Waits for descriptors, until the next tick is due at the latest. True where it is the event loop's turn: when
   * nothing came, or somebody interrupted. */
  #rest(poll: Poll): boolean {
    const { clock } = this.context;
    this.#breaths = BREATHS_PER_TIME;
    if (Number.isNaN(this.#quiet)) this.#quiet = clock.now;
    if (this.#lively) {
      const until = Math.min(this.#quiet + this.#busyPoll / 1000, this.#ticked + TICK);
      // A call takes a microsecond or so: the count bounds it where the clock stands still.
      for (let i = 0; i < this.#busyPoll && clock.now < until; i++) {
        if (poll.wait(0)) return true;
        if (this.graph.ready.length > 0) {
          this.#stir();
          return false;
        }
        poll.giveWay();
        clock.update();
      }
    }
    const interrupted = poll.wait(Math.max(Math.ceil(this.#ticked + TICK - clock.now), 0));
    if (this.graph.ready.length === 0) return true;
    this.#stir();
    return interrupted;
  }

  /** Packets came: whether the poll is asked busily for the next depends on how long it took. */
  #stir(): void {
    if (this.#busyPoll === 0) return;
    const { clock } = this.context;
    clock.update();
    this.#lively = clock.now - this.#quiet < this.#busyPoll / 1000;
    this.#quiet = Number.NaN;
  }
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
