/**
 * The keys of an overlay's encrypted networks: joins the key ring (crypto/keyring.ts) to the peers that the
 * description names and to the channel by which announcements travel. A host is known by its underlay address.
 */
import { format } from '../../codecs/ip.ts';
import type { AeadProvider } from '../../crypto/aead.ts';
import type { LoggedKey } from '../../crypto/epoch.ts';
import { KeyRing } from '../../crypto/keyring.ts';
import type { Sad } from '../../crypto/sad.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { WantedLocal } from './config.ts';
import type { KeyChannel } from './key-channel.ts';

/** Milliseconds after which a peer without keys is told to the log, and how often again. */
const PATIENCE = 10_000;

export interface KeysOptions {
  readonly local: WantedLocal;
  readonly provider: AeadProvider;
  readonly channel: KeyChannel;
  readonly peers: VtepTable;
  readonly sad: Sad;
  readonly clock: Clock;
  readonly log: Log;
}

export class Keys {
  readonly #ring: KeyRing;
  readonly #node: string;
  readonly #channel: KeyChannel;
  readonly #peers: VtepTable;
  readonly #sad: Sad;
  readonly #clock: Clock;
  readonly #log: Log;
  /** How to stop watching each peer, and since when it has had no keys. */
  readonly #watched = new Map<
    number,
    { readonly node: string; readonly stop: () => void; waiting: number }
  >();
  #version = -1;
  #closed = false;

  constructor({ local, provider, channel, peers, sad, clock, log }: KeysOptions) {
    const esp = local.esp!;
    this.#node = format(local.address);
    this.#channel = channel;
    this.#peers = peers;
    this.#sad = sad;
    this.#clock = clock;
    this.#log = log;
    this.#ring = new KeyRing({
      node: this.#node,
      secret: esp.secret,
      provider,
      sad,
      algorithm: esp.algorithm,
      grace: channel.grace,
      ...(esp.period === null ? {} : { period: esp.period }),
      ...(esp.onKeys === null ? {} : { onKeys: (key: LoggedKey) => esp.onKeys?.(key) }),
      onAnnounce: (record, epoch) => void this.#announce(record, epoch),
    });
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
    for (const [peer, state] of this.#watched) {
      if (this.ready(peer)) state.waiting = now;
      if (now - state.waiting < PATIENCE) continue;
      state.waiting = now;
      this.#log.warn(`${state.node} has announced no keys: nothing of encrypted networks is sent to it`);
    }
  }

  close(): void {
    this.#closed = true;
    for (const { stop } of this.#watched.values()) stop();
    this.#watched.clear();
    this.#ring.close();
  }

  async #announce(record: Uint8Array, epoch: number): Promise<void> {
    try {
      const published = this.#channel.publish(this.#node, record);
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
      const stop = this.#channel.watch(node, (record) => this.#learn(peer, node, record));
      this.#watched.set(peer, { node, stop, waiting: now });
    }
  }

  #learn(peer: number, node: string, record: Uint8Array): void {
    const learned = this.#ring.learn(peer, record, this.#clock.now);
    if (learned === 'new' || learned === 'known' || learned === 'stale') return;
    this.#log.warn(`the keys that ${node} announced are refused: ${learned}`);
  }
}
