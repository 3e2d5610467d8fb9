/**
 * IP packets of one protocol, their headers included, over the system's raw sockets (Linux, `koffi`): what carries
 * ESP on IP protocol 50 between tunnel endpoints (RFC 4303), IPv4 and IPv6.
 *
 * What the system does to the headers (raw(7), ipv6(7)):
 *
 * - Sending, it fills the checksum of IPv4, and the identification where it is 0. All else leaves as it is: DF, TOS,
 *   hop limit, flow label. A packet longer than the device's MTU is refused, counted, and told. It is never
 *   fragmented.
 * - Receiving, fragments were put together, and the headers of IPv6 are made again of what the system tells of them,
 *   without extension headers.
 *
 * Only what is for `address` comes in. Whom it is from, and whether that is a peer, is for the elements behind.
 * There is no segmentation offload for protocol 50: ESP in UDP, through the native UDP port, is faster by far.
 */
import { format, type Ip, parse } from '../../codecs/ip.ts';
import * as protocols from '../../codecs/protocol.ts';
import type { Batch } from '../core/batch.ts';
import * as drops from '../core/drop.ts';
import type { Poll } from '../core/poll.ts';
import { portError } from './native/errors.ts';
import { libc } from './native/libc.ts';
import { Missed } from './native/missed.ts';
import { Poller } from './native/poller.ts';
import { openRaw, RawReceiver, RawSender } from './native/raw-socket.ts';
import { Refusals } from './native/refusals.ts';
import { integer } from './options.ts';
import { CHECKSUM, dropAll, IP, type Port, PortError, type PortHost, PortStats, takes } from './port.ts';

export interface RawNativeOptions {
  /** An address of this machine, or `0.0.0.0` or `::` for all of a family. */
  address: string;
  /** IP protocol number, 1..254. Default 50, ESP. */
  protocol?: number;
  /** Largest IP packet in bytes, 576..65535. Default 1500. */
  mtu?: number;
  /** Bytes that the kernel may hold for us to receive. Default 8 MiB, as far as it allows. */
  receiveBuffer?: number;
  /** Bytes that the kernel may hold for us to send. Default 4 MiB, as far as it allows. */
  sendBuffer?: number;
  /** For counters and messages. Default `raw`. */
  name?: string;
}

export class RawNativePort implements Port {
  readonly name: string;
  readonly medium = IP;
  readonly mtu: number;
  readonly offloads = CHECKSUM;
  readonly stats = new PortStats();
  /** Where it receives. */
  readonly address: string;
  readonly protocol: number;
  onError: ((error: PortError) => void) | null = null;

  readonly #ip: Ip;
  readonly #receiveBuffer: number;
  readonly #sendBuffer: number;
  readonly #refusals: Refusals;
  #poll: Poll | null = null;
  #receiver: RawReceiver | null = null;
  #sender: RawSender | null = null;
  #missed: Missed | null = null;
  #fd = -1;

  /** Throws a TypeError or RangeError for options that make no sense. */
  constructor(options: RawNativeOptions) {
    this.#ip = parse(options.address);
    this.address = format(this.#ip);
    this.name = options.name ?? 'raw';
    this.protocol = integer('protocol', options.protocol ?? protocols.ESP, 1, 254);
    this.mtu = integer('mtu', options.mtu ?? 1500, 576, 65535);
    this.#receiveBuffer = integer('receiveBuffer', options.receiveBuffer ?? 8 << 20, 1, 1 << 30);
    this.#sendBuffer = integer('sendBuffer', options.sendBuffer ?? 4 << 20, 1, 1 << 30);
    this.#refusals = new Refusals(this.name);
  }

  get drained(): boolean {
    return this.#receiver?.drained ?? false;
  }

  async open(host: PortHost): Promise<void> {
    if (this.#fd >= 0) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    const { family } = this.#ip;
    const fd = openRaw({
      address: this.#ip,
      protocol: this.protocol,
      receiveBuffer: this.#receiveBuffer,
      sendBuffer: this.#sendBuffer,
    });
    try {
      this.#poll = host.poll(() => new Poller());
      this.#poll.add(fd, host.wake);
    } catch (error) {
      libc().close(fd);
      throw error;
    }
    this.#fd = fd;
    this.#receiver ??= new RawReceiver(family, this.protocol, this.stats);
    this.#receiver.open(fd, host);
    this.#sender ??= new RawSender(family, this.stats, (errno, bytes) => {
      if (this.#refusals.due()) this.#refusals.tell(errno, `a packet of ${bytes} bytes`);
    });
    this.#sender.open(fd);
    this.#missed ??= new Missed(this.stats);
    this.#missed.open(fd, host.clock.now);
    this.#refusals.open(host);
    host.wake();
  }

  receive(batch: Batch): number {
    if (this.#fd < 0) return batch.length;
    const errno = this.#receiver!.receive(batch);
    if (errno !== 0) this.#fail(errno);
    return batch.length;
  }

  send(batch: Batch): void {
    if (this.#fd < 0) {
      dropAll(batch, this.stats, drops.CLOSED);
      return;
    }
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      if (takes(this, p)) packets[n++] = p;
      else this.stats.drop(p, drops.TOO_BIG);
    }
    if (n > 0) this.#sender!.send(packets, n);
    batch.clear();
  }

  /** Counts what the kernel has dropped because nobody received it in time. */
  tick(now: number): void {
    if (this.#fd >= 0) this.#missed!.tick(now);
  }

  async close(): Promise<void> {
    this.#stop();
  }

  #fail(errno: number): void {
    this.#stop();
    this.onError?.(portError(errno, `the raw socket of ${this.address} failed`));
  }

  #stop(): void {
    if (this.#fd < 0) return;
    this.#missed!.look();
    this.#poll!.remove(this.#fd);
    libc().close(this.#fd);
    this.#fd = -1;
  }
}
