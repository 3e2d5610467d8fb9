/**
 * Security associations, RFC 4301 section 4.4.2.1: one direction between two hosts, its key, its sequence
 * number or replay window, and when it has to be replaced.
 */
import {
  type AeadKey,
  type AeadProvider,
  type Algorithm,
  checkTagLength,
  IV,
  SALT,
  specOf,
  TAG,
} from './aead.ts';
import { DEFAULT_WINDOW, ReplayWindow } from './replay.ts';

/** The smallest SPI that may be chosen: 0 never goes on the wire, 1..255 are reserved (RFC 4303 section 2.1). */
export const MIN_SPI = 256;

/** The largest number of a peer. */
export const MAX_PEER = 0xffffff;

export interface SaOptions {
  /** Security Parameters Index, {@link MIN_SPI}..0xffffffff. */
  readonly spi: number;
  /** Number of the host at the other end, 0 or more: the underlay port's `peer`. Default 0. */
  readonly peer?: number;
  readonly provider: AeadProvider;
  readonly algorithm: Algorithm;
  /** Key and salt, in this order (RFC 4106 section 8.1). Copied: wipe it afterwards. */
  readonly keymat: Uint8Array;
  /** Bytes of the ICV: 16, or with AES-GCM 12 or 8. Default 16. */
  readonly icv?: number;
  /** Extended sequence numbers of 64 bits (RFC 4303 section 2.2.1). Default true. */
  readonly esn?: boolean;
}

/** Bytes of key and salt together. */
export function keymatLength(algorithm: Algorithm): number {
  return specOf(algorithm).keyLength + SALT;
}

/** What both directions have. */
abstract class Sa {
  readonly spi: number;
  /** Changes only while the association is in no database. */
  peer: number;
  readonly algorithm: Algorithm;
  /** Bytes of the ICV. */
  readonly icv: number;
  readonly esn: boolean;
  /** Its nonce begins with the salt and its additional data with the SPI; the rest is each packet's. */
  readonly key: AeadKey;
  /** Bytes of additional data (RFC 4106 section 5): SPI and sequence number of 32 or 64 bits. */
  readonly aadLength: number;

  constructor(options: SaOptions) {
    const { spi, peer = 0, algorithm, keymat, icv = TAG, esn = true } = options;
    integer('spi', spi, MIN_SPI, 0xffffffff);
    integer('peer', peer, 0, MAX_PEER);
    const { keyLength } = specOf(algorithm);
    if (keymat.length !== keyLength + SALT) {
      const wanted = keyLength + SALT;
      throw new RangeError(`"keymat" expected ${wanted} bytes for ${algorithm}, got ${keymat.length}`);
    }
    checkTagLength(algorithm, icv, 'icv');
    this.key = options.provider.key(algorithm, keymat.subarray(0, keyLength), icv);
    for (let i = 0; i < SALT; i++) this.key.nonce.setUint8(i, keymat[keyLength + i]);
    this.key.aad.setUint32(0, spi);
    this.spi = spi;
    this.peer = peer;
    this.algorithm = algorithm;
    this.icv = icv;
    this.esn = esn;
    this.aadLength = esn ? 12 : 8;
  }

  /** Puts a packet's number and IV into the additional data and the nonce. */
  prepare(hi: number, lo: number, ivHi: number, ivLo: number): void {
    const { aad, nonce } = this.key;
    if (this.esn) {
      // The high half goes between the SPI and the low half, though it does not travel (RFC 4106 section 5).
      aad.setUint32(4, hi);
      aad.setUint32(8, lo);
    } else {
      aad.setUint32(4, lo);
    }
    nonce.setUint32(SALT, ivHi);
    nonce.setUint32(SALT + IV / 2, ivLo);
  }

  /** Wipes the key. Nothing is sealed or opened afterwards. */
  close(): void {
    this.key.close();
  }
}

export interface OutboundOptions extends SaOptions {
  /** Sequence number of the last packet sent, in halves; default 0, so that the first is 1. */
  readonly sequence?: { readonly hi: number; readonly lo: number };
  /**
   * What is mixed into the sequence number to make the IV, in halves; default 0. Random where a key outlives
   * the process that counts, as with {@link DockerKeys}: sequence numbers begin again then, IVs do not.
   */
  readonly ivMask?: { readonly hi: number; readonly lo: number };
  /** Packets after which {@link OutboundSa.rekey} asks for a new association. Default 2^36 with ESN, which
   * keeps GCM's distinguishing advantage below 2^-40, and 3/4 of the sequence space without. */
  readonly softPackets?: number;
  /** Packets after which nothing is sealed. Default: as many as there are sequence numbers. */
  readonly hardPackets?: number;
  /** Bytes, ESP header to ICV, after which `rekey` asks for a new association. Default: no limit. */
  readonly softBytes?: number;
  /** Bytes after which nothing is sealed. Default: no limit. */
  readonly hardBytes?: number;
}

const ZERO = { hi: 0, lo: 0 };
/** Packets with ESN before a new key is asked for. */
const SOFT_ESN = 2 ** 36;

export class OutboundSa extends Sa {
  /** Set when a soft limit has passed: a new association should take over soon. */
  rekey = false;
  /** Halves of the last number used, of the soft limit, of the hard limit and of the mask of the IV. */
  readonly #numbers: Uint32Array;
  /** Bytes sealed, and their soft and hard limit. */
  readonly #bytes: Float64Array;

  constructor(options: OutboundOptions) {
    super(options);
    const { sequence = ZERO, ivMask = ZERO, softBytes = Infinity, hardBytes = Infinity } = options;
    const most = this.esn ? 2 ** 64 : 2 ** 32;
    const { softPackets = this.esn ? SOFT_ESN : most * 0.75, hardPackets = most } = options;
    integer('sequence.hi', sequence.hi, 0, this.esn ? 0xffffffff : 0);
    integer('sequence.lo', sequence.lo, 0, 0xffffffff);
    integer('ivMask.hi', ivMask.hi, 0, 0xffffffff);
    integer('ivMask.lo', ivMask.lo, 0, 0xffffffff);
    atLeast1('softPackets', softPackets);
    atLeast1('hardPackets', hardPackets);
    atLeast1('softBytes', softBytes);
    atLeast1('hardBytes', hardBytes);
    const [softHi, softLo] = halves(softPackets, most);
    const [hardHi, hardLo] = halves(hardPackets, most);
    const { hi, lo } = sequence;
    this.#numbers = Uint32Array.of(hi, lo, softHi, softLo, hardHi, hardLo, ivMask.hi, ivMask.lo);
    this.#bytes = Float64Array.of(0, softBytes, hardBytes);
  }

  /** High half of the last sequence number used; 0 without ESN. */
  get hi(): number {
    return this.#numbers[0];
  }

  /** Low half of the last sequence number used. */
  get lo(): number {
    return this.#numbers[1];
  }

  /** High half of the last packet's IV. */
  get ivHi(): number {
    return (this.#numbers[0] ^ this.#numbers[6]) >>> 0;
  }

  /** Low half of the last packet's IV. */
  get ivLo(): number {
    return (this.#numbers[1] ^ this.#numbers[7]) >>> 0;
  }

  /** Bytes sealed, ESP header to ICV. */
  get bytes(): number {
    return this.#bytes[0];
  }

  /**
   * Takes the next sequence number for a packet of so many bytes. False where a hard limit is reached: the
   * number may never cycle, for each is also an IV (RFC 4303 section 3.3.3, RFC 4106 section 3.1).
   */
  advance(bytes: number): boolean {
    const n = this.#numbers;
    const b = this.#bytes;
    if (n[0] > n[4] || (n[0] === n[4] && n[1] >= n[5]) || b[0] + bytes > b[2]) return false;
    n[1]++;
    if (n[1] === 0) n[0]++;
    b[0] += bytes;
    if (n[0] > n[2] || (n[0] === n[2] && n[1] >= n[3]) || b[0] >= b[1]) this.rekey = true;
    return true;
  }
}

export interface InboundOptions extends SaOptions {
  /**
   * Numbers in the replay window, 64..16384. Default 2048. 0 turns the window off, which RFC 4303 section
   * 3.4.3 leaves to the receiver, and allows only without ESN.
   */
  readonly window?: number;
}

export class InboundSa extends Sa {
  /** Null where it was turned off. */
  readonly window: ReplayWindow | null;
  /** Set when a packet was opened: the peer has this association and uses it. */
  heard = false;

  constructor(options: InboundOptions) {
    super(options);
    const { window = DEFAULT_WINDOW } = options;
    if (window === 0 && this.esn) {
      throw new RangeError('"window" expected more than 0 with extended sequence numbers, got 0');
    }
    this.window = window === 0 ? null : new ReplayWindow(window, this.esn);
  }
}

/** The last number of so many, in halves. */
function halves(packets: number, most: number): [number, number] {
  if (packets >= most) return [most === 2 ** 64 ? 0xffffffff : 0, 0xffffffff];
  return [Math.floor(packets / 2 ** 32), packets % 2 ** 32];
}

function integer(field: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`"${field}" expected an integer ${least}..${most}, got ${value}`);
}

function atLeast1(field: string, value: number): void {
  if (value >= 1) return;
  throw new RangeError(`"${field}" expected a number of at least 1, got ${value}`);
}
