/** Raw IP sockets of the system (raw(7), raw(7) and ipv6(7)): opened, received from and sent to in bursts. */
import { format, type Ip } from '../../../codecs/ip.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import { BATCH, type Batch } from '../../core/batch.ts';
import * as drops from '../../core/drop.ts';
import { NONE, type Packet } from '../../core/packet.ts';
import { completeChecksum } from '../../core/partial-checksum.ts';
import { PortError, type PortHost, type PortStats } from '../port.ts';
import { Burst, type Taker } from './burst.ts';
import * as c from './constants.ts';
import { portError } from './errors.ts';
import { libc } from './libc.ts';
import { OutBurst } from './out-burst.ts';
import { Slab } from './slab.ts';
import * as sockaddr from './sockaddr.ts';
import { buffer, setter } from './socket-options.ts';

export interface RawOptions {
  readonly address: Ip;
  readonly protocol: number;
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
}

/** Opens and binds a socket, and returns its descriptor. Throws a PortError. */
export function openRaw({ address, protocol, ...options }: RawOptions): number {
  const native = libc();
  const v4 = address.family === 4;
  const type = c.SOCK_RAW | c.SOCK_NONBLOCK | c.SOCK_CLOEXEC;
  const fd = native.socket(v4 ? c.AF_INET : c.AF_INET6, type, protocol);
  if (fd < 0) throw portError(native.errno(), `no raw socket for protocol ${protocol} can be had`);
  try {
    const slab = new Slab(128);
    const bytes = sockaddr.write(slab, 0, address, 0);
    if (native.bind(fd, slab.address(0), bytes) < 0) throw refused(native.errno(), address);
    const set = setter(native, fd);
    buffer(set, c.SO_RCVBUFFORCE, c.SO_RCVBUF, options.receiveBuffer);
    buffer(set, c.SO_SNDBUFFORCE, c.SO_SNDBUF, options.sendBuffer);
    const wanted = v4
      ? [c.IP_HDRINCL]
      : [c.IPV6_HDRINCL, c.IPV6_FLOWINFO, c.IPV6_RECVHOPLIMIT, c.IPV6_RECVPKTINFO];
    for (const option of wanted) {
      if (!set(v4 ? c.IPPROTO_IP : c.IPPROTO_IPV6, option, 1)) {
        throw portError(native.errno(), `the raw socket of ${format(address)} cannot be set up`);
      }
    }
    // What came before it was bound may be for another address.
    for (let i = 0; i < MOST_STRAY && native.read(fd, slab.address(0), 1) >= 0; i++);
  } catch (error) {
    native.close(fd);
    throw error;
  }
  return fd;
}

/** The most packets that a socket's buffer holds, and more. */
const MOST_STRAY = 1 << 20;

function refused(errno: number, address: Ip): PortError {
  const what = `a raw socket of ${format(address)} cannot be opened`;
  if (errno !== c.EADDRNOTAVAIL) return portError(errno, what);
  return new PortError('NO_SUCH_ADDRESS', `${what}: this machine has no such address, use one that it has`);
}

/** Where an IPv6 header has its second word, and the lengths of what is copied into it. */
const SECOND = 4;
const ADDRESS = 16;
/** Offsets of the address in struct sockaddr_in and sockaddr_in6. */
const SIN_ADDRESS = 4;
const SIN6_ADDRESS = 8;
const IP4_DST = 16;

/**
 * Receives IP packets. IPv4 comes with its header. Of IPv6 the system gives what lies behind all headers: the fixed
 * header is made again of what it tells beside, and extension headers are gone.
 */
export class RawReceiver implements Taker {
  readonly #stats: PortStats;
  readonly #v4: boolean;
  readonly #protocol: number;
  readonly #burst: Burst;

  constructor(family: 4 | 6, protocol: number, stats: PortStats) {
    this.#stats = stats;
    this.#v4 = family === 4;
    this.#protocol = protocol;
    this.#burst = new Burst(this.#v4 ? 0 : -ipv6.SIZE);
  }

  /** Receives from a socket from now on. */
  open(fd: number, host: PortHost): void {
    this.#burst.open(fd, host);
  }

  /** Whether the last `receive` left nothing in the socket. */
  get drained(): boolean {
    return this.#burst.drained;
  }

  /** Fills the batch; returns an error number where the socket is broken, else 0. */
  receive(batch: Batch): number {
    return this.#burst.receive(batch, this);
  }

  take(i: number, bytes: number, p: Packet | null, batch: Batch): void {
    if (p === null) {
      this.#stats.lost(drops.POOL_DRY);
      return;
    }
    if (this.#burst.messages.truncated(i)) {
      this.#stats.drop(p, drops.TOO_BIG);
      return;
    }
    if (!this.#v4 && !this.#writeHeader(i, bytes, p)) {
      this.#stats.drop(p, drops.MALFORMED);
      return;
    }
    this.#stats.received(p.end - p.start);
    batch.add(p);
  }

  #writeHeader(i: number, bytes: number, p: Packet): boolean {
    const { slab, messages } = this.#burst;
    const from = messages.name(i) + SIN6_ADDRESS;
    const to = messages.control(i, c.IPPROTO_IPV6, c.IPV6_PKTINFO);
    const hops = messages.control(i, c.IPPROTO_IPV6, c.IPV6_HOPLIMIT);
    // Traffic class and flow label, absent where both are 0.
    const flow = messages.control(i, c.IPPROTO_IPV6, c.IPV6_FLOWINFO);
    if (to < 0 || hops < 0 || bytes > 0xffff) return false;
    const v = p.view;
    const at = p.start;
    v.setInt32(at, 0x60000000 | (flow < 0 ? 0 : slab.view.getInt32(flow)));
    v.setInt32(at + SECOND, (bytes << 16) | (this.#protocol << 8) | slab.view.getUint8(hops));
    for (let k = 0; k < ADDRESS; k += 4) {
      v.setInt32(at + ipv6.SRC + k, slab.view.getInt32(from + k));
      v.setInt32(at + ipv6.DST + k, slab.view.getInt32(to + k));
    }
    return true;
  }
}

/** Sends IP packets, their headers included, each to the address in its header. */
export class RawSender {
  readonly #stats: PortStats;
  readonly #family: 4 | 6;
  readonly #size: number;
  readonly #burst: OutBurst;

  /** `onRefused` is told of a packet that the system refused, with the error number and its bytes. */
  constructor(family: 4 | 6, stats: PortStats, onRefused: (errno: number, bytes: number) => void) {
    this.#stats = stats;
    this.#family = family;
    this.#size = sockaddr.sizeOf(family);
    this.#burst = new OutBurst(stats);
    this.#burst.onRefused = onRefused;
    const { slab, messages } = this.#burst;
    for (let i = 0; i < BATCH; i++) {
      slab.view.setUint16(messages.name(i), family === 4 ? c.AF_INET : c.AF_INET6, true);
    }
  }

  /** Sends by a socket from now on. */
  open(fd: number): void {
    this.#burst.open(fd);
  }

  /** Sends or drops the first `n` packets, which the port takes. */
  send(packets: readonly Packet[], n: number): void {
    for (let i = 0; i < n; i++) {
      const p = packets[i];
      if (!this.#isSound(p)) {
        this.#stats.drop(p, drops.MALFORMED);
        continue;
      }
      this.#address(this.#burst.messages.name(this.#burst.next(p)), p);
      this.#burst.add(p, 0, this.#size);
    }
    this.#burst.flush();
  }

  /** Whether it is a packet of our version of IP, with checksums that are complete now. */
  #isSound(p: Packet): boolean {
    const least = this.#family === 4 ? ipv4.SIZE : ipv6.SIZE;
    if (p.end - p.start < least || p.view.getUint8(p.start) >>> 4 !== this.#family) return false;
    return p.csumStart === NONE || completeChecksum(p);
  }

  /** Writes where a packet goes; what else is in the address stays 0. */
  #address(at: number, { view: v, start }: Packet): void {
    const { view } = this.#burst.slab;
    if (this.#family === 4) view.setInt32(at + SIN_ADDRESS, v.getInt32(start + IP4_DST));
    else {
      for (let k = 0; k < ADDRESS; k += 4)
        view.setInt32(at + SIN6_ADDRESS + k, v.getInt32(start + ipv6.DST + k));
    }
  }
}
