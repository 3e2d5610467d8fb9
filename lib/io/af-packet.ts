/**
 * A network device as it is, by a packet socket (Linux, `koffi`; packet(7)): what arrives at the device comes in, a
 * copy of it, and what is sent leaves by it. The system's own stack goes on using the device; take its addresses
 * away where it should not answer.
 *
 * - Each frame has a virtio header (native/vnet.ts): what the device or the stack behind it put together comes as one
 *   super-frame, and super-frames and partial checksums can be sent, which the kernel or the device completes.
 * - A VLAN tag that the kernel took off is put back.
 * - What this machine sends by the device does not come in.
 *
 * A device that goes down or away ends the port: `onError` is told NO_SUCH_DEVICE.
 */
import type { Batch } from '../core/batch.ts';
import * as drops from '../core/drop.ts';
import { GSO_NONE, type Packet } from '../core/packet.ts';
import type { Poll } from '../core/poll.ts';
import { Burst, type Taker } from './native/burst.ts';
import * as c from './native/constants.ts';
import { portError } from './native/errors.ts';
import { takeFrame, takesFrame } from './native/frames.ts';
import { libc } from './native/libc.ts';
import { inNamespace } from './native/link.ts';
import { Missed } from './native/missed.ts';
import { OutBurst } from './native/out-burst.ts';
import { openPacket } from './native/packet-socket.ts';
import { Poller } from './native/poller.ts';
import { Refusals } from './native/refusals.ts';
import * as vnet from './native/vnet.ts';
import { integer } from './options.ts';
import {
  CHECKSUM,
  dropAll,
  ETHERNET,
  GAPS,
  type Port,
  PortError,
  type PortHost,
  PortStats,
  TSO4,
  TSO6,
  USO,
} from './port.ts';

export interface AfPacketOptions {
  /** A device by name, such as `eth0`. */
  device: string;
  /** Where the device is: a name of `ip netns`, or a path as `/proc/PID/ns/net`. Default: here. */
  namespace?: string;
  /** Largest IP packet in bytes to send, 68..65521. Default 1500. */
  mtu?: number;
  /** Whether frames to other MAC addresses than the device's come in. Default false. */
  promiscuous?: boolean;
  /** Whether super-frames are taken to be sent. They come in in any case. Default true. */
  offload?: boolean;
  /** Whether what is sent passes by the device's queue: faster, but nothing shapes it. Default false. */
  bypass?: boolean;
  /** Bytes that the kernel may hold for us to receive. Default 8 MiB, as far as it allows. */
  receiveBuffer?: number;
  /** Bytes that the kernel may hold for us to send. Default 4 MiB, as far as it allows. */
  sendBuffer?: number;
  /** For counters and messages. Default: the device. */
  name?: string;
}

// struct tpacket_auxdata (linux/if_packet.h), and a VLAN tag.
const TCI = 16;
const TPID = 18;
const TAG = 4;
const MACS = 12;

export class AfPacketPort implements Port, Taker {
  readonly name: string;
  readonly medium = ETHERNET;
  readonly mtu: number;
  readonly offloads: number;
  readonly stats = new PortStats();
  readonly device: string;
  onError: ((error: PortError) => void) | null = null;

  readonly #options: AfPacketOptions;
  readonly #receiveBuffer: number;
  readonly #sendBuffer: number;
  readonly #refusals: Refusals;
  #poll: Poll | null = null;
  #in: Burst | null = null;
  #out: OutBurst | null = null;
  #missed: Missed | null = null;
  #fd = -1;

  /** Throws a TypeError or RangeError for options that make no sense. */
  constructor(options: AfPacketOptions) {
    this.#options = options;
    this.device = options.device;
    if (typeof this.device !== 'string' || !/^[^\s/]{1,15}$/.test(this.device)) {
      throw new RangeError(`"device" expected a device's name of 1 to 15 characters, got "${this.device}"`);
    }
    this.name = options.name ?? this.device;
    this.mtu = integer('mtu', options.mtu ?? 1500, 68, 65521) + 14;
    this.#receiveBuffer = integer('receiveBuffer', options.receiveBuffer ?? 8 << 20, 1, 1 << 30);
    this.#sendBuffer = integer('sendBuffer', options.sendBuffer ?? 4 << 20, 1, 1 << 30);
    this.offloads =
      CHECKSUM | GAPS | (options.offload === false ? 0 : TSO4 | TSO6 | (vnet.KERNEL_HAS_USO ? USO : 0));
    this.#refusals = new Refusals(this.name);
  }

  get drained(): boolean {
    return this.#in?.drained ?? false;
  }

  async open(host: PortHost): Promise<void> {
    if (this.#fd >= 0) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    const { namespace = null, promiscuous = false, bypass = false } = this.#options;
    const wanted = {
      device: this.device,
      promiscuous,
      bypass,
      receiveBuffer: this.#receiveBuffer,
      sendBuffer: this.#sendBuffer,
    };
    const fd = inNamespace(namespace, () => openPacket(wanted));
    try {
      this.#poll = host.poll(() => new Poller());
      this.#poll.add(fd, host.wake);
    } catch (error) {
      libc().close(fd);
      throw error;
    }
    this.#fd = fd;
    this.#prepare(fd, host);
    host.wake();
  }

  #prepare(fd: number, host: PortHost): void {
    this.#in ??= new Burst(vnet.SIZE);
    this.#out ??= new OutBurst(this.stats);
    this.#missed ??= new Missed(this.stats);
    this.#in.open(fd, host);
    this.#out.open(fd);
    this.#missed.open(fd, host.clock.now);
    this.#out.onRefused = (errno, bytes) => this.#refused(errno, bytes);
    this.#refusals.open(host);
  }

  receive(batch: Batch): number {
    if (this.#fd < 0) return batch.length;
    const errno = this.#in!.receive(batch, this);
    // A super-frame of a kind for which the kernel has no header, as of SCTP: it is gone.
    if (errno === c.EINVAL) this.stats.lost(drops.MALFORMED);
    else if (errno !== 0) this.#fail(errno);
    return batch.length;
  }

  take(i: number, _bytes: number, p: Packet | null, batch: Batch): void {
    if (p !== null && this.#in!.messages.truncated(i)) {
      this.stats.drop(p, drops.TOO_BIG);
      return;
    }
    const n = batch.length;
    takeFrame(p, this.stats, batch);
    if (batch.length > n) this.#restoreTag(i, p!);
  }

  /** Puts a VLAN tag back behind the MAC addresses. */
  #restoreTag(i: number, p: Packet): void {
    const { messages, slab } = this.#in!;
    const at = messages.control(i, c.SOL_PACKET, c.PACKET_AUXDATA);
    const status = at < 0 ? 0 : slab.view.getUint32(at, true);
    if ((status & c.TP_STATUS_VLAN_VALID) === 0 || p.end - p.start < MACS) return;
    const v = p.view;
    const from = p.start;
    p.start -= TAG;
    for (let k = 0; k < MACS; k += 4) v.setInt32(p.start + k, v.getInt32(from + k));
    const known = (status & c.TP_STATUS_VLAN_TPID_VALID) !== 0;
    v.setUint16(p.start + MACS, known ? slab.view.getUint16(at + TPID, true) : c.ETH_P_8021Q);
    v.setUint16(p.start + MACS + 2, slab.view.getUint16(at + TCI, true));
    if (p.gsoType !== GSO_NONE) p.hdrLen += TAG;
  }

  send(batch: Batch): void {
    if (this.#fd < 0) {
      dropAll(batch, this.stats, drops.CLOSED);
      return;
    }
    const out = this.#out!;
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      if (!takesFrame(this, p)) {
        this.stats.drop(p, drops.TOO_BIG);
        continue;
      }
      out.next(p);
      vnet.write(p);
      out.add(p, vnet.SIZE, 0);
    }
    batch.clear();
    out.flush();
  }

  #refused(errno: number, bytes: number): void {
    if (this.#refusals.due()) this.#refusals.tell(errno, `a frame of ${bytes} bytes`);
  }

  /** Counts what the kernel has dropped because nobody received it in time. */
  tick(now: number): void {
    if (this.#fd >= 0) this.#missed!.tick(now);
  }

  async close(): Promise<void> {
    this.#stop();
  }

  #fail(errno: number): void {
    if (this.#fd < 0) return;
    this.#stop();
    this.onError?.(portError(errno, `"${this.device}" has failed`));
  }

  #stop(): void {
    if (this.#fd < 0) return;
    this.#missed!.look();
    this.#poll!.remove(this.#fd);
    libc().close(this.#fd);
    this.#fd = -1;
  }
}
