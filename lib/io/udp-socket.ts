/**
 * What the UDP port is made of: sockets of `node:dgram` that are bound with reasons in words, send with few
 * allocations of ours, and speak of peers by the strings that dgram wants.
 */
import dgram from 'node:dgram';
import { format } from '../../codecs/ip.ts';
import * as drops from '../core/drop.ts';
import { NONE, type Packet } from '../core/packet.ts';
import { Ring } from '../core/ring.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { PortStats } from './port.ts';
import { udpRefusal } from './udp-sources.ts';

/** Datagrams of each sending socket that wait until the kernel has room again. */
const WAITING = 128;

/** A socket that sends, and the packets whose bytes it still needs. */
export class Sender {
  readonly #socket: dgram.Socket;
  readonly #stats: PortStats;
  /** Oldest first. libuv sends in order, so as many as are not in its queue any more are done. */
  readonly #waiting = new Ring(WAITING);
  /** Callbacks that are still to come. */
  #pending = 0;
  #finished: (() => void) | null = null;

  constructor(socket: dgram.Socket, stats: PortStats) {
    this.#socket = socket;
    this.#stats = stats;
  }

  /** Sends a packet, or drops it where too many wait. Call {@link giveBack} after a batch. */
  send(p: Packet, to: Way): void {
    if (!this.#waiting.put(p)) {
      this.#stats.drop(p, drops.PORT_FULL);
      return;
    }
    this.#pending++;
    this.#socket.send(p.bytes, p.start, p.length, to.port, to.address, this.#sent);
  }

  /** Gives back the packets that the kernel has copied: mostly all, without waiting for the callbacks. */
  giveBack(): void {
    if (this.#waiting.length === 0) return;
    for (let n = this.#waiting.length - this.#socket.getSendQueueCount(); n > 0; n--) this.#giveOldest();
  }

  /** Resolves when nothing waits any more. */
  finish(): Promise<void> {
    return new Promise((resolve) => {
      this.#finished = resolve;
      if (this.#pending === 0) resolve();
    });
  }

  /** Gives back everything: the socket is closed and reads nothing any more. */
  abandon(): void {
    while (this.#waiting.length > 0) this.#giveOldest();
  }

  #giveOldest(): void {
    const p = this.#waiting.get()!;
    p.pool.give(p);
  }

  readonly #sent = (error: NodeJS.ErrnoException | null, bytes: number): void => {
    if (error === null) this.#stats.sent(bytes);
    else this.#stats.lost(error.code === 'EMSGSIZE' ? drops.TOO_BIG : drops.PORT_ERROR);
    this.giveBack();
    if (--this.#pending === 0) this.#finished?.();
  };
}

export interface Way {
  readonly address: string;
  readonly port: number;
}

/** The table of peers in the words of dgram, made anew when the table has changed. */
export class Directory {
  readonly #peers: VtepTable;
  readonly #family: 4 | 6;
  readonly #numbers = new Map<string, number>();
  readonly #ways: (Way | undefined)[] = [];
  #version = -1;

  constructor(peers: VtepTable, family: 4 | 6) {
    this.#peers = peers;
    this.#family = family;
  }

  /** The number of a source address as dgram prints it, or NONE. Strangers cost a look-up and no memory. */
  peerOf(address: string): number {
    if (this.#version !== this.#peers.version) this.#rebuild();
    return this.#numbers.get(address) ?? NONE;
  }

  /** Where a peer is reached, or undefined: not known, of the other family, or with a port that there is not. */
  wayTo(peer: number): Way | undefined {
    if (this.#version !== this.#peers.version) this.#rebuild();
    return peer < 0 || peer >= this.#ways.length ? undefined : this.#ways[peer];
  }

  #rebuild(): void {
    this.#version = this.#peers.version;
    this.#numbers.clear();
    this.#ways.length = 0;
    for (const [peer, vtep] of this.#peers.entries()) {
      const { family } = vtep.address;
      if (family !== this.#family || !(vtep.port >= 1 && vtep.port <= 65535)) continue;
      const address = format(vtep.address);
      this.#numbers.set(address, peer);
      while (this.#ways.length < peer) this.#ways.push(undefined);
      this.#ways[peer] = { address, port: vtep.port };
    }
  }
}

/** dgram looks every address up; ours are addresses already, and answering at once costs no turn. */
const lookup: NonNullable<dgram.SocketOptions['lookup']> = (address, _options, done) => {
  done(null, address, address.includes(':') ? 6 : 4);
};

/** A bound socket. Rejects with a PortError. */
export function bind(address: string, port: number): Promise<dgram.Socket> {
  const v6 = address.includes(':');
  const socket = dgram.createSocket({ type: v6 ? 'udp6' : 'udp4', ipv6Only: v6, lookup });
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      socket.close();
      reject(udpRefusal(error.code ?? '', error.message, address, port));
    };
    socket.on('error', refuse);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.on('error', () => {}); // whoever takes the socket listens for more than that
      socket.off('error', refuse);
      resolve(socket);
    });
  });
}

export function shut(socket: dgram.Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}

/** Asks for what the system may refuse: buffer sizes, where it does not just take what it allows. */
export function attempt(step: () => void): void {
  try {
    step();
  } catch {}
}
