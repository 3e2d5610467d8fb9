/**
 * Announcements in band: for hosts that share a secret and no store, messages beside the ESP packets, behind
 * the non-ESP marker of RFC 3948 on the same port. What puts the marker there and takes it off is the
 * carrier's.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+---------------+---------------+
 *     |         0x5042 ("PB")         |  Version (1)  |       0       |
 *     +-------------------------------+---------------+---------------+
 *     |     Challenge, 16 bytes: the next message must echo it        |
 *     |     Echo, 16 bytes: the receiver's challenge, or zeros        |
 *     |     Known, 20 bytes: boot salt and epoch of the receiver's    |
 *     |     newest announcement that the sender knows, or zeros       |
 *     |     Record of the sender                                      |
 *     |     MAC of all before, 16 bytes                               |
 *     +---------------------------------------------------------------+
 *
 * The MAC tells that the sender knows the secret, not when it spoke: a message can be recorded, held back and
 * shown again. So a record is learned only from a message that echoes a challenge, which is random and holds
 * once. Who gets a message without it answers with its own challenge, at most ten times a second. Three
 * messages bring two strangers together:
 *
 *     A: who are you?        ------>
 *                            <------   B: here I am; you asked so; who are you?
 *     A: here I am;          ------>
 *        I know you
 *                            <------   B: I know you
 *
 * `Known` also tells when a peer may be sent to with an epoch. Until it has said so the message is repeated.
 * The ring's `onAnnounce` has nothing to do: an epoch counts as published when all peers know it, or when the
 * patience with those that do not answer is over.
 */
import { BOOT } from './announcement.ts';
import { checkSecret, type Entropy, entropy, equal, join, MAC, mac, purposeKey, wipe } from './kdf.ts';
import type { KeyRing } from './keyring.ts';

export interface InBandOptions {
  readonly ring: KeyRing;
  /** The secret of the ring. Copied: wipe it afterwards. */
  readonly secret: Uint8Array;
  /** Sends a message to a peer. The bytes are the callee's. */
  readonly send: (peer: number, message: Uint8Array) => void;
  /** How long a new epoch waits for peers that do not answer, in ms. Default 60 s. */
  readonly patience?: number;
  /** Default: the system's. */
  readonly random?: Entropy;
}

/** What became of a message. */
export type Received = 'learned' | 'answered' | 'ignored' | 'malformed' | 'forged';

interface Correspondent {
  /** Its identity, where that is known beforehand. */
  readonly node: string | undefined;
  /** Ours, which its next message must echo. */
  challenge: Uint8Array;
  /** Its own, which our next message echoes. */
  theirs: Uint8Array;
  /** What was last said to it about its announcements, and what it last said about ours. */
  told: Uint8Array;
  knows: number;
  sentAt: number;
  answeredAt: number;
  /** When a message that echoes nothing was last looked at, and one that does. */
  checkedAt: number;
  askedAt: number;
  /** Messages sent in vain. */
  tries: number;
}

const MAGIC = 0x5042;
const VERSION = 1;
const CHALLENGE = 16;
const KNOWN = BOOT + 4;
const CHALLENGE_AT = 4;
const ECHO_AT = CHALLENGE_AT + CHALLENGE;
const KNOWN_AT = ECHO_AT + CHALLENGE;
const RECORD_AT = KNOWN_AT + KNOWN;

/** Milliseconds between answers to messages that prove nothing. */
const ANSWER = 100;
/** Milliseconds between two messages of one kind that are looked at: verifying takes time that anybody can ask
 * for, and who cannot see challenges cannot keep messages out that echo them. */
const CHECK = 10;
/** Milliseconds before the first repetition; doubled each time up to the most. */
const REPEAT = 1000;
const MOST = 30_000;
const PATIENCE = 60_000;
const NOTHING = new Uint8Array(KNOWN);

export class InBand {
  readonly #ring: KeyRing;
  readonly #key: Uint8Array;
  readonly #send: (peer: number, message: Uint8Array) => void;
  readonly #patience: number;
  readonly #random: Entropy;
  /** The epoch that waits to be known, and since when. */
  #waiting = 0;
  #since = 0;
  readonly #peers = new Map<number, Correspondent>();

  /** Throws a RangeError for a secret that is too short. */
  constructor(options: InBandOptions) {
    checkSecret('secret', options.secret);
    this.#ring = options.ring;
    this.#key = purposeKey(options.secret, 'in band');
    this.#send = options.send;
    this.#patience = options.patience ?? PATIENCE;
    this.#random = options.random ?? entropy;
  }

  /** Begins to speak with a peer. With `node` it has to be the one with this identity. */
  add(peer: number, node?: string): void {
    if (this.#peers.has(peer)) return;
    this.#peers.set(peer, {
      node,
      challenge: this.#challenge(),
      theirs: new Uint8Array(CHALLENGE),
      told: NOTHING,
      knows: 0,
      sentAt: Number.NEGATIVE_INFINITY,
      answeredAt: Number.NEGATIVE_INFINITY,
      checkedAt: Number.NEGATIVE_INFINITY,
      askedAt: Number.NEGATIVE_INFINITY,
      tries: 0,
    });
  }

  /** Speaks with a peer no more; the ring forgets it. */
  remove(peer: number): void {
    if (this.#peers.delete(peer)) this.#ring.forget(peer);
  }

  /** Takes the message of a peer, from the first byte behind the marker. Never throws. */
  receive(peer: number, message: Uint8Array, now: number): Received {
    const state = this.#peers.get(peer);
    if (state === undefined) return 'ignored';
    if (!isMessage(message)) return 'malformed';
    const asked = equal(message.subarray(ECHO_AT, KNOWN_AT), state.challenge);
    if (Math.abs(now - (asked ? state.askedAt : state.checkedAt)) < CHECK) return 'ignored';
    if (asked) state.askedAt = now;
    else state.checkedAt = now;
    const end = message.length - MAC;
    if (!equal(mac(this.#key, message.subarray(0, end)), message.subarray(end))) return 'forged';
    const challenge = message.slice(CHALLENGE_AT, ECHO_AT);
    if (!asked) return this.#answer(peer, state, challenge, now);
    const record = message.slice(RECORD_AT, end);
    const options = { evidence: true, node: state.node };
    const learned = record.length === 0 ? 'known' : this.#ring.learn(peer, record, now, options);
    if (learned !== 'new' && learned !== 'known') return 'ignored';
    state.challenge = this.#challenge();
    state.theirs = challenge;
    state.knows = this.#epochOf(message.subarray(KNOWN_AT, RECORD_AT));
    this.#ring.confirm(peer, state.knows, now);
    if (this.#owes(peer, state)) this.#say(peer, state, challenge, now);
    return 'learned';
  }

  /** Says what has to be said, and repeats what was not heard. To be called now and then. */
  tick(now: number): void {
    for (const [peer, state] of this.#peers) {
      if (!this.#owes(peer, state)) {
        state.tries = 0;
        continue;
      }
      const wait = Math.min(REPEAT * 2 ** (state.tries - 1), MOST);
      if (state.tries > 0 && Math.abs(now - state.sentAt) < wait) continue;
      state.tries++;
      this.#say(peer, state, state.theirs, now);
    }
    this.#publish(now);
  }

  /** Wipes the key. */
  close(): void {
    for (const peer of [...this.#peers.keys()]) this.remove(peer);
    wipe(this.#key);
  }

  #publish(now: number): void {
    const { announced, epoch } = this.#ring;
    if (announced === epoch) return;
    if (this.#waiting !== announced || now < this.#since) this.#since = now;
    this.#waiting = announced;
    const known = [...this.#peers.values()].every(({ knows }) => knows >= announced);
    if (known || now - this.#since >= this.#patience) this.#ring.published(announced, now);
  }

  /** Whether a peer does not know our newest epoch, or does not know that we know its own. */
  #owes(peer: number, state: Correspondent): boolean {
    return state.knows < this.#ring.announced || !equal(state.told, this.#knownOf(peer));
  }

  #answer(peer: number, state: Correspondent, echo: Uint8Array, now: number): Received {
    if (Math.abs(now - state.answeredAt) < ANSWER) return 'ignored';
    state.answeredAt = now;
    // The sender may be of another life than the one that knew us.
    this.#say(peer, state, echo, now);
    return 'answered';
  }

  #say(peer: number, state: Correspondent, echo: Uint8Array, now: number): void {
    const head = Uint8Array.of(MAGIC >>> 8, MAGIC & 0xff, VERSION, 0);
    state.told = this.#knownOf(peer);
    state.sentAt = now;
    const body = join(head, state.challenge, echo, state.told, this.#ring.record());
    this.#send(peer, join(body, mac(this.#key, body)));
  }

  /** What we know of a peer, as it travels. */
  #knownOf(peer: number): Uint8Array {
    const known = this.#ring.knownOf(peer);
    if (known === null) return NOTHING;
    const epoch = new Uint8Array(4);
    new DataView(epoch.buffer).setUint32(0, known.epoch);
    return join(known.boot, epoch);
  }

  /** The number of our epoch that a peer says to know; 0 where it is of another life. */
  #epochOf(known: Uint8Array): number {
    if (!equal(known.subarray(0, BOOT), this.#ring.boot)) return 0;
    return new DataView(known.buffer, known.byteOffset).getUint32(BOOT);
  }

  #challenge(): Uint8Array {
    return this.#random(CHALLENGE).slice();
  }
}

function isMessage(bytes: Uint8Array): boolean {
  if (bytes.length < RECORD_AT + MAC) return false;
  return ((bytes[0] << 8) | bytes[1]) === MAGIC && bytes[2] === VERSION;
}
