/**
 * The fast underlay: UDP datagrams over the system's sockets, on IPv4 or IPv6 (Linux, `koffi`).
 *
 * A datagram's payload is the frame, as with the portable port (udp.ts), and a peer is known by its address alone.
 * What is different:
 *
 * - Datagrams travel as trains: up to 64 of one length in one call and through the kernel in one piece
 *   (UDP_SEGMENT, UDP_GRO), which is most of what makes it fast. Super-frames are cut on the way out, their
 *   payload sent from where it lies; what comes in as a train is received as one packet.
 * - The outer TOS is set from `packet.tos` and noted there (RFC 6040).
 * - Don't Fragment is set, and what does not fit the path is refused and counted (RFC 7348 section 4.3).
 *
 * Linux 7.0 to 7.1.4 damage trains whose datagrams are equally long: when it is opened the port sends one to itself
 * over the loopback device, and does without where that comes out damaged. `segmentation` switches them off.
 */
import { format, type Ip, parse } from '../../codecs/ip.ts';
import { MAX_PAYLOAD } from '../../codecs/udp.ts';
import { BATCH, type Batch } from '../core/batch.ts';
import * as drops from '../core/drop.ts';
import type { Packet } from '../core/packet.ts';
import type { Poll } from '../core/poll.ts';
import { VtepTable } from '../tables/vtep.ts';
import { portError } from './native/errors.ts';
import { type Libc, libc } from './native/libc.ts';
import { Missed } from './native/missed.ts';
import { Poller } from './native/poller.ts';
import { Refusals } from './native/refusals.ts';
import { trainsAreWhole } from './native/self-test.ts';
import { UdpReceiver } from './native/udp-receiver.ts';
import { UdpSender } from './native/udp-sender.ts';
import { boundPort, openUdp } from './native/udp-sockets.ts';
import { integer } from './options.ts';
import {
  CHECKSUM,
  DATAGRAM,
  dropAll,
  GAPS,
  type Port,
  PortError,
  type PortHost,
  PortStats,
  TRAIN,
  TSO4,
  TSO6,
  takes,
  USO,
} from './port.ts';
import { openSources } from './udp-sources.ts';

export interface UdpNativeOptions {
  /** An address of this machine, or `0.0.0.0` or `::` for all of a family. */
  address: string;
  /** UDP port to listen on, 0 for any that is free. Default 4789. */
  port?: number;
  /** Largest UDP payload in bytes, 548..65507. Default: what 1500 leaves, 1472 on IPv4 and 1452 on IPv6. */
  mtu?: number;
  /** How many sockets send, each from a port of its own in 49152..65535; 1 sends from the listening port.
   * 1..64, default 16. */
  sourcePorts?: number;
  /** Bytes that the kernel may hold for us to receive. Default 8 MiB, as far as it allows. */
  receiveBuffer?: number;
  /** Bytes that the kernel may hold for each sending socket. Default 4 MiB, as far as it allows. */
  sendBuffer?: number;
  /** Whether datagrams travel as trains; `auto` where this kernel does not damage them. Default auto. */
  segmentation?: boolean | 'auto';
  /** For counters and messages. Default `udp`. */
  name?: string;
}

export class UdpNativePort implements Port {
  readonly name: string;
  readonly medium = DATAGRAM;
  readonly mtu: number;
  readonly offloads = CHECKSUM | TSO4 | TSO6 | USO | TRAIN | GAPS;
  readonly stats = new PortStats();
  readonly peers = new VtepTable();
  /** Where it listens. */
  readonly address: string;
  onError: ((error: PortError) => void) | null = null;

  readonly #ip: Ip;
  readonly #wanted: number;
  readonly #sourcePorts: number;
  readonly #receiveBuffer: number;
  readonly #sendBuffer: number;
  readonly #segmentation: boolean | 'auto';
  #libc: Libc | null = null;
  #host: PortHost | null = null;
  #poll: Poll | null = null;
  #receiver: UdpReceiver | null = null;
  #sender: UdpSender | null = null;
  #missed: Missed | null = null;
  /** Descriptors; empty unless open. The last one listens. */
  #sockets: number[] = [];
  /** Those that send. */
  #sending: number[] = [];
  /** The socket of each packet of a batch, and which sockets have any. */
  readonly #ways = new Uint8Array(BATCH);
  readonly #used = new Uint8Array(64);
  readonly #refusals: Refusals;
  #port: number;

  /** Throws a TypeError or RangeError for options that make no sense. */
  constructor(options: UdpNativeOptions) {
    this.#ip = parse(options.address);
    this.address = format(this.#ip);
    this.name = options.name ?? 'udp';
    this.#refusals = new Refusals(this.name);
    this.mtu = integer('mtu', options.mtu ?? (this.#ip.family === 4 ? 1472 : 1452), 548, MAX_PAYLOAD);
    this.#port = this.#wanted = integer('port', options.port ?? 4789, 0, 65535);
    this.#sourcePorts = integer('sourcePorts', options.sourcePorts ?? 16, 1, 64);
    this.#receiveBuffer = integer('receiveBuffer', options.receiveBuffer ?? 8 << 20, 1, 1 << 30);
    this.#sendBuffer = integer('sendBuffer', options.sendBuffer ?? 4 << 20, 0, 1 << 30);
    this.#segmentation = options.segmentation ?? 'auto';
    if (![true, false, 'auto'].includes(this.#segmentation)) {
      throw new TypeError(`"segmentation" expected true, false or "auto", got ${this.#segmentation}`);
    }
  }

  /** The UDP port that it listens on; 0 where any will do and it was never open. */
  get port(): number {
    return this.#port;
  }

  /** Whether trains are sent as such; false until it was opened. */
  get segmentation(): boolean {
    return this.#sender?.segmentation ?? false;
  }

  get drained(): boolean {
    return this.#receiver?.drained ?? false;
  }

  async open(host: PortHost): Promise<void> {
    if (this.#host !== null) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    this.#libc = libc();
    const trains = this.#segmentation === 'auto' ? this.#test(host) : this.#segmentation;
    const sockets: number[] = [];
    const open = (port: number, listening: boolean) =>
      openUdp({
        address: this.#ip,
        port,
        receiveBuffer: listening ? this.#receiveBuffer : 1,
        sendBuffer: this.#sendBuffer,
        gro: listening && trains,
      });
    try {
      // The listening socket comes last: nothing arrives before all is ready.
      const sources = this.#sourcePorts > 1 ? this.#sourcePorts : 0;
      await openSources(sockets, sources, this.#wanted, this.address, (port) => open(port, false));
      sockets.push(open(this.#wanted, true));
      this.#start(host, sockets, trains);
    } catch (error) {
      for (const fd of sockets) this.#libc.close(fd);
      throw error;
    }
  }

  #test(host: PortHost): boolean {
    const whole = trainsAreWhole(this.#ip.family);
    if (!whole) {
      host.log.warn(`"${this.name}": this kernel damages trains of datagrams, they are sent one by one`);
    }
    return whole;
  }

  /** Takes the sockets into service; the last is the one that listens. */
  #start(host: PortHost, sockets: number[], trains: boolean): void {
    const listener = sockets.at(-1)!;
    const { family } = this.#ip;
    this.#poll = host.poll(() => new Poller());
    this.#poll.add(listener, host.wake);
    this.#receiver ??= new UdpReceiver(this.peers, family, this.stats);
    this.#receiver.open(listener, host);
    this.#sender ??= new UdpSender(this.peers, family, this.stats, trains);
    this.#sender.segmentation = trains;
    this.#sender.onRefused = (errno, peer, bytes) => this.#refused(errno, peer, bytes);
    this.#refusals.open(host);
    this.#missed ??= new Missed(this.stats);
    this.#missed.open(listener, host.clock.now);
    this.#host = host;
    this.#sockets = sockets;
    this.#sending = sockets.length === 1 ? sockets : sockets.slice(0, -1);
    this.#port = boundPort(listener);
    host.wake();
  }

  receive(batch: Batch): number {
    if (this.#sockets.length === 0) return batch.length;
    const errno = this.#receiver!.receive(batch);
    if (errno !== 0) this.#fail(errno);
    return batch.length;
  }

  send(batch: Batch): void {
    if (this.#sockets.length === 0) {
      dropAll(batch, this.stats, drops.CLOSED);
      return;
    }
    const { packets, length } = batch;
    const sockets = this.#sending;
    let n = 0;
    let last = -1;
    let several = false;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      if (!takes(this, p)) {
        this.stats.drop(p, drops.TOO_BIG);
        continue;
      }
      const way = (p.hash >>> 0) % sockets.length;
      packets[n] = p;
      this.#ways[n++] = way;
      this.#used[way] = 1;
      if (last >= 0 && way !== last) several = true;
      last = way;
    }
    if (n > 0 && !several) this.#sendAll(packets, n, last);
    else
      for (let way = 0; way < sockets.length; way++)
        if (this.#used[way] === 1) this.#sendAll(packets, n, way);
    batch.clear();
  }

  /** Sends those of the first `n` packets that go by one socket. */
  #sendAll(packets: readonly Packet[], n: number, way: number): void {
    const sender = this.#sender!;
    this.#used[way] = 0;
    sender.begin(this.#sending[way]);
    for (let i = 0; i < n; i++) if (this.#ways[i] === way) sender.add(packets[i]);
    sender.flush();
  }

  #refused(errno: number, peer: number, bytes: number): void {
    if (!this.#refusals.due()) return;
    const to = this.peers.get(peer);
    const where = to === undefined ? 'a peer' : format(to.address);
    this.#refusals.tell(errno, `a datagram of ${bytes} bytes to ${where}`);
  }

  /** Counts what the kernel has dropped because nobody received it in time. */
  tick(now: number): void {
    if (this.#sockets.length > 0) this.#missed!.tick(now);
  }

  async close(): Promise<void> {
    this.#stop();
  }

  #fail(errno: number): void {
    this.#stop();
    this.onError?.(portError(errno, `UDP port ${this.#port} of ${this.address} failed`));
  }

  #stop(): void {
    if (this.#sockets.length === 0) return;
    this.#missed!.look();
    this.#poll!.remove(this.#sockets.at(-1)!);
    for (const fd of this.#sockets) this.#libc!.close(fd);
    this.#sockets = [];
    this.#sending = [];
    this.#host = null;
  }
}
