/** Asks a name server by TCP: one connection for all questions, kept while there are some (RFC 7766 section 6.2). */
import { connect, type Socket } from 'node:net';
import { Frames, frame } from '../frames.ts';
import { InFlight } from './in-flight.ts';
import type { ServerAddress } from './server-address.ts';

/** Milliseconds that a connection is kept without a question. */
const IDLE = 5000;

interface Connection {
  readonly socket: Socket;
  readonly inFlight: InFlight;
  /** It has carried an answer: it was good once. */
  used: boolean;
}

export class TcpUpstream {
  readonly #server: ServerAddress;
  readonly #onEmpty: () => void;
  #connection: Connection | null = null;
  #closed = false;

  /** `onEmpty` is called when the connection is closed. */
  constructor(server: ServerAddress, onEmpty: () => void = () => {}) {
    this.#server = server;
    this.#onEmpty = onEmpty;
  }

  /** The answer; null where there is none within `timeout` ms, or the server is not there. */
  async ask(query: Buffer, timeout: number): Promise<Buffer | null> {
    const connection = this.#connection ?? this.#open(timeout);
    const before = connection.used;
    const answer = await this.#askOver(connection, query, timeout);
    // a server may close a connection that it finds idle at any time: section 6.2.4
    const closed = answer === null && connection.socket.destroyed;
    if (!closed || !before || this.#closed) return answer;
    return this.#askOver(this.#connection ?? this.#open(timeout), query, timeout);
  }

  close(): void {
    this.#closed = true;
    this.#connection?.socket.destroy();
  }

  #askOver(connection: Connection, query: Buffer, timeout: number): Promise<Buffer | null> {
    const { bytes, answer } = connection.inFlight.ask(query, timeout);
    connection.socket.write(frame(bytes));
    return answer;
  }

  #open(timeout: number): Connection {
    const socket = connect({ host: this.#server.address, port: this.#server.port, noDelay: true });
    const connection: Connection = { socket, inFlight: new InFlight(), used: false };
    const frames = new Frames();
    socket.setTimeout(Math.max(IDLE, timeout), () => socket.destroy());
    socket.on('data', (chunk) => {
      connection.used = true;
      for (const message of frames.push(chunk)) connection.inFlight.take(message);
    });
    socket.on('error', () => {}); // close follows
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      if (this.#connection === connection) this.#connection = null;
      connection.inFlight.fail();
      if (this.#connection === null) this.#onEmpty();
    });
    this.#connection = connection;
    return connection;
  }
}
