/**
 * Authenticated encryption, as ESP uses it: one interface, several providers that all give the same bytes.
 *
 * A provider makes an {@link AeadKey} once for each security association, which pays for the key schedule.
 * Sealing and opening are synchronous and happen in place, in the packet's own slot. The nonce and the
 * additional data lie in small buffers that belong to the key: their constant parts (salt, SPI) are written
 * once, and a provider that hands addresses to native code knows them once and for all.
 */

export type Algorithm = 'aes-128-gcm' | 'aes-192-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';

/** Bytes of a nonce: salt and IV (RFC 4106 section 4, RFC 7634 section 2). */
export const NONCE = 12;
/** Bytes of the salt, the first part of the nonce. Constant for a key, and secret. */
export const SALT = 4;
/** Bytes of the IV, the rest of the nonce. Travels in the packet. */
export const IV = 8;
/** The most bytes of additional data: an SPI and a sequence number of 64 bits. */
export const MAX_AAD = 12;
/** Bytes of a whole tag. Shorter ones are its first bytes. */
export const TAG = 16;

/** What ESP lets an algorithm have. */
export interface AlgorithmSpec {
  /** Bytes of the key, without the salt. */
  readonly keyLength: number;
  /** Bytes that its tag may have. */
  readonly tagLengths: readonly number[];
}

export const ALGORITHMS: Readonly<Record<Algorithm, AlgorithmSpec>> = {
  // RFC 4106 section 6: 16 must be supported, 8 and 12 may be, and no others.
  'aes-128-gcm': { keyLength: 16, tagLengths: [16, 12, 8] },
  'aes-192-gcm': { keyLength: 24, tagLengths: [16, 12, 8] },
  'aes-256-gcm': { keyLength: 32, tagLengths: [16, 12, 8] },
  // RFC 7634 section 2: always 16.
  'chacha20-poly1305': { keyLength: 32, tagLengths: [16] },
};

/** A key ready for use. It has one user at a time: nonce and additional data are its buffers. */
export interface AeadKey {
  /** Bytes of the tag. */
  readonly tagLength: number;
  /** {@link NONCE} bytes, read at each call. No nonce may be used twice to seal. */
  readonly nonce: DataView;
  /** {@link MAX_AAD} bytes, of which each call reads the first `aadLength`. */
  readonly aad: DataView;
  /**
   * Encrypts `bytes[at..end)` in place and writes the tag to `bytes[end..end + tagLength)`. False where that
   * failed (the key was closed): the bytes must not leave then. Throws a RangeError where the range is not
   * within `bytes`, which is a mistake of the caller and never of a packet.
   */
  seal(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean;
  /**
   * Decrypts `bytes[at..end)` in place if the tag at `end` is right. Where it is not the answer is false and
   * what `bytes[at..end)` holds is undefined. Throws a RangeError as `seal` does.
   */
  open(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean;
  /** Wipes the key, as far as the provider can. Nothing is sealed or opened afterwards. */
  close(): void;
}

export interface AeadProvider {
  /** `noble`, `node` or `openssl`. */
  readonly name: string;
  /**
   * Makes a key. The bytes given are copied: wipe them afterwards. Throws a TypeError or RangeError for an
   * unknown algorithm, a key of the wrong length, or a tag length that ESP does not allow.
   */
  key(algorithm: Algorithm, key: Uint8Array, tagLength?: number): AeadKey;
}

/** The algorithm of a name. Throws a TypeError for an unknown one. */
export function specOf(algorithm: Algorithm): AlgorithmSpec {
  if (Object.hasOwn(ALGORITHMS, algorithm)) return ALGORITHMS[algorithm];
  const names = Object.keys(ALGORITHMS).join(', ');
  throw new TypeError(`"algorithm" expected one of ${names}, got ${String(algorithm)}`);
}

/** Whether it is one of AES-GCM's. */
export function isGcm(algorithm: Algorithm): boolean {
  return algorithm.endsWith('-gcm');
}

/** Refuses what no provider can make a key of: see {@link AeadProvider.key}. */
export function checkKey(algorithm: Algorithm, key: Uint8Array, tagLength: number): void {
  const { keyLength } = specOf(algorithm);
  if (key.length !== keyLength) {
    throw new RangeError(`"key" expected ${keyLength} bytes for ${algorithm}, got ${key.length}`);
  }
  checkTagLength(algorithm, tagLength, 'tagLength');
}

/** Refuses a length that the algorithm's tag may not have; `field` is what the caller calls it. */
export function checkTagLength(algorithm: Algorithm, tagLength: number, field: string): void {
  const { tagLengths } = specOf(algorithm);
  if (tagLengths.includes(tagLength)) return;
  throw new RangeError(
    `"${field}" expected one of ${tagLengths.join(', ')} for ${algorithm}, got ${tagLength}`,
  );
}

/** Throws a RangeError unless `at..end`, a tag behind it and the additional data lie where they should. */
export function checkRange(
  bytes: Uint8Array,
  at: number,
  end: number,
  tagLength: number,
  aadLength: number,
): void {
  if (at >= 0 && at <= end && end + tagLength <= bytes.length && aadLength >= 0 && aadLength <= MAX_AAD) {
    return;
  }
  throw new RangeError(
    `${at}..${end} with a tag of ${tagLength} is not within ${bytes.length} bytes, or ${aadLength} not 0..12`,
  );
}
