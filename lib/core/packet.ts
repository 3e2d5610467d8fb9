/**
 * A packet: one slot of pooled memory and a handful of integers about what lies in it.
 *
 * The frame is `bytes[start..end)`. Prepending a header is `start -= n`, stripping one is `start += n`;
 * payload never moves. A packet has exactly one owner: whoever holds it pushes, sends or gives it on, and
 * after that does not touch it again.
 *
 * Every number here fits a small integer (31 bits signed), so that writing one never allocates.
 *
 * A super-frame is many segments in one packet (`gsoType`): one set of headers, `hdrLen` bytes, and the payload
 * of all. Payload that arrived in pieces stays where it lies, `gap` bytes apart:
 *
 *     start        hdrLen        gsoSize       gap        gsoSize       gap     up to gsoSize    end
 *       |---headers---|=====================|........|=====================|........|===========|
 *
 * A train is datagrams of one tunnel endpoint behind each other, each with all its headers: a super-frame of
 * GSO_UDP_L4 whose `hdrLen` is 0.
 */
import type { Pool } from './pool.ts';

/** No offset, port, peer or network is known. */
export const NONE = -1;

/** Bytes kept free in front of a received frame: the worst stack is Ethernet + VLAN + IPv6 + UDP + ESP + IV
 * + IPv6 + UDP + VXLAN. */
export const HEADROOM = 192;
/** Bytes kept free behind a frame, for ESP padding and ICV. */
export const TAILROOM = 64;

/*
 * Places. Where a packet came from (`port`) and where it goes (`out`) are numbers of one space:
 * 0..65535 is a local port, REMOTE + n the remote tunnel endpoint (VTEP) n.
 */

/** The most local ports that one overlay can have. */
export const MAX_PORTS = 0x10000;
/** First place that is a remote tunnel endpoint. */
export const REMOTE = MAX_PORTS;
/** Where `out` says that the packet goes to every remote endpoint of its network. */
export const ALL_REMOTES = 0x7fffffff;

/** The place of the remote tunnel endpoint `peer`. */
export function remote(peer: number): number {
  return REMOTE + peer;
}

/** Whether a place is a remote tunnel endpoint. */
export function isRemote(place: number): boolean {
  return place >= REMOTE;
}

export class Packet {
  /** The whole slot, headroom and tailroom included. */
  readonly bytes: Uint8Array;
  /** The same slot. */
  readonly view: DataView;
  /** Who takes it back: `p.pool.give(p)`. */
  readonly pool: Pool;
  /** Number of the slot within its pool; another thread that shares the memory finds it by this. */
  readonly slot: number;
  /** Where the slot begins in the memory of its pool. */
  readonly base: number;

  /** First byte of the frame, an offset into the slot. */
  start = HEADROOM;
  /** One past the last byte of the frame. */
  end = HEADROOM;
  /** The place where it came in. */
  port = NONE;
  /** The place where it goes. */
  out = NONE;
  /** Offset of the network layer header, or {@link NONE} where nobody looked. */
  l3 = NONE;
  /** Offset of the transport header, or {@link NONE}. */
  l4 = NONE;
  /** VXLAN network identifier, or {@link NONE}. */
  vni = NONE;
  /** Tunnel endpoint: from which it came in, to which it goes out. What it means is the underlay port's. */
  peer = NONE;
  /** Flow hash, 32 bits signed: equal for the packets of one flow. 0 where nobody computed it. */
  hash = 0;
  /** TOS or traffic class of the outer header, where a port hides that header (0..255). */
  tos = 0;

  // Offload, with the meaning of the kernel's struct virtio_net_hdr (linux/virtio_net.h), and `gap`.

  /** GSO_NONE, or what kind of super-frame this is. */
  gsoType = GSO_NONE;
  /** Payload bytes of each segment of a super-frame; the last may have fewer. */
  gsoSize = 0;
  /** Bytes of all headers, from `start`, that each segment repeats; 0 for a train, see {@link isTrain}. */
  hdrLen = 0;
  /** Bytes between the payload of one segment and that of the next, which belong to neither. */
  gap = 0;
  /** Where the checksum still to be completed starts, an offset into the slot; NONE where it is complete. */
  csumStart = NONE;
  /** Where, from `csumStart`, the checksum field lies. */
  csumOffset = 0;

  constructor(pool: Pool, slot: number, memory: ArrayBufferLike, at: number, size: number) {
    this.pool = pool;
    this.slot = slot;
    this.base = at;
    this.bytes = new Uint8Array(memory, at, size);
    this.view = new DataView(memory, at, size);
  }

  /** Bytes of the frame. */
  get length(): number {
    return this.end - this.start;
  }

  /** Makes it an empty frame with nothing noted, as `Pool.take` hands it out. */
  reset(): void {
    this.start = HEADROOM;
    this.end = HEADROOM;
    this.tos = 0;
    this.forget();
    this.clearOffload();
  }

  /** Forgets what this dataplane noted: on the far side of a port only the bytes are known. */
  forget(): void {
    this.port = NONE;
    this.out = NONE;
    this.l3 = NONE;
    this.l4 = NONE;
    this.vni = NONE;
    this.peer = NONE;
    this.hash = 0;
  }

  /** Declares it an ordinary frame whose checksums are complete. */
  clearOffload(): void {
    this.gsoType = GSO_NONE;
    this.gsoSize = 0;
    this.hdrLen = 0;
    this.gap = 0;
    this.csumStart = NONE;
    this.csumOffset = 0;
  }

  /** Takes over everything noted on `from`, the frame's position included, but not its bytes. */
  copyNotes(from: Packet): void {
    this.start = from.start;
    this.end = from.end;
    this.port = from.port;
    this.out = from.out;
    this.l3 = from.l3;
    this.l4 = from.l4;
    this.vni = from.vni;
    this.peer = from.peer;
    this.hash = from.hash;
    this.tos = from.tos;
    this.gsoType = from.gsoType;
    this.gsoSize = from.gsoSize;
    this.hdrLen = from.hdrLen;
    this.gap = from.gap;
    this.csumStart = from.csumStart;
    this.csumOffset = from.csumOffset;
  }

  /** Puts a frame into the slot. Cold: for tests and for ports that are handed bytes. Throws a RangeError
   * where it does not fit behind the headroom. */
  set(frame: Uint8Array): this {
    if (HEADROOM + frame.length > this.bytes.length) {
      throw new RangeError(`a frame of ${frame.length} bytes does not fit a slot of ${this.bytes.length}`);
    }
    this.bytes.set(frame, HEADROOM);
    this.start = HEADROOM;
    this.end = HEADROOM + frame.length;
    return this;
  }

  /** The frame's bytes, in place: valid only while the packet is yours. Allocates a view. */
  frame(): Uint8Array {
    return this.bytes.subarray(this.start, this.end);
  }
}

/** Whether a packet is datagrams behind each other, as a DATAGRAM port gives and takes them. */
export function isTrain(p: Packet): boolean {
  return p.gsoType === GSO_UDP_L4 && p.hdrLen === 0;
}

/** Segments of a packet: 1 where it is no super-frame. */
export function segments(p: Packet): number {
  if (p.gsoType === GSO_NONE) return 1;
  return Math.max(Math.ceil((p.end - p.start - p.hdrLen) / (p.gsoSize + p.gap)), 1);
}

/** Bytes of a frame without gaps. */
export function solidLength(p: Packet): number {
  return p.end - p.start - (segments(p) - 1) * p.gap;
}

// Values of `gsoType` (linux/virtio_net.h).
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
/** Flag beside a TCP type: the flow has seen ECN CWR. */
export const GSO_ECN = 0x80;
