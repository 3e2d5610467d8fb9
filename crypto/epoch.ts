/**
 * One epoch of this node: a key pair, and the security associations that were derived with it.
 *
 * An association belongs to a pair of epochs, one of ours and one of theirs, and has a key for each direction:
 *
 *     HKDF-SHA-256(secret: X25519(ours, theirs),  salt: a key made of the shared secret,
 *                  info:   label, algorithm, announcement of the sender, announcement of the receiver)
 *
 * gives key, salt and SPI. The announcements hold identities, boot salts, epochs and public keys. Their order
 * is the direction.
 *
 * A pair is derived at most once for as long as our private key exists: an association that was taken out of
 * use is remembered, closed or not, and never made anew. Otherwise a peer that leaves and comes back, or an
 * old announcement that is shown again, would start the sequence, and so the nonces, of a known key again.
 */
import type { AeadProvider, Algorithm } from './aead.ts';
import { type Announcement, announce } from './announcement.ts';
import { agree, derive, type Entropy, join, type KeyPair, keyPair, text, wipe } from './kdf.ts';
import { InboundSa, keymatLength, MIN_SPI, OutboundSa } from './sa.ts';

/** What all associations of a ring have in common. */
export interface Suite {
  readonly provider: AeadProvider;
  readonly algorithm: Algorithm;
  readonly icv: number;
  readonly window: number;
  /** Made of the shared secret. */
  readonly key: Uint8Array;
  readonly limits: { readonly softPackets?: number; readonly softBytes?: number };
  /** Told of each key that is derived, for captures that are to be looked into. */
  readonly onKeys: ((keys: LoggedKey) => void) | null;
}

/** A derived key. Whoever has it can read the packets. */
export interface LoggedKey {
  /** The identities of both ends. */
  readonly from: string;
  readonly to: string;
  readonly spi: number;
  readonly algorithm: Algorithm;
  /** Key and salt. A copy. */
  readonly keymat: Uint8Array;
  readonly icv: number;
}

/** Both directions between an epoch of ours and one of theirs. */
export interface Association {
  readonly inbound: InboundSa;
  readonly outbound: OutboundSa;
  closed: boolean;
}

const SPI = 4;

export class Epoch {
  readonly number: number;
  readonly announcement: Announcement;
  /** When it was known to be published, in ms; Infinity until then. */
  publishedAt = Number.POSITIVE_INFINITY;
  /** Whether the grace time has passed since. Never taken back, whatever the clock does. */
  graced = false;
  readonly #pair: KeyPair;
  readonly #suite: Suite;
  readonly #associations = new Map<string, Association>();

  constructor(suite: Suite, node: string, boot: Uint8Array, number: number, random: Entropy) {
    this.#suite = suite;
    this.number = number;
    this.#pair = keyPair(random);
    this.announcement = announce(node, boot, number, this.#pair.publicKey);
  }

  get published(): boolean {
    return this.publishedAt < Number.POSITIVE_INFINITY;
  }

  /** The association with an epoch of theirs, if it was derived and not closed. */
  association(theirs: Announcement): Association | null {
    const known = this.#associations.get(theirs.name);
    return known === undefined || known.closed ? null : known;
  }

  /**
   * Derives the association with an epoch of theirs, or returns the one that was derived. Null where their
   * public key is none, or the association was closed: it must not begin again.
   */
  derive(theirs: Announcement, peer: number): Association | null {
    const known = this.#associations.get(theirs.name);
    if (known !== undefined) return known.closed ? null : known;
    const shared = agree(this.#pair.privateKey, theirs.publicKey);
    if (shared === null) return null;
    const out = this.#options(shared, this.announcement, theirs, peer);
    const into = this.#options(shared, theirs, this.announcement, peer);
    const outbound = new OutboundSa({ ...out, ...this.#suite.limits });
    const inbound = new InboundSa({ ...into, window: this.#suite.window });
    wipe(shared, out.keymat, into.keymat);
    const association = { inbound, outbound, closed: false };
    this.#associations.set(theirs.name, association);
    return association;
  }

  /** Whether the association with an epoch of theirs has been closed. */
  ended(theirs: Announcement): boolean {
    return this.#associations.get(theirs.name)?.closed ?? false;
  }

  /** Closes the association with an epoch of theirs. */
  end(theirs: Announcement): void {
    const known = this.#associations.get(theirs.name);
    if (known !== undefined) close(known);
  }

  /** Wipes the private key and all that was derived with it. */
  wipe(): void {
    wipe(this.#pair.privateKey);
    for (const association of this.#associations.values()) close(association);
  }

  #options(shared: Uint8Array, from: Announcement, to: Announcement, peer: number) {
    const { provider, algorithm, icv, key, onKeys } = this.#suite;
    const info = join(text(`packetweave esp ${algorithm} ${icv} `), from.body, to.body);
    const length = keymatLength(algorithm);
    const okm = derive(shared, key, info, length + SPI);
    const spi = new DataView(okm.buffer, okm.byteOffset).getUint32(length);
    const keymat = okm.subarray(0, length);
    const options = { spi: spi < MIN_SPI ? spi + MIN_SPI : spi, peer, provider, algorithm, icv, keymat };
    onKeys?.({ from: from.node, to: to.node, spi: options.spi, algorithm, icv, keymat: keymat.slice() });
    return options;
  }
}

function close(association: Association): void {
  association.closed = true;
  association.inbound.close();
  association.outbound.close();
}
