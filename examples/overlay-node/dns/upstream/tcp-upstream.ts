/** Asks a name server by TCP: one connection for all questions, kept while there are some (RFC 7766 section 6.2). */
import { connect, isIP, Socket } from 'node:net';
import { inNamespace } from 'packetweave';
import { Frames, frame } from '../frames.ts';
import { InFlight } from './in-flight.ts';
import type { ServerAddress } from './server-address.ts';

/** Milliseconds that a connection is kept without a question. */
const IDLE = 5000;
/** Bytes of questions that the server has not taken; what is more is not asked. */
const UNSENT = 1 << 20;

interface Connection {
  readonly socket: Socket;
  readonly inFlight: InFlight;
  /** Messages that came by it: where there are some it was good once. */
  received: number;
}

export class TcpUpstream {
  readonly #server: ServerAddress;
  readonly #namespace: string | null;
  readonly #onEmpty: () => void;
  #connection: Connection | null = null;
  /** Questions that wait for an answer. */
  #asking = 0;
  #closed = false;

  /** Asks out of a network namespace, null for the one of this process. `onEmpty` is called when there is neither a
   * connection nor a question. */
  constructor(server: ServerAddress, namespace: string | null, onEmpty: () => void) {
    this.#server = server;
    this.#namespace = namespace;
    this.#onEmpty = onEmpty;
  }

  /** The answer; null where there is none within `timeout` ms, or the server is not there. Never rejects. */
  async ask(query: Buffer, timeout: number): Promise<Buffer | null> {
    this.#asking++;
    const connection = this.#connection ?? this.#open(timeout);
    const good = connection.received > 0;
    let answer = await this.#askOver(connection, query, timeout);
    // a server may close a connection that it finds idle at any time: section 6.2.4
    if (answer === 'closed' && good && !this.#closed) {
      answer = await this.#askOver(this.#connection ?? this.#open(timeout), query, timeout);
    }
    this.#asking--;
    this.#forget();
    return answer === 'closed' ? null : answer;
  }

  close(): void {
    this.#closed = true;
    this.#connection?.socket.destroy();
  }

  async #askOver(connection: Connection, query: Buffer, timeout: number): Promise<Buffer | 'closed' | null> {
    const { socket, inFlight } = connection;
    if (socket.writableLength > UNSENT) return null;
    const before = connection.received;
    const { bytes, answer } = inFlight.ask(query, timeout);
    socket.write(frame(bytes));
    const got = await answer;
    if (got === null && socket.destroyed) return 'closed';
    // whoever is at its other end is gone, and the kernel would go on for a quarter of an hour
    if (got === null && connection.received === before) this.#drop(connection);
    return got;
  }

  #open(timeout: number): Connection {
    const socket = connectNow(this.#server, this.#namespace);
    const connection: Connection = { socket, inFlight: new InFlight(), received: 0 };
    const frames = new Frames();
    socket.setTimeout(Math.max(IDLE, timeout), () => socket.destroy());
    socket.on('data', (chunk) => {
      for (const message of frames.push(chunk)) {
        connection.received++;
        connection.inFlight.take(message);
      }
    });
    socket.on('error', () => {}); // close follows
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#drop(connection));
    this.#connection = connection;
    return connection;
  }

  #drop(connection: Connection): void {
    if (this.#connection === connection) this.#connection = null;
    connection.socket.destroy();
    connection.inFlight.fail();
    this.#forget();
  }

  #forget(): void {
    if (this.#connection === null && this.#asking === 0) this.#onEmpty();
  }
}

/** Connects out of a namespace. With an address `connect` would do so a turn later and by then in another namespace;
 * with a name it does when the name is looked up, which happens at once here. */
function connectNow({ address, port }: ServerAddress, namespace: string | null): Socket {
  const options = { host: 'server', port, noDelay: true, autoSelectFamily: false, lookup: lookupOf(address) };
  try {
    return inNamespace(namespace, () => connect(options));
  } catch (error) {
    // the namespace is gone
    return new Socket().destroy(error as Error);
  }
}

function lookupOf(address: string) {
  return (
    _host: string,
    _options: unknown,
    done: (error: null, address: string, family: number) => void,
  ): void => done(null, address, isIP(address));
}
