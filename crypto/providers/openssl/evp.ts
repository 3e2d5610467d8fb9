/**
 * AEAD by OpenSSL's EVP interface: every algorithm, on every machine. A packet costs five calls: IV, additional data,
 * bytes, end, and the tag.
 */
import { type AeadKey, type Algorithm, checkRange, MAX_AAD, NONCE } from '../../aead.ts';
import { type Addresses, boxed } from '../native/addresses.ts';
import type { Library } from '../native/library.ts';

/** The functions that are used; addresses are numbers, 0 for none. */
interface Functions {
  fetch(library: number, name: string, properties: number): number;
  newContext(): number;
  freeContext(context: number): void;
  init(context: number, cipher: number, key: number, iv: number, encrypt: number, parameters: number): number;
  /** Additional data where `out` is 0; negative where it fails. Does less around it than EVP_CipherUpdate. */
  cipher(context: number, out: number, from: number, length: number): number;
  final(context: number, out: number, outLength: number): number;
  getParameters(context: number, parameters: number): number;
  clearErrors(): void;
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

export class Evp {
  readonly #functions: Functions;
  readonly #addresses: Addresses;
  readonly #ciphers = new Map<Algorithm, number>();

  /** Throws an Error where the library is another one. */
  constructor(library: Library, addresses: Addresses) {
    this.#addresses = addresses;
    try {
      this.#functions = bind(library);
    } catch (cause) {
      throw new Error('the program that runs this exports no OpenSSL 3: Node 18 and later do', { cause });
    }
  }

  /** Throws an Error where OpenSSL has no such algorithm or refuses the key. */
  key(algorithm: Algorithm, key: Uint8Array, tagLength: number): AeadKey {
    const cipher = this.#ciphers.get(algorithm) ?? this.#functions.fetch(0, NAMES[algorithm], 0);
    if (cipher === 0) throw new Error(`this build of OpenSSL has no ${algorithm}`);
    this.#ciphers.set(algorithm, cipher);
    return new EvpKey(this.#functions, this.#addresses, cipher, key, tagLength);
  }
}

function bind({ func }: Library): Functions {
  const p = 'uintptr_t';
  return {
    fetch: func('EVP_CIPHER_fetch', p, [p, 'str', p]),
    newContext: func('EVP_CIPHER_CTX_new', p, []),
    freeContext: func('EVP_CIPHER_CTX_free', 'void', [p]),
    init: func('EVP_CipherInit_ex2', 'int', [p, p, p, p, 'int', p]),
    cipher: func('EVP_Cipher', 'int', [p, p, p, 'uint']),
    final: func('EVP_CipherFinal_ex', 'int', [p, p, p]),
    getParameters: func('EVP_CIPHER_CTX_get_params', 'int', [p, p]),
    clearErrors: func('ERR_clear_error', 'void', []),
  };
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

class EvpKey implements AeadKey {
  readonly tagLength: number;
  readonly nonce: DataView;
  readonly aad: DataView;
  readonly #evp: Functions;
  readonly #addresses: Addresses;
  readonly #own = new Uint8Array(new ArrayBuffer(OWN));
  readonly #at: number[];
  #closed = false;

  constructor(evp: Functions, addresses: Addresses, cipher: number, key: Uint8Array, tagLength: number) {
    this.#evp = evp;
    this.#addresses = addresses;
    this.tagLength = tagLength;
    this.nonce = new DataView(this.#own.buffer, NONCE_AT, NONCE);
    this.aad = new DataView(this.#own.buffer, AAD_AT, MAX_AAD);
    const own = addresses.first(this.#own);
    const context = evp.newContext();
    const places = [NONCE_AT, AAD_AT, TAG_AT, PARAMETERS_AT, LENGTH_AT];
    this.#at = boxed(context, ...places.map((place) => own + place));
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
