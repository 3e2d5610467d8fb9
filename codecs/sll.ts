/**
 * Linux "cooked" capture headers, LINKTYPE_LINUX_SLL (version 1) and LINKTYPE_LINUX_SLL2: what libpcap writes
 * in front of packets of interface `any`, where each interface may have another link layer.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Packet type          |          ARPHRD type          |
 *     +-------------------------------+-------------------------------+
 *     |        Address length         |                               |
 *     +-------------------------------+     Address, 8 bytes          |
 *     |                               +-------------------------------+
 *     |                               |         Protocol type         |
 *     +-------------------------------+-------------------------------+
 *
 * Version 2 has 20 bytes: protocol type, 16 reserved bits, interface index (32), ARPHRD type, packet type (8),
 * address length (8), address.
 *
 * Odd: the address is the sender's alone. These headers are never on a wire, so they are only read.
 */
import { type Fault, OK, SHORT } from './fault.ts';
import { type Layout, struct, u8, u16, u32, words } from './layout.ts';

export const layout: Layout = struct(
  u16('packetType'),
  u16('hardware'),
  u16('addressLength'),
  words('address', 2),
  u16('protocol'),
);
/** Version 2. */
export const layout2: Layout = struct(
  u16('protocol'),
  u16('reserved'),
  u32('interface'),
  u16('hardware'),
  u8('packetType'),
  u8('addressLength'),
  words('address', 2),
);

const PROTOCOL = layout.offsetOf('protocol');
const PACKET_TYPE = layout.offsetOf('packetType');
const PACKET_TYPE2 = layout2.offsetOf('packetType');

/** Bytes of the header, version 1. */
export const SIZE = layout.span;
/** Bytes of the header, version 2. */
export const SIZE2 = layout2.span;

export function check(_v: DataView, at: number, end: number): Fault {
  return end - at < SIZE ? SHORT : OK;
}

export function check2(_v: DataView, at: number, end: number): Fault {
  return end - at < SIZE2 ? SHORT : OK;
}

/** EtherType of what follows, for hardware that has such types. */
export function protocol(v: DataView, at: number): number {
  return v.getUint16(at + PROTOCOL);
}

/** {@link protocol} of version 2. */
export function protocol2(v: DataView, at: number): number {
  return v.getUint16(at);
}

/** A decoded header of either version, for people and tools. */
export interface Sll {
  packetType: number;
  hardware: number;
  addressLength: number;
  address: number[];
  protocol: number;
  /** Index of the interface; version 2 alone. */
  interface?: number;
  reserved?: number;
}

export function decode(v: DataView, at: number): Sll {
  return layout.decode(v, at) as unknown as Sll;
}

export function decode2(v: DataView, at: number): Sll {
  return layout2.decode(v, at) as unknown as Sll;
}

export function encode(fields: Sll, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

export function encode2(fields: Sll, v: DataView, at: number): void {
  layout2.encode({ ...fields }, v, at);
}

const DIRECTIONS = ['In', 'B', 'M', 'P', 'Out'];

/** `In`, `Out`, `B` (broadcast), `M` (multicast) or `P` (for another host), as tcpdump prints it. */
export function format(v: DataView, at: number): string {
  return DIRECTIONS[v.getUint16(at + PACKET_TYPE)] ?? '?';
}

/** {@link format} of version 2. */
export function format2(v: DataView, at: number): string {
  return DIRECTIONS[v.getUint8(at + PACKET_TYPE2)] ?? '?';
}
