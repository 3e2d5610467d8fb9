/**
 * Random TCP and UDP flows, their segments made one by one by the codecs (the plain twin of segmentation), and
 * the super-frame that stands for them all, as a port with offloads gives it.
 */

import { viewOf } from '../../codecs/bytes.ts';
import * as checksum from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as protocols from '../../codecs/protocol.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, HEADROOM, type Packet } from '../../lib/core/packet.ts';
import type { Random } from '../../lib/core/random.ts';

export interface Flow {
  readonly family: 4 | 6;
  readonly protocol: typeof tcp.PROTOCOL | typeof udp.PROTOCOL;
  /** In front of the Ethernet header. */
  readonly prefix: Uint8Array;
  /** Whether there is an Ethernet header. */
  readonly ethernet: boolean;
  /** VLANs, the outermost first. */
  readonly tags: readonly number[];
  readonly tos: number;
  /** IPv4: the flags and the identification of the first segment. */
  readonly ipFlags: number;
  readonly id: number;
  /** Options of IPv4, or extension headers of IPv6. */
  readonly ipOptions: Uint8Array;
  readonly src: ipv6.Words;
  readonly dst: ipv6.Words;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly seq: number;
  readonly ack: number;
  /** Of the super-frame. */
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  readonly tcpOptions: Uint8Array;
  /** Bytes of payload of each segment but the last. */
  readonly size: number;
  readonly payload: Uint8Array;
}

/** What a test wants to decide itself. */
export type Wish = Partial<Flow>;

const NOTHING: Uint8Array = new Uint8Array(0);
const MAC = 0x0242;

/** A flow as the kernel makes them, but for `wish`: ordinary headers, one to some ten segments. */
export function flowOf(r: Random, wish: Wish = {}): Flow {
  const word = () => r.int32() >>> 0;
  const size = wish.size ?? 1 + r.below(r.chance(0.2) ? 20 : 1400);
  return {
    family: r.chance(0.5) ? 4 : 6,
    protocol: r.chance(0.6) ? tcp.PROTOCOL : udp.PROTOCOL,
    prefix: vxlanHeader(r.below(0x1000000)),
    ethernet: true,
    tags: r.chance(0.2) ? [r.below(4096)] : [],
    tos: r.below(256),
    ipFlags: r.chance(0.5) ? ipv4.DF : 0,
    id: r.chance(0.2) ? 0xffff - r.below(4) : r.below(0x10000),
    ipOptions: NOTHING,
    src: [word(), word(), word(), word()],
    dst: [word(), word(), word(), word()],
    srcPort: r.below(0x10000),
    dstPort: r.below(0x10000),
    seq: r.chance(0.2) ? (0 - r.below(3000)) >>> 0 : word(),
    ack: word(),
    flags: tcp.ACK | (r.chance(0.5) ? tcp.PSH : 0),
    window: r.below(0x10000),
    urgent: 0,
    tcpOptions: r.chance(0.7) ? randomBytes(r, 12) : NOTHING,
    payload: randomBytes(r, 1 + r.below(size * 10)),
    ...wish,
    size,
  };
}

/** A VXLAN header. */
export function vxlanHeader(vni: number): Uint8Array {
  const bytes = new Uint8Array(vxlan.SIZE);
  vxlan.write(viewOf(bytes), 0, vni);
  return bytes;
}

/** Bytes, many of which may be 0xff or 0. */
export function randomBytes(r: Random, n: number): Uint8Array {
  const dense = r.below(8);
  const fixed = dense === 0 ? 0xff : 0;
  return Uint8Array.from({ length: n }, () => (dense < 2 && r.chance(0.99) ? fixed : r.below(256)));
}

/** Bytes of the headers of a flow's segments. */
export function headersOf(flow: Flow): number {
  return transportOf(flow) + (flow.protocol === tcp.PROTOCOL ? tcp.SIZE + flow.tcpOptions.length : udp.SIZE);
}

/** Where a flow's segments have their IP header. */
export function networkOf(flow: Flow): number {
  return flow.prefix.length + (flow.ethernet ? ethernet.SIZE + vlan.SIZE * flow.tags.length : 0);
}

/** Where a flow's segments have their transport header. */
export function transportOf(flow: Flow): number {
  return networkOf(flow) + (flow.family === 4 ? ipv4.SIZE : ipv6.SIZE) + flow.ipOptions.length;
}

/** How many segments a flow has. */
export function countOf({ payload, size }: Flow): number {
  return Math.max(1, Math.ceil(payload.length / size));
}

/** All segments of a flow, each made by itself. */
export function segmentsOf(flow: Flow): Uint8Array[] {
  const n = countOf(flow);
  return Array.from({ length: n }, (_, i) => {
    const payload = flow.payload.slice(i * flow.size, (i + 1) * flow.size);
    const first = i === 0 ? 0xff : ~tcp.CWR;
    const last = i === n - 1 ? 0xff : ~(tcp.FIN | tcp.PSH);
    const bytes = frameOf(flow, i, flow.flags & first & last, payload);
    finishChecksum(flow, bytes);
    return bytes;
  });
}

/** Puts a flow's super-frame into a packet, its checksum left to be completed, payload `gap` bytes apart. */
export function putSuper(p: Packet, flow: Flow, gap = 0): Packet {
  const bytes = frameOf(flow, 0, flow.flags, flow.payload);
  const headers = headersOf(flow);
  setChecksum(flow, bytes, pseudoOf(flow, bytes));
  p.bytes.set(bytes.subarray(0, headers), HEADROOM);
  p.start = HEADROOM;
  p.end = HEADROOM + headers;
  for (let at = 0; at < flow.payload.length; at += flow.size) {
    if (at > 0) p.end += gap;
    const piece = flow.payload.subarray(at, at + flow.size);
    p.bytes.set(piece, p.end);
    p.end += piece.length;
  }
  const overTcp = flow.family === 4 ? GSO_TCPV4 : GSO_TCPV6;
  p.gsoType = flow.protocol === udp.PROTOCOL ? GSO_UDP_L4 : overTcp;
  p.gsoSize = flow.size;
  p.hdrLen = headers;
  p.gap = gap;
  notePartial(p, flow);
  return p;
}

/** Puts datagrams behind each other into a packet, `gap` bytes apart: a train. */
export function putTrain(p: Packet, datagrams: readonly Uint8Array[], gap = 0): Packet {
  p.end = p.start;
  for (const [i, bytes] of datagrams.entries()) {
    if (i > 0) p.end += gap;
    p.bytes.set(bytes, p.end);
    p.end += bytes.length;
  }
  p.gsoType = GSO_UDP_L4;
  p.gsoSize = datagrams[0].length;
  p.gap = gap;
  return p;
}

/** Leaves the checksum of a packet that is one frame of a flow to be completed. */
export function setPartial(p: Packet, flow: Flow): void {
  const frame = p.frame();
  setChecksum(flow, frame, pseudoOf(flow, frame));
  notePartial(p, flow);
}

function notePartial(p: Packet, flow: Flow): void {
  p.csumStart = p.start + transportOf(flow);
  p.csumOffset = flow.protocol === udp.PROTOCOL ? 6 : 16;
}

/** One frame of the flow: segment `i`, or with the payload of all the super-frame. Its checksum is 0. */
export function frameOf(flow: Flow, i: number, flags: number, payload: Uint8Array): Uint8Array {
  const headers = headersOf(flow);
  const bytes = new Uint8Array(headers + payload.length);
  const v = viewOf(bytes);
  bytes.set(flow.prefix);
  bytes.set(payload, headers);
  if (flow.ethernet) writeEthernet(flow, v);
  writeIp(flow, v, i, bytes.length);
  const l4 = transportOf(flow);
  const { srcPort, dstPort, seq, ack, window } = flow;
  if (flow.protocol === udp.PROTOCOL) {
    udp.write(v, l4, srcPort, dstPort, bytes.length - l4, 0);
    return bytes;
  }
  tcp.write(v, l4, srcPort, dstPort, (seq + i * flow.size) >>> 0, ack, headers - l4, flags, window);
  tcp.setUrgent(v, l4, flow.urgent);
  bytes.set(flow.tcpOptions, l4 + tcp.SIZE);
  return bytes;
}

function writeEthernet(flow: Flow, v: DataView): void {
  const type = flow.family === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
  const types = [...flow.tags.map(() => ethernet.TYPE_VLAN), type];
  ethernet.write(v, flow.prefix.length, MAC, 1, MAC, 2, types[0]);
  flow.tags.forEach((vid, n) => {
    const at = flow.prefix.length + ethernet.SIZE + n * vlan.SIZE;
    vlan.write(v, at, n, 0, vid, types[n + 1]);
  });
}

function writeIp(flow: Flow, v: DataView, i: number, end: number): void {
  const { family, protocol, tos, src, dst, ipOptions } = flow;
  const ip = networkOf(flow);
  for (const [n, byte] of ipOptions.entries()) v.setUint8(transportOf(flow) - ipOptions.length + n, byte);
  if (family === 4) {
    ipv4.write(v, ip, tos, end - ip, (flow.id + i) & 0xffff, flow.ipFlags, 64, protocol, src[3], dst[3]);
    ipv4.setHeaderLength(v, ip, ipv4.SIZE + ipOptions.length);
    ipv4.fillChecksum(v, ip);
    return;
  }
  const next = ipOptions.length > 0 ? protocols.DESTINATION_OPTIONS : protocol;
  ipv6.write(v, ip, tos, 0x12345, end - ip - ipv6.SIZE, next, 64, src, dst);
}

/** Sum of a frame's pseudo header. */
export function pseudoOf(flow: Flow, bytes: Uint8Array): number {
  const of = flow.family === 4 ? checksum.pseudo4 : checksum.pseudo6;
  return of(viewOf(bytes), networkOf(flow), flow.protocol, bytes.length - transportOf(flow));
}

function setChecksum(flow: Flow, bytes: Uint8Array, value: number): void {
  const set = flow.protocol === udp.PROTOCOL ? udp.setChecksum : tcp.setChecksum;
  set(viewOf(bytes), transportOf(flow), value);
}

/** Fills the transport checksum of a frame. */
export function finishChecksum(flow: Flow, bytes: Uint8Array): void {
  const l4 = transportOf(flow);
  if (flow.protocol === udp.PROTOCOL) udp.fillChecksum(viewOf(bytes), l4, pseudoOf(flow, bytes));
  else tcp.fillChecksum(viewOf(bytes), l4, bytes.length, pseudoOf(flow, bytes));
}
