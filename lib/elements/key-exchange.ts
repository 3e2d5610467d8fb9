/**
 * Where keys meet packets: tells the keys of encrypted networks the time, and carries their messages to other
 * hosts and back, beside ESP on the same UDP port and behind the non-ESP marker (RFC 3948 section 2.2).
 */
import { NON_ESP_MARKER } from '../../codecs/esp.ts';
import type { Received } from '../../crypto/in-band.ts';
import type { Batch } from '../core/batch.ts';
import type { Context } from '../core/context.ts';
import { FORGED, MALFORMED, NOT_FOR_US, POOL_DRY, TOO_BIG } from '../core/drop.ts';
import { Element } from '../core/element.ts';
import type { Packet } from '../core/packet.ts';
import { DATAGRAM, type Medium } from '../io/port.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { Carrier } from './esp-seal.ts';
import { type LocalEndpoint, OuterWriter, PASS } from './outer-write.ts';

/** Whoever has the keys. */
export interface KeyKeeper {
  tick(now: number): void;
  /** Takes a message of a peer, whose bytes are valid only during the call. Null where messages are not for it. */
  receive(peer: number, message: Uint8Array, now: number): Received | null;
  /** Takes out what is to be sent. */
  collect(): readonly { readonly peer: number; readonly message: Uint8Array }[];
}

export interface KeyExchangeOptions {
  readonly keys: KeyKeeper;
  /** Endpoints with the port that their ESP listens on. */
  readonly vteps: VtepTable;
  /** What the underlay port takes. */
  readonly medium: Medium;
  /** This end, with the port that ESP listens on. */
  readonly local: LocalEndpoint;
  /** Only `udp` carries messages. */
  readonly carrier?: Carrier;
}

const COUNTERS = ['sent', 'learned', 'answered', 'ignored'];
const SENT = 0;
/** Counters of what is neither malformed nor forged. */
const TAKEN: Partial<Record<Received, number>> = { learned: 1, answered: 2, ignored: 3 };

export class KeyExchange extends Element {
  readonly #out = this.output('out');
  readonly #keys: KeyKeeper;
  #outer: OuterWriter | null;

  /** Throws a RangeError or TypeError that names the option. */
  constructor(context: Context, name: string, options: KeyExchangeOptions) {
    const outer = outerOf(options);
    super(context, name, COUNTERS);
    this.#keys = options.keys;
    this.#outer = outer;
  }

  override configure(options: KeyExchangeOptions): boolean {
    if (options.keys !== this.#keys) return false;
    this.#outer = outerOf(options);
    return true;
  }

  override push(batch: Batch): void {
    const { now } = this.context.clock;
    for (let i = 0; i < batch.length; i++) this.#receive(batch.packets[i], now);
    batch.clear();
    this.#send();
  }

  override tick(now: number): void {
    this.#keys.tick(now);
    this.#send();
  }

  #receive(p: Packet, now: number): void {
    const received = this.#keys.receive(p.peer, p.frame(), now);
    const counter = received === null ? undefined : TAKEN[received];
    if (counter === undefined) {
      this.drop(p, received === null ? NOT_FOR_US : received === 'forged' ? FORGED : MALFORMED);
      return;
    }
    this.count(counter);
    p.pool.give(p);
  }

  #send(): void {
    for (const { peer, message } of this.#keys.collect()) {
      const p = this.context.pool.take();
      if (p === null) this.lost(POOL_DRY);
      else this.#emit(p, peer, message);
    }
    this.#out.flush();
  }

  #emit(p: Packet, peer: number, message: Uint8Array): void {
    const end = p.start + NON_ESP_MARKER + message.length;
    if (end > p.bytes.length) {
      this.drop(p, TOO_BIG);
      return;
    }
    p.view.setUint32(p.start, 0);
    p.bytes.set(message, p.start + NON_ESP_MARKER);
    p.end = end;
    p.peer = peer;
    const reason = this.#outer === null ? PASS : this.#outer.write(p);
    if (reason !== PASS) {
      this.drop(p, reason);
      return;
    }
    this.count(SENT);
    this.#out.add(p);
  }
}

function outerOf({ medium, vteps, local, carrier = 'udp' }: KeyExchangeOptions): OuterWriter | null {
  return medium === DATAGRAM ? null : new OuterWriter({ medium, vteps, local, carrier });
}
