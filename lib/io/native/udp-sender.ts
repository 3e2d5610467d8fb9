/**
 * Sends packets as UDP datagrams with as few system calls as there can be.
 *
 * What a batch holds for one socket becomes one sendmmsg(2). Each of its messages is a train where it can be:
 * datagrams of one length to one peer in one piece, which the kernel carries whole as far as the device or the
 * receiver and cuts there (UDP_SEGMENT, udp(7)). Packets in a row that are equally long make a train, a train
 * stays one, and a super-frame is one whose headers are written here, a set for each segment, while its payload
 * goes out from where it lies.
 *
 * Without segmentation the same datagrams go out one a message.
 */

import { MAX_PAYLOAD } from '../../../codecs/udp.ts';
import * as drops from '../../core/drop.ts';
import { GSO_NONE, isTrain, NONE, type Packet, segments } from '../../core/packet.ts';
import { completeChecksum } from '../../core/partial-checksum.ts';
import { MAX_HEADERS, Segmenter } from '../../core/segmenter.ts';
import type { VtepTable } from '../../tables/vtep.ts';
import type { PortStats } from '../port.ts';
import * as c from './constants.ts';
import { type Libc, libc } from './libc.ts';
import { IOVEC, Iovecs } from './memory.ts';
import { Messages, SOCKADDR } from './messages.ts';
import { reasonOf } from './refusals.ts';
import { Slab } from './slab.ts';
import * as sockaddr from './sockaddr.ts';

/** The most datagrams of a train (UDP_MAX_SEGMENTS of kernels before 6.9). */
const MAX_SEGMENTS = 64;
/** Messages and iovecs of a system call. */
const MESSAGES = 64;
const IOVECS = 256;
/** Bytes for headers of segments: of two trains. */
const HEADERS = 2 * MAX_SEGMENTS * MAX_HEADERS;

export class UdpSender {
  /** Whether trains are sent as such. */
  segmentation: boolean;
  /** Told of a message that the kernel refused, with the error number, the peer and bytes of a datagram. */
  onRefused: (errno: number, peer: number, bytes: number) => void = () => {};

  readonly #libc: Libc;
  readonly #stats: PortStats;
  readonly #peers: VtepTable;
  readonly #family: 4 | 6;
  readonly #slab = new Slab(Messages.size(MESSAGES) + IOVECS * IOVEC + HEADERS + 64);
  readonly #iovecs: Iovecs;
  readonly #messages: Messages;
  readonly #headers: number;
  readonly #segmenter = new Segmenter();

  /** Addresses of the peers, by number; those that cannot be reached have no length. */
  #addresses = new Slab(SOCKADDR * 4);
  #lengths = new Uint8Array(0);
  #version = -1;

  // The call that is being made.
  #fd = -1;
  #count = 0;
  #iovec = 0;
  #header = 0;
  /** Packets whose bytes it needs. */
  readonly #held: Packet[] = [];
  #heldCount = 0;

  // Its messages, by number: peer, TOS, bytes of a datagram, bytes in all, datagrams.
  readonly #peer = new Int32Array(MESSAGES);
  readonly #size = new Int32Array(MESSAGES);
  readonly #bytes = new Int32Array(MESSAGES);
  readonly #datagrams = new Int32Array(MESSAGES);
  /** Of the last message: its first iovec, its TOS, and whether a datagram can be added. */
  #from = 0;
  #tos = 0;
  #growing = false;

  constructor(peers: VtepTable, family: 4 | 6, stats: PortStats, segmentation: boolean) {
    this.#libc = libc();
    this.#peers = peers;
    this.#family = family;
    this.#stats = stats;
    this.segmentation = segmentation;
    this.#iovecs = new Iovecs(this.#slab, IOVECS);
    this.#messages = new Messages(this.#slab, MESSAGES, this.#iovecs);
    this.#headers = this.#slab.reserve(HEADERS);
  }

  /** Begins a call on a socket. */
  begin(fd: number): void {
    this.#fd = fd;
    if (this.#version !== this.#peers.version) this.#follow();
  }

  /** Adds a packet, which the port takes, to the call. */
  add(p: Packet): void {
    const { peer } = p;
    if (!(peer >= 0 && peer < this.#lengths.length && this.#lengths[peer] > 0)) {
      this.#stats.drop(p, drops.UNKNOWN_PEER);
      return;
    }
    if (this.#heldCount === MESSAGES) this.flush();
    const whole =
      p.gsoType === GSO_NONE ? this.#addDatagram(p) : isTrain(p) ? this.#addTrain(p) : this.#addSuperFrame(p);
    if (whole) this.#held[this.#heldCount++] = p;
    else this.#stats.drop(p, drops.MALFORMED);
  }

  #addDatagram(p: Packet): boolean {
    if (p.csumStart !== NONE && !completeChecksum(p)) return false;
    const bytes = p.end - p.start;
    if (!this.#joins(p.peer, p.tos, bytes)) this.#open(p, bytes, 1);
    this.#iovecs.set(this.#iovec++, p, p.start, bytes);
    this.#grow(bytes);
    return true;
  }

  /** Whether the last message can become a longer train by a datagram. */
  #joins(peer: number, tos: number, bytes: number): boolean {
    const i = this.#count - 1;
    return (
      this.#growing &&
      this.#peer[i] === peer &&
      this.#tos === tos &&
      bytes <= this.#size[i] &&
      this.#datagrams[i] < MAX_SEGMENTS &&
      this.#bytes[i] + bytes <= MAX_PAYLOAD &&
      this.#iovec < IOVECS
    );
  }

  #addTrain(p: Packet): boolean {
    const n = segments(p);
    const step = p.gsoSize + p.gap;
    for (let k = 0; k < n; ) {
      const count = Math.min(n - k, this.#most(p.gsoSize));
      this.#open(p, p.gsoSize, p.gap === 0 ? 1 : count);
      const from = p.start + k * step;
      const end = Math.min(from + count * step - p.gap, p.end);
      if (p.gap === 0) this.#iovecs.set(this.#iovec++, p, from, end - from);
      for (let j = 0; j < count; j++) {
        const at = from + j * step;
        const bytes = Math.min(p.gsoSize, end - at);
        if (p.gap > 0) this.#iovecs.set(this.#iovec++, p, at, bytes);
        this.#grow(bytes);
      }
      k += count;
    }
    this.#growing = false;
    return true;
  }

  /** A super-frame has been told where its IP header lies by whoever put it into the tunnel. */
  #addSuperFrame(p: Packet): boolean {
    const segmenter = this.#segmenter;
    if (p.l3 === NONE || !segmenter.beginIp(p, p.l3)) return false;
    const { hdrLen } = p;
    const size = hdrLen + p.gsoSize;
    const { view } = this.#slab;
    for (let k = 0; k < segmenter.count; ) {
      const count = Math.min(segmenter.count - k, this.#most(size));
      this.#open(p, size, 2 * count, count * hdrLen);
      for (let j = 0; j < count; j++, k++) {
        segmenter.write(k, view, this.#headers + this.#header);
        this.#iovecs.setOwn(this.#iovec++, this.#headers + this.#header, hdrLen);
        const bytes = segmenter.payloadLength(k);
        this.#iovecs.set(this.#iovec++, p, segmenter.payloadAt(k), bytes);
        this.#header += (hdrLen + 3) & ~3;
        this.#grow(hdrLen + bytes);
      }
    }
    this.#growing = false;
    return true;
  }

  /** Datagrams of a length that one message can have. */
  #most(size: number): number {
    return this.segmentation ? Math.max(Math.min(MAX_SEGMENTS, Math.floor(MAX_PAYLOAD / size)), 1) : 1;
  }

  /** Begins a message for datagrams of `size` bytes, with room for so many iovecs and bytes of headers. */
  #open(p: Packet, size: number, iovecs: number, headers = 0): void {
    this.#finish();
    const full = this.#count === MESSAGES || this.#iovec + iovecs > IOVECS;
    if (full || this.#header + headers + 4 * iovecs > HEADERS) this.flush();
    const i = this.#count++;
    this.#peer[i] = p.peer;
    this.#size[i] = size;
    this.#bytes[i] = 0;
    this.#datagrams[i] = 0;
    this.#tos = p.tos;
    this.#from = this.#iovec;
    this.#growing = this.segmentation;
    this.#messages.sendTo(i, this.#addresses.address(p.peer * SOCKADDR), this.#lengths[p.peer]);
  }

  #grow(bytes: number): void {
    const i = this.#count - 1;
    this.#bytes[i] += bytes;
    this.#datagrams[i]++;
    if (bytes < this.#size[i]) this.#growing = false;
  }

  /** Completes the last message. */
  #finish(): void {
    const i = this.#count - 1;
    if (i < 0 || this.#from === this.#iovec) return;
    const messages = this.#messages;
    messages.setIovecs(i, this.#from, this.#iovec);
    this.#from = this.#iovec;
    if (this.#datagrams[i] > 1) messages.addControl(i, c.IPPROTO_UDP, c.UDP_SEGMENT, this.#size[i], 2);
    if (this.#tos === 0) return;
    if (this.#family === 4) messages.addControl(i, c.IPPROTO_IP, c.IP_TOS, this.#tos, 4);
    else messages.addControl(i, c.IPPROTO_IPV6, c.IPV6_TCLASS, this.#tos, 4);
  }

  /** Makes the call, counts what became of each message, and gives the packets back. */
  flush(): void {
    this.#finish();
    for (let i = 0; i < this.#count; ) i += this.#send(i);
    for (let i = 0; i < this.#heldCount; i++) this.#held[i].pool.give(this.#held[i]);
    this.#heldCount = 0;
    this.#count = 0;
    this.#iovec = 0;
    this.#header = 0;
    this.#from = 0;
    this.#growing = false;
  }

  /** Sends the messages from `i`, and returns how many of them are dealt with. */
  #send(i: number): number {
    const n = this.#libc.sendmmsg(this.#fd, this.#messages.address(i), this.#count - i, 0);
    for (let k = i; k < i + n; k++) this.#stats.sent(this.#bytes[k], this.#datagrams[k]);
    if (n > 0) return n;
    const errno = this.#libc.errno();
    // An answer by ICMP to something sent before, told once.
    if (errno === c.EINTR || errno === c.ECONNREFUSED) return 0;
    // A train whose datagrams do not fit the path is an invalid argument.
    const reason = errno === c.EINVAL && this.#datagrams[i] > 1 ? drops.TOO_BIG : reasonOf(errno);
    this.#stats.lost(reason, this.#datagrams[i]);
    if (reason !== drops.PORT_FULL) this.onRefused(errno, this.#peer[i], this.#size[i]);
    return 1;
  }

  /** Writes the addresses of all peers anew. */
  #follow(): void {
    this.#version = this.#peers.version;
    const vteps = [...this.#peers.entries()];
    const most = vteps.reduce((most, [peer]) => Math.max(most, peer + 1), 1);
    if (this.#lengths.length < most) {
      this.#addresses = new Slab(SOCKADDR * 2 * most + 128);
      this.#lengths = new Uint8Array(2 * most);
    }
    this.#lengths.fill(0);
    for (const [peer, { address, port }] of vteps) {
      if (address.family !== this.#family || !(port >= 1 && port <= 65535)) continue;
      this.#lengths[peer] = sockaddr.write(this.#addresses, peer * SOCKADDR, address, port);
    }
  }
}
