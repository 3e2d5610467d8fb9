/**
 * ICMP for IPv4, RFC 792; the MTU of Fragmentation Needed by RFC 1191 section 4.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Code      |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *     |     Rest: by type; of an echo, identifier and sequence        |
 *     +---------------------------------------------------------------+
 *
 * Odd: no length is given; a message is as long as the IP payload, and the checksum covers all of it, so the
 * functions that need the end are told. Errors quote the packet that they are about behind the 8 bytes; the
 * quoted header's total length is that of the whole packet, so `ipv4.check` finds it truncated.
 */
import * as checksums from './checksum.ts';
import { type Fault, OK, SHORT } from './fault.ts';
import * as ip from './ip.ts';
import * as ipv4 from './ipv4.ts';
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
export const PROTOCOL = protocols.ICMP;

export const ECHO_REPLY = 0;
export const UNREACHABLE = 3;
export const SOURCE_QUENCH = 4;
export const REDIRECT = 5;
export const ECHO_REQUEST = 8;
export const ROUTER_ADVERTISEMENT = 9;
export const ROUTER_SOLICITATION = 10;
export const TIME_EXCEEDED = 11;
export const PARAMETER_PROBLEM = 12;
export const TIMESTAMP = 13;
export const TIMESTAMP_REPLY = 14;

// Codes of UNREACHABLE.
export const NET_UNREACHABLE = 0;
export const HOST_UNREACHABLE = 1;
export const PROTOCOL_UNREACHABLE = 2;
export const PORT_UNREACHABLE = 3;
export const FRAGMENTATION_NEEDED = 4;
/** Communication administratively prohibited (RFC 1812 section 5.2.7.1). */
export const PROHIBITED = 13;

/** `end` is where the IP payload ends. */
export function check(_v: DataView, at: number, end: number): Fault {
  return end - at < SIZE ? SHORT : OK;
}

/** Whether messages of a type report an error, to which no error may be the answer (RFC 1122 section 3.2.2). */
export function isError(type: number): boolean {
  return (
    type === UNREACHABLE ||
    type === SOURCE_QUENCH ||
    type === REDIRECT ||
    type === TIME_EXCEEDED ||
    type === PARAMETER_PROBLEM
  );
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

/** MTU of the next hop in bytes, in Fragmentation Needed; 0 from a router older than RFC 1191. */
export function mtu(v: DataView, at: number): number {
  return v.getUint16(at + REST + 2);
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

/** Whether the checksum over the whole message is right. */
export function verifyChecksum(v: DataView, at: number, end: number): boolean {
  return checksums.sum(v, at, end) === 0xffff;
}

/** Computes and stores the checksum over the whole message. */
export function fillChecksum(v: DataView, at: number, end: number): void {
  setChecksum(v, at, 0);
  setChecksum(v, at, checksums.finish(checksums.sum(v, at, end)));
}

/** The decoded part that all messages have, for people and tools. */
export interface Icmp {
  type: number;
  code: number;
  checksum: number;
  rest: number;
}

export function decode(v: DataView, at: number): Icmp {
  return layout.decode(v, at) as unknown as Icmp;
}

/** Writes what was decoded; the cold twin of {@link write}. */
export function encode(fields: Icmp, v: DataView, at: number): void {
  layout.encode({ ...fields }, v, at);
}

/** `ICMP echo request, id 1, seq 2, length 64`, as tcpdump prints it; `end` is that of the message. */
export function format(v: DataView, at: number, end: number): string {
  return `ICMP ${formatMessage(v, at, end)}, length ${end - at}`;
}

function formatMessage(v: DataView, at: number, end: number): string {
  const echo = `id ${id(v, at)}, seq ${seq(v, at)}`;
  const stamp = `id ${id(v, at)} seq ${seq(v, at)}`;
  const c = code(v, at);
  switch (type(v, at)) {
    case ECHO_REPLY:
      return `echo reply, ${echo}`;
    case ECHO_REQUEST:
      return `echo request, ${echo}`;
    case UNREACHABLE:
      return formatUnreachable(v, at, end);
    case SOURCE_QUENCH:
      return 'source quench';
    case REDIRECT:
      return formatRedirect(v, at, end);
    case ROUTER_ADVERTISEMENT:
      return 'router advertisement';
    case ROUTER_SOLICITATION:
      return 'router solicitation';
    case TIME_EXCEEDED:
      return ['time exceeded in-transit', 'ip reassembly time exceeded'][c] ?? `time exceeded-#${c}`;
    case PARAMETER_PROBLEM:
      return `parameter problem - ${c === 0 ? `octet ${v.getUint8(at + REST)}` : `code ${c}`}`;
    case TIMESTAMP:
      return `time stamp query ${stamp}`;
    case TIMESTAMP_REPLY:
      return `time stamp reply ${stamp}`;
    default:
      return `type-#${type(v, at)}`;
  }
}

/** By code; `%` stands for the destination of the quoted packet. */
const UNREACHABLES: readonly string[] = [
  'net % unreachable',
  'host % unreachable',
  '% protocol unreachable',
  '% port unreachable',
  '% unreachable - need to frag',
  '% unreachable - source route failed',
  'net % unreachable - unknown',
  'host % unreachable - unknown',
  '% unreachable - source host isolated',
  'net % unreachable - admin prohibited',
  'host % unreachable - admin prohibited',
  'net % unreachable - tos prohibited',
  'host % unreachable - tos prohibited',
  'host % unreachable - admin prohibited filter',
  'host % unreachable - host precedence violation',
  'host % unreachable - precedence cutoff',
];

function formatUnreachable(v: DataView, at: number, end: number): string {
  const c = code(v, at);
  const quoted = at + SIZE;
  const dst = quotedDst(v, at, end);
  const text = (UNREACHABLES[c] ?? `% unreachable - #${c}`).replace('%', dst ?? '?');
  if (c === FRAGMENTATION_NEEDED && mtu(v, at) > 0) return `${text} (mtu ${mtu(v, at)})`;
  if (dst === null) return text;
  const protocol = ipv4.protocol(v, quoted);
  if (c === PROTOCOL_UNREACHABLE) return `${dst} protocol ${protocol} unreachable`;
  const port = quoted + ipv4.headerLength(v, quoted) + 2;
  if (c !== PORT_UNREACHABLE || port + 2 > end) return text;
  const name = { [protocols.TCP]: 'tcp', [protocols.UDP]: 'udp' }[protocol] ?? `protocol ${protocol}`;
  return `${dst} ${name} port ${v.getUint16(port)} unreachable`;
}

function formatRedirect(v: DataView, at: number, end: number): string {
  const c = code(v, at);
  const [name, what] = [
    ['redirect', 'to net '],
    ['redirect', 'to host '],
    ['redirect-tos', 'to net '],
    ['redirect-tos', 'to host '],
  ][c] ?? [`redirect-#${c}`, 'to '];
  return `${name} ${quotedDst(v, at, end) ?? '?'} ${what}${ip.format4(rest(v, at))}`;
}

function quotedDst(v: DataView, at: number, end: number): string | null {
  const quoted = at + SIZE;
  return end - quoted < ipv4.SIZE ? null : ip.format4(ipv4.dst(v, quoted));
}
