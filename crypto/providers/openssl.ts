/**
 * AEAD by the OpenSSL that the Node executable itself contains and exports, called through `koffi`. One
 * context a key, made once: a packet costs its IV and its bytes, at the speed of `openssl speed`.
 *
 * Native code is given addresses, as plain numbers, because that is what calls are fastest with. Three things
 * follow. The memory must neither move nor be collected: small buffers are cut from an ArrayBuffer of the
 * key's own, and packets lie in the pool's, which its packets hold. What lies outside must never be reached:
 * every range is checked against `bytes` first. And an address is too large for one of V8's small integers,
 * so each time that one is computed or read from a field of its own it would be allocated anew: all of them
 * are kept in arrays of mixed elements, which hold the number's box.
 */
import { createRequire } from 'node:module';
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

/** The functions of OpenSSL that are used; addresses are numbers. */
interface Evp {
  fetch(library: number, name: string, properties: number): number;
  newContext(): number;
  freeContext(context: number): void;
  init(context: number, cipher: number, key: number, iv: number, encrypt: number, parameters: number): number;
  /** Additional data where `out` is 0; negative where it fails. Does less around it than EVP_CipherUpdate. */
  cipher(context: number, out: number, from: number, length: number): number;
  final(context: number, out: number, outLength: number): number;
  getParameters(context: number, parameters: number): number;
  clearErrors(): void;
  addressOf(memory: Uint8Array): number;
}

/** The names by which OpenSSL fetches the algorithms. */
const NAMES: Readonly<Record<Algorithm, string>> = {
  'aes-128-gcm': 'AES-128-GCM',
  'aes-192-gcm': 'AES-192-GCM',
  'aes-256-gcm': 'AES-256-GCM',
  'chacha20-poly1305': 'ChaCha20-Poly1305',
};

/** The name of the tag among parameters, OSSL_CIPHER_PARAM_AEAD_TAG (openssl/core_names.h). */
const TAG_NAME = 'tag';
/** OSSL_PARAM_OCTET_STRING (openssl/core.h). */
const OCTETS = 5;

/** Makes the provider. Throws an Error that says in one sentence what is missing. */
export function openssl(): AeadProvider {
  const evp = bind();
  const addresses = new Addresses(evp);
  const ciphers = new Map<Algorithm, number>();
  return {
    name: 'openssl',
    key(algorithm, key, tagLength = TAG) {
      checkKey(algorithm, key, tagLength);
      const cipher = ciphers.get(algorithm) ?? evp.fetch(0, NAMES[algorithm], 0);
      if (cipher === 0) throw new Error(`this build of OpenSSL has no ${algorithm}`);
      ciphers.set(algorithm, cipher);
      return new OpensslKey(evp, addresses, cipher, key, tagLength);
    },
  };
}

function bind(): Evp {
  const require = createRequire(import.meta.url);
  let koffi: typeof import('koffi');
  try {
    koffi = require('koffi');
  } catch (cause) {
    throw new Error('the openssl provider needs the package "koffi": npm install koffi', { cause });
  }
  try {
    const library = koffi.load(null);
    const p = 'uintptr_t';
    return {
      fetch: library.func('EVP_CIPHER_fetch', p, [p, 'str', p]),
      newContext: library.func('EVP_CIPHER_CTX_new', p, []),
      freeContext: library.func('EVP_CIPHER_CTX_free', 'void', [p]),
      init: library.func('EVP_CipherInit_ex2', 'int', [p, p, p, p, 'int', p]),
      cipher: library.func('EVP_Cipher', 'int', [p, p, p, 'uint']),
      final: library.func('EVP_CipherFinal_ex', 'int', [p, p, p]),
      getParameters: library.func('EVP_CIPHER_CTX_get_params', 'int', [p, p]),
      clearErrors: library.func('ERR_clear_error', 'void', []),
      addressOf: (memory) => Number(koffi.address(memory)),
    };
  } catch (cause) {
    throw new Error('the program that runs this exports no OpenSSL 3: Node 18 and later do', { cause });
  }
}

// Where things lie in a key's own memory. It is an ArrayBuffer, never a small typed array, which V8 may move.
const OWN = 256;
const NONCE_AT = 0;
const AAD_AT = 16;
const TAG_AT = 32;
const NAME_AT = 48;
const KEY_AT = 64;
const PARAMETERS_AT = 96;
const LENGTH_AT = 192;

// Indices into a key's addresses.
const CONTEXT = 1;
const THE_NONCE = 2;
const THE_AAD = 3;
const THE_TAG = 4;
const THE_PARAMETERS = 5;
const OUT_LENGTH = 6;

class OpensslKey implements AeadKey {
  readonly tagLength: number;
  readonly nonce: DataView;
  readonly aad: DataView;
  readonly #evp: Evp;
  readonly #addresses: Addresses;
  readonly #own = new Uint8Array(new ArrayBuffer(OWN));
  /** Boxed addresses: the null makes the array one of mixed elements. */
  readonly #at: number[];
  #closed = false;

  constructor(evp: Evp, addresses: Addresses, cipher: number, key: Uint8Array, tagLength: number) {
    this.#evp = evp;
    this.#addresses = addresses;
    this.tagLength = tagLength;
    this.nonce = new DataView(this.#own.buffer, NONCE_AT, NONCE);
    this.aad = new DataView(this.#own.buffer, AAD_AT, MAX_AAD);
    const own = evp.addressOf(this.#own);
    const context = evp.newContext();
    const places = [NONCE_AT, AAD_AT, TAG_AT, PARAMETERS_AT, LENGTH_AT];
    this.#at = [null, context, ...places.map((place) => own + place)] as number[];
    this.#writeParameters(own);
    this.#own.set(key, KEY_AT);
    const ready = evp.init(context, cipher, own + KEY_AT, own + NONCE_AT, 1, 0);
    this.#own.fill(0, KEY_AT, KEY_AT + key.length);
    if (ready === 1) return;
    this.close();
    throw new Error('OpenSSL refused the key');
  }

  /** An array of one OSSL_PARAM, the tag, and of the one that ends it, whose fields are all 0. */
  #writeParameters(own: number): void {
    const v = new DataView(this.#own.buffer);
    for (let i = 0; i < TAG_NAME.length; i++) v.setUint8(NAME_AT + i, TAG_NAME.charCodeAt(i));
    v.setBigUint64(PARAMETERS_AT, BigInt(own + NAME_AT), true);
    v.setUint32(PARAMETERS_AT + 8, OCTETS, true);
    v.setBigUint64(PARAMETERS_AT + 16, BigInt(own + TAG_AT), true);
    v.setBigUint64(PARAMETERS_AT + 24, BigInt(this.tagLength), true);
  }

  seal(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    const known = this.#at;
    if (!this.#run(bytes, at, end, aadLength, 1)) return this.#failed();
    if (this.#evp.getParameters(known[CONTEXT], known[THE_PARAMETERS]) !== 1) return this.#failed();
    const own = this.#own;
    for (let i = 0; i < this.tagLength; i++) bytes[end + i] = own[TAG_AT + i];
    return true;
  }

  open(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    const own = this.#own;
    for (let i = 0; i < this.tagLength; i++) own[TAG_AT + i] = bytes[end + i];
    return this.#run(bytes, at, end, aadLength, 0) || this.#failed();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#evp.freeContext(this.#at[CONTEXT]); // wipes the key schedule
    this.#own.fill(0);
  }

  /** IV, additional data, bytes, end. Decryption is told the tag first and verifies it at the end. */
  #run(bytes: Uint8Array, at: number, end: number, aadLength: number, encrypt: number): boolean {
    if (this.#closed) return false;
    const evp = this.#evp;
    const known = this.#at;
    const context = known[CONTEXT];
    const tag = encrypt === 1 ? 0 : known[THE_PARAMETERS];
    if (evp.init(context, 0, 0, known[THE_NONCE], encrypt, tag) !== 1) return false;
    if (aadLength > 0 && evp.cipher(context, 0, known[THE_AAD], aadLength) < 0) return false;
    if (end > at) {
      const data = this.#addresses.of(bytes, at);
      if (evp.cipher(context, data, data, end - at) < 0) return false;
    }
    return evp.final(context, known[THE_TAG], known[OUT_LENGTH]) === 1;
  }

  /** OpenSSL queues its errors for the thread, where Node's own calls would find them. */
  #failed(): boolean {
    this.#evp.clearErrors();
    return false;
  }
}

/** The boxed addresses of one memory, by hash of the offset: a place is computed again when it was lost. */
interface Known {
  readonly base: number;
  readonly shift: number;
  readonly offsets: Int32Array;
  readonly boxes: number[];
}

/** Bytes of memory for which a box is kept, and the most boxes, as a power of two. */
const GRAIN = 64;
const MAX_BITS = 16;

/** Addresses of places within ArrayBuffers. A pool's packets lie in one, each with few different starts. */
class Addresses {
  readonly #evp: Evp;
  readonly #memories = new WeakMap<ArrayBufferLike, Known>();
  // Of the bytes that were asked for last: where they lie is what V8 tells slowly.
  #bytes: Uint8Array | null = null;
  #offset = 0;
  #buffer: ArrayBufferLike | null = null;
  #known: Known | null = null;

  constructor(evp: Evp) {
    this.#evp = evp;
  }

  /** The address of `bytes[at]`. */
  of(bytes: Uint8Array, at: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#offset = bytes.byteOffset;
      if (bytes.buffer !== this.#buffer) this.#turnTo(bytes.buffer);
    }
    const known = this.#known!;
    const offset = this.#offset + at;
    const i = Math.imul(offset, 0x9e3779b1) >>> known.shift;
    if (known.offsets[i] !== offset) {
      known.offsets[i] = offset;
      known.boxes[i] = known.base + offset;
    }
    return known.boxes[i];
  }

  #turnTo(buffer: ArrayBufferLike): void {
    let known = this.#memories.get(buffer);
    if (known === undefined) {
      const bits = Math.min(Math.ceil(Math.log2(buffer.byteLength / GRAIN + 2)), MAX_BITS);
      known = {
        base: this.#evp.addressOf(new Uint8Array(buffer)),
        shift: 32 - bits,
        offsets: new Int32Array(1 << bits).fill(-1),
        boxes: new Array(1 << bits).fill(null),
      };
      this.#memories.set(buffer, known);
    }
    this.#buffer = buffer;
    this.#known = known;
  }
}
