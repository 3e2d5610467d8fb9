/**
 * The portable underlay: UDP datagrams over `node:dgram`, on IPv4 or IPv6, without any privilege.
 *
 * A datagram's payload is the frame. Outer headers are the operating system's, which means:
 *
 * - The source port, RFC 7348's entropy for routers that spread flows (section 5), can only be chosen by
 *   choosing a socket: a handful of sockets send, one flow always through the same, by `packet.hash`.
 *   Nothing is received on them but the listening socket, and a peer is known by its address alone.
 * - TOS can neither be set nor read: datagrams leave as Not-ECT and `packet.tos` is 0. That is the
 *   compatibility mode of RFC 6040 section 4.3; a congestion mark made underway is not seen.
 * - Don't Fragment cannot be set. Linux sets it where a datagram fits the path MTU that it knows and fragments
 *   what does not, so RFC 7348 section 4.3 holds as long as `mtu` is what the path carries.
 * - The UDP checksum is always sent, and verified on receipt where it is there.
 *
 * dgram makes a system call, a buffer, a request and a callback for every datagram; that is most of the cost.
 */
import type dgram from 'node:dgram';
import { format, parse } from '../../codecs/ip.ts';
import { MAX_PAYLOAD } from '../../codecs/udp.ts';
import { BATCH, type Batch } from '../core/batch.ts';
import * as drops from '../core/drop.ts';
import { NONE, type Packet } from '../core/packet.ts';
import { Ring } from '../core/ring.ts';
import { VtepTable } from '../tables/vtep.ts';
import { integer } from './options.ts';
import { DATAGRAM, dropAll, type Port, PortError, type PortHost, PortStats, takes } from './port.ts';
import { attempt, bind, Directory, Sender, shut } from './udp-socket.ts';
import { openSources } from './udp-sources.ts';

export interface UdpOptions {
  /** An address of this machine, or `0.0.0.0` or `::` for all of a family. Link-local addresses do not work. */
  address: string;
  /** UDP port to listen on, 0 for any that is free. Default 4789. */
  port?: number;
  /** Largest UDP payload in bytes, 548..65507. Default: what 1500 leaves, 1472 on IPv4 and 1452 on IPv6. */
  mtu?: number;
  /** How many sockets send, each from a port of its own in 49152..65535; 1 sends from the listening port.
   * 1..64, default 16. */
  sourcePorts?: number;
  /** Bytes that the kernel may hold for us to receive, as far as it allows. Default 4 MiB. */
  receiveBuffer?: number;
  /** Bytes that the kernel may hold for each sending socket, as far as it allows. Default: the system's. */
  sendBuffer?: number;
  /** Packets that may wait to be received, a power of two. Default 1024. */
  capacity?: number;
  /** For counters and messages. Default `udp`. */
  name?: string;
}

export class UdpPort implements Port {
  readonly name: string;
  readonly medium = DATAGRAM;
  readonly mtu: number;
  readonly offloads = 0;
  readonly stats = new PortStats();
  readonly peers = new VtepTable();
  /** Where it listens. */
  readonly address: string;
  onError: ((error: PortError) => void) | null = null;

  readonly #wanted: number;
  readonly #sourcePorts: number;
  readonly #receiveBuffer: number;
  readonly #sendBuffer: number;
  readonly #arrived: Ring;
  readonly #directory: Directory;
  #host: PortHost | null = null;
  /** Empty unless open; the last one listens. */
  #sockets: dgram.Socket[] = [];
  #senders: Sender[] = [];
  #port: number;

  /** Throws a TypeError or RangeError for options that make no sense. */
  constructor(options: UdpOptions) {
    const ip = parse(options.address);
    this.address = format(ip);
    this.name = options.name ?? 'udp';
    this.mtu = integer('mtu', options.mtu ?? (ip.family === 4 ? 1472 : 1452), 548, MAX_PAYLOAD);
    this.#port = this.#wanted = integer('port', options.port ?? 4789, 0, 65535);
    this.#sourcePorts = integer('sourcePorts', options.sourcePorts ?? 16, 1, 64);
    this.#receiveBuffer = integer('receiveBuffer', options.receiveBuffer ?? 4 << 20, 1, 1 << 30);
    this.#sendBuffer = integer('sendBuffer', options.sendBuffer ?? 0, 0, 1 << 30);
    this.#arrived = new Ring(options.capacity ?? 1024);
    this.#directory = new Directory(this.peers, ip.family);
  }

  /** The UDP port that it listens on; 0 where any will do and it was never open. */
  get port(): number {
    return this.#port;
  }

  async open(host: PortHost): Promise<void> {
    if (this.#host !== null) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    this.#host = host;
    const sockets: dgram.Socket[] = [];
    try {
      // The listening socket comes last: nothing arrives before all is ready.
      const sources = this.#sourcePorts > 1 ? this.#sourcePorts : 0;
      await openSources(sockets, sources, this.#wanted, this.address, (port) => bind(this.address, port));
      sockets.push(await bind(this.address, this.#wanted));
      if (this.#host !== host) throw new PortError('STATE', `"${this.name}" was closed while it opened`);
    } catch (error) {
      await Promise.all(sockets.map(shut));
      if (this.#host === host) this.#host = null;
      throw error;
    }
    this.#start(sockets);
  }

  /** Takes the sockets into service; the last is the one that listens. */
  #start(sockets: dgram.Socket[]): void {
    const listener = sockets.at(-1)!;
    const senders = sockets.length === 1 ? sockets : sockets.slice(0, -1);
    for (const socket of sockets) socket.on('error', (error) => this.#fail(socket, error));
    for (const socket of senders) {
      if (this.#sendBuffer > 0) attempt(() => socket.setSendBufferSize(this.#sendBuffer));
      // Peers answer to the listening port (RFC 7348 section 5); what comes here anyway is refused.
      if (socket !== listener) socket.on('message', () => this.stats.lost(drops.NOT_FOR_US));
    }
    attempt(() => listener.setRecvBufferSize(this.#receiveBuffer));
    listener.on('message', (payload, from) => this.#arrive(payload, from.address));
    this.#senders = senders.map((socket) => new Sender(socket, this.stats));
    this.#sockets = sockets;
    this.#port = listener.address().port;
  }

  #arrive(payload: Uint8Array, from: string): void {
    const { pool, wake } = this.#host!;
    const peer = this.#directory.peerOf(from);
    if (peer === NONE) this.stats.lost(drops.UNKNOWN_PEER);
    else if (payload.length > pool.maxFrame) this.stats.lost(drops.TOO_BIG);
    else if (this.#arrived.length === this.#arrived.capacity) this.stats.lost(drops.PORT_FULL);
    else {
      const p = pool.take();
      if (p === null) {
        this.stats.lost(drops.POOL_DRY);
        return;
      }
      p.set(payload);
      p.peer = peer;
      this.#arrived.put(p);
      if (this.#arrived.length === 1) wake();
    }
  }

  receive(batch: Batch): number {
    while (batch.length < BATCH) {
      const p = this.#arrived.get();
      if (p === null) break;
      this.stats.received(p.length);
      batch.add(p);
    }
    return batch.length;
  }

  send(batch: Batch): void {
    if (this.#sockets.length === 0) {
      dropAll(batch, this.stats, drops.CLOSED);
      return;
    }
    for (let i = 0; i < batch.length; i++) this.#sendOne(batch.packets[i]);
    batch.clear();
    for (let i = 0; i < this.#senders.length; i++) this.#senders[i].giveBack();
  }

  #sendOne(p: Packet): void {
    const way = this.#directory.wayTo(p.peer);
    if (!takes(this, p)) this.stats.drop(p, drops.TOO_BIG);
    else if (way === undefined) this.stats.drop(p, drops.UNKNOWN_PEER);
    else this.#senders[(p.hash >>> 0) % this.#senders.length].send(p, way);
  }

  /** Resolves when the kernel has what was sent, and the sockets are closed. */
  async close(): Promise<void> {
    const senders = this.#senders;
    const sockets = this.#stop();
    await Promise.all(senders.map((sender) => sender.finish()));
    await Promise.all(sockets.map(shut));
  }

  #fail(socket: dgram.Socket, error: Error): void {
    if (!this.#sockets.includes(socket)) return;
    const senders = this.#senders;
    const sockets = this.#stop();
    for (const socket of sockets) socket.close();
    for (const sender of senders) sender.abandon();
    this.onError?.(
      new PortError('IO', `UDP port ${this.#port} of ${this.address} failed: ${error.message}`, error),
    );
  }

  /** Takes the sockets out of service and hands them over, to be closed. */
  #stop(): dgram.Socket[] {
    const sockets = this.#sockets;
    for (const socket of sockets) socket.removeAllListeners('message');
    this.#sockets = [];
    this.#senders = [];
    this.#host = null;
    for (let p = this.#arrived.get(); p !== null; p = this.#arrived.get()) this.stats.drop(p, drops.CLOSED);
    return sockets;
  }
}
