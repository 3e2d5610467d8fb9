/**
 * The graph: which elements and ports there are and what leads where, as data.
 *
 *     await graph.apply({
 *       tap0:   { port: tap, place: 0, to: { out: 'guard' } },
 *       guard:  { element: Guard, options: { ports: [] }, to: { out: 'bridge' } },
 *       bridge: { element: Bridge, options: { domain: 0, fdb }, to: { local: 'tap0' } },
 *     });
 *
 * Applying another description compares it with what runs and changes only the difference: a node whose
 * class and options are the same stays as it is, packets and all; one whose options changed is asked to take
 * them over (`configure`) and replaced where it cannot; links are moved; what is gone is closed last.
 * Everything but the opening and closing of ports happens between two batches, so no packet meets a graph
 * that is half changed. Where something cannot be made or opened, nothing changes.
 */
import type { Port, PortError } from '../io/port.ts';
import { Batch } from './batch.ts';
import { portHost } from './context.ts';
import { type Context, type Element, Output, type Sink } from './element.ts';
import { NONE } from './packet.ts';

/** A class of elements. */
// biome-ignore lint/suspicious/noExplicitAny: each class has options of its own, checked where a spec is written
export type ElementClass<O = any> = new (context: Context, name: string, options: O) => Element;

export interface ElementSpec {
  readonly element: ElementClass;
  /** Compared in depth: plain objects and arrays by what they hold, everything else by identity. */
  readonly options: unknown;
  /** Which node each output leads to. */
  readonly to?: Links;
}

/** Names of nodes by output. */
export type Links = Readonly<Record<string, string>>;

export interface PortSpec {
  readonly port: Port;
  /** What `p.port` says about packets that come in here. Default NONE. */
  readonly place?: number;
  /** Where `out`, the only output, leads. */
  readonly to?: Links;
}

export type NodeSpec = ElementSpec | PortSpec;
/** Nodes by name. */
export type GraphConfig = Readonly<Record<string, NodeSpec>>;

/** Checks an element's options against its class where the description is written. */
export function node<O>(element: ElementClass<O>, options: O, to: Links = {}): ElementSpec {
  return { element, options, to };
}

interface Node {
  spec: NodeSpec;
  readonly sink: Element | PortNode;
}

export class Graph {
  /** Ports that may have something to receive. */
  readonly ready: PortNode[] = [];
  /** Called when a port gets ready. */
  onWake: () => void = () => {};
  /** Called when a port failed; it has closed itself and stays in the graph until the next `apply`. */
  onPortError: (name: string, error: PortError) => void = () => {};

  readonly #context: Context;
  #nodes = new Map<string, Node>();
  #exhaling: Element[] = [];
  #ticking: { tick?(now: number): void }[] = [];
  #queue: Promise<void> = Promise.resolve();

  constructor(context: Context) {
    this.#context = context;
  }

  /** The element of a name, or undefined. */
  element(name: string): Element | undefined {
    const sink = this.#nodes.get(name)?.sink;
    return sink instanceof PortNode ? undefined : sink;
  }

  /** The port of a name, or undefined. */
  port(name: string): Port | undefined {
    const sink = this.#nodes.get(name)?.sink;
    return sink instanceof PortNode ? sink.port : undefined;
  }

  /** Names of all nodes. */
  get names(): string[] {
    return [...this.#nodes.keys()];
  }

  /** Everything that queues packets. */
  get exhaling(): readonly Element[] {
    return this.#exhaling;
  }

  /** Elements and ports that want to be told the time. */
  get ticking(): readonly { tick?(now: number): void }[] {
    return this.#ticking;
  }

  /**
   * Makes the graph what the description says. Calls are carried out one after the other. Rejects, with the
   * graph as it was, where a link leads nowhere, options are refused or a port cannot be opened.
   */
  apply(config: GraphConfig): Promise<void> {
    const done = this.#queue.then(() => this.#apply(config));
    this.#queue = done.catch(() => {});
    return done;
  }

  /** Closes everything. */
  close(): Promise<void> {
    return this.apply({});
  }

  async #apply(config: GraphConfig): Promise<void> {
    check(config);
    const opened: PortNode[] = [];
    const next = new Map<string, Node>();
    try {
      for (const [name, spec] of Object.entries(config)) {
        const kept = this.#keep(name, spec);
        if (kept !== null) next.set(name, { spec, sink: kept });
        else if ('port' in spec) {
          const port = new PortNode(this, this.#context, name, spec);
          await port.open();
          opened.push(port);
          next.set(name, { spec, sink: port });
        }
      }
      this.#change(config, next);
    } catch (error) {
      await Promise.all(opened.map((port) => port.close()));
      throw error;
    }
    const kept = new Set([...next.values()].map(({ sink }) => sink));
    const before = this.#nodes;
    this.#use(next);
    const gone = [...before.values()].filter(({ sink }) => !kept.has(sink));
    await Promise.all(gone.map(({ sink }) => sink.close()));
  }

  /** What runs under this name and can stay. */
  #keep(name: string, spec: NodeSpec): Element | PortNode | null {
    const now = this.#nodes.get(name);
    if (now === undefined) return null;
    if ('port' in spec) {
      const same = 'port' in now.spec && now.spec.port === spec.port && now.spec.place === spec.place;
      return same && !(now.sink as PortNode).failed ? now.sink : null;
    }
    if ('port' in now.spec || now.spec.element !== spec.element) return null;
    return same(now.spec.options, spec.options) ? now.sink : null;
  }

  /** Makes and changes elements and moves links, all between two batches; undoes all of it where one fails. */
  #change(config: GraphConfig, next: Map<string, Node>): void {
    const undo: (() => void)[] = [];
    try {
      for (const [name, spec] of Object.entries(config)) {
        if (next.has(name) || 'port' in spec) continue;
        next.set(name, { spec, sink: this.#configure(name, spec, undo) ?? this.#make(name, spec, undo) });
      }
      undo.push(() => link(this.#nodes, next));
      link(next, this.#nodes);
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  /** Hands changed options to the element that runs, and returns it if it could take them over. */
  #configure(name: string, spec: ElementSpec, undo: (() => void)[]): Element | null {
    const now = this.#nodes.get(name);
    if (now === undefined || 'port' in now.spec || now.spec.element !== spec.element) return null;
    const element = now.sink as Element;
    const { options } = now.spec;
    if (!element.configure?.(spec.options)) return null;
    undo.push(() => element.configure!(options));
    return element;
  }

  #make(name: string, spec: ElementSpec, undo: (() => void)[]): Element {
    const element = new spec.element(this.#context, name, spec.options);
    undo.push(() => element.close());
    return element;
  }

  #use(nodes: Map<string, Node>): void {
    this.#nodes = nodes;
    const sinks = [...nodes.values()].map(({ sink }) => sink);
    const elements = sinks.filter((sink) => !(sink instanceof PortNode)) as Element[];
    this.#exhaling = elements.filter((element) => element.exhale !== undefined);
    this.#ticking = sinks
      .map((sink) => (sink instanceof PortNode ? sink.port : sink))
      .filter((x) => x.tick !== undefined);
  }
}

/** Makes the links of `next` from those of `before`, touching only what differs. */
function link(next: ReadonlyMap<string, Node>, before: ReadonlyMap<string, Node>): void {
  for (const [name, { spec, sink }] of next) {
    const old = before.get(name);
    const links = spec.to ?? {};
    const formerly = old?.sink === sink ? (old.spec.to ?? {}) : {};
    for (const [output, target] of Object.entries(links)) {
      const moved = formerly[output] !== target || before.get(target)?.sink !== next.get(target)!.sink;
      if (moved) sink.connect(output, next.get(target)!.sink);
    }
    for (const output of Object.keys(formerly)) if (!(output in links)) sink.connect(output, null);
  }
}

/** A port as a node: what is pushed into it is sent, what it receives leaves by `out`. */
export class PortNode implements Sink {
  readonly port: Port;
  /** Whether it is in the graph's list of ready ports. */
  ready = false;
  failed = false;
  readonly #graph: Graph;
  readonly #context: Context;
  readonly #name: string;
  readonly #place: number;
  readonly #out: Output;
  readonly #batch = new Batch();
  #closed = false;

  constructor(graph: Graph, context: Context, name: string, spec: PortSpec) {
    this.#graph = graph;
    this.#context = context;
    this.#name = name;
    this.port = spec.port;
    this.#place = spec.place ?? NONE;
    this.#out = new Output(releasing);
  }

  push(batch: Batch): void {
    this.port.send(batch);
  }

  connect(output: string, next: Sink | null): void {
    if (output !== 'out' && next === null) return;
    if (output !== 'out') throw new RangeError(`"${this.#name}" has no output "${output}"; it has: out`);
    this.#out.next = next ?? releasing;
  }

  async open(): Promise<void> {
    await this.port.open(portHost(this.#context, () => this.wake()));
    this.port.stats.attach(this.#context.counters, this.#name);
    const theirs = this.port.onError;
    this.port.onError = (error) => {
      this.failed = true;
      this.#context.log.error(`port "${this.#name}": ${error.message}`);
      this.#graph.onPortError(this.#name, error);
      theirs?.(error);
    };
  }

  wake(): void {
    if (this.ready || this.#closed) return;
    this.ready = true;
    this.#graph.ready.push(this);
    this.#graph.onWake();
  }

  /** Receives one batch, pushes it on, and says how many packets that was. */
  inhale(): number {
    const batch = this.#batch;
    const n = this.#closed ? 0 : this.port.receive(batch);
    if (n === 0) return 0;
    for (let i = 0; i < n; i++) batch.packets[i].port = this.#place;
    this.#out.next.push(batch);
    return n;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.port.close();
    this.port.stats.detach(this.#context.counters, this.#name);
  }
}

/** Where a port leads that leads nowhere. */
const releasing: Sink = { push: (batch) => batch.release() };

/** Refuses a description that could not run, before anything is touched. */
function check(config: GraphConfig): void {
  const ports = new Map<Port, string>();
  for (const [name, spec] of Object.entries(config)) {
    for (const [output, target] of Object.entries(spec.to ?? {})) {
      if (config[target] === undefined) {
        throw new RangeError(`output "${output}" of "${name}" leads to "${target}", which does not exist`);
      }
    }
    if (!('port' in spec)) continue;
    const other = ports.get(spec.port);
    if (other !== undefined) throw new RangeError(`"${name}" and "${other}" are the same port`);
    ports.set(spec.port, name);
  }
}

/** Whether two options are the same: plain objects and arrays in depth, everything else by identity. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((x, i) => same(x, b[i]));
  if (!isPlain(a) || !isPlain(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && same(a[key], b[key]));
}

function isPlain(x: unknown): x is Record<string, unknown> {
  return typeof x === 'object' && x !== null && Object.getPrototypeOf(x) === Object.prototype;
}
