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
import { type Libc, libc } from './libc.ts';
import { IOVEC, Iovecs } from './memory.ts';
import { Messages } from './messages.ts';
import { reasonOf } from './refusals.ts';
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
/** Offset of the address in struct sockaddr_in6. */
const SIN6_ADDRESS = 8;

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
  /** Told of a packet that the system refused, with the error number and its bytes. */
  onRefused: (errno: number, bytes: number) => void = () => {};

  readonly #libc: Libc;
  readonly #stats: PortStats;
  readonly #family: 4 | 6;
  readonly #slab = new Slab(Messages.size(BATCH) + BATCH * IOVEC + 64);
  readonly #iovecs: Iovecs;
  readonly #messages: Messages;
  readonly #packets: Packet[] = [];

  constructor(family: 4 | 6, stats: PortStats) {
    this.#libc = libc();
    this.#stats = stats;
    this.#family = family;
    this.#iovecs = new Iovecs(this.#slab, BATCH);
    this.#messages = new Messages(this.#slab, BATCH, this.#iovecs);
    const size = sockaddr.sizeOf(family);
    for (let i = 0; i < BATCH; i++) {
      const at = this.#messages.name(i);
      this.#slab.bytes.fill(0, at, at + size);
      this.#slab.view.setUint16(at, family === 4 ? c.AF_INET : c.AF_INET6, true);
      this.#messages.sendToOwn(i, size);
      this.#messages.setIovecs(i, i, i + 1);
    }
  }

  /** Sends or drops the first `n` packets, which the port takes. */
  send(fd: number, packets: readonly Packet[], n: number): void {
    let count = 0;
    for (let i = 0; i < n; i++) {
      const p = packets[i];
      if (this.#address(count, p)) this.#packets[count++] = p;
      else this.#stats.drop(p, drops.MALFORMED);
    }
    for (let i = 0; i < count; ) i += this.#call(fd, i, count);
    for (let i = 0; i < count; i++) this.#packets[i].pool.give(this.#packets[i]);
  }

  /** Makes message `i` a packet; false where that is none that could be sent. */
  #address(i: number, p: Packet): boolean {
    const v = p.view;
    const at = p.start;
    const v4 = this.#family === 4;
    if (p.end - at < (v4 ? ipv4.SIZE : ipv6.SIZE) || v.getUint8(at) >>> 4 !== this.#family) return false;
    if (p.csumStart !== NONE && !completeChecksum(p)) return false;
    const name = this.#messages.name(i);
    if (v4) this.#slab.view.setInt32(name + 4, v.getInt32(at + 16));
    else {
      for (let k = 0; k < ADDRESS; k += 4) {
        this.#slab.view.setInt32(name + SIN6_ADDRESS + k, v.getInt32(at + ipv6.DST + k));
      }
    }
    this.#iovecs.set(i, p, at, p.end - at);
    return true;
  }

  /** Sends the messages from `i`, and returns how many of them are dealt with. */
  #call(fd: number, i: number, count: number): number {
    const n = this.#libc.sendmmsg(fd, this.#messages.address(i), count - i, 0);
    for (let k = i; k < i + n; k++) this.#stats.sent(this.#packets[k].length);
    if (n > 0) return n;
    const errno = this.#libc.errno();
    if (errno === c.EINTR || errno === c.ECONNREFUSED) return 0;
    const reason = reasonOf(errno);
    this.#stats.lost(reason);
    if (reason !== drops.PORT_FULL) this.onRefused(errno, this.#packets[i].length);
    return 1;
  }
}
