/**
 * The thread of an overlay: an `Overlay` whose engine blocks in the poll, and what the main thread asks of it, one
 * request after the other. The main thread interrupts the poll after each message.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { createContext, makePools } from '../core/context.ts';
import { Counters } from '../core/counters.ts';
import type { Log } from '../core/log.ts';
import { noteDescriptors } from '../io/native/libc.ts';
import { Poller } from '../io/native/poller.ts';
import type { CaptureRequest, OnBytes } from '../overlay/capture.ts';
import { Overlay, type OverlayParts } from '../overlay.ts';
import { ChannelStub } from './channel.ts';
import { type Behind, type WorkerConfig, whole } from './config.ts';
import {
  DirectoryTeller,
  type FromThread,
  plainError,
  type Requests,
  type Setup,
  type State,
  type ToThread,
} from './messages.ts';
import { SpecPorts } from './ports.ts';
import { WatchTeller } from './watching.ts';

const parent = parentPort!;
const setup = workerData as Setup;
const post = (message: FromThread, transfer: readonly ArrayBuffer[] = []): void =>
  parent.postMessage(message, transfer);

class Thread implements Requests {
  readonly #ports = new SpecPorts();
  readonly #counters = new Counters(setup.counters);
  readonly #directory = new DirectoryTeller(this.#counters);
  readonly #poll = setup.interrupter < 0 ? null : new Poller(setup.interrupter);
  readonly #channel = setup.channelGrace === null ? null : new ChannelStub(setup.channelGrace, post);
  readonly #behind: Behind = {
    channel: this.#channel,
    onKeys: setup.tellKeys ? (key) => post({ type: 'key', key }) : null,
  };
  readonly #watching = new WatchTeller(post);
  #overlay: Overlay | null = null;
  #queue: Promise<void> = Promise.resolve();

  constructor() {
    parent.on('message', (message: ToThread) => {
      if (message.type === 'taken') this.#watching.take(message);
      else if (message.type !== 'call') this.#channel?.take(message);
      else this.#queue = this.#queue.then(() => this.#answer(message.id, message.name, message.args));
    });
  }

  async #answer(id: number, name: keyof Requests, args: unknown[]): Promise<void> {
    try {
      const result = await (this[name] as (...args: unknown[]) => Promise<unknown>)(...args);
      post({ type: 'answer', id, result });
    } catch (error) {
      post({ type: 'answer', id, error: plainError(error) });
    }
  }

  async start(config: WorkerConfig): Promise<State> {
    this.#ports.begin();
    const wanted = await whole(config, this.#ports, this.#behind);
    const overlay = new Overlay(wanted, await this.#parts());
    const { graph } = overlay.engine;
    graph.onPortError = (name, error) => post({ type: 'port', name, error: plainError(error) });
    graph.onPortBack = (name) => post({ type: 'port', name, error: null });
    await overlay.open();
    this.#ports.commit();
    this.#overlay = overlay;
    this.#run();
    return this.#state(config);
  }

  async #parts(): Promise<OverlayParts> {
    const socket = this.#poll && (await import('../io/udp-native.ts')).UdpNativePort;
    const context = createContext({
      ...makePools(setup.packets, setup.jumbos),
      counters: this.#counters,
      poll: this.#poll,
      log,
    });
    return {
      ...context,
      ...setup.parts,
      ...(socket !== null && { socket: (options) => new socket(options) }),
    };
  }

  #run(): void {
    this.#overlay!.engine.start({ blocking: true, busyPoll: setup.busyPoll });
  }

  async apply(config: WorkerConfig): Promise<State> {
    const overlay = this.#overlay!;
    this.#ports.begin();
    const wanted = await whole(config, this.#ports, this.#behind);
    // Ports that are not native open by way of the event loop, for which a blocked thread has little time.
    overlay.engine.stop();
    overlay.engine.start();
    try {
      await overlay.apply(wanted);
    } finally {
      overlay.engine.stop();
      this.#run();
    }
    this.#ports.commit();
    return this.#state(config);
  }

  #state({ networks }: WorkerConfig): State {
    const mtus = new Map(networks.map(({ vni }) => [vni, this.#overlay!.mtu(vni)]));
    return { mtus, directory: this.#directory.change() };
  }

  async ports() {
    return this.#overlay!.ports((port) => this.#ports.idOf(port));
  }

  async encryptedPeers() {
    return this.#overlay!.encryptedPeers();
  }

  capture(id: number, request: CaptureRequest): Promise<void> {
    const overlay = this.#overlay!;
    const named = {
      capture: (wanted: CaptureRequest, onBytes: OnBytes) =>
        overlay.capture(wanted, onBytes, (port) => this.#ports.idOf(port)),
    };
    return this.#watching.capture(named, id, request);
  }

  trace(id: number, limit?: number): Promise<void> {
    return this.#watching.trace(this.#overlay!, id, limit);
  }

  unwatch(id: number): Promise<void> {
    return this.#watching.end(id);
  }

  async stop(): Promise<void> {
    this.#overlay?.engine.drain();
    await this.#overlay?.stop();
    this.#overlay = null;
    this.#poll?.close();
  }
}

const log: Log = {
  debug: (message) => post({ type: 'log', level: 'debug', message }),
  info: (message) => post({ type: 'log', level: 'info', message }),
  warn: (message) => post({ type: 'log', level: 'warn', message }),
  error: (message) => post({ type: 'log', level: 'error', message }),
};

noteDescriptors(new Uint8Array(setup.descriptors));
new Thread();
