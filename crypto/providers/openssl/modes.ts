/**
 * AES-GCM by the functions that OpenSSL's EVP interface is built on (openssl/modes.h), with AES by the processor's own
 * instructions. They do what EVP does, without what EVP does around it: a packet costs four calls that look nothing
 * up, which is a quarter less time for 1400 bytes.
 *
 * The functions of modes.h take the cipher as two functions, of which OpenSSL's for a processor with AES-NI have
 * had the same name and shape since 1.0.1. They may be called only where the processor has those instructions. So there
 * is this way for OpenSSL 3 on x86-64 under Linux, which tells what the processor has; everywhere else there is EVP.
 */
import { readFileSync } from 'node:fs';
import { type AeadKey, checkRange, MAX_AAD, NONCE } from '../../aead.ts';
import { type Addresses, boxed } from '../native/addresses.ts';
import type { Library } from '../native/library.ts';

/** The functions that are used; addresses are numbers. */
interface Functions {
  /** Expands a key of so many bits; 0 where that worked. */
  expand(key: number, bits: number, schedule: number): number;
  newContext(schedule: number, block: number): number;
  release(context: number): void;
  setIv(context: number, iv: number, length: number): void;
  /** These three: 0 where it worked. */
  aad(context: number, aad: number, length: number): number;
  readonly encrypt: Crypt;
  readonly decrypt: Crypt;
  tag(context: number, to: number, length: number): void;
  /** 0 where the tag is right. */
  finish(context: number, tag: number, length: number): number;
  /** Addresses of what encrypts a block, and many blocks of a counter. */
  readonly block: number;
  readonly stream: number;
}

type Crypt = (context: number, from: number, to: number, length: number, stream: number) => number;

export class Modes {
  readonly #functions: Functions;
  readonly #addresses: Addresses;

  /** Null where there are no such functions, or none that may be called. */
  static of(library: Library, addresses: Addresses): Modes | null {
    if (process.arch !== 'x64' || !process.versions.openssl.startsWith('3.') || !hasInstructions())
      return null;
    try {
      return new Modes(library, addresses);
    } catch {
      return null;
    }
  }

  private constructor({ func }: Library, addresses: Addresses) {
    this.#addresses = addresses;
    const p = 'uintptr_t';
    const size = 'size_t';
    const crypt = [p, p, p, size, p];
    const symbol: (handle: number, name: string) => number = func('dlsym', p, [p, 'str']);
    this.#functions = {
      expand: func('aesni_set_encrypt_key', 'int', [p, 'int', p]),
      newContext: func('CRYPTO_gcm128_new', p, [p, p]),
      release: func('CRYPTO_gcm128_release', 'void', [p]),
      setIv: func('CRYPTO_gcm128_setiv', 'void', [p, p, size]),
      aad: func('CRYPTO_gcm128_aad', 'int', [p, p, size]),
      encrypt: func('CRYPTO_gcm128_encrypt_ctr32', 'int', crypt),
      decrypt: func('CRYPTO_gcm128_decrypt_ctr32', 'int', crypt),
      tag: func('CRYPTO_gcm128_tag', 'void', [p, p, size]),
      finish: func('CRYPTO_gcm128_finish', 'int', [p, p, size]),
      block: symbol(0, 'aesni_encrypt'),
      stream: symbol(0, 'aesni_ctr32_encrypt_blocks'),
    };
    const { block, stream } = this.#functions;
    if (block === 0 || stream === 0) throw new Error('this build of OpenSSL does not export AES');
  }

  /** For AES-GCM. Throws an Error where there is no memory for it. */
  key(key: Uint8Array, tagLength: number): AeadKey {
    return new ModesKey(this.#functions, this.#addresses, key, tagLength);
  }
}

/** Whether the processor has instructions for AES and for the multiplication that GCM is made of. */
function hasInstructions(): boolean {
  try {
    const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1].split(' ') ?? [];
    return ['aes', 'ssse3', 'pclmulqdq'].every((flag) => flags.includes(flag));
  } catch {
    return false;
  }
}

// Where things lie in a key's own memory. It is an ArrayBuffer, never a small typed array, which V8 may move.
const OWN = 384;
const NONCE_AT = 0;
const AAD_AT = 16;
const TAG_AT = 32;
const KEY_AT = 64;
/** AES_KEY: 15 round keys of 16 bytes and the number of rounds (openssl/aes.h). */
const SCHEDULE_AT = 128;

// Indices into a key's addresses.
const CONTEXT = 1;
const THE_NONCE = 2;
const THE_AAD = 3;
const THE_TAG = 4;
const STREAM = 5;

class ModesKey implements AeadKey {
  readonly tagLength: number;
  readonly nonce: DataView;
  readonly aad: DataView;
  readonly #gcm: Functions;
  readonly #addresses: Addresses;
  readonly #own = new Uint8Array(new ArrayBuffer(OWN));
  readonly #at: number[];
  #closed = false;

  constructor(gcm: Functions, addresses: Addresses, key: Uint8Array, tagLength: number) {
    this.#gcm = gcm;
    this.#addresses = addresses;
    this.tagLength = tagLength;
    this.nonce = new DataView(this.#own.buffer, NONCE_AT, NONCE);
    this.aad = new DataView(this.#own.buffer, AAD_AT, MAX_AAD);
    const own = addresses.first(this.#own);
    this.#own.set(key, KEY_AT);
    const expanded = gcm.expand(own + KEY_AT, 8 * key.length, own + SCHEDULE_AT);
    this.#own.fill(0, KEY_AT, KEY_AT + key.length);
    const context = expanded === 0 ? gcm.newContext(own + SCHEDULE_AT, gcm.block) : 0;
    this.#at = boxed(context, own + NONCE_AT, own + AAD_AT, own + TAG_AT, gcm.stream);
    if (context !== 0) return;
    this.#own.fill(0);
    throw new Error('OpenSSL refused the key');
  }

  seal(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (!this.#run(this.#gcm.encrypt, bytes, at, end, aadLength)) return false;
    const known = this.#at;
    this.#gcm.tag(known[CONTEXT], known[THE_TAG], this.tagLength);
    const own = this.#own;
    for (let i = 0; i < this.tagLength; i++) bytes[end + i] = own[TAG_AT + i];
    return true;
  }

  open(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (!this.#run(this.#gcm.decrypt, bytes, at, end, aadLength)) return false;
    const known = this.#at;
    const own = this.#own;
    for (let i = 0; i < this.tagLength; i++) own[TAG_AT + i] = bytes[end + i];
    return this.#gcm.finish(known[CONTEXT], known[THE_TAG], this.tagLength) === 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#gcm.release(this.#at[CONTEXT]); // wipes what it derived from the key
    this.#own.fill(0);
  }

  /** IV, additional data, bytes. */
  #run(crypt: Crypt, bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    if (this.#closed) return false;
    const known = this.#at;
    const context = known[CONTEXT];
    this.#gcm.setIv(context, known[THE_NONCE], NONCE);
    if (aadLength > 0 && this.#gcm.aad(context, known[THE_AAD], aadLength) !== 0) return false;
    if (end === at) return true;
    const data = this.#addresses.of(bytes, at);
    return crypt(context, data, data, end - at, known[STREAM]) === 0;
  }
}
