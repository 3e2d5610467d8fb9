/**
 * AEAD by `@noble/ciphers`: plain JavaScript, so it runs anywhere, a browser included. It is ten to ninety
 * times slower than the others and allocates a packet at a time.
 */
import { gcm } from '@noble/ciphers/aes.js';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import {
  type AeadKey,
  type AeadProvider,
  type Algorithm,
  checkKey,
  checkRange,
  MAX_AAD,
  NONCE,
  TAG,
} from '../aead.ts';

export const noble: AeadProvider = {
  name: 'noble',
  key(algorithm, key, tagLength = TAG) {
    checkKey(algorithm, key, tagLength);
    return new NobleKey(algorithm, key, tagLength);
  },
};

class NobleKey implements AeadKey {
  readonly tagLength: number;
  readonly nonce = new DataView(new ArrayBuffer(NONCE));
  readonly aad = new DataView(new ArrayBuffer(MAX_AAD));
  readonly #make: typeof gcm | typeof chacha20poly1305;
  readonly #key: Uint8Array;
  readonly #nonce = new Uint8Array(this.nonce.buffer);
  readonly #aad = new Uint8Array(this.aad.buffer);
  #closed = false;

  constructor(algorithm: Algorithm, key: Uint8Array, tagLength: number) {
    this.#make = algorithm === 'chacha20-poly1305' ? chacha20poly1305 : gcm;
    this.#key = key.slice();
    this.tagLength = tagLength;
  }

  seal(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (this.#closed) return false;
    const sealed = this.#cipher(aadLength).encrypt(bytes.subarray(at, end));
    bytes.set(sealed.subarray(0, end - at + this.tagLength), at);
    return true;
  }

  open(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (this.#closed) return false;
    return this.tagLength === TAG
      ? this.#openWhole(bytes, at, end, aadLength)
      : this.#openShort(bytes, at, end, aadLength);
  }

  close(): void {
    this.#key.fill(0);
    this.#nonce.fill(0);
    this.#closed = true;
  }

  #cipher(aadLength: number): ReturnType<typeof gcm> {
    return this.#make(this.#key, this.#nonce, this.#aad.subarray(0, aadLength));
  }

  #openWhole(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    try {
      bytes.set(this.#cipher(aadLength).decrypt(bytes.subarray(at, end + TAG)), at);
      return true;
    } catch {
      return false; // the library's word for a wrong tag
    }
  }

  /**
   * The library knows whole tags only. GCM encrypts by XOR with a key stream (NIST SP 800-38D section 6.5),
   * so that encrypting the ciphertext decrypts it; encrypting the result once more gives the tag that the
   * packet should carry.
   */
  #openShort(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    const plain = this.#cipher(aadLength)
      .encrypt(bytes.subarray(at, end))
      .subarray(0, end - at);
    const tag = this.#cipher(aadLength)
      .encrypt(plain)
      .subarray(end - at);
    let wrong = 0;
    for (let i = 0; i < this.tagLength; i++) wrong |= tag[i] ^ bytes[end + i];
    if (wrong !== 0) return false;
    bytes.set(plain, at);
    return true;
  }
}
