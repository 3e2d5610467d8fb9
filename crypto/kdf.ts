/**
 * Keys out of secrets: X25519 (RFC 7748), HKDF and HMAC with SHA-256 (RFC 5869, RFC 2104).
 *
 * All from `@noble/curves` and `@noble/hashes`, which run anywhere and keep private keys in plain bytes, so
 * that they can be wiped; Node's KeyObject cannot. An agreement takes about a millisecond, which is paid when
 * keys change and never for a packet.
 */
import { x25519 } from '@noble/curves/ed25519.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { randomBytes } from '@noble/hashes/utils.js';

/** Bytes of a private or public X25519 key. */
export const KEY = 32;
/** Bytes of a message authentication code: HMAC-SHA-256, the first half (RFC 2104 section 5). */
export const MAC = 16;
/** The least bytes of a secret that hosts share. */
export const MIN_SECRET = 16;

/** Makes so many unpredictable bytes. */
export type Entropy = (length: number) => Uint8Array;

/** The system's entropy. */
export const entropy: Entropy = (length) => randomBytes(length);

export interface KeyPair {
  /** Wipe it after use. */
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

export function keyPair(random: Entropy): KeyPair {
  const privateKey = random(KEY).slice();
  return { privateKey, publicKey: x25519.getPublicKey(privateKey) };
}

/**
 * The Diffie-Hellman result; null for a public key of the wrong length, or one of small order, whose result
 * would be zero whatever our key is (RFC 7748 section 6.1). Wipe it after use.
 */
export function agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | null {
  try {
    return x25519.getSharedSecret(privateKey, publicKey);
  } catch {
    return null;
  }
}

/** HKDF: `length` bytes out of a secret, a salt (which may be secret too) and what they are for. */
export function derive(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  return hkdf(sha256, secret, salt, info, length);
}

/** Refuses a shared secret that is too short with a RangeError. */
export function checkSecret(field: string, secret: Uint8Array): void {
  if (secret.length >= MIN_SECRET) return;
  throw new RangeError(`"${field}" expected at least ${MIN_SECRET} bytes, got ${secret.length}`);
}

/** A key for one purpose out of the secret that hosts share. */
export function purposeKey(secret: Uint8Array, purpose: string): Uint8Array {
  return derive(secret, new Uint8Array(0), text(`packetweave ${purpose}`), 32);
}

/** A message authentication code of {@link MAC} bytes. */
export function mac(key: Uint8Array, message: Uint8Array): Uint8Array {
  return hmac(sha256, key, message).slice(0, MAC);
}

/** Whether two strings of bytes are equal, in a time that tells nothing about where they differ. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let wrong = 0;
  for (let i = 0; i < a.length; i++) wrong |= a[i] ^ b[i];
  return wrong === 0;
}

/** Overwrites secrets. */
export function wipe(...secrets: Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}

/** UTF-8. */
export function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
