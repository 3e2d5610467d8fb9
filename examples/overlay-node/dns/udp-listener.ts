/** Takes questions by UDP at one address. */
import { createSocket, type Socket } from 'node:dgram';
import { isIP } from 'node:net';
import { literally } from './upstream/udp-upstream.ts';

/** Gives the reply to a message, now or later; null for none. */
export type Answer = (
  bytes: Buffer,
  from: string,
  transport: 'udp' | 'tcp',
) => Buffer | Promise<Buffer> | null;

/** Bytes of replies that wait for the kernel; what is more is lost, and asked for again. */
const QUEUE = 1 << 20;
/** Bytes that the kernel keeps for us, as far as it allows: a burst of some thousand questions. */
const RECEIVE_BUFFER = 4 << 20;

export class UdpListener {
  readonly #socket: Socket;
  #error: Error | null = null;

  /** Binds at once, in the network namespace that this thread is in. Throws where it cannot. */
  constructor(address: string, port: number, answer: Answer) {
    const type = isIP(address) === 4 ? 'udp4' : 'udp6';
    const options = { type, ipv6Only: type === 'udp6', recvBufferSize: RECEIVE_BUFFER, lookup: literally };
    this.#socket = createSocket(options as Parameters<typeof createSocket>[0] & object);
    this.#socket.on('error', (error) => {
      this.#error = error;
    });
    this.#socket.on('message', (bytes, { address, port }) => {
      const reply = answer(bytes, address, 'udp');
      if (reply === null) return;
      if (reply instanceof Promise) void reply.then((reply) => this.#send(reply, port, address));
      else this.#send(reply, port, address);
    });
    this.#socket.bind({ address, port, exclusive: true });
    if (this.#error === null) return;
    this.close();
    throw this.#error;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  close(): void {
    this.#socket.removeAllListeners('message');
    try {
      this.#socket.close();
    } catch {
      // it was closed already
    }
  }

  #send(reply: Buffer, port: number, address: string): void {
    // nobody listens at port 0, and a closed socket throws
    if (port === 0 || this.#socket.listenerCount('message') === 0) return;
    if (this.#socket.getSendQueueSize() > QUEUE) return;
    this.#socket.send(reply, port, address);
  }
}
