/** The far side of tests of UDP ports, and how they wait. */
import dgram from 'node:dgram';
import { SO_RCVBUF, SO_RCVBUFFORCE } from '../../lib/io/native/constants.ts';
import { libc } from '../../lib/io/native/libc.ts';
import { buffer, setter } from '../../lib/io/native/socket-options.ts';

/** A socket that is nobody of ours: what a far host would be. */
export class FarSocket {
  readonly #socket: dgram.Socket;
  #got: { frame: Uint8Array; port: number }[] = [];

  constructor(socket: dgram.Socket) {
    this.#socket = socket;
    socket.on('message', (frame, from) => this.#got.push({ frame, port: from.port }));
  }

  static async at(address: string): Promise<FarSocket> {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, address, resolve);
    });
    return new FarSocket(socket);
  }

  /** Makes room for a burst of whatever size, where the system's limit is too low for it; needs root. */
  enlarge(bytes: number): this {
    // biome-ignore lint/suspicious/noExplicitAny: Node.js has no other way to the descriptor
    const { fd } = (this.#socket as any)._handle;
    buffer(setter(libc(), fd), SO_RCVBUFFORCE, SO_RCVBUF, bytes);
    return this;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Sends a few at a time, so that no kernel's buffer overflows. */
  async deliver(frames: readonly Uint8Array[], to: { address: string; port: number }): Promise<void> {
    for (const [i, frame] of frames.entries()) {
      await new Promise((resolve) => this.#socket.send(frame, to.port, to.address, resolve));
      if (i % 32 === 31) await turn();
    }
  }

  /** Takes what came since the last call. */
  collect(): { frame: Uint8Array; port: number }[] {
    return this.#got.splice(0);
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(resolve));
  }
}

/** One turn of the event loop. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Milliseconds until something that should happen counts as missing. */
const PATIENCE = 10_000;

/** Turns, of the event loop if nothing else is said, until something is so; what is not in the end, the assertions tell. */
export async function until(done: () => boolean, next: () => Promise<unknown> = turn): Promise<void> {
  for (const end = performance.now() + PATIENCE; performance.now() < end && !done(); ) await next();
}

/** Whether this machine has the address ::1. */
export function hasIpv6(): Promise<boolean> {
  return FarSocket.at('::1').then(
    (far) => far.close().then(() => true),
    () => false,
  );
}

/** Makes a function that runs once, however often it is called. */
export function once(close: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | null = null;
  return () => (done ??= close());
}
