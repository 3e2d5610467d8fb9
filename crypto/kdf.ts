/**
 * Key derivation of the pairwise schedule: from what two hosts know of each other to the key, salt and SPI of
 * one direction between them.
 *
 *     HKDF-SHA-256 (RFC 5869)
 *       secret input   X25519 of own private and their public key (RFC 7748), then the cluster secret
 *       info           "packetweave esp 1", algorithm, sender and receiver, each with identity, boot salt,
 *                      epoch and public key, every field behind its length
 *       output         key, salt (4 bytes), SPI (4 bytes)
 *
 * Whoever knows the secret but not a private key cannot derive a key, and the other way round. Both boot
 * salts are in it, so that no key comes twice, whatever is restarted.
 */
import { x25519 } from '@noble/curves/ed25519.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { type Algorithm, SALT, specOf } from './aead.ts';
import { MIN_SPI } from './sa.ts';

/** Bytes of an X25519 key, public or private. */
export const PUBLIC = 32;
/** Bytes of a boot salt. */
export const BOOT = 16;
/** The least bytes of a cluster secret. */
export const MIN_SECRET = 16;

/** What one host tells the others for one epoch. None of it is secret; all of it has to be authentic. */
export interface Announcement {
  /** Random, drawn when the host started: {@link BOOT} bytes. */
  readonly boot: Uint8Array;
  /** Counts the host's key pairs since it started, from 1. */
  readonly epoch: number;
  /** X25519 public key, {@link PUBLIC} bytes. */
  readonly publicKey: Uint8Array;
}

/** One end of a direction. */
export interface Party extends Announcement {
  /** What both hosts call it: its underlay address, for one. */
  readonly identity: string;
}

/** What {@link derive} gives. Wipe `keymat` after use. */
export interface Derived {
  /** Key and salt. */
  readonly keymat: Uint8Array;
  readonly spi: number;
}

/** A fresh key pair; `random` gives that many random bytes. */
export function keyPair(random: (bytes: number) => Uint8Array): {
  privateKey: Uint8Array;
  publicKey: Uint8Array;
} {
  const privateKey = random(PUBLIC);
  return { privateKey, publicKey: x25519.getPublicKey(privateKey) };
}

/**
 * What two hosts agree on (RFC 7748 section 6.1), or null for a public key that is refused: of the wrong
 * length, zero, or of small order, which would make the result the same for everybody.
 */
export function agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | null {
  if (publicKey.length !== PUBLIC) return null;
  try {
    return x25519.getSharedSecret(privateKey, publicKey);
  } catch {
    return null;
  }
}

/** Key, salt and SPI of the direction from `sender` to `receiver`. */
export function derive(
  agreed: Uint8Array,
  secret: Uint8Array,
  algorithm: Algorithm,
  sender: Party,
  receiver: Party,
): Derived {
  const input = new Uint8Array(agreed.length + secret.length);
  input.set(agreed);
  input.set(secret, agreed.length);
  const length = specOf(algorithm).keyLength + SALT;
  const info = fields('packetweave esp 1', algorithm, ...partyFields(sender), ...partyFields(receiver));
  const out = hkdf(sha256, input, undefined, info, length + 4);
  input.fill(0);
  const spi = new DataView(out.buffer, out.byteOffset + length, 4).getUint32(0);
  const keymat = out.slice(0, length);
  out.fill(0);
  // The lowest 256 are reserved (RFC 4303 section 2.1).
  return { keymat, spi: spi < MIN_SPI ? spi + MIN_SPI : spi };
}

/** HMAC-SHA-256 of a message with a key for one purpose, derived from the cluster secret. */
export function authenticate(
  secret: Uint8Array,
  purpose: string,
  ...message: (string | Uint8Array)[]
): Uint8Array {
  const key = hkdf(sha256, secret, undefined, fields('packetweave auth 1', purpose), 32);
  const mac = hmac(sha256, key, fields(...message));
  key.fill(0);
  return mac;
}

/** Whether two byte strings are equal, in a time that depends on their length alone. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

function partyFields({ identity, boot, epoch, publicKey }: Party): (string | Uint8Array)[] {
  return [identity, boot, String(epoch), publicKey];
}

/** Fields one after the other, each behind its length in two bytes, so that none runs into the next. */
function fields(...parts: readonly (string | Uint8Array)[]): Uint8Array {
  const encoded = parts.map((part) => (typeof part === 'string' ? new TextEncoder().encode(part) : part));
  const out = new Uint8Array(encoded.reduce((n, part) => n + 2 + part.length, 0));
  let at = 0;
  for (const part of encoded) {
    out[at] = part.length >>> 8;
    out[at + 1] = part.length & 0xff;
    out.set(part, at + 2);
    at += 2 + part.length;
  }
  return out;
}
