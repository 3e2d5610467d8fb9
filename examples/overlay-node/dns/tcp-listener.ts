/** Takes questions by TCP at one address, as RFC 7766 says: many on one connection, answered in any order. What one
 * client can hold is bounded: connections, questions on each, time without one, bytes that it does not read. */

import dns from 'node:dns';
import { once } from 'node:events';
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { Frames, frame } from './frames.ts';
import type { Answer } from './udp-listener.ts';

export interface TcpLimits {
  /** Milliseconds without a whole question. */
  readonly idle: number;
  /** Connections in all, and of one address. */
  readonly clients: number;
  readonly perAddress: number;
  /** Questions of one connection that are not answered yet. */
  readonly pipelined: number;
}

export const TCP_LIMITS: TcpLimits = { idle: 10_000, clients: 512, perAddress: 64, pipelined: 128 };

/** Bytes of replies that a client has not read. */
const UNREAD = 1 << 18;

export class TcpListener {
  readonly #server: Server;
  readonly #answer: Answer;
  readonly #limits: TcpLimits;
  readonly #clients = new Map<Socket, string>();
  /** Resolves when it listens, rejects where it cannot. */
  readonly ready: Promise<unknown>;

  /** Binds at once, in the network namespace that this thread is in; `ready` tells of errors. */
  constructor(address: string, port: number, answer: Answer, limits: TcpLimits) {
    this.#answer = answer;
    this.#limits = limits;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#server.maxConnections = limits.clients;
    this.ready = once(this.#server, 'listening');
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
    const frames = new Frames();
    let open = 0;
    const idle = setTimeout(() => (open > 0 ? idle.refresh() : socket.destroy()), this.#limits.idle);
    const reply = (bytes: Buffer | null) => {
      open--;
      if (bytes !== null && !socket.destroyed && socket.writableLength < UNREAD) socket.write(frame(bytes));
      else if (bytes !== null) socket.destroy();
      if (open < this.#limits.pipelined) socket.resume();
      if (open === 0 && socket.readableEnded) socket.end();
    };
    socket.on('data', (chunk) => {
      const messages = frames.push(chunk);
      if (messages.length > 0) idle.refresh();
      open += messages.length;
      if (open >= this.#limits.pipelined) socket.pause();
      for (const message of messages) this.#take(message, from, reply);
    });
    socket.on('end', () => open === 0 && socket.end());
    socket.on('close', () => {
      clearTimeout(idle);
      this.#clients.delete(socket);
    });
  }

  #take(message: Buffer, from: string, reply: (bytes: Buffer | null) => void): void {
    const answer = this.#answer(message, from, 'tcp');
    if (answer instanceof Promise) void answer.then(reply);
    else reply(answer);
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
