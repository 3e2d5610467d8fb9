/**
 * IPv4, RFC 791 section 3.1; the second byte by RFC 2474 (DSCP) and RFC 3168 (ECN).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+-----------+---+-------------------------------+
 *     |Version|  IHL  |   DSCP    |ECN|         Total length          |
 *     +-------+-------+-----------+---+-----+-------------------------+
 *     |        Identification         |Flags|     Fragment offset     |
 *     +---------------+---------------+-----+-------------------------+
 *     | Time to live  |   Protocol    |        Header checksum        |
 *     +---------------+---------------+-------------------------------+
 *     |                        Source address                         |
 *     +---------------------------------------------------------------+
 *     |                      Destination address                      |
 *     +---------------------------------------------------------------+
 *     |                    Options, 0 to 40 bytes                     |
 *     +---------------------------------------------------------------+
 *
 * Odd: IHL counts words of 4 bytes and the fragment offset units of 8; the getters here speak of bytes. Bytes
 * behind the total length are padding of the link. The setters leave the header checksum alone, except
 * {@link setEcn}, which a tunnel's end calls on packets that are not its own.
 */
import { fromHex, hex } from './bytes.ts';
import * as checksums from './checksum.ts';
import { type Fault, LENGTH, OK, SHORT, TRUNCATED, VERSION } from './fault.ts';
import * as ip from './ip.ts';
import * as options from './ipv4-options.ts';
import { bits, type Layout, struct, u8, u16, u32 } from './layout.ts';
import * as protocols from './protocol.ts';

export const layout: Layout = struct(
  bits('versionIhl', 8, { version: 4, ihl: 4 }),
  bits('tos', 8, { dscp: 6, ecn: 2 }),
  u16('totalLength'),
  u16('id'),
  bits('fragment', 16, { flags: 3, offset: 13 }),
  u8('ttl'),
  u8('protocol'),
  u16('checksum'),
  u32('src'),
  u32('dst'),
);

const VERSION_IHL = layout.offsetOf('versionIhl');
const TOS = layout.offsetOf('tos');
const TOTAL_LENGTH = layout.offsetOf('totalLength');
const ID = layout.offsetOf('id');
const FRAGMENT = layout.offsetOf('fragment');
const TTL = layout.offsetOf('ttl');
const PROTOCOL = layout.offsetOf('protocol');
const CHECKSUM = layout.offsetOf('checksum');
const SRC = layout.offsetOf('src');
const DST = layout.offsetOf('dst');

/** Bytes of the header without options. */
export const SIZE = layout.span;
/** Bytes of the longest header. */
export const MAX_SIZE = 60;

/** Flag: do not fragment. */
export const DF = 0b010;
/** Flag: more fragments follow. */
export const MF = 0b001;

// ECN, RFC 3168 section 5. IPv6 has the same.
export const NOT_ECT = 0b00;
export const ECT1 = 0b01;
export const ECT0 = 0b10;
export const CE = 0b11;

/** `end` is where the frame ends; bytes behind the packet's own end are allowed. Options are not looked at,
 * since nobody has to understand them: see {@link checkOptions}. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < SIZE) return SHORT;
  const first = v.getUint8(at + VERSION_IHL);
  if (first >>> 4 !== 4) return VERSION;
  const header = (first & 0xf) << 2;
  const total = v.getUint16(at + TOTAL_LENGTH);
  if (header < SIZE || total < header) return LENGTH;
  return total > end - at ? TRUNCATED : OK;
}

/** OPTIONS where an option is malformed. Expects a header that {@link check} passed. */
export function checkOptions(v: DataView, at: number): Fault {
  return options.check(v, at + SIZE, at + headerLength(v, at));
}

/** Bytes of the header, options included: 20 to 60. */
export function headerLength(v: DataView, at: number): number {
  return (v.getUint8(at + VERSION_IHL) & 0xf) << 2;
}

/** DSCP and ECN together. */
export function tos(v: DataView, at: number): number {
  return v.getUint8(at + TOS);
}

/** 6 bits. */
export function dscp(v: DataView, at: number): number {
  return v.getUint8(at + TOS) >>> 2;
}

/** {@link NOT_ECT}, {@link ECT0}, {@link ECT1} or {@link CE}. */
export function ecn(v: DataView, at: number): number {
  return v.getUint8(at + TOS) & 3;
}

/** Bytes of header and payload together. */
export function totalLength(v: DataView, at: number): number {
  return v.getUint16(at + TOTAL_LENGTH);
}

/** Means nothing in a packet that is not a fragment (RFC 6864 section 4.1). */
export function id(v: DataView, at: number): number {
  return v.getUint16(at + ID);
}

/** {@link DF} and {@link MF}. */
export function flags(v: DataView, at: number): number {
  return v.getUint8(at + FRAGMENT) >>> 5;
}

/** Where in the original payload this fragment belongs, in bytes. */
export function fragmentOffset(v: DataView, at: number): number {
  return (v.getUint16(at + FRAGMENT) & 0x1fff) << 3;
}

export function ttl(v: DataView, at: number): number {
  return v.getUint8(at + TTL);
}

export function protocol(v: DataView, at: number): number {
  return v.getUint8(at + PROTOCOL);
}

export function checksum(v: DataView, at: number): number {
  return v.getUint16(at + CHECKSUM);
}

/** Unsigned. */
export function src(v: DataView, at: number): number {
  return v.getUint32(at + SRC);
}

/** Unsigned. */
export function dst(v: DataView, at: number): number {
  return v.getUint32(at + DST);
}

/** Whether this is a part of a packet: its first, a later or its last. */
export function isFragment(v: DataView, at: number): boolean {
  return (v.getUint16(at + FRAGMENT) & 0x3fff) !== 0;
}

/** Whether the packet is a fragment other than the first, which carries no transport header. */
export function isLaterFragment(v: DataView, at: number): boolean {
  return (v.getUint16(at + FRAGMENT) & 0x1fff) !== 0;
}

/** `bytes` is a multiple of 4, 20 to 60. */
export function setHeaderLength(v: DataView, at: number, bytes: number): void {
  v.setUint8(at + VERSION_IHL, 0x40 | (bytes >>> 2));
}

export function setTos(v: DataView, at: number, tos: number): void {
  v.setUint8(at + TOS, tos);
}

export function setDscp(v: DataView, at: number, dscp: number): void {
  v.setUint8(at + TOS, (dscp << 2) | (v.getUint8(at + TOS) & 3));
}

/** Changes the ECN field and the header checksum with it (RFC 6040 section 4.2, RFC 1624). */
export function setEcn(v: DataView, at: number, ecn: number): void {
  const before = v.getUint16(at + VERSION_IHL);
  const after = (before & ~3) | ecn;
  v.setUint16(at + VERSION_IHL, after);
  setChecksum(v, at, checksums.update(checksum(v, at), before, after));
}

export function setTotalLength(v: DataView, at: number, bytes: number): void {
  v.setUint16(at + TOTAL_LENGTH, bytes);
}

export function setId(v: DataView, at: number, id: number): void {
  v.setUint16(at + ID, id);
}

export function setFlags(v: DataView, at: number, flags: number): void {
  v.setUint8(at + FRAGMENT, (flags << 5) | (v.getUint8(at + FRAGMENT) & 0x1f));
}

/** `bytes` is a multiple of 8. */
export function setFragmentOffset(v: DataView, at: number, bytes: number): void {
  v.setUint16(at + FRAGMENT, (v.getUint16(at + FRAGMENT) & 0xe000) | (bytes >>> 3));
}

export function setTtl(v: DataView, at: number, ttl: number): void {
  v.setUint8(at + TTL, ttl);
}

export function setProtocol(v: DataView, at: number, protocol: number): void {
  v.setUint8(at + PROTOCOL, protocol);
}

export function setChecksum(v: DataView, at: number, value: number): void {
  v.setUint16(at + CHECKSUM, value);
}

export function setSrc(v: DataView, at: number, address: number): void {
  v.setUint32(at + SRC, address);
}

export function setDst(v: DataView, at: number, address: number): void {
  v.setUint32(at + DST, address);
}

/** Writes a whole header of 20 bytes, unfragmented, with its checksum; `bytes` counts header and payload. */
export function write(
  v: DataView,
  at: number,
  tos: number,
  bytes: number,
  id: number,
  flags: number,
  ttl: number,
  protocol: number,
  src: number,
  dst: number,
): void {
  setHeaderLength(v, at, SIZE);
  setTos(v, at, tos);
  setTotalLength(v, at, bytes);
  setId(v, at, id);
  v.setUint16(at + FRAGMENT, flags << 13);
  setTtl(v, at, ttl);
  setProtocol(v, at, protocol);
  setSrc(v, at, src);
  setDst(v, at, dst);
  // As {@link fillChecksum} would, from what is at hand: a third of the time.
  const addresses = (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff);
  const s = 0x4500 + tos + bytes + id + (flags << 13) + (ttl << 8) + protocol + addresses;
  setChecksum(v, at, checksums.finish(checksums.add(s & 0xffff, s >>> 16)));
}

/** Whether the header checksum is right. */
export function verifyChecksum(v: DataView, at: number): boolean {
  return checksums.sum(v, at, at + headerLength(v, at)) === 0xffff;
}

/** Computes and stores the header checksum, options included. */
export function fillChecksum(v: DataView, at: number): void {
  setChecksum(v, at, 0);
  setChecksum(v, at, checksums.finish(checksums.sum(v, at, at + headerLength(v, at))));
}

/** A decoded header, for people and tools. */
export interface Ipv4 {
  dscp: number;
  ecn: number;
  totalLength: number;
  id: number;
  flags: number;
  /** In bytes. */
  fragmentOffset: number;
  ttl: number;
  protocol: number;
  checksum: number;
  src: string;
  dst: string;
  /** Hexadecimal digits, whole words. */
  options: string;
}

export function decode(v: DataView, at: number): Ipv4 {
  return {
    dscp: dscp(v, at),
    ecn: ecn(v, at),
    totalLength: totalLength(v, at),
    id: id(v, at),
    flags: flags(v, at),
    fragmentOffset: fragmentOffset(v, at),
    ttl: ttl(v, at),
    protocol: protocol(v, at),
    checksum: checksum(v, at),
    src: ip.format4(src(v, at)),
    dst: ip.format4(dst(v, at)),
    options: hex(v, at + SIZE, headerLength(v, at) - SIZE),
  };
}

/** Writes a decoded header, its checksum as given. */
export function encode(fields: Ipv4, v: DataView, at: number): void {
  const tail = fromHex(fields.options);
  const { options: _, ...header } = {
    ...fields,
    version: 4,
    ihl: (SIZE + tail.length) / 4,
    offset: fields.fragmentOffset / 8,
    src: ip.parse(fields.src).words[3],
    dst: ip.parse(fields.dst).words[3],
  };
  layout.encode(header, v, at);
  for (const [i, byte] of tail.entries()) v.setUint8(at + SIZE + i, byte);
}

const ECNS = ['', ',ECT(1)', ',ECT(0)', ',CE'];
const FLAGS = ['none', '+', 'DF', '+, DF', 'rsvd', '+, rsvd', 'DF, rsvd', '+, DF, rsvd'];

/** `IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto UDP (17), length 32) 10.0.0.1 > 10.0.0.2`, as
 * `tcpdump -v` prints it. */
export function format(v: DataView, at: number): string {
  const names = options.format(v, at + SIZE, at + headerLength(v, at));
  const fields = [
    `tos 0x${tos(v, at).toString(16)}${ECNS[ecn(v, at)]}`,
    `ttl ${ttl(v, at)}`,
    `id ${id(v, at)}`,
    `offset ${fragmentOffset(v, at)}`,
    `flags [${FLAGS[flags(v, at)]}]`,
    `proto ${protocols.format(protocol(v, at))}`,
    `length ${totalLength(v, at)}`,
    ...(names === '' ? [] : [`options (${names})`]),
  ];
  return `IP (${fields.join(', ')}) ${ip.format4(src(v, at))} > ${ip.format4(dst(v, at))}`;
}
