/** The providers of this machine, random bytes, and packets for the tests of crypto. */
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import type { AeadKey, AeadProvider, Algorithm } from '../../crypto/aead.ts';
import { ipsecMb } from '../../crypto/providers/ipsec-mb.ts';
import { noble } from '../../crypto/providers/noble.ts';
import { node } from '../../crypto/providers/node.ts';
import { openssl } from '../../crypto/providers/openssl.ts';
import type { Random } from '../../lib/core/random.ts';
import { skip } from '../gen/skip.ts';

/** All that work here, `openssl` in both its ways; the test is told where one does not. */
export function providers(t: Test): AeadProvider[] {
  const found: AeadProvider[] = [noble, node];
  const native = [
    (): AeadProvider => ({ ...openssl('evp'), name: 'openssl-evp' }),
    (): AeadProvider => ({ ...openssl('modes'), name: 'openssl-modes' }),
    () => ipsecMb(openssl()),
  ];
  for (const make of native) {
    try {
      found.push(make());
    } catch (error) {
      skip(t, (error as Error).message);
    }
  }
  return found;
}

export function randomBytes(r: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => r.below(256));
}

/** Writes a nonce and additional data into a key's buffers. */
export function prepare(key: AeadKey, nonce: Uint8Array, aad: Uint8Array): void {
  new Uint8Array(key.nonce.buffer, key.nonce.byteOffset, key.nonce.byteLength).set(nonce);
  new Uint8Array(key.aad.buffer, key.aad.byteOffset, key.aad.byteLength).set(aad);
}

/** One packet of captures/derived/esp-vectors.json; all but the algorithm in hexadecimal. */
export interface EspVector {
  readonly id: string;
  readonly alg: string;
  readonly key?: string;
  readonly salt?: string;
  readonly keyWithSalt?: string;
  readonly spi: string;
  readonly seqLo: string;
  readonly seqHi: string | null;
  readonly plaintextWithTrailer: string;
  readonly espPacket: string;
}

/** The vectors that lie beside the project, or null where they do not. */
export function espVectors(): EspVector[] | null {
  const path = new URL('../../../shared/reference/captures/derived/esp-vectors.json', import.meta.url);
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

/** The names that the vectors give to algorithms which ESP here speaks. */
export const VECTOR_ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  'AES-128-GCM-16': 'aes-128-gcm',
  'AES-192-GCM-16': 'aes-192-gcm',
  'AES-256-GCM-16': 'aes-256-gcm',
  'AES-GCM': 'aes-128-gcm',
  'CHACHA20-POLY1305': 'chacha20-poly1305',
};
