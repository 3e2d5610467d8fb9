/**
 * A port as a node of the graph: what is pushed into it is sent, what it receives leaves by `out`. It lives as long as
 * the description names the port, also while the port itself has failed: counters go on, what is sent is dropped by
 * the closed port, and the graph tries to open it again.
 */
import type { Port, PortError, PortHost } from '../io/port.ts';
import { Batch } from './batch.ts';
import { portHost } from './context.ts';
import { CLOSED } from './drop.ts';
import { type Context, Output, type Sink } from './element.ts';
import type { PortSpec } from './graph.ts';
import { NONE } from './packet.ts';
import { NOBODY, type Watcher } from './watcher.ts';

/** Who is told what becomes of a port: the graph. */
export interface PortKeeper {
  /** It may have something to receive; told once until `ready` is false again. */
  woke(port: PortNode): void;
  failed(port: PortNode, error: PortError): void;
}

/** What became of an attempt to open a port again; `gone` where there is nothing to be said about it any more. */
export type Reopened = 'open' | 'refused' | 'gone';

export class PortNode implements Sink {
  readonly name: string;
  readonly port: Port;
  /** Whether it is in the graph's list of ready ports. */
  ready = false;
  /** Whether the poll wakes it. */
  watched = false;
  /** Whether what comes in is dropped as closed. */
  shut = false;
  /** When a port that failed is tried again, by the engine's clock. */
  retryAt = 0;
  /** Who sees what comes in and goes out. */
  watchers: readonly Watcher[] = NOBODY;
  readonly #keeper: PortKeeper;
  readonly #context: Context;
  readonly #host: PortHost;
  readonly #place: number;
  readonly #out: Output;
  readonly #batch = new Batch();
  /** What was called when the port failed before it was ours. */
  #theirs: Port['onError'] = null;
  #failures = 0;
  #closed = false;

  constructor(keeper: PortKeeper, context: Context, name: string, spec: PortSpec) {
    this.name = name;
    this.port = spec.port;
    this.#keeper = keeper;
    this.#context = context;
    this.#host = portHost(
      context,
      () => this.wake(),
      () => {
        this.watched = true;
      },
    );
    this.#place = spec.place ?? NONE;
    this.#out = new Output(releasing);
  }

  /** Whether the port has nothing more, and the poll tells when it has. */
  get drained(): boolean {
    return this.port.drained === true;
  }

  push(batch: Batch): void {
    const { watchers } = this;
    for (let i = 0; i < watchers.length; i++) watchers[i].sent(batch);
    this.port.send(batch);
  }

  connect(output: string, next: Sink | null): void {
    if (output !== 'out' && next === null) return;
    if (output !== 'out') throw new RangeError(`"${this.name}" has no output "${output}"; it has: out`);
    this.#out.next = next ?? releasing;
  }

  async open(): Promise<void> {
    await this.port.open(this.#host);
    this.port.stats.attach(this.#context.counters, this.name, this.#context);
    this.#theirs = this.port.onError;
    this.port.onError = (error) => {
      this.#failures++;
      this.#context.log.error(`port "${this.name}": ${error.message}`);
      this.#keeper.failed(this, error);
      this.#theirs?.(error);
    };
  }

  /** Tries to open the port after it failed. */
  async reopen(): Promise<Reopened> {
    if (this.#closed) return 'gone';
    const failures = this.#failures;
    try {
      await this.port.open(this.#host);
    } catch {
      return 'refused';
    }
    // It may have failed while it opened, which it has told.
    if (this.#failures !== failures) return 'gone';
    this.#context.log.info(`port "${this.name}" is open again`);
    return 'open';
  }

  wake(): void {
    if (this.ready || this.#closed) return;
    this.ready = true;
    this.#keeper.woke(this);
  }

  /** Receives one batch, pushes it on, and says how many packets that was. */
  inhale(): number {
    const batch = this.#batch;
    const n = this.#closed ? 0 : this.port.receive(batch);
    if (n === 0) return 0;
    for (let i = 0; i < n; i++) batch.packets[i].port = this.#place;
    const { watchers } = this;
    for (let i = 0; i < watchers.length; i++) watchers[i].received(batch);
    if (this.shut) this.#drop(batch);
    else this.#out.next.push(batch);
    return n;
  }

  #drop(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) this.port.stats.drop(batch.packets[i], CLOSED);
    batch.clear();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.port.close();
    this.port.onError = this.#theirs;
    this.port.stats.detach(this.#context.counters, this.name);
  }
}

/** Where a port leads that leads nowhere. */
const releasing: Sink = { push: (batch) => batch.release() };
