/**
 * DNS messages (RFC 1035 section 4, RFC 6891) as far as a server needs them: queries are read with dns-packet, and
 * replies are put together from encoded records, so that the question stays byte for byte what was asked. The owner of
 * every record that is made here is a pointer to the question (section 4.1.4), which makes a record a constant.
 */
import { type Answer, decode, encode, type RecordType } from 'dns-packet';

export const NOERROR = 0;
export const FORMERR = 1;
export const SERVFAIL = 2;
export const NXDOMAIN = 3;
export const NOTIMP = 4;
export const REFUSED = 5;
/** RFC 6891 section 9: its upper bits are in OPT. */
export const BADVERS = 16;

export const A = 1;
export const PTR = 12;
export const SOA = 6;
export const AAAA = 28;
export const OPT = 41;
export const IXFR = 251;
export const AXFR = 252;
export const ANY = 255;
/** Class of the Internet. */
export const IN = 1;

/** Where the question begins: length of the header, in bytes. */
export const HEADER = 12;
export const QR = 0x8000;
export const AA = 0x0400;
export const TC = 0x0200;
export const RD = 0x0100;
export const RA = 0x0080;
export const AD = 0x0020;
export const CD = 0x0010;
const OPCODE = 0x7800;

/** The largest message over TCP, in bytes. */
export const LARGEST = 65535;
/** What we take by UDP without fear of fragments, in bytes (RFC 9715). */
export const UDP_SIZE = 1232;
/** The largest reply by UDP, whatever a client says, in bytes. */
const LARGEST_UDP = 4096;
const SMALLEST_UDP = 512;

export interface Query {
  /** The whole message. */
  readonly bytes: Buffer;
  /** Where the question ends. */
  readonly end: number;
  /** In the case that was asked, without a dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly edns: Edns | null;
}

export interface Edns {
  /** Largest reply by UDP, in bytes. */
  readonly size: number;
  /** DO, RFC 3225. */
  readonly dnssec: boolean;
}

/** A query; or the error to send back; or null for what must not be answered. */
export function readQuery(bytes: Buffer): Query | Buffer | null {
  if (bytes.length < 4 || (bytes.readUInt16BE(2) & QR) !== 0) return null;
  if (bytes.length < HEADER) return refusal(bytes, FORMERR);
  if ((bytes.readUInt16BE(2) & OPCODE) !== 0) return refusal(bytes, NOTIMP);
  // dns-packet makes room for as many records as a header says: one question, and OPT beside a signature at the most
  const sections = bytes.readUInt32BE(8);
  if (bytes.readUInt32BE(4) !== 0x10000 || sections > 2) return refusal(bytes, FORMERR);
  const end = nameEnd(bytes, HEADER) + 4;
  if (end < HEADER || end > bytes.length) return refusal(bytes, FORMERR);
  try {
    const { questions, additionals } = decode(bytes);
    const extensions = (additionals ?? []).filter((record) => record.type === 'OPT');
    if (decode.bytes !== bytes.length || extensions.length > 1) return refusal(bytes, FORMERR);
    const [extension] = extensions;
    if (extension !== undefined && extension.name !== '.') return refusal(bytes, FORMERR);
    const edns =
      extension === undefined ? null : { size: extension.udpPayloadSize, dnssec: extension.flag_do === true };
    if (extension !== undefined && extension.ednsVersion > 0) {
      return writeReply(bytes, end, BADVERS, [], LARGEST, edns);
    }
    const type = bytes.readUInt16BE(end - 4);
    const name = questions?.[0]?.name ?? '';
    return { bytes, end, name: name === '.' ? '' : name, type, class: bytes.readUInt16BE(end - 2), edns };
  } catch {
    return refusal(bytes, FORMERR);
  }
}

/** The offset behind an uncompressed name, or far below zero where there is none. */
export function nameEnd(bytes: Buffer, at: number): number {
  while (at < bytes.length) {
    const length = bytes[at];
    if (length === 0) return at + 1;
    if (length > 63) break;
    at += length + 1;
  }
  return Number.NEGATIVE_INFINITY;
}

/** A header that says what was wrong with a query. */
export function refusal(query: Buffer, rcode: number): Buffer {
  const reply = Buffer.alloc(HEADER);
  query.copy(reply, 0, 0, 2);
  reply.writeUInt16BE(QR | (query.readUInt16BE(2) & (OPCODE | RD)) | rcode, 2);
  return reply;
}

/** The reply to a query whose question ends at `end`. What does not fit into `limit` bytes is left out, and TC says
 * so. */
export function writeReply(
  query: Buffer,
  end: number,
  rcode: number,
  records: readonly Buffer[],
  limit: number,
  edns: Edns | null,
): Buffer {
  const extension = edns === null ? NOTHING : optRecord(rcode >>> 4, edns.dnssec);
  const room = limit - extension.length;
  let length = end;
  let n = 0;
  while (n < records.length && length + records[n].length <= room) length += records[n++].length;
  const reply = Buffer.allocUnsafe(length + extension.length);
  query.copy(reply, 0, 0, end);
  let at = end;
  for (let i = 0; i < n; i++) at += records[i].copy(reply, at);
  extension.copy(reply, at);
  const flags = QR | RA | (query.readUInt16BE(2) & (RD | CD)) | (n < records.length ? TC : 0);
  reply.writeUInt16BE(flags | (rcode & 15), 2);
  reply.writeUInt32BE(0x10000 | n, 4);
  reply.writeUInt32BE(extension.length > 0 ? 1 : 0, 8);
  return reply;
}

/** Bytes that a client takes as one reply. */
export function replyLimit(edns: Edns | null, transport: Transport): number {
  if (transport === 'tcp') return LARGEST;
  return edns === null ? SMALLEST_UDP : Math.min(Math.max(edns.size, SMALLEST_UDP), LARGEST_UDP);
}

export type Transport = 'udp' | 'tcp';

const NOTHING = Buffer.alloc(0);

/** A record whose owner is what was asked. */
export function record(type: RecordType, ttl: number, data: string): Buffer {
  const bytes = encode({ answers: [{ type, name: '.', ttl, data } as Answer] });
  const pointed = Buffer.from(bytes.subarray(HEADER - 1));
  pointed.writeUInt16BE(0xc000 | HEADER, 0);
  return pointed;
}

const OPTS = [0, 1].flatMap((extendedRcode) => [makeOpt(extendedRcode, false), makeOpt(extendedRcode, true)]);

/** An OPT record of ours: with the upper bits of the error and DO as it was asked. */
export function optRecord(extendedRcode: number, dnssec: boolean): Buffer {
  return OPTS[extendedRcode * 2 + (dnssec ? 1 : 0)];
}

function makeOpt(extendedRcode: number, dnssec: boolean): Buffer {
  const extension = {
    type: 'OPT' as const,
    name: '.',
    udpPayloadSize: UDP_SIZE,
    extendedRcode,
    ednsVersion: 0,
    flags: dnssec ? 0x8000 : 0,
    flag_do: dnssec,
    options: [],
  };
  return Buffer.from(encode({ additionals: [extension] }).subarray(HEADER));
}

/** The same question, whatever the case of its letters. */
export function sameQuestion(a: Buffer, b: Buffer, end: number): boolean {
  if (a.length < end || b.length < end) return false;
  for (let i = HEADER; i < end - 4; i++) if (lower(a[i]) !== lower(b[i])) return false;
  return a.readUInt32BE(end - 4) === b.readUInt32BE(end - 4);
}

const scratch = Buffer.alloc(512);

/** Bytes of a message from `from`, in its header, on as a key, without the case of the question's letters. Null where
 * it is shorter or longer than queries are. */
export function foldedKey(bytes: Buffer, from: number, to: number): string | null {
  const n = to - from;
  if (to < HEADER || n > scratch.length) return null;
  bytes.copy(scratch, 0, from, to);
  let at = HEADER - from;
  // labels, whose lengths are no letters, up to the root; type 65 is no letter either and lies behind it
  while (at < n && scratch[at] !== 0) {
    const last = Math.min(at + scratch[at], n - 1);
    for (at++; at <= last; at++) scratch[at] = lower(scratch[at]);
  }
  return scratch.toString('latin1', 0, n);
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte;
}
