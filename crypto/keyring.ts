/**
 * The keys between this node and its peers: pairwise, with forward secrecy, replaced without a gap.
 *
 * Time is cut into epochs, each node its own. For each a node announces a fresh X25519 key; whoever shares the
 * cluster's secret can then derive the security associations between any epoch of its own and any of the
 * node's (see {@link Epoch}). Each node keeps two of its own epochs and two of each peer's:
 *
 *     ours        | previous        | current           | next
 *                 |   receive       |  receive, send    |  receive            (announced, not yet published)
 *     published --+-----------------+---- grace --> send
 *
 * Make before break: whoever announces an epoch can receive on it already, so a peer's newest epoch may be
 * sent to at once. Of our own epochs the newest is taken that the peer is known to know: because a packet came
 * that was sealed with it, because an in-band message said so, or because it has been published for the grace
 * time. Where it knows none, it is the oldest that is published: a node that begins sends at once. The previous
 * epoch keeps receiving for a whole period. When it ends, its private key and everything derived with it are
 * wiped: what was recorded before cannot be read any more, whoever takes the machine.
 *
 * If what was announced is not published, because the store is away, nothing is replaced, and traffic goes on.
 * The clock is an argument and any monotonic or wall clock will do: no key and no epoch's number depends on
 * it. The ring counts time by itself, at most {@link STEP} between two looks at the clock. Where that jumps
 * nothing ends early; where `tick` is called seldom, grace times and periods are longer.
 *
 * An agreement takes a millisecond. A node that rotates owes one for each epoch of each peer: they are spread
 * over `tick`s, and the epoch is announced when all are done.
 */
import { type AeadProvider, type Algorithm, checkTagLength } from './aead.ts';
import { type Announcement, BOOT, decodeRecord, encodeRecord } from './announcement.ts';
import { Epoch, type LoggedKey, type Suite } from './epoch.ts';
import { checkSecret, type Entropy, entropy, purposeKey, wipe } from './kdf.ts';
import { Peer } from './peer.ts';
import { checkWindow, DEFAULT_WINDOW } from './replay.ts';
import type { Sad } from './sad.ts';

export interface KeyRingOptions {
  /** This node's identity, unique among the nodes that share the secret. 1..255 bytes of UTF-8. */
  readonly node: string;
  /** What all nodes share, {@link MIN_SECRET} bytes or more. Copied: wipe it afterwards. */
  readonly secret: Uint8Array;
  readonly provider: AeadProvider;
  /** Where associations are put. For each peer it needs room for {@link INBOUND_PER_PEER}. */
  readonly sad: Sad;
  /** Publishes a record of this node in place of the former; call {@link KeyRing.published} when it is. */
  readonly onAnnounce: (record: Uint8Array, epoch: number) => void;
  /** Default aes-128-gcm. All nodes need the same. */
  readonly algorithm?: Algorithm;
  /** Bytes of the ICV. Default 16. All nodes need the same. */
  readonly icv?: number;
  /** Numbers in the replay windows. Default 2048. */
  readonly window?: number;
  /** Length of an epoch in ms. Default 12 hours. */
  readonly period?: number;
  /** How long after publishing every peer knows of it, in ms; at most half a period. Default 5 s. */
  readonly grace?: number;
  /** Packets or bytes after which an association asks for a new epoch: see {@link OutboundOptions}. */
  readonly softPackets?: number;
  readonly softBytes?: number;
  /** Told when sealing for a peer begins with other keys. A dummy packet sent now tells it that they work. */
  readonly onKeysInUse?: (peer: number) => void;
  /** Told each key that is derived, so that captures can be looked into. */
  readonly onKeys?: (keys: LoggedKey) => void;
  /** Default: the system's. */
  readonly random?: Entropy;
}

/** The most inbound associations that a peer has at once: three epochs of ours with two of theirs. */
export const INBOUND_PER_PEER = 6;
const HALF_DAY = 12 * 3600 * 1000;
const GRACE = 5000;
/** Time between two looks at which keys to send with, in ms. */
const SETTLE = 50;
/** The most that passes between two looks at the clock, in ms: far less than a grace time over a network. */
const STEP = 100;

/** What became of a record that was to be learned. */
export type Learned =
  /** It held something new. */
  | 'new'
  /** All of it was known. */
  | 'known'
  /** It is this node's own, shown to it. */
  | 'own'
  /** It is of another node than the one that it was shown as. */
  | 'other'
  /** It is authentic and older than what is known. */
  | 'stale'
  /** Its public key is none: zero, or of small order. */
  | 'bad-key'
  /** It is no record. */
  | 'malformed'
  /** It was not made by a node that knows the secret. */
  | 'forged'
  /** The database has no room for another peer. */
  | 'full'
  /** The ring is closed. */
  | 'closed';

export class KeyRing {
  readonly node: string;
  readonly #boot: Uint8Array;
  readonly #random: Entropy;
  readonly #suite: Suite;
  readonly #macKey: Uint8Array;
  readonly #sad: Sad;
  readonly #period: number;
  readonly #grace: number;
  readonly #onAnnounce: (record: Uint8Array, epoch: number) => void;
  readonly #onKeysInUse: (peer: number) => void;
  /** Newest first: perhaps one that is not published yet, the current one, the previous one. */
  #epochs: Epoch[] = [];
  /** Number of the newest epoch, and whether it was announced. */
  #number = 0;
  #announced = false;
  /** What the newest epoch has still to be derived with. */
  #todo: [Peer, Announcement][] = [];
  readonly #peers = new Map<number, Peer>();
  /** The ring's own time, what the clock said then, and when keys were last chosen. */
  #time = 0;
  #clock = Number.NEGATIVE_INFINITY;
  #settledAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  /** The first epoch is announced by the first `tick`. Throws a RangeError or TypeError for a bad option. */
  constructor(options: KeyRingOptions) {
    const { node, secret, period = HALF_DAY, grace = GRACE, random = entropy } = options;
    checkSecret('secret', secret);
    this.#period = positive('period', period);
    this.#grace = positive('grace', grace);
    if (grace > period / 2) throw new RangeError(`"grace" expected at most half of the period, got ${grace}`);
    this.node = node;
    this.#suite = suiteOf(options);
    this.#macKey = purposeKey(secret, 'announcement');
    this.#random = random;
    this.#boot = random(BOOT).slice();
    this.#sad = options.sad;
    this.#onAnnounce = options.onAnnounce;
    this.#onKeysInUse = options.onKeysInUse ?? (() => {});
    this.#begin();
  }

  /** The number of the newest epoch that was published; 0 for none. */
  get epoch(): number {
    return this.#epochs.find(({ published }) => published)?.number ?? 0;
  }

  /** The number of the newest epoch that was announced; 0 for none. */
  get announced(): number {
    return this.#announced ? this.#number : this.#number - 1;
  }

  /** This node's boot salt. */
  get boot(): Uint8Array {
    return this.#boot.slice();
  }

  /** What peers should know: the newest two epochs that were announced. Empty before the first `tick`. */
  record(): Uint8Array {
    const announced = this.#epochs.filter(({ number }) => number <= this.announced).slice(0, 2);
    return encodeRecord(
      announced.reverse().map(({ announcement }) => announcement),
      this.#macKey,
    );
  }

  /** Tells that an epoch was published, as `onAnnounce` asked. The oldest epoch ends. */
  published(number: number, now: number): void {
    const [newest, ...others] = this.#epochs;
    if (this.#closed || newest.number !== number || newest.published || !this.#announced) return;
    this.#pass(now);
    newest.publishedAt = this.#time;
    for (const old of others.slice(1)) this.#retire(old);
    this.#epochs = this.#epochs.slice(0, 2);
    this.#settle(now);
  }

  /**
   * Begins a new epoch. False where the newest is not published yet, or its grace time is not over: then
   * peers could lose the epoch that they send to.
   */
  rotate(): boolean {
    if (this.#closed || !this.#epochs[0].graced) return false;
    this.#begin();
    return true;
  }

  /**
   * Learns what a peer announces; `peer` is the number that its packets come with. With `evidence` our keys
   * are used for it only when it is known to know them: for a peer that does not read what is published. With
   * `node` the record has to be of the node with this identity: whoever carries records could exchange them.
   */
  learn(
    peer: number,
    record: Uint8Array,
    now: number,
    options: { evidence?: boolean; node?: string | undefined } = {},
  ): Learned {
    if (this.#closed) return 'closed';
    const announcements = decodeRecord(record, this.#macKey);
    if (typeof announcements === 'string') return announcements;
    const [{ node }] = announcements;
    if (node === this.node) return 'own';
    if (options.node !== undefined && options.node !== node) return 'other';
    const known = this.#peerOf(peer, node, options.evidence ?? false);
    if (known === null) return 'full';
    const each = announcements.map((announcement) => this.#learnOne(known, announcement));
    if (known.live.length === 0) this.#peers.delete(peer);
    if (!each.includes('new')) return each[each.length - 1];
    this.#settle(now);
    return 'new';
  }

  /** The newest announcement of a peer that is known, or null. */
  knownOf(peer: number): Announcement | null {
    return this.#peers.get(peer)?.live[0] ?? null;
  }

  /** Tells that a peer knows our epochs of this boot up to a number. */
  confirm(peer: number, number: number, now: number): void {
    const known = this.#peers.get(peer);
    if (known === undefined || number <= known.knows || number > this.announced) return;
    known.knows = number;
    this.#settle(now);
  }

  /** Forgets a peer: nothing is sealed for it and nothing of it is opened. It can be learned again. */
  forget(peer: number): void {
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    for (const epoch of this.#epochs) for (const theirs of known.live) this.#uninstall(epoch, theirs);
    this.#peers.delete(peer);
    this.#todo = this.#todo.filter(([other]) => other !== known);
  }

  /** Does what is due: derives, announces, begins epochs, changes over. To be called every few ms. */
  tick(now: number): void {
    if (this.#closed) return;
    const next = this.#todo.shift();
    if (next?.[0].live.includes(next[1])) this.#install(this.#epochs[0], ...next);
    if (this.#todo.length === 0 && !this.#announced) {
      this.#announced = true;
      this.#onAnnounce(this.record(), this.#number);
    }
    this.#pass(now);
    if (this.#time - this.#settledAt >= SETTLE) this.#settle(now);
  }

  /** Stops, and wipes all keys. */
  close(): void {
    this.#closed = true;
    for (const peer of [...this.#peers.keys()]) this.forget(peer);
    for (const epoch of this.#epochs) epoch.wipe();
    this.#epochs = [];
    wipe(this.#suite.key, this.#macKey);
  }

  #pass(now: number): void {
    this.#time += Math.min(Math.max(now - this.#clock, 0), STEP);
    this.#clock = now;
  }

  #begin(): void {
    this.#announced = false;
    this.#number++;
    this.#epochs.unshift(new Epoch(this.#suite, this.node, this.#boot, this.#number, this.#random));
    this.#todo = [];
    for (const peer of this.#peers.values()) {
      for (const theirs of peer.live) this.#todo.push([peer, theirs]);
    }
  }

  /** The peer of a number, made where it is new; null where there is no room for another. */
  #peerOf(number: number, node: string, evidence: boolean): Peer | null {
    const known = this.#peers.get(number);
    if (known !== undefined && known.node === node && known.evidence === evidence) return known;
    this.forget(number);
    // A node has one number: it is found elsewhere when its address has changed.
    for (const other of this.#peers.values()) if (other.node === node) this.forget(other.number);
    if ((this.#peers.size + 1) * INBOUND_PER_PEER > this.#sad.capacity) return null;
    const peer = new Peer(number, node, evidence);
    this.#peers.set(number, peer);
    return peer;
  }

  #learnOne(peer: Peer, theirs: Announcement): Learned {
    const judged = peer.judge(theirs);
    if (judged !== 'new') return judged;
    if (this.#epochs.some((epoch) => epoch.ended(theirs))) return 'stale';
    for (const epoch of this.#epochs) if (!this.#install(epoch, peer, theirs)) return 'bad-key';
    for (const old of peer.add(theirs)) {
      for (const epoch of this.#epochs) {
        this.#uninstall(epoch, old);
        epoch.end(old);
      }
    }
    return 'new';
  }

  #install(epoch: Epoch, peer: Peer, theirs: Announcement): boolean {
    const association = epoch.derive(theirs, peer.number);
    if (association === null) return false;
    association.inbound.peer = peer.number;
    association.outbound.peer = peer.number;
    this.#sad.set(association.inbound);
    return true;
  }

  /** Takes an association out of the database, unless another has its place. */
  #uninstall(epoch: Epoch, theirs: Announcement): void {
    const association = epoch.association(theirs);
    if (association === null) return;
    const { inbound, outbound } = association;
    if (this.#sad.lookup(inbound.peer, inbound.spi) === inbound) this.#sad.remove(inbound.peer, inbound.spi);
    if (this.#sad.outbound(outbound.peer) === outbound) this.#sad.removeOutbound(outbound.peer);
  }

  #retire(epoch: Epoch): void {
    for (const peer of this.#peers.values()) for (const theirs of peer.live) this.#uninstall(epoch, theirs);
    epoch.wipe();
  }

  /** Looks at who knows what, chooses what to send with, and begins a new epoch where one is due. */
  #settle(now: number): void {
    this.#pass(now);
    this.#settledAt = this.#time;
    for (const epoch of this.#epochs) {
      if (this.#time - epoch.publishedAt >= this.#grace) epoch.graced = true;
    }
    let due = this.#time - this.#epochs[0].publishedAt >= this.#period;
    for (const peer of this.#peers.values()) {
      peer.listen(this.#epochs);
      const { outbound } = peer.choose(this.#epochs) ?? { outbound: null };
      if (outbound === null) {
        this.#sad.removeOutbound(peer.number);
      } else if (this.#sad.outbound(peer.number) !== outbound) {
        this.#sad.setOutbound(outbound);
        this.#onKeysInUse(peer.number);
      }
      if (outbound?.rekey) due = true;
    }
    if (due) this.rotate();
  }
}

function suiteOf(options: KeyRingOptions): Suite {
  const { provider, algorithm = 'aes-128-gcm', icv = 16, window = DEFAULT_WINDOW } = options;
  checkTagLength(algorithm, icv, 'icv');
  checkWindow(window);
  const { softPackets, softBytes, onKeys = null } = options;
  const limits = {
    ...(softPackets === undefined ? {} : { softPackets }),
    ...(softBytes === undefined ? {} : { softBytes }),
  };
  return { provider, algorithm, icv, window, key: purposeKey(options.secret, 'esp'), limits, onKeys };
}

function positive(field: string, value: number): number {
  if (value > 0 && value < Number.POSITIVE_INFINITY) return value;
  throw new RangeError(`"${field}" expected a number of ms above 0, got ${value}`);
}
