/**
 * One connection of a store's client and server, either side: frames both ways, and heartbeats, by which a peer that is
 * gone without a word is noticed after about three of them.
 *
 * What is sent waits in memory until the peer takes it; `send` resolves when little waits, and who sends much waits for
 * that. A peer that takes nothing for a long time is gone as well.
 */
import type { Socket } from 'node:net';
import { FrameReader, frame } from './frames.ts';

export interface WireOptions {
  /** Largest frame that is taken, in bytes. */
  readonly limit: number;
  /** Between two heartbeats, in ms. */
  readonly beat: number;
  /** In order. What it throws ends the connection. */
  onMessage(message: object): void;
  /** Called once; nothing comes after it. */
  onClose(error: Error): void;
}

/** Heartbeats without a byte from the peer before it counts as gone. */
const SILENT = 3;
/** Heartbeats without a byte that the peer takes of what waits for it. */
const STALLED = 30;
/** How long the peer may take to close its side, in ms. */
const LINGER = 1000;

export class Wire {
  readonly #socket: Socket;
  readonly #options: WireOptions;
  readonly #reader: FrameReader;
  readonly #timer: NodeJS.Timeout;
  #open = true;
  #error: Error | null = null;
  #silent = 0;
  #stalled = 0;
  #drained: { readonly promise: Promise<void>; readonly resolve: () => void } | null = null;

  /** Takes a socket that is connected. */
  constructor(socket: Socket, options: WireOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#reader = new FrameReader(options.limit);
    socket.setNoDelay(true);
    socket.on('data', (piece: Buffer) => this.#receive(piece));
    socket.on('drain', () => this.#drain());
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.once('close', () => this.#closed());
    // Counted, not measured: a process that was stopped for a while does not take its peers for gone.
    this.#timer = setInterval(() => this.#beat(), options.beat).unref();
  }

  set limit(bytes: number) {
    this.#reader.limit = bytes;
  }

  /** Resolves when the peer has taken most of what was sent, or is gone. */
  send(message: object): Promise<void> {
    return this.#write(frame(message));
  }

  /** Whether messages are taken from the peer. What it sends meanwhile waits on its own side. */
  set reading(reading: boolean) {
    if (!this.#open || this.#socket.isPaused() === !reading) return;
    this.#silent = 0;
    reading ? this.#socket.resume() : this.#socket.pause();
  }

  /** Sends what waits, a last message after it, and closes. */
  end(last: object | null = null): void {
    if (!this.#open) return;
    if (last !== null) void this.send(last);
    this.#open = false;
    this.#socket.resume();
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), LINGER).unref();
  }

  /** Closes at once. */
  destroy(error: Error | null = null): void {
    this.#error ??= error;
    this.#open = false;
    this.#socket.destroy();
  }

  async #write(bytes: Buffer): Promise<void> {
    if (!this.#open) return;
    const flowing = this.#socket.write(bytes, () => {
      this.#stalled = 0;
    });
    if (!flowing) await this.#whenDrained();
  }

  #whenDrained(): Promise<void> {
    if (this.#drained === null) {
      let resolve = () => {};
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      this.#drained = { promise, resolve };
    }
    return this.#drained.promise;
  }

  #drain(): void {
    this.#drained?.resolve();
    this.#drained = null;
  }

  #receive(piece: Buffer): void {
    this.#silent = 0;
    if (!this.#open) return;
    try {
      for (const message of this.#reader.push(piece)) {
        this.#options.onMessage(message);
        if (!this.#open) return;
      }
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #beat(): void {
    if (!this.#socket.isPaused() && ++this.#silent >= SILENT) {
      this.destroy(new Error('the other side is silent'));
    } else if (this.#socket.writableLength === 0) {
      void this.#write(frame(null));
    } else if (++this.#stalled >= STALLED) {
      this.destroy(new Error('the other side takes nothing'));
    }
  }

  #closed(): void {
    clearInterval(this.#timer);
    this.#open = false;
    this.#drain();
    this.#options.onClose(this.#error ?? new Error('the other side has closed the connection'));
  }
}
