/**
 * TAP and TUN: the network stack of this machine, or of one of its namespaces, as a port (Linux, tuntap.rst in
 * the kernel's documentation). A TAP carries Ethernet frames, a TUN carries IP packets.
 *
 * With offloads on, the kernel hands over super-frames of up to 64 KiB whose checksums are still to be completed,
 * and takes such: a TCP flow then costs a system call for 45 segments. The header in front of each frame says
 * so (native/vnet.ts). It is checked, because whoever holds the device's other end makes it.
 *
 * The device is made when the port is opened, and goes when the port is closed, unless it is `persistent` or was
 * there before. Where it is deleted meanwhile, the port fails; where it goes down, frames sent to it are lost and
 * counted until it comes up.
 */
import { MAX_PAYLOAD } from '../../codecs/udp.ts';
import { BATCH, type Batch } from '../core/batch.ts';
import * as drops from '../core/drop.ts';
import { type Packet, segments, solidLength } from '../core/packet.ts';
import type { Poll } from '../core/poll.ts';
import * as c from './native/constants.ts';
import { portError } from './native/errors.ts';
import { takeFrame, takesFrame } from './native/frames.ts';
import { type Libc, libc } from './native/libc.ts';
import { inNamespace } from './native/link.ts';
import { BUDGET, Iovecs, Landing } from './native/memory.ts';
import { PIECES } from './native/out-burst.ts';
import { Poller } from './native/poller.ts';
import { reasonOf } from './native/refusals.ts';
import { addresses, Slab } from './native/slab.ts';
import { openTun, type TunDevice } from './native/tun-device.ts';
import * as vnet from './native/vnet.ts';
import { integer } from './options.ts';
import {
  CHECKSUM,
  dropAll,
  ETHERNET,
  GAPS,
  IP,
  type Medium,
  type Port,
  PortError,
  type PortHost,
  PortStats,
  TSO4,
  TSO6,
  USO,
} from './port.ts';

export interface TapOptions {
  /** Name of the device, at most 15 bytes; `%d` in it becomes a number that is free. Default `tap%d` or `tun%d`. */
  name?: string;
  /** Where the device is made: a name of `ip netns`, or a path as `/proc/PID/ns/net`. Default: here. */
  namespace?: string;
  /** Largest IP packet in bytes, 68..65521. Default 1500. */
  mtu?: number;
  /** MAC address of the device as six bytes, TAP only. Default: one that the kernel makes up. */
  mac?: Uint8Array;
  /** Whether the device is brought up. Default true. */
  up?: boolean;
  /** Whether it stays when the port is closed. Default false. */
  persistent?: boolean;
  /** Whether it has several queues, of which this port is one. Default false. */
  multiQueue?: boolean;
  /** Whether super-frames and partial checksums pass. Default true. */
  offload?: boolean;
  /** The most segments of a super-frame that the stack makes. Default: what fits a train of datagrams when a
   * tunnel adds up to 64 bytes to each. */
  maxSegments?: number;
}

/** What a tunnel adds to an IP packet: VXLAN 8, Ethernet 14 and ESP up to 42. */
const TUNNEL = 64;
/** The most frames of a turn after which a port that had no more the last time takes it that it has none again. */
const FEW = 2;
/** Turns after which it looks nevertheless. */
const LOOK = 16;

/** What TAP and TUN have in common. */
abstract class TunTap implements Port {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offloads: number;
  readonly stats = new PortStats();
  onError: ((error: PortError) => void) | null = null;

  readonly #options: TapOptions;
  readonly #flags: number;
  #name: string;
  #libc: Libc | null = null;
  #fd = -1;
  #host: PortHost | null = null;
  #poll: Poll | null = null;
  #landing: Landing | null = null;
  /** Whether the last `receive` left nothing, as far as it knows. */
  #empty = false;
  /** Frames until there were no more, the last time that somebody looked. */
  #usual = 0;
  #turns = 0;
  #out: Iovecs | null = null;
  /** Addresses of the iovecs to receive into and of those to send from. */
  #at: readonly number[] = [];

  constructor(options: TapOptions, medium: Medium) {
    const { mtu = 1500, offload = true, multiQueue = false } = options;
    this.medium = medium;
    this.#options = options;
    this.#name = deviceName(options.name ?? (medium === ETHERNET ? 'tap%d' : 'tun%d'));
    this.mtu = integer('mtu', mtu, 68, 65521) + (medium === ETHERNET ? 14 : 0);
    if (options.mac !== undefined && options.mac.length !== 6) {
      throw new RangeError(`"mac" expected six bytes, got ${options.mac.length}`);
    }
    if (((options.mac?.[0] ?? 0) & 1) !== 0) {
      throw new RangeError('"mac" expected the address of one device, got one of a group');
    }
    if (options.maxSegments !== undefined) integer('maxSegments', options.maxSegments, 1, 65535);
    const kind = medium === ETHERNET ? c.IFF_TAP : c.IFF_TUN;
    this.#flags = kind | c.IFF_NO_PI | c.IFF_VNET_HDR | (multiQueue ? c.IFF_MULTI_QUEUE : 0);
    this.offloads = GAPS | CHECKSUM | (offload ? TSO4 | TSO6 | (vnet.KERNEL_HAS_USO ? USO : 0) : 0);
  }

  /** Name of the device; with `%d` in it until it was opened. */
  get name(): string {
    return this.#name;
  }

  get drained(): boolean {
    return this.#empty;
  }

  async open(host: PortHost): Promise<void> {
    if (this.#host !== null) throw new PortError('STATE', `"${this.#name}" is open already: close it first`);
    this.#libc = libc();
    this.#prepare();
    const device = inNamespace(this.#options.namespace ?? null, () => openTun(this.#wanted()));
    try {
      this.#poll = host.poll(() => new Poller());
      this.#poll.add(device.fd, host.wake);
    } catch (error) {
      this.#libc.close(device.fd);
      throw error;
    }
    this.#fd = device.fd;
    this.#name = device.name;
    this.#host = host;
    this.#landing!.open(host);
    host.wake();
  }

  #wanted(): TunDevice {
    const { mac, persistent = false, up = true, maxSegments } = this.#options;
    const ethernet = this.medium === ETHERNET;
    const ip = ethernet ? this.mtu - 14 : this.mtu;
    return {
      name: this.#name,
      flags: this.#flags,
      offloads: this.offloads,
      persistent,
      change: {
        mtu: ip,
        ...(mac !== undefined && ethernet && { mac }),
        gsoMaxSegments: maxSegments ?? Math.max(Math.floor(MAX_PAYLOAD / (ip + TUNNEL)), 1),
        ...(up && { up }),
      },
    };
  }

  /** Lays out what native calls read and write. */
  #prepare(): void {
    if (this.#landing !== null) return;
    const slab = new Slab(Landing.size(1) + PIECES * 16);
    this.#landing = new Landing(slab, 1, vnet.SIZE);
    this.#out = new Iovecs(slab, PIECES);
    this.#at = addresses(slab.address(this.#landing.iovecs.at), slab.address(this.#out.at));
  }

  /**
   * Reading until there is nothing more costs a call in vain. Where few frames come at a time it is left out mostly: the
   * poll, which is asked next, tells of what there is.
   */
  receive(batch: Batch): number {
    const landing = this.#landing!;
    if (this.#fd < 0) return batch.length;
    this.#empty = false;
    let frames = 0;
    for (let bytes = 0; bytes < BUDGET && batch.length < BATCH; ) {
      landing.prepare(0);
      const n = this.#libc!.readv(this.#fd, this.#at[0], 2);
      if (n < vnet.SIZE) {
        if (!this.#drained()) continue;
        this.#empty = true;
        this.#usual = frames;
        break;
      }
      bytes += n;
      takeFrame(landing.take(0, n), this.stats, batch);
      if (++frames !== this.#usual || frames > FEW || this.#turns++ % LOOK === 0) continue;
      this.#empty = true;
      break;
    }
    landing.release();
    return batch.length;
  }

  /** Whether reading has come to an end for now. */
  #drained(): boolean {
    const errno = this.#libc!.errno();
    if (errno === c.EINTR) return false;
    if (errno === c.EBADFD) this.#fail(new PortError('NO_SUCH_DEVICE', `"${this.#name}" was deleted`));
    else if (errno !== c.EAGAIN && errno !== c.EIO)
      this.#fail(portError(errno, `"${this.#name}" cannot be read`));
    return true;
  }

  send(batch: Batch): void {
    if (this.#fd < 0) {
      dropAll(batch, this.stats, drops.CLOSED);
      return;
    }
    for (let i = 0; i < batch.length; i++) this.#sendOne(batch.packets[i]);
    batch.clear();
  }

  #sendOne(p: Packet): void {
    if (this.#fd < 0 || !takesFrame(this, p)) {
      this.stats.drop(p, this.#fd < 0 ? drops.CLOSED : drops.TOO_BIG);
      return;
    }
    vnet.write(p);
    const pieces = this.#out!.setFrame(0, p, vnet.SIZE);
    if (this.#libc!.writev(this.#fd, this.#at[1], pieces) < 0) {
      this.#refused(p);
      return;
    }
    this.stats.sent(solidLength(p), segments(p));
    p.pool.give(p);
  }

  #refused(p: Packet): void {
    const errno = this.#libc!.errno();
    this.stats.drop(p, reasonOf(errno));
    if (errno === c.EBADFD) this.#fail(new PortError('NO_SUCH_DEVICE', `"${this.#name}" was deleted`));
  }

  async close(): Promise<void> {
    this.#stop();
  }

  #fail(error: PortError): void {
    if (this.#fd < 0) return;
    this.#stop();
    this.onError?.(error);
  }

  #stop(): void {
    if (this.#fd < 0) return;
    this.#poll?.remove(this.#fd);
    this.#libc!.close(this.#fd);
    this.#fd = -1;
    this.#host = null;
  }
}

/** A TAP device. */
export class TapPort extends TunTap {
  /** Throws a TypeError or RangeError for options that make no sense. */
  constructor(options: TapOptions = {}) {
    super(options, ETHERNET);
  }
}

/** A TUN device. */
export class TunPort extends TunTap {
  /** Throws a TypeError or RangeError for options that make no sense. */
  constructor(options: Omit<TapOptions, 'mac'> = {}) {
    super(options, IP);
  }
}

function deviceName(name: string): string {
  if (/^[^\s/:]{1,15}$/.test(name) && name !== '.' && name !== '..') return name;
  throw new RangeError(`"name" expected a device's name of 1 to 15 characters, got "${name}"`);
}
