/**
 * The key schedule of Docker's encrypted overlay networks (moby, libnetwork/drivers/overlay/encryption.go), for
 * interoperation alone.
 *
 * One ring of keys for the whole cluster, each with a tag: what a node receives is sealed with any of them,
 * what it sends with the primary. Both ends compute the SPI of a direction from both addresses and the tag;
 * the salt is the SPI. AES-128-GCM with an ICV of 8 bytes, numbers of 32 bits and no replay window.
 *
 * This is weaker than {@link KeyRing} in every way: any node can read and forge what passes between any two
 * others, there is no forward secrecy, and packets can be replayed. The key outlives the process that counts,
 * so the IV is not the sequence number but that with a random mask, as in Linux: nonces of two lives of a node
 * meet by chance only, about one time in 2^32.
 */
import type { Ip } from '../codecs/ip.ts';
import type { AeadProvider } from './aead.ts';
import { type Entropy, entropy, equal, wipe } from './kdf.ts';
import { InboundSa, MIN_SPI, OutboundSa } from './sa.ts';
import type { Sad } from './sad.ts';

/** A key of the cluster. */
export interface DockerKey {
  /** 16 bytes. */
  readonly key: Uint8Array;
  /** Tells it from the others; unsigned, 32 bits. */
  readonly tag: number;
}

export interface DockerKeysOptions {
  readonly provider: AeadProvider;
  readonly sad: Sad;
  /** The address that this node advertises. */
  readonly local: Ip;
  /** Default: the system's. */
  readonly random?: Entropy;
}

const KEY = 16;
const ICV = 8;

/** The SPI of a direction: FNV-1a over source, tag and destination, addresses as 16 bytes. */
export function dockerSpi(source: Ip, destination: Ip, tag: number): number {
  let hash = 0x811c9dc5;
  for (const word of [...source.words, tag, ...destination.words]) {
    for (let shift = 24; shift >= 0; shift -= 8) {
      hash = Math.imul(hash ^ ((word >>> shift) & 0xff), 0x01000193);
    }
  }
  return hash >>> 0;
}

export class DockerKeys {
  readonly #provider: AeadProvider;
  readonly #sad: Sad;
  readonly #local: Ip;
  readonly #random: Entropy;
  readonly #peers = new Map<number, Ip>();
  #keys: DockerKey[] = [];
  #primary = -1;

  constructor(options: DockerKeysOptions) {
    this.#provider = options.provider;
    this.#sad = options.sad;
    this.#local = options.local;
    this.#random = options.random ?? entropy;
  }

  /**
   * Makes these the keys of the ring, and the one with the tag `primary` that which seals. What stays as it
   * is goes on; all others are closed. Throws a RangeError for a key of other than 16 bytes, a tag that
   * occurs twice or is out of range, a primary that is none of them, or an SPI that would be reserved.
   */
  set(keys: readonly DockerKey[], primary: number): void {
    checkKeys(keys, primary);
    for (const address of this.#peers.values()) this.#checkSpis(address, keys);
    const before = this.#keys;
    const after = keys.map(({ key, tag }) => ({ tag, key: key.slice() }));
    const gone = before.filter((key) => !after.some((other) => same(key, other)));
    const fresh = after.filter((key) => !before.some((other) => same(key, other)));
    const turn = this.#primary !== primary || gone.some(({ tag }) => tag === primary);
    this.#keys = after;
    this.#primary = primary;
    for (const [peer, address] of this.#peers) {
      for (const { tag } of gone) this.#sad.remove(peer, dockerSpi(address, this.#local, tag))?.close();
      for (const key of fresh) this.#receive(peer, address, key);
      if (turn) this.#send(peer, address);
    }
    for (const { key } of before) wipe(key);
  }

  /** Adds a peer by the address that it advertises. Throws a RangeError where an SPI would be one of the
   * reserved ones, which happens to one in 16 million. */
  add(peer: number, address: Ip): void {
    this.remove(peer);
    this.#checkSpis(address, this.#keys);
    this.#peers.set(peer, address);
    for (const key of this.#keys) this.#receive(peer, address, key);
    this.#send(peer, address);
  }

  remove(peer: number): void {
    const address = this.#peers.get(peer);
    if (address === undefined) return;
    for (const { tag } of this.#keys) this.#sad.remove(peer, dockerSpi(address, this.#local, tag))?.close();
    this.#sad.removeOutbound(peer)?.close();
    this.#peers.delete(peer);
  }

  /** Wipes all keys. */
  close(): void {
    for (const peer of [...this.#peers.keys()]) this.remove(peer);
    for (const { key } of this.#keys) wipe(key);
    this.#keys = [];
  }

  #checkSpis(address: Ip, keys: readonly DockerKey[]): void {
    for (const { tag } of keys) {
      checkSpi(dockerSpi(address, this.#local, tag));
      checkSpi(dockerSpi(this.#local, address, tag));
    }
  }

  #receive(peer: number, address: Ip, key: DockerKey): void {
    const options = this.#options(peer, dockerSpi(address, this.#local, key.tag), key);
    this.#sad.set(new InboundSa({ ...options, window: 0 }))?.close();
    wipe(options.keymat);
  }

  #send(peer: number, address: Ip): void {
    const key = this.#keys.find(({ tag }) => tag === this.#primary);
    if (key === undefined) return;
    const options = this.#options(peer, dockerSpi(this.#local, address, key.tag), key);
    const mask = new DataView(this.#random(8).slice().buffer);
    const ivMask = { hi: mask.getUint32(0), lo: mask.getUint32(4) };
    this.#sad.setOutbound(new OutboundSa({ ...options, ivMask }))?.close();
    wipe(options.keymat);
  }

  #options(peer: number, spi: number, { key }: DockerKey) {
    const keymat = new Uint8Array(KEY + 4);
    keymat.set(key);
    new DataView(keymat.buffer).setUint32(KEY, spi);
    const algorithm = 'aes-128-gcm' as const;
    return { spi, peer, provider: this.#provider, algorithm, keymat, icv: ICV, esn: false };
  }
}

function same(a: DockerKey, b: DockerKey): boolean {
  return a.tag === b.tag && equal(a.key, b.key);
}

function checkKeys(keys: readonly DockerKey[], primary: number): void {
  for (const { key, tag } of keys) {
    if (key.length !== KEY) throw new RangeError(`"key" expected ${KEY} bytes, got ${key.length}`);
    if (!Number.isInteger(tag) || tag < 0 || tag > 0xffffffff) {
      throw new RangeError(`"tag" expected an integer 0..4294967295, got ${tag}`);
    }
    if (keys.filter((other) => other.tag === tag).length > 1) {
      throw new RangeError(`"tag" expected one key for each, got two for ${tag}`);
    }
  }
  if (keys.some(({ tag }) => tag === primary)) return;
  throw new RangeError(`"primary" expected the tag of one of the keys, got ${primary}`);
}

function checkSpi(spi: number): void {
  if (spi >= MIN_SPI) return;
  throw new RangeError(`the SPI ${spi}, computed from addresses and tag, is reserved (RFC 4303 section 2.1)`);
}
