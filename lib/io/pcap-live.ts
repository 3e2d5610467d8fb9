/**
 * A network device by way of libpcap and the optional package `cap`: receives every frame that passes the
 * device, and sends frames as they are. For sniffing, tests and small bridges on Linux and macOS; where
 * throughput counts, or devices come and go, there is af-packet.ts on Linux.
 *
 * What `cap` is like shapes this port:
 *
 * - It reports one packet an event, in a buffer that it uses again, and a run of packets without returning to
 *   the event loop. So each is copied at once, and a flood is cut off at `capacity`.
 * - Its time stamps stay in libpcap, its snap length is 65535, and it always listens promiscuously. The port
 *   makes `snaplen` and `promiscuous` out of a smaller buffer and a filter.
 * - It is bound to the event loop of the main thread, and never closes its handle there: an object that was
 *   collected would leave that handle behind, and the process crashes. Hence `retired`.
 * - Whatever libpcap refuses at opening stays open inside, so each refused filter costs a socket.
 * - A device that goes down or away while it is open ends the whole process, by an assertion in `cap`. This port
 *   is not for devices that come and go.
 *
 * Frames come as the device's driver hands them over: on a device with offloads they can be longer than its MTU
 * and their checksums incomplete.
 */
import { createRequire } from 'node:module';
import { networkInterfaces } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { BATCH, type Batch } from '../core/batch.ts';
import { CLOSED, POOL_DRY, PORT_ERROR, PORT_FULL, TOO_BIG } from '../core/drop.ts';
import type { Packet } from '../core/packet.ts';
import { Ring } from '../core/ring.ts';
import {
  dropAll,
  ETHERNET,
  IP,
  type Medium,
  type Port,
  PortError,
  type PortHost,
  PortStats,
  takes,
} from './port.ts';

export interface PcapLiveOptions {
  /** A device by name, such as `eth0`; not `any`, whose frames have no header of their own. */
  device: string;
  /** What to receive, in libpcap's language: `udp port 4789`. Default: everything. */
  filter?: string;
  /** Default true. False: only what is from or to the device's own address, or to a group. */
  promiscuous?: boolean;
  /** Bytes of each frame to receive, 64 to 65535, the default. Longer frames are cut, and counted in `cut`. */
  snaplen?: number;
  /** Bytes of kernel memory for frames until they are received. Default 32 MiB. As `cap` leaves libpcap no other
   * choice, each frame takes 128 KiB of it on Linux devices with offloads: that is 256 frames. */
  bufferSize?: number;
  /** Frames that may wait to be received, a power of two. Default 1024. */
  capacity?: number;
  /** Largest frame to send, in bytes. Default 1514. */
  mtu?: number;
  /** For counters and messages. Default: the device. */
  name?: string;
}

const BUFFER = 1 << 25;

/** What is used of `cap`, which has no types. */
interface Cap {
  open(device: string, filter: string, bufferSize: number, buffer: Buffer): string;
  send(frame: Buffer, length: number): void;
  close(): boolean;
  on(event: 'packet', listener: (length: number, truncated: boolean) => void): void;
  removeAllListeners(): void;
}
interface CapModule {
  Cap: { new (): Cap; deviceList(): { name: string }[] };
}

/** Objects of `cap` that are done, kept from the garbage collector. */
const retired: Cap[] = [];

export class PcapLive implements Port {
  readonly name: string;
  readonly mtu: number;
  readonly offloads = 0;
  readonly stats = new PortStats();
  onError: ((error: PortError) => void) | null = null;
  /** Frames received only in part, for `snaplen`. */
  cut = 0;

  readonly #options: PcapLiveOptions;
  readonly #load: () => unknown;
  readonly #arrived: Ring;
  readonly #buffer: Buffer;
  readonly #sending: Buffer;
  #medium: Medium = ETHERNET;
  #cap: Cap | null = null;
  #host: PortHost | null = null;

  /** `load` gives the package `cap`, or throws where it is not installed. */
  constructor(options: PcapLiveOptions, load: () => unknown = loadCap) {
    const { device, snaplen = 65535, bufferSize = BUFFER, mtu = 1514, name = device } = options;
    if (typeof device !== 'string' || device === '') {
      throw new TypeError(`"device" expected the name of a network device, got ${device}`);
    }
    integer('snaplen', snaplen, 64, 65535);
    integer('bufferSize', bufferSize, 65536, 2 ** 31 - 1);
    integer('mtu', mtu, 64, 65549);
    this.name = name;
    this.mtu = mtu;
    this.#options = options;
    this.#load = load;
    this.#arrived = new Ring(options.capacity ?? 1024);
    this.#buffer = Buffer.alloc(snaplen);
    this.#sending = Buffer.alloc(mtu);
  }

  /** ETHERNET, or IP where the device is a tunnel of raw IP; ETHERNET before it is open. */
  get medium(): Medium {
    return this.#medium;
  }

  /** Rejects with NOT_INSTALLED, NO_SUCH_DEVICE, PERMISSION, NOT_SUPPORTED or IO. */
  async open(host: PortHost): Promise<void> {
    if (this.#host !== null) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    const { Cap } = this.#module();
    const { device } = this.#options;
    const devices = Cap.deviceList().map(({ name }) => name);
    if (!devices.includes(device)) {
      const known = devices.join(', ');
      throw new PortError('NO_SUCH_DEVICE', `there is no device "${device}"; there are: ${known}`);
    }
    const cap = new Cap();
    const link = this.#start(cap);
    const medium = link === 'ETHERNET' ? ETHERNET : link === 'RAW' ? IP : null;
    if (medium === null) {
      retire(cap);
      const advice = device === 'any' ? 'open the devices one by one' : 'it is neither Ethernet nor IP';
      throw new PortError('NOT_SUPPORTED', `"${device}" gives frames of ${link}: ${advice}`);
    }
    cap.on('packet', (length, truncated) => this.#arrive(length, truncated));
    this.#medium = medium;
    this.#cap = cap;
    this.#host = host;
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
    const cap = this.#cap;
    if (cap === null) {
      dropAll(batch, this.stats, CLOSED);
      return;
    }
    for (let i = 0; i < batch.length; i++) this.#sendOne(cap, batch.packets[i]);
    batch.clear();
  }

  async close(): Promise<void> {
    if (this.#cap !== null) retire(this.#cap);
    this.#cap = null;
    this.#host = null;
    for (let p = this.#arrived.get(); p !== null; p = this.#arrived.get()) this.stats.drop(p, CLOSED);
  }

  #module(): CapModule {
    if (!isMainThread) {
      throw new PortError('NOT_SUPPORTED', 'the package "cap" works on the main thread alone: open it there');
    }
    try {
      return this.#load() as CapModule;
    } catch (error) {
      const how = "install libpcap's headers (libpcap-dev), then run: npm install cap";
      throw new PortError('NOT_INSTALLED', `live capture needs the package "cap": ${how}`, error);
    }
  }

  /** Opens the device and returns its link type. */
  #start(cap: Cap): string {
    const { device, bufferSize = BUFFER } = this.#options;
    const filter = this.#filter();
    try {
      return cap.open(device, filter, bufferSize, this.#buffer);
    } catch (error) {
      // Closing what was not opened crashes: see the head of this file.
      retired.push(cap);
      const { message } = error as Error;
      if (/permission|permitted/i.test(message)) {
        const how = 'run as root, or give the program the capability CAP_NET_RAW';
        throw new PortError('PERMISSION', `capturing on "${device}" is not permitted: ${how}`, error);
      }
      if (filter !== '' && /filter|syntax|expression|unknown|illegal|invalid/i.test(message)) {
        throw new PortError('NOT_SUPPORTED', `the filter "${filter}" is not understood: ${message}`, error);
      }
      throw new PortError('IO', `"${device}" cannot be opened: ${message}`, error);
    }
  }

  #filter(): string {
    const { device, filter = '', promiscuous = true } = this.#options;
    if (promiscuous) return filter;
    const mac = networkInterfaces()[device]?.[0]?.mac;
    if (mac === undefined) {
      const how = 'it has no address; leave out "promiscuous"';
      throw new PortError('NOT_SUPPORTED', `"${device}" cannot be captured without promiscuity: ${how}`);
    }
    const own = `(ether host ${mac} or ether multicast)`;
    return filter === '' ? own : `(${filter}) and ${own}`;
  }

  /** Takes what lies in the buffer. Called by `cap`, which must not see an exception. */
  #arrive(length: number, truncated: boolean): void {
    const host = this.#host;
    if (host === null) return;
    if (length > host.pool.maxFrame) this.stats.lost(TOO_BIG);
    else if (this.#arrived.length === this.#arrived.capacity) this.stats.lost(PORT_FULL);
    else {
      const p = host.pool.take();
      if (p === null) {
        this.stats.lost(POOL_DRY);
        return;
      }
      p.set(this.#buffer.subarray(0, length));
      if (truncated) this.cut++;
      this.#arrived.put(p);
      if (this.#arrived.length === 1) host.wake();
    }
  }

  #sendOne(cap: Cap, p: Packet): void {
    if (!takes(this, p)) {
      this.stats.drop(p, TOO_BIG);
      return;
    }
    try {
      this.#sending.set(p.frame());
      cap.send(this.#sending, p.length);
    } catch {
      this.stats.drop(p, PORT_ERROR);
      return;
    }
    this.stats.sent(p.length);
    p.pool.give(p);
  }
}

function loadCap(): unknown {
  return createRequire(import.meta.url)('cap');
}

function retire(cap: Cap): void {
  cap.removeAllListeners();
  cap.close();
  retired.push(cap);
}

function integer(field: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`"${field}" expected an integer ${least}..${most}, got ${value}`);
}
