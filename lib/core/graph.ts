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
 *
 * A port that fails while it runs has closed itself: it stays in the graph, what is sent to it is dropped, and
 * about once a second it is tried to open it again.
 */
import type { Port, PortError } from '../io/port.ts';
import type { Context, Element } from './element.ts';
import { type PortKeeper, PortNode } from './port-node.ts';
import { NOBODY, type Watcher } from './watcher.ts';

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
  /** Who sees what comes in and goes out. */
  readonly watchers?: readonly Watcher[];
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

/** Milliseconds between two attempts to open a port that failed. */
const RETRY = 1000;

interface Node {
  spec: NodeSpec;
  readonly sink: Element | PortNode;
}

export class Graph implements PortKeeper {
  /** Ports that may have something to receive. */
  readonly ready: PortNode[] = [];
  /** Called when a port gets ready. */
  onWake: () => void = () => {};
  /** Called when a port failed. It has closed itself, stays in the graph, and is opened again when it can be. */
  onPortError: (name: string, error: PortError) => void = () => {};
  /** Called when a port that had failed is open again. */
  onPortBack: (name: string) => void = () => {};

  readonly #context: Context;
  #nodes = new Map<string, Node>();
  #exhaling: Element[] = [];
  #ticking: { tick?(now: number): void }[] = [];
  #queue: Promise<void> = Promise.resolve();
  /** Ports that failed, the one whose turn it is first. */
  readonly #failed = new Set<PortNode>();
  #watched = true;
  /** Whether a failed port is being opened. */
  #trying = false;

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

  /** Has all ports drop what comes in as closed, or no longer. */
  shut(shut: boolean): void {
    for (const { sink } of this.#nodes.values()) if (sink instanceof PortNode) sink.shut = shut;
  }

  /** Everything that queues packets. */
  get exhaling(): readonly Element[] {
    return this.#exhaling;
  }

  /** Whether all ports have descriptors that the poll watches. */
  get watched(): boolean {
    return this.#watched;
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
      return same ? now.sink : null;
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
    const ticking = sinks.map((sink) => (sink instanceof PortNode ? sink.port : sink));
    const retrying = { tick: (now: number) => this.#retry(now) };
    this.#ticking = [...ticking.filter((x) => x.tick !== undefined), retrying];
    this.#watched = sinks.every((sink) => !(sink instanceof PortNode) || sink.watched);
  }

  /** Notes that a port may have something to receive. */
  woke(port: PortNode): void {
    this.ready.push(port);
    this.onWake();
  }

  /** Notes that a port failed. */
  failed(port: PortNode, error: PortError): void {
    port.retryAt = this.#context.clock.now + RETRY;
    this.#failed.add(port);
    this.onPortError(port.name, error);
  }

  /** Tries to open the failed port that has waited longest, if it is due, between two changes of the graph. */
  #retry(now: number): void {
    if (this.#failed.size === 0 || this.#trying) return;
    const [port] = this.#failed;
    if (now < port.retryAt) return;
    this.#trying = true;
    this.#queue = this.#queue.then(() => this.#reopen(port));
  }

  async #reopen(port: PortNode): Promise<void> {
    this.#failed.delete(port);
    const result = await port.reopen();
    this.#trying = false;
    if (result === 'open') this.onPortBack(port.name);
    if (result !== 'refused') return;
    port.retryAt = this.#context.clock.now + RETRY;
    this.#failed.add(port);
  }
}

/** Makes the links of `next` from those of `before`, touching only what differs, and shows ports to who watches them. */
function link(next: ReadonlyMap<string, Node>, before: ReadonlyMap<string, Node>): void {
  for (const [name, { spec, sink }] of next) {
    const old = before.get(name);
    const links = spec.to ?? {};
    if (sink instanceof PortNode) sink.watchers = (spec as PortSpec).watchers ?? NOBODY;
    const formerly = old?.sink === sink ? (old.spec.to ?? {}) : {};
    for (const [output, target] of Object.entries(links)) {
      const moved = formerly[output] !== target || before.get(target)?.sink !== next.get(target)!.sink;
      if (moved) sink.connect(output, next.get(target)!.sink);
    }
    for (const output of Object.keys(formerly)) if (!(output in links)) sink.connect(output, null);
  }
}

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
