/** What the main thread and the thread of an overlay say to each other, and how errors and names of counters travel. */
import type { LoggedKey } from '../../crypto/epoch.ts';
import type { CounterBlock, Counters } from '../core/counters.ts';
import { PortError, type PortErrorCode } from '../io/port.ts';
import type { CaptureCounts, CaptureRequest } from '../overlay/capture.ts';
import type { DropSeen } from '../overlay/drop-trace.ts';
import type { EncryptedPeer, PortCounts } from '../overlay.ts';
import type { WorkerConfig } from './config.ts';

/** What a thread begins with. */
export interface Setup {
  /** Memory of the counters. */
  readonly counters: SharedArrayBuffer;
  /** Bits of the descriptors that the thread has open. */
  readonly descriptors: SharedArrayBuffer;
  /** An eventfd that interrupts its poll; -1 where there is no poll. */
  readonly interrupter: number;
  readonly busyPoll: number;
  readonly packets: number | undefined;
  readonly jumbos: number | undefined;
  /** Sizes of the overlay's tables and the like. */
  readonly parts: { readonly macs?: number; readonly neighbors?: number; readonly ageing?: number };
  /** The grace of the key channel that stayed behind, or null. */
  readonly channelGrace: number | null;
  /** Whether keys are told. */
  readonly tellKeys: boolean;
}

/** What the thread can be asked. */
export interface Requests {
  start(config: WorkerConfig): Promise<State>;
  apply(config: WorkerConfig): Promise<State>;
  ports(): Promise<PortCounts[]>;
  encryptedPeers(): Promise<EncryptedPeer[]>;
  capture(id: number, request: CaptureRequest): Promise<void>;
  trace(id: number, limit?: number): Promise<void>;
  /** Ends a capture or trace. */
  unwatch(id: number): Promise<void>;
  stop(): Promise<void>;
}

/** What the main thread knows of the overlay without asking. */
export interface State {
  readonly mtus: ReadonlyMap<number, number>;
  readonly directory: DirectoryChange;
}

export type ToThread =
  | { readonly type: 'call'; readonly id: number; readonly name: keyof Requests; readonly args: unknown[] }
  | { readonly type: 'published'; readonly id: number; readonly error?: string }
  /** The reader is done with the oldest bytes of a capture that it was not done with. */
  | { readonly type: 'taken'; readonly id: number }
  | { readonly type: 'record'; readonly id: number; readonly record: Uint8Array };

export type FromThread =
  | { readonly type: 'answer'; readonly id: number; readonly result?: unknown; readonly error?: PlainError }
  | { readonly type: 'log'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string }
  | { readonly type: 'port'; readonly name: string; readonly error: PlainError | null }
  | { readonly type: 'key'; readonly key: LoggedKey }
  | { readonly type: 'captured'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: 'capture-ended'; readonly id: number; readonly counts: CaptureCounts }
  | {
      readonly type: 'drops';
      readonly id: number;
      readonly drops: readonly DropSeen[];
      readonly leftOut: number;
    }
  | { readonly type: 'publish'; readonly id: number; readonly node: string; readonly record: Uint8Array }
  | { readonly type: 'watch'; readonly id: number; readonly node: string }
  | { readonly type: 'unwatch'; readonly id: number };

/** An error as plain data: structured clone would keep neither our classes nor their fields. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly code?: PortErrorCode;
  readonly stack?: string;
}

export function plainError(error: unknown): PlainError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack } = error;
  return {
    name,
    message,
    ...(stack !== undefined && { stack }),
    ...(error instanceof PortError && { code: error.code }),
  };
}

/** The error that {@link plainError} took apart, of the same class where that is one of ours. */
export function realError({ name, message, code, stack }: PlainError): Error {
  const error =
    code !== undefined
      ? new PortError(code, message)
      : new ({ TypeError, RangeError }[name] ?? Error)(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** How names of counters changed. There are few lists of names, and many owners: each list travels once. */
export interface DirectoryChange {
  readonly lists: readonly (readonly string[])[];
  readonly blocks: readonly { readonly owner: string; readonly at: number; readonly list: number }[];
  readonly gone: readonly string[];
}

/** The thread's side of the directory of counters: tells what changed since it was last asked. */
export class DirectoryTeller {
  readonly #counters: Counters;
  readonly #lists = new Map<string, number>();
  /** What was told: place and list by owner. */
  #told = new Map<string, { readonly at: number; readonly list: number }>();
  #version = -1;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  change(): DirectoryChange {
    const lists: (readonly string[])[] = [];
    const blocks: { owner: string; at: number; list: number }[] = [];
    if (this.#version === this.#counters.version) return { lists, blocks, gone: [] };
    this.#version = this.#counters.version;
    const now = new Map<string, { readonly at: number; readonly list: number }>();
    for (const { owner, at, names } of this.#counters.blocks()) {
      const key = names.join();
      const list = this.#lists.get(key) ?? this.#lists.size;
      if (!this.#lists.has(key)) lists.push(names);
      this.#lists.set(key, list);
      const before = this.#told.get(owner);
      if (before?.at !== at || before.list !== list) blocks.push({ owner, at, list });
      now.set(owner, { at, list });
    }
    const gone = [...this.#told.keys()].filter((owner) => !now.has(owner));
    this.#told = now;
    return { lists, blocks, gone };
  }
}

/** The main thread's side. */
export class DirectoryFollower {
  readonly #counters: Counters;
  readonly #lists: (readonly string[])[] = [];

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  follow({ lists, blocks, gone }: DirectoryChange): void {
    this.#lists.push(...lists);
    const named = blocks.map(({ owner, at, list }): CounterBlock => {
      return { owner, at, names: this.#lists[list] };
    });
    this.#counters.mirror(named, gone);
  }
}
