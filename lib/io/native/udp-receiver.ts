/** Receives UDP datagrams and trains of them in bursts (UDP_GRO of udp(7)). */
import type { Batch } from '../../core/batch.ts';
import * as drops from '../../core/drop.ts';
import { GSO_UDP_L4, NONE, type Packet } from '../../core/packet.ts';
import type { VtepTable } from '../../tables/vtep.ts';
import type { PortHost, PortStats } from '../port.ts';
import { Burst, type Taker } from './burst.ts';
import * as c from './constants.ts';
import * as sockaddr from './sockaddr.ts';

export class UdpReceiver implements Taker {
  readonly #peers: VtepTable;
  readonly #stats: PortStats;
  readonly #burst = new Burst(0);
  readonly #tosLevel: number;
  readonly #tosType: number;

  constructor(peers: VtepTable, family: 4 | 6, stats: PortStats) {
    this.#peers = peers;
    this.#stats = stats;
    this.#tosLevel = family === 4 ? c.IPPROTO_IP : c.IPPROTO_IPV6;
    this.#tosType = family === 4 ? c.IP_TOS : c.IPV6_TCLASS;
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
    const { slab, messages } = this.#burst;
    const size = this.#trainSize(i, bytes);
    const datagrams = size === 0 ? 1 : Math.ceil(bytes / size);
    const peer = sockaddr.peerOf(slab, messages.name(i), this.#peers);
    if (p === null) {
      this.#stats.lost(peer === NONE ? drops.UNKNOWN_PEER : drops.POOL_DRY, datagrams);
      return;
    }
    if (peer === NONE || messages.truncated(i)) {
      this.#stats.lost(peer === NONE ? drops.UNKNOWN_PEER : drops.TOO_BIG, datagrams);
      p.pool.give(p);
      return;
    }
    this.#note(i, p, peer, size);
    this.#stats.received(bytes, datagrams);
    batch.add(p);
  }

  /** Bytes of a datagram where message `i` is a train, or 0. */
  #trainSize(i: number, bytes: number): number {
    const gro = this.#burst.messages.control(i, c.IPPROTO_UDP, c.UDP_GRO);
    const size = gro < 0 ? 0 : this.#burst.slab.view.getInt32(gro, true);
    return size > 0 && size < bytes ? size : 0;
  }

  /** Notes on a packet what its message says beside the payload. */
  #note(i: number, p: Packet, peer: number, size: number): void {
    p.peer = peer;
    const tos = this.#burst.messages.control(i, this.#tosLevel, this.#tosType);
    if (tos >= 0) p.tos = this.#burst.slab.view.getUint8(tos);
    if (size === 0) return;
    p.gsoType = GSO_UDP_L4;
    p.gsoSize = size;
  }
}
