/**
 * Seals what goes to tunnel endpoints with ESP in transport mode (RFC 4303), in the packet's own slot: behind
 * an encapsulator for DATAGRAM, in front of the port that carries ESP.
 *
 *      in    VXLAN | frame
 *      out   [outer headers |] ESP header | IV | UDP | VXLAN | frame | padding | ICV
 *
 * Nothing leaves in clear: a packet to an endpoint without a key is dropped as `no-sa`. A super-frame becomes a
 * train in which each segment is sealed (seal-train.ts).
 *
 * Two carriers: UDP (RFC 3948), where a DATAGRAM port writes the outer UDP header, or this element does for an
 * IP or ETHERNET port; and IP protocol 50 on IP and ETHERNET ports. Over UDP a peer to which nothing was sent
 * for 20 s gets a keepalive, one byte 0xff, so that what is in between keeps the way open (RFC 3948 section 4).
 */

import * as udp from '../../codecs/udp.ts';
import * as esp from '../../crypto/esp.ts';
import { EXHAUSTED, NO_KEY, OK, type Result } from '../../crypto/result.ts';
import type { OutboundSa } from '../../crypto/sa.ts';
import type { Sad } from '../../crypto/sad.ts';
import type { Batch } from '../core/batch.ts';
import type { Context } from '../core/context.ts';
import {
  type Drop,
  MALFORMED,
  NO_SA,
  POOL_DRY,
  SEQUENCE_EXHAUSTED,
  TOO_BIG,
  UNKNOWN_PEER,
} from '../core/drop.ts';
import { Element } from '../core/element.ts';
import { GSO_NONE, isTrain, NONE, type Packet } from '../core/packet.ts';
import { completeChecksum } from '../core/partial-checksum.ts';
import { DATAGRAM, type Medium } from '../io/port.ts';
import type { VtepTable } from '../tables/vtep.ts';
import { type LocalEndpoint, OuterWriter, PASS } from './outer-write.ts';
import { TrainSealer } from './seal-train.ts';
import * as transport from './transport-udp.ts';

/** What carries ESP between hosts. */
export type Carrier = 'udp' | 'ip';

export interface EspSealOptions {
  readonly sad: Sad;
  /** Endpoints with the port that their ESP listens on. */
  readonly vteps: VtepTable;
  /** What the underlay port takes. */
  readonly medium: Medium;
  /** This end, with the port that ESP listens on. */
  readonly local: LocalEndpoint;
  /** Default udp. */
  readonly carrier?: Carrier;
  /** UDP port of VXLAN inside ESP. Default 4789. */
  readonly vxlanPort?: number;
  /** Called when a key asks to be replaced or is used up; at most once for each key. */
  readonly onRekey?: (peer: number) => void;
}

const COUNTERS = ['sealed', 'rekey', 'keepalives'];
const SEALED = 0;
const REKEY = 1;
const KEEPALIVES = 2;

/** Milliseconds without a packet after which a keepalive is sent (RFC 3948 section 4). */
const QUIET = 20_000;
/** Ticks in which all peers are looked at once. */
const ROUND = 64;

export class EspSeal extends Element {
  readonly #out = this.output('out');
  readonly #trains = new TrainSealer(this.context);
  readonly #sad: Sad;
  readonly #vteps: VtepTable;
  readonly #outer: OuterWriter | null;
  readonly #vxlanPort: number;
  readonly #onRekey: (peer: number) => void;
  readonly #sums: transport.AddressSums;
  /** SPI of the key of each peer that has asked to be replaced. */
  readonly #asked: number[] = [];
  /** When something was sent to each peer last, or this was made; empty where no keepalives are sent. */
  readonly #sent: Float64Array;
  /** The peer that is looked at next. */
  #looked = 0;

  /** Throws a RangeError or TypeError that names the option. */
  constructor(context: Context, name: string, options: EspSealOptions) {
    const { sad, vteps, local, carrier, vxlanPort = 4789, onRekey = () => {} } = options;
    const outer = outerOf(options);
    super(context, name, COUNTERS);
    this.#sad = sad;
    this.#vteps = vteps;
    this.#outer = outer;
    this.#vxlanPort = vxlanPort;
    this.#onRekey = onRekey;
    this.#sums = new transport.AddressSums(vteps, local.address);
    this.#sent = new Float64Array(carrier === 'ip' ? 0 : vteps.capacity).fill(context.clock.now);
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    const { now } = this.context.clock;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      if (p.gsoType !== GSO_NONE) {
        this.#sealSegments(p, now);
        continue;
      }
      const reason = this.#seal(p);
      if (reason !== PASS) {
        this.drop(p, reason);
        continue;
      }
      this.#sent[p.peer] = now;
      this.count(SEALED);
      this.#out.add(p);
    }
    batch.clear();
    this.#out.flush();
  }

  /** Sends keepalives that are due, to peers that there are keys for. */
  override tick(now: number): void {
    const sent = this.#sent;
    for (let n = Math.ceil(sent.length / ROUND); n > 0; n--) {
      const peer = this.#looked < sent.length ? this.#looked : 0;
      this.#looked = peer + 1;
      if (now - sent[peer] < QUIET || this.#sad.outbound(peer) === null) continue;
      if (this.#vteps.get(peer) !== undefined) this.#keepAlive(peer, now);
    }
    this.#out.flush();
  }

  /** Where the pool is dry, it is tried again in the next round. */
  #keepAlive(peer: number, now: number): void {
    const p = this.context.pool.take();
    if (p === null) return;
    this.#sent[peer] = now;
    this.count(KEEPALIVES);
    p.bytes[p.start] = 0xff;
    p.end = p.start + 1;
    p.peer = peer;
    const reason = this.#outer === null ? PASS : this.#outer.write(p);
    if (reason === PASS) this.#out.add(p);
    else this.drop(p, reason);
  }

  #seal(p: Packet): Drop {
    const { peer } = p;
    const sa = this.#sad.outbound(peer);
    if (sa === null) return NO_SA;
    if (this.#vteps.get(peer) === undefined) return UNKNOWN_PEER;
    if (p.csumStart !== NONE && !completeChecksum(p)) return MALFORMED;
    const end = p.end;
    transport.write(p.view, p.start, end, p.hash, this.#vxlanPort, this.#sums.of(peer));
    const start = p.start - udp.SIZE;
    const result = esp.seal(sa, p.bytes, p.view, start, end, udp.PROTOCOL);
    if (sa.rekey || result === EXHAUSTED) this.#ask(peer, sa.spi);
    if (result !== OK) return reasonOf(result);
    p.start = start - esp.HEADER;
    p.end = esp.sealedEnd(sa, start, end);
    return this.#outer === null ? PASS : this.#outer.write(p);
  }

  /** Seals the segments of a super-frame into trains, which go out. What is lost then is counted by segments. */
  #sealSegments(p: Packet, now: number): void {
    const trains = this.#trains;
    const sa = this.#sad.outbound(p.peer);
    let reason = this.#refusal(p, sa);
    for (let done = 0; reason === PASS && done < trains.count; ) {
      reason = this.#sealTrain(p, sa!);
      if (reason === PASS) {
        this.count(SEALED, trains.done - done);
        done = trains.done;
      } else this.lost(reason, trains.count - done - 1);
    }
    if (reason !== PASS) {
      this.drop(p, reason);
      return;
    }
    this.#sent[p.peer] = now;
    p.pool.give(p);
  }

  /** Why a super-frame cannot be sealed, or PASS: then its trains are begun. */
  #refusal(p: Packet, sa: OutboundSa | null): Drop {
    if (sa === null) return NO_SA;
    if (this.#vteps.get(p.peer) === undefined) return UNKNOWN_PEER;
    // An IP or ETHERNET port takes no trains: somebody has to take super-frames apart before.
    if (this.#outer !== null) return TOO_BIG;
    return isTrain(p) || !this.#trains.begin(p, sa) ? MALFORMED : PASS;
  }

  #sealTrain(p: Packet, sa: OutboundSa): Drop {
    const train = this.#trains.take(p);
    if (train === null) return POOL_DRY;
    const result = this.#trains.fill(train, p, sa, this.#vxlanPort, this.#sums.of(p.peer));
    if (sa.rekey || result === EXHAUSTED) this.#ask(p.peer, sa.spi);
    if (result === OK) {
      this.#out.add(train);
      return PASS;
    }
    train.pool.give(train);
    return reasonOf(result);
  }

  #ask(peer: number, spi: number): void {
    if (this.#asked[peer] === spi) return;
    this.#asked[peer] = spi;
    this.count(REKEY);
    this.#onRekey(peer);
  }
}

function reasonOf(result: Result): Drop {
  if (result === EXHAUSTED) return SEQUENCE_EXHAUSTED;
  return result === NO_KEY ? NO_SA : TOO_BIG;
}

function outerOf({ medium, vteps, local, carrier = 'udp' }: EspSealOptions): OuterWriter | null {
  if (medium !== DATAGRAM) return new OuterWriter({ medium, vteps, local, carrier });
  if (carrier === 'udp') return null;
  throw new TypeError('"carrier" expected "udp" on a port that carries UDP payloads, got "ip"');
}
