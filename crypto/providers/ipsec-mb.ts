/**
 * AES-GCM by Intel's Multi-Buffer Crypto for IPsec Library, where it is installed (Debian: libipsec-mb1). One call
 * seals or opens a packet, with the vectors of 512 bits that processors of today have: 1400 bytes take a third
 * of the time that OpenSSL 3.0 needs.
 *
 * The library gives its functions by a table, IMB_MGR, filled for the processor that it runs on. Functions are only
 * ever added at the table's end, so the places of ours are the same from version 1.0 to 2.0.2 (intel-ipsec-mb.h).
 * What it says about addresses and memory in openssl.ts is true here too.
 */
import {
  type AeadKey,
  type AeadProvider,
  checkKey,
  checkRange,
  isGcm,
  MAX_AAD,
  NONCE,
  TAG,
} from '../aead.ts';
import { Addresses, boxed } from './native/addresses.ts';
import { findLibrary, type Library } from './native/library.ts';

const LIBRARY = 'libIPSec_MB';
/** By the major version. */
const NAMES = [`${LIBRARY}.so.2`, `${LIBRARY}.so.1`];

/** Offsets in IMB_MGR; the functions for keys of 192 and 256 bits follow those for 128. */
const FEATURES = 8;
const ERROR = 60;
const ENCRYPT = 256;
const DECRYPT = 280;
const PREPARE = 448;

/** Features of a processor and library that can do AES-GCM: AES-NI and PCLMULQDQ. */
const NEEDED = (1 << 1) | (1 << 2);

/** The functions for keys of one length; addresses are numbers. */
interface Gcm {
  prepare(key: number, data: number): void;
  readonly encrypt: Crypt;
  readonly decrypt: Crypt;
}

type Crypt = (
  data: number,
  context: number,
  to: number,
  from: number,
  length: number,
  iv: number,
  aad: number,
  aadLength: number,
  tag: number,
  tagLength: number,
) => void;

/**
 * Makes the provider; `other` does what the library does not do as fast: ChaCha20-Poly1305. Throws an Error that says in
 * one sentence what is missing.
 */
export function ipsecMb(other: AeadProvider): AeadProvider {
  const library = open();
  const addresses = new Addresses(library.addressOf);
  const lengths = tables(library);
  return {
    name: 'ipsec-mb',
    key(algorithm, key, tagLength = TAG) {
      checkKey(algorithm, key, tagLength);
      if (!isGcm(algorithm)) return other.key(algorithm, key, tagLength);
      return new GcmKey(lengths[key.length / 8 - 2], addresses, key, tagLength);
    },
  };
}

function open(): Library {
  if (process.arch !== 'x64') throw new Error(`${LIBRARY} is for x86-64, this is ${process.arch}`);
  const library = findLibrary(NAMES);
  if (library !== null) return library;
  throw new Error(`${LIBRARY} is not installed (Debian 12: apt-get install libipsec-mb1)`);
}

/** The functions for keys of 16, 24 and 32 bytes. */
function tables(library: Library): readonly Gcm[] {
  const p = 'uintptr_t';
  const allocate: (flags: number) => number = library.func('alloc_mb_mgr', p, ['uint64']);
  const initialize: (manager: number, architecture: number) => void = library.func(
    'init_mb_mgr_auto',
    'void',
    [p, p],
  );
  const free: (manager: number) => void = library.func('free_mb_mgr', 'void', [p]);
  const manager = allocate(0);
  if (manager === 0) throw new Error(`${LIBRARY} has no memory`);
  try {
    initialize(manager, 0);
    check(library, manager);
    return [0, 1, 2].map((length) => functions(library, manager, length));
  } finally {
    free(manager);
  }
}

/** Throws an Error where the library cannot be used on this processor, or failed its own test as it began. */
function check(library: Library, manager: number): void {
  const error = library.intAt(manager + ERROR);
  if (error !== 0) throw new Error(`${LIBRARY} cannot begin: its error ${error}`);
  if ((library.intAt(manager + FEATURES) & NEEDED) === NEEDED) return;
  throw new Error(`${LIBRARY} does not support this processor`);
}

function functions(library: Library, manager: number, length: number): Gcm {
  const p = 'uintptr_t';
  const size = 'uint64';
  const crypt = [p, p, p, p, size, p, p, size, p, size];
  const at = (offset: number) => library.pointerAt(manager + offset + 8 * length);
  return {
    prepare: library.funcAt(at(PREPARE), 'void', [p, p]),
    encrypt: library.funcAt(at(ENCRYPT), 'void', crypt),
    decrypt: library.funcAt(at(DECRYPT), 'void', crypt),
  };
}

// Where things lie in a key's own memory, from an address that is a multiple of 64. It is an ArrayBuffer, never a small
// typed array, which V8 may move.
/** struct gcm_key_data: 1008 bytes in version 1.0, 1264 in 2.0.2, and room for what may come. */
const DATA_AT = 0;
/** struct gcm_context_data: 88 bytes. */
const CONTEXT_AT = 2048;
const NONCE_AT = 2240;
const AAD_AT = 2256;
const TAG_AT = 2272;
const KEY_AT = 2304;
const OWN = 2336;
const ALIGN = 64;

// Indices into a key's addresses.
const DATA = 1;
const CONTEXT = 2;
const THE_NONCE = 3;
const THE_AAD = 4;
const THE_TAG = 5;

class GcmKey implements AeadKey {
  readonly tagLength: number;
  readonly nonce: DataView;
  readonly aad: DataView;
  readonly #gcm: Gcm;
  readonly #addresses: Addresses;
  readonly #own: Uint8Array;
  readonly #at: number[];
  #closed = false;

  constructor(gcm: Gcm, addresses: Addresses, key: Uint8Array, tagLength: number) {
    this.#gcm = gcm;
    this.#addresses = addresses;
    this.tagLength = tagLength;
    const memory = new ArrayBuffer(OWN + ALIGN);
    const first = addresses.first(new Uint8Array(memory));
    const own = Math.ceil(first / ALIGN) * ALIGN;
    this.#own = new Uint8Array(memory, own - first, OWN);
    this.nonce = new DataView(memory, own - first + NONCE_AT, NONCE);
    this.aad = new DataView(memory, own - first + AAD_AT, MAX_AAD);
    this.#at = boxed(...[DATA_AT, CONTEXT_AT, NONCE_AT, AAD_AT, TAG_AT].map((place) => own + place));
    this.#own.set(key, KEY_AT);
    gcm.prepare(own + KEY_AT, own + DATA_AT);
    this.#own.fill(0, KEY_AT);
  }

  seal(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (this.#closed) return false;
    this.#run(this.#gcm.encrypt, bytes, at, end, aadLength);
    const own = this.#own;
    for (let i = 0; i < this.tagLength; i++) bytes[end + i] = own[TAG_AT + i];
    return true;
  }

  open(bytes: Uint8Array, at: number, end: number, aadLength: number): boolean {
    checkRange(bytes, at, end, this.tagLength, aadLength);
    if (this.#closed) return false;
    this.#run(this.#gcm.decrypt, bytes, at, end, aadLength);
    const own = this.#own;
    // All of the tag is looked at whatever differs, so that the time tells nothing about it.
    let wrong = 0;
    for (let i = 0; i < this.tagLength; i++) wrong |= bytes[end + i] ^ own[TAG_AT + i];
    return wrong === 0;
  }

  close(): void {
    this.#closed = true;
    this.#own.fill(0);
  }

  #run(crypt: Crypt, bytes: Uint8Array, at: number, end: number, aadLength: number): void {
    const known = this.#at;
    const data = this.#addresses.of(bytes, at);
    crypt(
      known[DATA],
      known[CONTEXT],
      data,
      data,
      end - at,
      known[THE_NONCE],
      known[THE_AAD],
      aadLength,
      known[THE_TAG],
      this.tagLength,
    );
  }
}
