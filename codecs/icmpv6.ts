/**
 * ICMPv6, RFC 4443. Neighbor discovery, which is ICMPv6 too, has its own codec in `nd.ts`.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Code      |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *     |     Rest: by type; of an echo, identifier and sequence        |
 *     +---------------------------------------------------------------+
 *
 * Odd: types below 128 are errors, the others are not. The checksum covers a pseudo header as well, unlike
 * ICMP's for IPv4. RFC 4443 calls only the first word the header, but no message is shorter than two. Errors
 * quote as much of the packet that they are about as fits into 1280 bytes.
 */
import * as checksums from './checksum.ts';
import { type Fault, OK, SHORT } from './fault.ts';
import * as ip from './ip.ts';
import * as ipv6 from './ipv6.ts';
import * as extensions from './ipv6-extensions.ts';
import { type Layout, struct, u8, u16, u32 } from './layout.ts';
import * as protocols from './protocol.ts';

export const layout: Layout = struct(u8('type'), u8('code'), u16('checksum'), u32('rest'));

const TYPE = layout.offsetOf('type');
const CODE = layout.offsetOf('code');
const CHECKSUM = layout.offsetOf('checksum');
const REST = layout.offsetOf('rest');

/** Bytes of the part that all messages have. */
export const SIZE = layout.span;
/** IP protocol number. */
export const PROTOCOL = protocols.ICMPV6;

export const UNREACHABLE = 1;
export const PACKET_TOO_BIG = 2;
export const TIME_EXCEEDED = 3;
export const PARAMETER_PROBLEM = 4;
export const ECHO_REQUEST = 128;
export const ECHO_REPLY = 129;
/** Multicast listener discovery: RFC 2710, version 2 RFC 3810. */
export const MLD_QUERY = 130;
export const MLD_REPORT = 131;
export const MLD_DONE = 132;
/** Neighbor discovery: RFC 4861 section 4. */
export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOR_SOLICITATION = 135;
export const NEIGHBOR_ADVERTISEMENT = 136;
export const REDIRECT = 137;
export const MLD2_REPORT = 143;

// Codes of UNREACHABLE.
export const NO_ROUTE = 0;
export const PROHIBITED = 1;
export const ADDRESS_UNREACHABLE = 3;
export const PORT_UNREACHABLE = 4;

/** `end` is where the IP payload ends. */
export function check(_v: DataView, at: number, end: number): Fault {
  return end - at < SIZE ? SHORT : OK;
}

/** Whether messages of a type report an error, to which no error may be the answer (RFC 4443 section 2.4 e). */
export function isError(type: number): boolean {
  return type < 128;
}

export function type(v: DataView, at: number): number {
  return v.getUint8(at + TYPE);
}

export function code(v: DataView, at: number): number {
  return v.getUint8(at + CODE);
}

export function checksum(v: DataView, at: number): number {
  return v.getUint16(at + CHECKSUM);
}

/** The second word, whatever it means; unsigned. */
export function rest(v: DataView, at: number): number {
  return v.getUint32(at + REST);
}

/** Identifier of an echo. */
export function id(v: DataView, at: number): number {
  return v.getUint16(at + REST);
}

/** Sequence number of an echo. */
export function seq(v: DataView, at: number): number {
  return v.getUint16(at + REST + 2);
}

/** MTU of the next hop in bytes, in Packet Too Big; unsigned. Below 1280 it is not to be believed (RFC 8201
 * section 4). */
export function mtu(v: DataView, at: number): number {
  return v.getUint32(at + REST);
}

export function setType(v: DataView, at: number, type: number): void {
  v.setUint8(at + TYPE, type);
}

export function setCode(v: DataView, at: number, code: number): void {
  v.setUint8(at + CODE, code);
}

export function setChecksum(v: DataView, at: number, value: number): void {
  v.setUint16(at + CHECKSUM, value);
}

export function setRest(v: DataView, at: number, rest: number): void {
  v.setUint32(at + REST, rest);
}

export function setId(v: DataView, at: number, id: number): void {
  v.setUint16(at + REST, id);
}

export function setSeq(v: DataView, at: number, seq: number): void {
  v.setUint16(at + REST + 2, seq);
}

/** Writes the 8 bytes; `rest` is the MTU or whatever the type asks. Fill the checksum when the message is whole. */
export function write(v: DataView, at: number, type: number, code: number, rest: number): void {
  setType(v, at, type);
  setCode(v, at, code);
  setChecksum(v, at, 0);
  setRest(v, at, rest);
}

/** {@link write} for an {@link ECHO_REQUEST} or {@link ECHO_REPLY}. */
export function writeEcho(v: DataView, at: number, type: number, id: number, seq: number): void {
  write(v, at, type, 0, (id << 16) | seq);
}

/** Whether the checksum over the whole message is right; `pseudo` is by {@link checksums.pseudo6}. */
export function verifyChecksum(v: DataView, at: number, end: number, pseudo: number): boolean {
  return checksums.add(checksums.sum(v, at, end), pseudo) === 0xffff;
}

/** Computes and stores the checksum over the whole message. */
export function fillChecksum(v: DataView, at: number, end: number, pseudo: number): void {
  setChecksum(v, at, 0);
  setChecksum(v, at, checksums.finish(checksums.add(checksums.sum(v, at, end), pseudo)));
}

/** The decoded part that all messages have, for people and tools. */
export interface Icmpv6 {
  type: number;
  code: number;
  checksum: number;
  rest: number;
}

export function decode(v: DataView, at: number): Icmpv6 {
  return layout.decode(v, at) as unknown as Icmpv6;
}

/** Writes what was decoded; the cold twin of {@link write}. */
export function encode(fields: Icmpv6, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

const NAMES: Record<number, string> = {
  [UNREACHABLE]: 'destination unreachable',
  [PACKET_TOO_BIG]: 'packet too big',
  [TIME_EXCEEDED]: 'time exceeded in-transit',
  [PARAMETER_PROBLEM]: 'parameter problem',
  [ECHO_REQUEST]: 'echo request',
  [ECHO_REPLY]: 'echo reply',
  [MLD_QUERY]: 'multicast listener query',
  [MLD_REPORT]: 'multicast listener report',
  [MLD_DONE]: 'multicast listener done',
  [ROUTER_SOLICITATION]: 'router solicitation',
  [ROUTER_ADVERTISEMENT]: 'router advertisement',
  [NEIGHBOR_SOLICITATION]: 'neighbor solicitation',
  [NEIGHBOR_ADVERTISEMENT]: 'neighbor advertisement',
  [REDIRECT]: 'redirect',
  [MLD2_REPORT]: 'multicast listener report v2',
};

/** `ICMP6, echo request, id 1, seq 2, length 64`, as tcpdump prints it; `end` is that of the message. */
export function format(v: DataView, at: number, end: number): string {
  const name = NAMES[type(v, at)] ?? `unknown icmp6 type (${type(v, at)})`;
  return `ICMP6, ${name}${formatDetail(v, at, end)}, length ${end - at}`;
}

function formatDetail(v: DataView, at: number, end: number): string {
  const c = code(v, at);
  switch (type(v, at)) {
    case ECHO_REQUEST:
    case ECHO_REPLY:
      return `, id ${id(v, at)}, seq ${seq(v, at)}`;
    case PACKET_TOO_BIG:
      return `, mtu ${mtu(v, at)}`;
    case UNREACHABLE:
      return `, ${formatUnreachable(v, at, end)}`;
    case TIME_EXCEEDED:
      return [` for ${quoted(v, at, end, ipv6.DST)}`, ' (reassembly)'][c] ?? `, unknown code (${c})`;
    case PARAMETER_PROBLEM: {
      const causes = ['erroneous', 'next header', 'option', 'incomplete header chain'];
      return `, ${causes[c] ?? `code-#${c}`} - octet ${rest(v, at)}`;
    }
    default:
      return '';
  }
}

function formatUnreachable(v: DataView, at: number, end: number): string {
  const dst = quoted(v, at, end, ipv6.DST);
  switch (code(v, at)) {
    case NO_ROUTE:
      return `unreachable route ${dst}`;
    case PROHIBITED:
      return `unreachable prohibited ${dst}`;
    case 2:
      return `beyond scope ${dst}, source address ${quoted(v, at, end, ipv6.SRC)}`;
    case ADDRESS_UNREACHABLE:
      return `unreachable address ${dst}`;
    case PORT_UNREACHABLE:
      return `unreachable port, ${dst}${formatPort(v, at, end)}`;
    default:
      return `unknown unreach code (${code(v, at)})`;
  }
}

/** ` udp port 53`: where the quoted packet was for, so far as it is quoted. */
function formatPort(v: DataView, at: number, end: number): string {
  const packet = at + SIZE;
  if (end - packet < ipv6.SIZE) return '';
  const u = extensions.upper(v, packet, end);
  if (u < 0 || extensions.isLaterFragment(u)) return '';
  const port = packet + extensions.upperOffset(u) + 2;
  const protocol = extensions.upperProtocol(u);
  const name = { [protocols.TCP]: 'tcp', [protocols.UDP]: 'udp' }[protocol] ?? `protocol ${protocol}`;
  return port + 2 > end ? '' : ` ${name} port ${v.getUint16(port)}`;
}

/** An address of the quoted packet. */
function quoted(v: DataView, at: number, end: number, offset: number): string {
  return end - at - SIZE < ipv6.SIZE ? '?' : ip.format(ip.read6(v, at + SIZE + offset));
}
