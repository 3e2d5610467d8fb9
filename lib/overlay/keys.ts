/**
 * The keys of an overlay's encrypted networks: joins the key ring (crypto/keyring.ts) to the peers that the
 * description names and to the channel by which announcements travel, or without one to messages in band
 * (crypto/in-band.ts). A host is known by its underlay address, and nobody speaks for another.
 */
import { format } from '../../codecs/ip.ts';
import type { AeadProvider } from '../../crypto/aead.ts';
import type { LoggedKey } from '../../crypto/epoch.ts';
import { InBand, type Received } from '../../crypto/in-band.ts';
import { KeyRing } from '../../crypto/keyring.ts';
import type { Sad } from '../../crypto/sad.ts';
import type { Clock } from '../core/clock.ts';
import { type Log, Seldom } from '../core/log.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { WantedLocal } from './config.ts';
import type { KeyChannel } from './key-channel.ts';

/** Milliseconds after which a peer without keys is told to the log, and how often again. */
const PATIENCE = 10_000;
/** In band an epoch is published when every peer has said that it knows it: nothing is left to wait for. */
const IN_BAND_GRACE = 1;

const NOTHING: readonly Mail[] = [];

export interface KeysOptions {
  readonly local: WantedLocal;
  readonly provider: AeadProvider;
  readonly peers: VtepTable;
  /** The VNIs of the encrypted networks that a host is part of. */
  readonly networksOf: (node: string) => readonly number[];
  readonly sad: Sad;
  readonly clock: Clock;
  readonly log: Log;
}

/** A message for a peer, to be sent beside ESP. */
export interface Mail {
  readonly peer: number;
  readonly message: Uint8Array;
}

export class Keys {
  readonly #ring: KeyRing;
  readonly #node: string;
  readonly #channel: KeyChannel | null;
  /** Null where there is a channel. */
  readonly #inBand: InBand | null = null;
  /** Messages in band that wait to be sent. */
  #mail: Mail[] = [];
  readonly #networksOf: (node: string) => readonly number[];
  readonly #peers: VtepTable;
  readonly #sad: Sad;
  readonly #clock: Clock;
  readonly #log: Log;
  /** How to stop watching each peer, and since when it has had no keys. */
  readonly #watched = new Map<
    number,
    { readonly node: string; readonly stop: () => void; waiting: number }
  >();
  readonly #audit = new Seldom();
  #version = -1;
  #closed = false;

  constructor({ local, provider, peers, networksOf, sad, clock, log }: KeysOptions) {
    const esp = local.esp!;
    const { channel, secret } = esp;
    this.#node = format(local.address);
    this.#channel = channel;
    this.#networksOf = networksOf;
    this.#peers = peers;
    this.#sad = sad;
    this.#clock = clock;
    this.#log = log;
    this.#ring = new KeyRing({
      node: this.#node,
      secret,
      provider,
      sad,
      algorithm: esp.algorithm,
      grace: channel?.grace ?? IN_BAND_GRACE,
      ...(esp.period === null ? {} : { period: esp.period }),
      ...(esp.onKeys === null ? {} : { onKeys: (key: LoggedKey) => esp.onKeys?.(key) }),
      onAnnounce: (record, epoch) => {
        if (channel !== null) void this.#announce(channel, record, epoch);
      },
    });
    if (channel !== null) return;
    const send = (peer: number, message: Uint8Array) => void this.#mail.push({ peer, message });
    this.#inBand = new InBand({ ring: this.#ring, secret, send });
  }

  /** Whether packets to a peer can be sealed. */
  ready(peer: number): boolean {
    return this.#sad.outbound(peer) !== null;
  }

  /** Asks for new keys: those for a peer are nearly used up. */
  rekey(): void {
    this.#ring.rotate();
  }

  /** Follows the peers as they come and go, and lets the ring do what is due. */
  tick(now: number): void {
    if (this.#closed) return;
    if (this.#version !== this.#peers.version) this.#follow(now);
    this.#ring.tick(now);
    this.#inBand?.tick(now);
    for (const [peer, state] of this.#watched) {
      if (this.ready(peer)) state.waiting = now;
      if (now - state.waiting < PATIENCE) continue;
      state.waiting = now;
      const networks = this.#networksOf(state.node).join(', ');
      this.#log.warn(
        `${state.node} has announced no keys: nothing is sent to it in encrypted network ${networks}`,
      );
    }
  }

  /** Takes a message in band, behind the non-ESP marker; null where there is a channel instead. */
  receive(peer: number, message: Uint8Array, now: number): Received | null {
    if (this.#inBand === null) return null;
    const received = this.#inBand.receive(peer, message, now);
    if (received === 'forged' && this.#audit.due(0, now)) {
      const node = this.#watched.get(peer)?.node ?? 'an unknown host';
      this.#log.warn(`a message about keys from ${node} is refused: who made it does not know the secret`);
    }
    return received;
  }

  /** Takes out the messages in band that are to be sent. */
  collect(): readonly Mail[] {
    if (this.#mail.length === 0) return NOTHING;
    const mail = this.#mail;
    this.#mail = [];
    return mail;
  }

  close(): void {
    this.#closed = true;
    for (const { stop } of this.#watched.values()) stop();
    this.#watched.clear();
    this.#inBand?.close();
    this.#ring.close();
  }

  async #announce(channel: KeyChannel, record: Uint8Array, epoch: number): Promise<void> {
    try {
      const published = channel.publish(this.#node, record);
      // In process it is published at once, and a simulation's clock does not wait for promises.
      if (published !== undefined) await published;
      if (!this.#closed) this.#ring.published(epoch, this.#clock.now);
    } catch (error) {
      this.#log.warn(`new keys could not be announced, the old ones stay: ${(error as Error).message}`);
    }
  }

  #follow(now: number): void {
    this.#version = this.#peers.version;
    const wanted = new Map([...this.#peers.entries()].map(([peer, { address }]) => [peer, format(address)]));
    for (const [peer, { node, stop }] of this.#watched) {
      if (wanted.get(peer) === node) continue;
      stop();
      this.#watched.delete(peer);
      this.#ring.forget(peer);
    }
    for (const [peer, node] of wanted) {
      if (this.#watched.has(peer)) continue;
      this.#watched.set(peer, { node, stop: this.#watch(peer, node), waiting: now });
    }
  }

  /** Begins to listen to a peer; how to stop. */
  #watch(peer: number, node: string): () => void {
    if (this.#channel !== null) {
      return this.#channel.watch(node, (record) => this.#learn(peer, node, record));
    }
    const inBand = this.#inBand!;
    inBand.add(peer, node);
    return () => inBand.remove(peer);
  }

  #learn(peer: number, node: string, record: Uint8Array): void {
    const learned = this.#ring.learn(peer, record, this.#clock.now, { node });
    if (learned === 'new' || learned === 'known' || learned === 'stale') return;
    this.#log.warn(`the keys that ${node} announced are refused: ${learned}`);
  }
}
