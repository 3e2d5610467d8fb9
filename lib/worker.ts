/**
 * An overlay in a thread of its own, which blocks in the poll for the lowest latency while this thread stays free:
 *
 *     const node = await OverlayWorker.start({
 *       local: '192.0.2.1',
 *       networks: [{ vni: 42, remotes: ['192.0.2.2'], ports: [{ port: { kind: 'tap', name: 'tap0', mtu: 1450 } }] }],
 *     });
 *     await node.apply(changed);    // changes only the difference
 *     console.log(node.counters());
 *     await node.stop();
 *
 * The description is an overlay's with plain data in place of ports (see worker/ports.ts). Counters lie in memory that
 * both threads see, so that reading them asks nobody; everything else is a message, which interrupts the poll.
 */
import { type ResourceLimits, Worker } from 'node:worker_threads';
import { Counters } from './core/counters.ts';
import { type Log, silent } from './core/log.ts';
import { closeNoted, libc } from './io/native/libc.ts';
import { interrupt, makeInterrupter } from './io/native/poller.ts';
import type { PortError } from './io/port.ts';
import type { CaptureRequest, OnBytes, RunningCapture } from './overlay/capture.ts';
import type { DropTraceOptions, OnDrops, RunningTrace } from './overlay/drop-trace.ts';
import type { EncryptedPeer, OverlayParts, PortCounts } from './overlay.ts';
import { ChannelServer } from './worker/channel.ts';
import { type Behind, part, type WorkerConfig } from './worker/config.ts';
import {
  DirectoryFollower,
  type FromThread,
  type Requests,
  realError,
  type Setup,
  type State,
  type ToThread,
} from './worker/messages.ts';
import { WatchReader } from './worker/watching.ts';

export type { WorkerConfig, WorkerEsp, WorkerLocal, WorkerNetwork, WorkerPort } from './worker/config.ts';
export type { PortKind, PortSpec } from './worker/ports.ts';

/** How the thread of an overlay is made. */
export interface OverlayWorkerOptions extends Pick<OverlayParts, 'macs' | 'neighbors' | 'ageing'> {
  /** Microseconds for which descriptors are asked again and again before the thread blocks, as long as packets come at
   * shorter intervals, 0..1,000,000. Default 0. */
  readonly busyPoll?: number;
  /** Packets that can be under way at once. Default 4096. */
  readonly packets?: number;
  /** Super-frames that can be under way at once. Default 256. */
  readonly jumbos?: number;
  /** Name of the thread, for debuggers. Default `packetweave`. */
  readonly name?: string;
  /** Limits of the thread's heap. */
  readonly resourceLimits?: ResourceLimits;
  /** Default: silence. */
  readonly log?: Log;
  /** Called when a port failed. It is opened again when it can be. */
  readonly onPortError?: (name: string, error: PortError) => void;
  /** Called when a port that had failed is open again. */
  readonly onPortBack?: (name: string) => void;
  /** Called when the thread died. Nothing is carried any more, and every call rejects with this error. */
  readonly onError?: (error: Error) => void;
}

/** Descriptors of a process that can be noted: a limit that few systems exceed. */
const DESCRIPTORS = 1 << 20;
/** Bytes of the counters' memory, as of Counters' own. */
const COUNTERS = 524288 * 8;
/** Milliseconds that a thread has to stop by itself. */
const PATIENCE = 10_000;

// A URL in a constructor is not rewritten when TypeScript becomes JavaScript: the thread is what this file is.
const THREAD = new URL(`./worker/thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

export class OverlayWorker {
  readonly #options: OverlayWorkerOptions;
  readonly #behind: Behind;
  readonly #counters: Counters;
  readonly #directory: DirectoryFollower;
  readonly #descriptors = new SharedArrayBuffer(DESCRIPTORS / 8);
  readonly #worker: Worker;
  readonly #channel: ChannelServer | null;
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  readonly #watching = new WatchReader(
    (message) => this.#post(message),
    (name, ...args) => this.#ask(name, ...args),
  );
  readonly #exited: Promise<void>;
  #interrupter = eventfd();
  #next = 0;
  #mtus: ReadonlyMap<number, number> = new Map();
  /** Why nothing can be asked any more. */
  #ended: Error | null = null;
  #stopped: Promise<void> | null = null;

  /**
   * Starts a thread with an overlay in it. Rejects with a TypeError or RangeError where the description or the options are
   * wrong, and with a PortError where a port cannot be opened.
   */
  static async start(config: WorkerConfig, options: OverlayWorkerOptions = {}): Promise<OverlayWorker> {
    const { config: plain, behind } = part(config);
    const node = new OverlayWorker(behind, options);
    try {
      node.#follow(await node.#ask<State>('start', plain));
    } catch (error) {
      await node.#end(error as Error);
      throw error;
    }
    return node;
  }

  private constructor(behind: Behind, options: OverlayWorkerOptions) {
    this.#options = options;
    this.#behind = behind;
    const memory = new SharedArrayBuffer(COUNTERS);
    this.#counters = new Counters(memory);
    this.#directory = new DirectoryFollower(this.#counters);
    this.#channel = behind.channel && new ChannelServer(behind.channel, (message) => this.#post(message));
    this.#worker = new Worker(THREAD, {
      workerData: this.#setup(memory),
      name: options.name ?? 'packetweave',
      ...(options.resourceLimits !== undefined && { resourceLimits: options.resourceLimits }),
    });
    let cause: Error | null = null;
    this.#worker.on('message', (message: FromThread) => this.#take(message));
    this.#worker.on('error', (error) => {
      cause = error;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#died(cause ?? new Error(`the thread of the overlay ended with code ${code}`));
        resolve();
      });
    });
  }

  #setup(counters: SharedArrayBuffer): Setup {
    const { busyPoll = 0, packets, jumbos, macs, neighbors, ageing } = this.#options;
    return {
      counters,
      descriptors: this.#descriptors,
      interrupter: this.#interrupter,
      busyPoll,
      packets,
      jumbos,
      parts: {
        ...(macs !== undefined && { macs }),
        ...(neighbors !== undefined && { neighbors }),
        ...(ageing !== undefined && { ageing }),
      },
      channelGrace: this.#behind.channel?.grace ?? null,
      tellKeys: this.#behind.onKeys !== null,
    };
  }

  /**
   * Changes the overlay to another description; see {@link Overlay.apply}. A port whose description is the same stays as
   * it is. Rejects with what `Overlay` would throw, with everything as it was.
   */
  async apply(config: WorkerConfig): Promise<void> {
    this.#follow(await this.#ask<State>('apply', part(config).config));
  }

  /** Everybody's counters that are not zero, by name of element or port, as they are now. After an `apply` names follow
   * when it has resolved. */
  counters(): Record<string, Record<string, number>> {
    return this.#counters.snapshot();
  }

  /** How many packets died, by reason, everywhere in this overlay. */
  drops(): Record<string, number> {
    return this.#counters.drops();
  }

  /** Largest IP packet inside a network, in bytes. Throws a RangeError for a VNI that is not there. */
  mtu(vni: number): number {
    const mtu = this.#mtus.get(vni);
    if (mtu === undefined) throw new RangeError(`no network has the VNI ${vni}`);
    return mtu;
  }

  /** What every port has carried, the underlays first. */
  ports(): Promise<PortCounts[]> {
    return this.#ask('ports');
  }

  /** The remotes of encrypted networks, and whether packets can go to them. */
  encryptedPeers(): Promise<EncryptedPeer[]> {
    return this.#ask('encryptedPeers');
  }

  /**
   * Hands out what comes by somewhere as the bytes of a pcapng file; see {@link Overlay.capture}. They come about every
   * 100 ms or 64 KiB. While the reader is behind, because promises of `onBytes` are pending, 8 MiB of them wait; what is
   * more is left out and counted.
   */
  capture(request: CaptureRequest, onBytes: OnBytes): Promise<RunningCapture> {
    return this.#watching.capture(request, onBytes);
  }

  /** Tells every packet that is dropped, in words, about every 100 ms; see {@link Overlay.trace}. */
  trace(onDrops: OnDrops, { limit }: DropTraceOptions = {}): Promise<RunningTrace> {
    return this.#watching.trace(onDrops, limit);
  }

  /** Stops: what has arrived is carried to its end, ports are closed, the thread ends. Never rejects, not even where the
   * thread has died. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, PATIENCE);
    });
    await Promise.race([this.#ask('stop').catch(() => {}), late]);
    clearTimeout(timer);
    await this.#end(new Error('the overlay was stopped'));
  }

  /** Ends the thread, whatever it does. */
  async #end(reason: Error): Promise<void> {
    this.#ended ??= reason;
    await this.#worker.terminate();
    await this.#exited;
  }

  /** What is left to do when the thread is gone. */
  #died(error: Error): void {
    const expected = this.#ended !== null;
    this.#ended ??= error;
    this.#channel?.close();
    this.#watching.close();
    if (this.#interrupter >= 0) {
      closeNoted(new Uint8Array(this.#descriptors));
      libc().close(this.#interrupter);
    }
    this.#interrupter = -1;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
    if (!expected) this.#options.onError?.(error);
  }

  #ask<T>(name: keyof Requests, ...args: unknown[]): Promise<T> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      try {
        this.#post({ type: 'call', id, name, args });
        this.#waiting.set(id, { resolve, reject });
      } catch (error) {
        reject(new TypeError(`the description expected plain data: ${(error as Error).message}`));
      }
    });
  }

  #post(message: ToThread): void {
    if (this.#ended !== null) return;
    this.#worker.postMessage(message);
    interrupt(this.#interrupter);
  }

  #follow({ mtus, directory }: State): void {
    this.#mtus = mtus;
    this.#directory.follow(directory);
  }

  #take(message: FromThread): void {
    const { log = silent, onPortError, onPortBack } = this.#options;
    switch (message.type) {
      case 'answer':
        this.#answered(message);
        break;
      case 'log':
        log[message.level](message.message);
        break;
      case 'port':
        if (message.error === null) onPortBack?.(message.name);
        else onPortError?.(message.name, realError(message.error) as PortError);
        break;
      case 'captured':
      case 'capture-ended':
      case 'drops':
        this.#watching.take(message);
        break;
      case 'key':
        this.#behind.onKeys?.(message.key);
        break;
      default:
        this.#channel?.take(message);
    }
  }

  #answered({ id, result, error }: Extract<FromThread, { type: 'answer' }>): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result as never);
    else waiting?.reject(realError(error));
  }
}

/** What interrupts the thread's poll; -1 where native code cannot be called, and there is none. */
function eventfd(): number {
  try {
    return makeInterrupter();
  } catch {
    return -1;
  }
}
