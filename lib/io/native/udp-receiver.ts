/**
 * Receives UDP datagrams and trains of them in bursts (recvmmsg(2), UDP_GRO of udp(7)). How many are asked for at
 * once follows from how many there were: one by one they need few packets in hand, and trains are large.
 */
import { BATCH, type Batch } from '../../core/batch.ts';
import * as drops from '../../core/drop.ts';
import { GSO_UDP_L4, NONE, type Packet } from '../../core/packet.ts';
import type { VtepTable } from '../../tables/vtep.ts';
import type { PortHost, PortStats } from '../port.ts';
import * as c from './constants.ts';
import { type Libc, libc } from './libc.ts';
import { Landing } from './memory.ts';
import { Messages } from './messages.ts';
import { Slab } from './slab.ts';
import * as sockaddr from './sockaddr.ts';

/** The most datagrams or trains of a call. */
const MOST = 32;
/** Bytes after which the engine gets what was received: more would not stay in the processor's caches. */
const BUDGET = 128 << 10;

export class UdpReceiver {
  readonly #libc: Libc;
  readonly #peers: VtepTable;
  readonly #stats: PortStats;
  readonly #slab = new Slab(Landing.size(MOST) + Messages.size(MOST) + 64);
  readonly #landing: Landing;
  readonly #messages: Messages;
  readonly #tosLevel: number;
  readonly #tosType: number;
  #fd = -1;
  #burst = 1;
  #drained = false;

  constructor(peers: VtepTable, family: 4 | 6, stats: PortStats) {
    this.#libc = libc();
    this.#peers = peers;
    this.#stats = stats;
    this.#landing = new Landing(this.#slab, MOST, 0);
    this.#messages = new Messages(this.#slab, MOST, this.#landing.iovecs);
    this.#tosLevel = family === 4 ? c.IPPROTO_IP : c.IPPROTO_IPV6;
    this.#tosType = family === 4 ? c.IP_TOS : c.IPV6_TCLASS;
    for (let i = 0; i < MOST; i++) this.#messages.setIovecs(i, 2 * i, 2 * i + 2);
  }

  /** Receives from a socket from now on. */
  open(fd: number, host: PortHost): void {
    this.#fd = fd;
    this.#landing.open(host);
  }

  /** Whether the last `receive` left nothing in the socket. */
  get drained(): boolean {
    return this.#drained;
  }

  /** Fills the batch; returns an error number where the socket is broken, else 0. */
  receive(batch: Batch): number {
    let errno = 0;
    this.#drained = false;
    for (let bytes = 0; bytes < BUDGET && batch.length < BATCH; ) {
      const wanted = Math.min(this.#burst, BATCH - batch.length);
      const n = this.#call(wanted);
      if (n < 0) {
        errno = this.#libc.errno();
        this.#drained = errno === c.EAGAIN;
        break;
      }
      let got = 0;
      for (let i = 0; i < n; i++) got += this.#take(i, batch);
      bytes += got;
      this.#adapt(wanted, n, got);
      this.#drained = n < wanted;
      if (this.#drained) break;
    }
    this.#landing.release();
    return errno === 0 || errno === c.EAGAIN || errno === c.EINTR || errno === c.ECONNREFUSED ? 0 : errno;
  }

  #call(wanted: number): number {
    for (let i = 0; i < wanted; i++) {
      this.#landing.prepare(i);
      this.#messages.expect(i);
    }
    return this.#libc.recvmmsg(this.#fd, this.#messages.address(0), wanted, c.MSG_DONTWAIT, 0);
  }

  /** Twice as many where there were as many as could be, as many as there were where not; few where they are long. */
  #adapt(wanted: number, n: number, bytes: number): void {
    if (n < wanted) this.#burst = Math.max(n, 1);
    else if (2 * bytes < BUDGET) this.#burst = Math.min(2 * wanted, MOST);
    else this.#burst = Math.max(wanted >> 1, 1);
  }

  /** Adds what message `i` holds to the batch, or drops it; returns its bytes. */
  #take(i: number, batch: Batch): number {
    const bytes = this.#messages.length(i);
    const size = this.#trainSize(i, bytes);
    const datagrams = size === 0 ? 1 : Math.ceil(bytes / size);
    const peer = sockaddr.peerOf(this.#slab, this.#messages.name(i), this.#peers);
    const p = this.#landing.take(i, bytes);
    if (p === null) {
      this.#stats.lost(peer === NONE ? drops.UNKNOWN_PEER : drops.POOL_DRY, datagrams);
      return bytes;
    }
    if (peer === NONE || this.#messages.truncated(i)) {
      this.#stats.lost(peer === NONE ? drops.UNKNOWN_PEER : drops.TOO_BIG, datagrams);
      p.pool.give(p);
      return bytes;
    }
    this.#note(i, p, peer, size);
    this.#stats.received(bytes, datagrams);
    batch.add(p);
    return bytes;
  }

  /** Bytes of a datagram where message `i` is a train, or 0. */
  #trainSize(i: number, bytes: number): number {
    const gro = this.#messages.control(i, c.IPPROTO_UDP, c.UDP_GRO);
    const size = gro < 0 ? 0 : this.#slab.view.getInt32(gro, true);
    return size > 0 && size < bytes ? size : 0;
  }

  /** Notes on a packet what its message says beside the payload. */
  #note(i: number, p: Packet, peer: number, size: number): void {
    p.peer = peer;
    const tos = this.#messages.control(i, this.#tosLevel, this.#tosType);
    if (tos >= 0) p.tos = this.#slab.view.getUint8(tos);
    if (size === 0) return;
    p.gsoType = GSO_UDP_L4;
    p.gsoSize = size;
  }
}
