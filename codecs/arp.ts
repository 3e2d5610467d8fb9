/**
 * ARP, RFC 826, for IPv4 over Ethernet; probes and announcements by RFC 5227.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |     Hardware type (1)         |    Protocol type (0x0800)     |
 *     +---------------+---------------+-------------------------------+
 *     |    hln (6)    |    pln (4)    |           Operation           |
 *     +---------------+---------------+-------------------------------+
 *     |                Sender hardware address (6 bytes)              |
 *     +                               +-------------------------------+
 *     |                               |   Sender protocol address     |
 *     +-------------------------------+-------------------------------+
 *     |   ... (4 bytes)               |                               |
 *     +-------------------------------+  Target hardware address (6)  +
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *     |                Target protocol address (4 bytes)              |
 *     +---------------------------------------------------------------+
 *
 * Odd: the protocol addresses of the sender are not aligned. The frame is mostly padded behind the packet. A
 * sender address of 0.0.0.0 makes a probe (RFC 5227 section 1.1), from which nothing may be learned.
 */
import { type Fault, LENGTH, OK, SHORT, TYPE } from './fault.ts';
import * as ip from './ip.ts';
import { type Layout, struct, u8, u16, u32, u48 } from './layout.ts';
import * as mac from './mac.ts';

export const layout: Layout = struct(
  u16('hardware'),
  u16('protocol'),
  u8('hln'),
  u8('pln'),
  u16('op'),
  u48('sha'),
  u32('spa'),
  u48('tha'),
  u32('tpa'),
);

const HARDWARE = layout.offsetOf('hardware');
const HLN = layout.offsetOf('hln');
const OP = layout.offsetOf('op');
const SHA = layout.offsetOf('sha');
const SPA = layout.offsetOf('spa');
const THA = layout.offsetOf('tha');
const TPA = layout.offsetOf('tpa');

/** Bytes of the packet. */
export const SIZE = layout.span;

export const REQUEST = 1;
export const REPLY = 2;

/** Hardware type Ethernet and protocol type IPv4, one word. */
const ETHERNET_IPV4 = 0x0001_0800;
/** hln and pln, one word. */
const LENGTHS = 0x0604;

/** TYPE for other hardware or protocols, LENGTH where the address lengths do not fit them. Any operation. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  if (v.getUint32(at + HARDWARE) !== ETHERNET_IPV4) return TYPE;
  return v.getUint16(at + HLN) === LENGTHS ? OK : LENGTH;
}

/** Operation: {@link REQUEST}, {@link REPLY} or one that this codec has no name for. */
export function op(v: DataView, at: number): number {
  return v.getUint16(at + OP);
}

/** First 16 bits of the sender's hardware address. */
export function shaHi(v: DataView, at: number): number {
  return v.getUint16(at + SHA);
}

/** Last 32 bits of the sender's hardware address, unsigned. */
export function shaLo(v: DataView, at: number): number {
  return v.getUint32(at + SHA + 2);
}

/** Protocol address of the sender, unsigned. */
export function spa(v: DataView, at: number): number {
  return v.getUint32(at + SPA);
}

/** First 16 bits of the target's hardware address. */
export function thaHi(v: DataView, at: number): number {
  return v.getUint16(at + THA);
}

/** Last 32 bits of the target's hardware address, unsigned. */
export function thaLo(v: DataView, at: number): number {
  return v.getUint32(at + THA + 2);
}

/** Protocol address of the target, unsigned. */
export function tpa(v: DataView, at: number): number {
  return v.getUint32(at + TPA);
}

export function setOp(v: DataView, at: number, op: number): void {
  v.setUint16(at + OP, op);
}

export function setSha(v: DataView, at: number, hi: number, lo: number): void {
  v.setUint16(at + SHA, hi);
  v.setUint32(at + SHA + 2, lo);
}

export function setSpa(v: DataView, at: number, address: number): void {
  v.setUint32(at + SPA, address);
}

export function setTha(v: DataView, at: number, hi: number, lo: number): void {
  v.setUint16(at + THA, hi);
  v.setUint32(at + THA + 2, lo);
}

export function setTpa(v: DataView, at: number, address: number): void {
  v.setUint32(at + TPA, address);
}

/** Writes the whole packet. */
export function write(
  v: DataView,
  at: number,
  op: number,
  shaHi: number,
  shaLo: number,
  spa: number,
  thaHi: number,
  thaLo: number,
  tpa: number,
): void {
  v.setUint32(at + HARDWARE, ETHERNET_IPV4);
  v.setUint16(at + HLN, LENGTHS);
  setOp(v, at, op);
  setSha(v, at, shaHi, shaLo);
  setSpa(v, at, spa);
  setTha(v, at, thaHi, thaLo);
  setTpa(v, at, tpa);
}

/**
 * Turns a request in place into the reply of the target, whose hardware address is given: sender and target
 * are swapped (RFC 826, "Packet Reception"). A probe is answered like any request (RFC 5227 section 2.5).
 */
export function toReply(v: DataView, at: number, hi: number, lo: number): void {
  // As signed numbers, which no call puts on the heap.
  const asked = tpa(v, at) | 0;
  setTha(v, at, shaHi(v, at), shaLo(v, at) | 0);
  setTpa(v, at, spa(v, at) | 0);
  setSha(v, at, hi, lo);
  setSpa(v, at, asked);
  setOp(v, at, REPLY);
}

/** A decoded packet, for people and tools. */
export interface Arp {
  op: number;
  sha: string;
  spa: string;
  tha: string;
  tpa: string;
}

export function decode(v: DataView, at: number): Arp {
  return {
    op: op(v, at),
    sha: mac.format(shaHi(v, at), shaLo(v, at)),
    spa: ip.format4(spa(v, at)),
    tha: mac.format(thaHi(v, at), thaLo(v, at)),
    tpa: ip.format4(tpa(v, at)),
  };
}

/** Writes a decoded packet; the cold twin of {@link write}. */
export function encode(fields: Arp, v: DataView, at: number): void {
  const hardware = (text: string) => {
    const { hi, lo } = mac.parse(text);
    return hi * 0x1_0000_0000 + lo;
  };
  const address = (text: string) => ip.parse(text).words[3];
  layout.encode(
    {
      hardware: 1,
      protocol: 0x0800,
      hln: 6,
      pln: 4,
      op: fields.op,
      sha: hardware(fields.sha),
      spa: address(fields.spa),
      tha: hardware(fields.tha),
      tpa: address(fields.tpa),
    },
    v,
    at,
  );
}

/** `ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28`, as tcpdump prints it; `end` is the frame's. */
export function format(v: DataView, at: number, end = at + SIZE): string {
  const { op, sha, spa, tha, tpa } = decode(v, at);
  const known = op === REQUEST && (thaHi(v, at) | thaLo(v, at)) !== 0 ? ` (${tha})` : '';
  const what =
    op === REQUEST
      ? `Request who-has ${tpa}${known} tell ${spa}`
      : op === REPLY
        ? `Reply ${spa} is-at ${sha}`
        : `Unknown (${op})`;
  return `ARP, ${what}, length ${end - at}`;
}
