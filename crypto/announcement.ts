/**
 * What a node announces for each of its epochs, and the record that it publishes: its newest announcement and
 * the one before, oldest first, one after the other.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+---------------+---------------+
 *     |         0x5057 ("PW")         |  Version (1)  |   ID length   |
 *     +-------------------------------+---------------+---------------+
 *     |                             Epoch                             |
 *     +---------------------------------------------------------------+
 *     |              Boot salt, 16 bytes; Public key, 32 bytes        |
 *     +---------------------------------------------------------------+
 *     |            Node ID, 1..255 bytes of UTF-8; MAC, 16 bytes      |
 *     +---------------------------------------------------------------+
 *
 * The MAC is by the secret that all nodes share: who does not know it can neither join nor displace anybody,
 * though an authentic announcement can be kept and shown again. What a record's order says is not trusted.
 */
import { equal, KEY, MAC, mac, text } from './kdf.ts';

export interface Announcement {
  /** The node's identity. */
  readonly node: string;
  /** Random bytes that the node made when it started, {@link BOOT} of them. */
  readonly boot: Uint8Array;
  /** Counts the node's epochs from 1 since it started; unsigned, 32 bits. */
  readonly epoch: number;
  /** X25519. */
  readonly publicKey: Uint8Array;
  /** As it travels, without the MAC. */
  readonly body: Uint8Array;
  /** The same as text, which tells it from all others in a Map. */
  readonly name: string;
}

/** Bytes of a boot salt. */
export const BOOT = 16;
const MAGIC = 0x5057;
const VERSION = 1;
const EPOCH_AT = 4;
const BOOT_AT = 8;
const KEY_AT = BOOT_AT + BOOT;
const ID_AT = KEY_AT + KEY;

/** Throws a RangeError for a node ID of other than 1..255 bytes. */
export function announce(node: string, boot: Uint8Array, epoch: number, publicKey: Uint8Array): Announcement {
  const id = text(node);
  if (id.length < 1 || id.length > 255) {
    throw new RangeError(`"node" expected 1..255 bytes of UTF-8, got ${id.length}`);
  }
  const body = new Uint8Array(ID_AT + id.length);
  const v = new DataView(body.buffer);
  v.setUint16(0, MAGIC);
  v.setUint8(2, VERSION);
  v.setUint8(3, id.length);
  v.setUint32(EPOCH_AT, epoch);
  body.set(boot, BOOT_AT);
  body.set(publicKey, KEY_AT);
  body.set(id, ID_AT);
  return { node, boot, epoch, publicKey, body, name: nameOf(body) };
}

/** Announcements as they travel, oldest first. */
export function encodeRecord(announcements: readonly Announcement[], key: Uint8Array): Uint8Array {
  const parts: number[] = [];
  for (const { body } of announcements) parts.push(...body, ...mac(key, body));
  return Uint8Array.from(parts);
}

/** The announcements of a record, at least one, all of one node; or what is wrong with it. */
export function decodeRecord(bytes: Uint8Array, key: Uint8Array): Announcement[] | 'malformed' | 'forged' {
  const all: Announcement[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = lengthOf(bytes, at);
    if (length === 0) return 'malformed';
    const body = bytes.slice(at, at + length);
    if (!equal(mac(key, body), bytes.subarray(at + length, at + length + MAC))) return 'forged';
    all.push(decodeBody(body));
    at += length + MAC;
  }
  return all.length > 0 && all.every(({ node }) => node === all[0].node) ? all : 'malformed';
}

/** Bytes of the announcement at an offset, without its MAC; 0 where there is none. */
function lengthOf(bytes: Uint8Array, at: number): number {
  if (bytes.length - at < ID_AT) return 0;
  const length = ID_AT + bytes[at + 3];
  const known = ((bytes[at] << 8) | bytes[at + 1]) === MAGIC && bytes[at + 2] === VERSION;
  return known && length > ID_AT && bytes.length - at >= length + MAC ? length : 0;
}

function decodeBody(body: Uint8Array): Announcement {
  return {
    node: new TextDecoder().decode(body.subarray(ID_AT)),
    boot: body.slice(BOOT_AT, KEY_AT),
    epoch: new DataView(body.buffer).getUint32(EPOCH_AT),
    publicKey: body.slice(KEY_AT, ID_AT),
    body,
    name: nameOf(body),
  };
}

function nameOf(body: Uint8Array): string {
  return String.fromCharCode(...body);
}
