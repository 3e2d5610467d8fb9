/**
 * Asks a name server by UDP. A few connected sockets carry many questions each; which one carries a question is chance,
 * and a socket is soon replaced by one with another port, so that an answer is as hard to guess as RFC 5452 section 9.2
 * wants. Connected, because then the kernel drops what others send, and tells of a server that is not there.
 */
import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIP } from 'node:net';
import { inNamespace } from 'packetweave';
import { InFlight } from './in-flight.ts';
import type { ServerAddress } from './server-address.ts';

/** Sockets of one server. */
const SOCKETS = 8;
/** Questions that a socket carries, while there is room for new sockets. */
const QUESTIONS = 128;
/** Sockets that still wait for answers, beside those that are asked. */
const WAITING = 24;
/** Milliseconds that a socket is used. */
const AGE = 10_000;
/** A question without an answer is sent once more, after this part of its time: datagrams are lost now and then, and
 * whoever asks the same meanwhile waits for the same answer. */
const AGAIN = 1 / 4;

interface Wire {
  readonly socket: Socket;
  readonly inFlight: InFlight;
  carried: number;
  readonly retire: NodeJS.Timeout;
}

export class UdpUpstream {
  readonly #server: ServerAddress;
  readonly #namespace: string | null;
  readonly #wires: Wire[] = [];
  readonly #waiting = new Set<Wire>();
  readonly #onEmpty: () => void;

  /** Asks out of a network namespace, null for the one of this process. `onEmpty` is called when no socket is left. */
  constructor(server: ServerAddress, namespace: string | null, onEmpty: () => void) {
    this.#server = server;
    this.#namespace = namespace;
    this.#onEmpty = onEmpty;
  }

  /** The answer; null where there is none within `timeout` ms, or the server is not there. Never rejects. */
  async ask(query: Buffer, timeout: number): Promise<Buffer | null> {
    const wire = this.#wire();
    if (wire === null) return null;
    const { bytes, answer } = wire.inFlight.ask(query, timeout);
    wire.carried++;
    this.#send(wire, bytes);
    const again = setTimeout(() => this.#send(wire, bytes), timeout * AGAIN);
    const got = await answer;
    clearTimeout(again);
    if (this.#waiting.has(wire)) this.#closeIdle(wire);
    return got;
  }

  #send(wire: Wire, bytes: Buffer): void {
    try {
      wire.socket.send(bytes, (error) => {
        if (error !== null) this.#broken(wire);
      });
    } catch {
      // there is no way to the server: the socket was not connected, or was closed meanwhile
      this.#broken(wire);
    }
  }

  close(): void {
    for (const wire of [...this.#wires, ...this.#waiting]) this.#broken(wire);
  }

  #wire(): Wire | null {
    if (this.#wires.length < SOCKETS) return this.#open() ?? this.#wires[0] ?? null;
    const wire = this.#wires[randomInt(SOCKETS)];
    if (wire.carried < QUESTIONS || this.#waiting.size >= WAITING) return wire;
    const next = this.#open();
    if (next === null) return wire;
    this.#retire(wire);
    return next;
  }

  #open(): Wire | null {
    const type = isIP(this.#server.address) === 4 ? 'udp4' : 'udp6';
    const socket = createSocket({ type, lookup: literally });
    const wire: Wire = {
      socket,
      inFlight: new InFlight(),
      carried: 0,
      retire: setTimeout(() => this.#retire(wire), AGE).unref(),
    };
    let failed = false;
    socket.on('error', () => {
      failed = true;
      this.#broken(wire);
    });
    socket.on('message', (bytes) => wire.inFlight.take(bytes));
    try {
      inNamespace(this.#namespace, () => socket.connect(this.#server.port, this.#server.address));
    } catch {
      // the namespace is gone
      failed = true;
      this.#broken(wire);
    }
    if (failed) return null;
    this.#wires.push(wire);
    return wire;
  }

  #retire(wire: Wire): void {
    const i = this.#wires.indexOf(wire);
    if (i < 0) return;
    this.#wires.splice(i, 1);
    this.#waiting.add(wire);
    this.#closeIdle(wire);
  }

  #closeIdle(wire: Wire): void {
    if (wire.inFlight.size === 0) this.#broken(wire);
  }

  #broken(wire: Wire): void {
    clearTimeout(wire.retire);
    const i = this.#wires.indexOf(wire);
    if (i >= 0) this.#wires.splice(i, 1);
    this.#waiting.delete(wire);
    wire.inFlight.fail();
    try {
      wire.socket.close();
    } catch {
      // it was closed already
    }
    if (this.#wires.length === 0 && this.#waiting.size === 0) this.#onEmpty();
  }
}

/** Addresses need no name server, and no turn of the event loop. */
export function literally(
  host: string,
  _options: unknown,
  done: (error: null, address: string, family: number) => void,
): void {
  done(null, host, isIP(host));
}
