/** Takes questions by TCP at one address, as RFC 7766 says, from so many clients. */

import dns from 'node:dns';
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { type ClientLimits, TcpClient } from './tcp-client.ts';
import type { Answer } from './udp-listener.ts';

export interface TcpLimits extends ClientLimits {
  /** Connections in all, and of one address. */
  readonly clients: number;
  readonly perAddress: number;
}

export const TCP_LIMITS: TcpLimits = { idle: 10_000, clients: 512, perAddress: 64, pipelined: 128 };

export class TcpListener {
  readonly #server: Server;
  readonly #answer: Answer;
  readonly #limits: TcpLimits;
  readonly #clients = new Map<Socket, string>();
  /** Resolves when it listens, rejects where it cannot or is closed before. */
  readonly ready: Promise<void>;

  /** Binds at once, in the network namespace that this thread is in; `ready` tells of errors. */
  constructor(address: string, port: number, answer: Answer, limits: TcpLimits) {
    this.#answer = answer;
    this.#limits = limits;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#server.maxConnections = limits.clients;
    this.ready = new Promise((resolve, reject) => {
      this.#server.once('listening', resolve).once('error', reject);
      this.#server.once('close', () => reject(new Error('it was closed meanwhile')));
    });
    this.ready.catch(() => {}); // whoever waits for it sees it
    this.#server.on('error', () => {}); // no descriptor for one more client: the others stay
    listenNow(this.#server, address, port);
  }

  close(): void {
    for (const socket of this.#clients.keys()) socket.destroy();
    this.#server.close();
  }

  #accept(socket: Socket): void {
    const from = socket.remoteAddress;
    socket.on('error', () => {}); // close follows
    const same = [...this.#clients.values()].filter((address) => address === from).length;
    if (from === undefined || same >= this.#limits.perAddress) return void socket.destroy();
    this.#clients.set(socket, from);
    new TcpClient(socket, from, this.#answer, this.#limits);
    socket.on('close', () => this.#clients.delete(socket));
  }
}

/** `listen` with an address looks the address up, a turn later and by then in another namespace: here the look-up
 * happens at once. */
function listenNow(server: Server, host: string, port: number): void {
  const lookup = dns.lookup;
  let asked = false;
  const now = (address: string, options: unknown, done: unknown) => {
    const call = (typeof options === 'function' ? options : done) as (...all: unknown[]) => void;
    asked = true;
    call(null, address, isIP(address));
  };
  dns.lookup = now as unknown as typeof dns.lookup;
  try {
    server.listen({ host, port, ipv6Only: isIP(host) === 6, backlog: 128, exclusive: true });
  } finally {
    dns.lookup = lookup;
  }
  if (!asked) throw new Error('this version of Node.js binds TCP sockets in a way of its own');
}
