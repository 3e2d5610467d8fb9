/**
 * AEAD by `node:crypto`. Native speed for the bytes, but a cipher object has to be made for each packet,
 * which costs more than the bytes do and allocates. `authTagLength` is always given: without it Node's
 * decipher takes a tag of four bytes for a whole one.
 */
import {
  type CipherGCM,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherGCM,
  type KeyObject,
} from 'node:crypto';
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

export const node: AeadProvider = {
  name: 'node',
  key(algorithm, key, tagLength = TAG) {
    checkKey(algorithm, key, tagLength);
    return new NodeKey(algorithm, key, tagLength);
  },
};

class NodeKey implements AeadKey {
  readonly tagLength: number;
  readonly nonce = new DataView(new ArrayBuffer(NONCE));
  readonly aad = new DataView(new ArrayBuffer(MAX_AAD));
  readonly #algorithm: CipherGCMTypes;
  readonly #options: { authTagLength: number };
  readonly #nonce = new Uint8Array(this.nonce.buffer);
  readonly #aad = new Uint8Array(this.aad.buffer);
  /** Null when closed. Node gives no way to wipe it: the collector frees it, which does. */
  #key: KeyObject | null;

  constructor(algorithm: Algorithm, key: Uint8Array, tagLength: number) {
    // The types know chacha20-poly1305 by an overload of its own; the methods are those of GCM.
    this.#algorithm = algorithm as CipherGCMTypes;
    this.#key = createSecretKey(key);
    this.#options = { authTagLength: tagLength };
    this.tagLength = tagLength;
  }

  seal(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (this.#key === null) return false;
    const cipher: CipherGCM = createCipheriv(this.#algorithm, this.#key, this.#nonce, this.#options);
    cipher.setAAD(this.#aad.subarray(0, aadLength));
    bytes.set(cipher.update(bytes.subarray(at, end)), at);
    cipher.final();
    bytes.set(cipher.getAuthTag(), end);
    return true;
  }

  open(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (this.#key === null) return false;
    const cipher: DecipherGCM = createDecipheriv(this.#algorithm, this.#key, this.#nonce, this.#options);
    cipher.setAAD(this.#aad.subarray(0, aadLength));
    cipher.setAuthTag(bytes.subarray(end, end + this.tagLength));
    const plain = cipher.update(bytes.subarray(at, end));
    try {
      cipher.final();
    } catch {
      return false; // Node's word for a wrong tag
    }
    bytes.set(plain, at);
    return true;
  }

  close(): void {
    this.#key = null;
    this.#nonce.fill(0);
  }
}
