/**
 * Published ports, the way out: what local ports of a network send leaves by the port that the client came by, which the
 * flow table knows from {@link NatIn}. It stands behind the guard, which has seen the packet as it was sent.
 *
 * A connection that the endpoint makes itself from a port that published ones lead to, or from one that is published,
 * is noted, so that its answers are not taken for something else.
 *
 * ICMP errors about packets that came by a published port are turned into errors about what the client sent.
 *
 * Packets of ports that publish none pass, whatever they are. Output: `out`.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import { UDP } from '../../codecs/protocol.ts';
import type { Batch } from '../core/batch.ts';
import type { Drop } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { NONE, type Packet } from '../core/packet.ts';
import { ALIAS, ANSWERED, BEGUN, type FlowTable, SIX } from '../tables/flow.ts';
import { Places } from '../tables/places.ts';
import { type Publication, Published } from '../tables/publish.ts';
import { ipOf } from './ecn.ts';
import * as packet from './nat-packet.ts';
import { CHANGED, PASS } from './nat-packet.ts';

export interface NatOutOptions {
  /** The local ports that publish some. */
  readonly ports: readonly { readonly place: number; readonly published: readonly Publication[] }[];
  readonly flows: FlowTable;
}

const COUNTERS = ['translated', 'errors', 'unfollowed'];
const TRANSLATED = 0;
const ERRORS = 1;
/** Connections of an endpoint's own that could not be noted, since there was no room. */
const UNFOLLOWED = 2;

export class NatOut extends Element {
  readonly #out = this.output('out');
  #places: Places;
  #published: readonly Published[];
  #flows: FlowTable;

  /** Throws a RangeError for places or ports that are none. */
  constructor(context: Context, name: string, options: NatOutOptions) {
    const { places, published } = tables(options);
    super(context, name, COUNTERS);
    this.#places = places;
    this.#published = published;
    this.#flows = options.flows;
  }

  override configure(options: NatOutOptions): boolean {
    const { places, published } = tables(options);
    this.#places = places;
    this.#published = published;
    this.#flows = options.flows;
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    const second = Math.ceil(this.context.clock.now * 0.001) | 0;
    let n = 0;
    let changed = 0;
    let place: number = NONE;
    let publisher: number = NONE;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      // A batch is of one port nearly always.
      if (p.port !== place) {
        place = p.port;
        publisher = this.#places.lookup(place);
      }
      const reason = publisher === NONE ? PASS : this.#judge(p, this.#published[publisher], second);
      if (reason === CHANGED) changed++;
      if (reason >= 0) this.drop(p, reason);
      else {
        // Nearly always it stands there already.
        if (n < i) packets[n] = p;
        n++;
      }
    }
    batch.length = n;
    if (changed > 0) this.count(TRANSLATED, changed);
    if (n > 0) this.#out.next.push(batch);
  }

  /** Changes a packet if it has to be, and says why it may not go on, or PASS or CHANGED. */
  #judge(p: Packet, published: Published, second: number): Drop {
    const v = p.view;
    const plain = packet.plainOf(v, p.start, p.end);
    if (plain !== NONE) return this.#judgeAt(p, published, packet.plainIp(plain), plain, second);
    if (p.length < ethernet.SIZE) return PASS;
    const ip = ipOf(v, p.start, p.end);
    if (ip === NONE) return PASS;
    const t = packet.transportOf(v, ip, p.end);
    return t === NONE ? PASS : this.#judgeAt(p, published, ip, t, second);
  }

  #judgeAt(p: Packet, published: Published, ip: number, t: packet.Transport, second: number): Drop {
    if (!published.concerns(packet.protocolOf(t))) return this.#judgeOther(p, published, ip, t);
    const ports = p.view.getInt32(packet.offsetOf(t));
    return published.isNear(ports >>> 16) ? this.#translate(p, published, ip, t, ports, second) : PASS;
  }

  #judgeOther(p: Packet, published: Published, ip: number, t: packet.Transport): Drop {
    if (packet.isError(p.view, t)) this.#error(p, published, ip, packet.offsetOf(t), packet.isSix(t));
    return PASS;
  }

  /** Turns an answer into one of the port that the client came by. */
  #translate(
    p: Packet,
    published: Published,
    ip: number,
    t: packet.Transport,
    ports: number,
    second: number,
  ): Drop {
    const v = p.view;
    const six = packet.isSix(t);
    const own = packet.sourceOf(ip, six);
    const client = packet.destinationOf(ip, six);
    const a = (p.port << 16) | (ports >>> 16);
    const b = packet.kindOf(t) | (ports & 0xffff);
    const flows = this.#flows;
    let row = flows.recallAnswered(v, client, own, a, b);
    if (row === NONE) {
      row = this.#look(p, published, ip, t, second);
      if (row === NONE) return PASS;
    }
    flows.see(row, packet.flagsOf(v, t, p.end, ANSWERED), second);
    const after = flows.link(row);
    if (after === ports) return PASS;
    return packet.rewrite(p, ip, t, ports, after);
  }

  /** The row of the flow that a packet answers. NONE where there is none; a connection of the endpoint's own is noted. */
  #look(p: Packet, published: Published, ip: number, t: packet.Transport, second: number): number {
    const v = p.view;
    const ports = v.getInt32(packet.offsetOf(t));
    const protocol = packet.protocolOf(t);
    if (published.isBehind(protocol, ports >>> 16)) {
      const own = packet.sourceOf(ip, packet.isSix(t));
      const client = packet.destinationOf(ip, packet.isSix(t));
      const a = (p.port << 16) | (ports >>> 16);
      const flows = this.#flows;
      const row = flows.find(v, client, own, a, packet.kindOf(t) | (ports & 0xffff));
      if (row !== NONE) {
        flows.remember(row);
        return row;
      }
      if ((packet.flagsOf(v, t, p.end, ANSWERED) & BEGUN) !== 0) this.#note(ports, second);
    }
    if (published.behind(protocol, ports >>> 16) !== NONE) this.#noteOwn(p, ip, t, second);
    return NONE;
  }

  /** Notes that the endpoint uses a port itself that is published. */
  #noteOwn(p: Packet, ip: number, t: packet.Transport, second: number): void {
    const v = p.view;
    const ports = v.getInt32(packet.offsetOf(t));
    const own = packet.sourceOf(ip, packet.isSix(t));
    const client = packet.destinationOf(ip, packet.isSix(t));
    const b = packet.kindOf(t) | ALIAS | (ports & 0xffff);
    const flows = this.#flows;
    const row = flows.find(v, client, own, (p.port << 16) | (ports >>> 16), b);
    const flags = packet.flagsOf(v, t, p.end, ANSWERED);
    if (row !== NONE) flows.see(row, flags, second);
    else if (packet.protocolOf(t) === UDP || (flags & BEGUN) !== 0) this.#note(0, second);
  }

  /** Notes what was looked for last and not found. */
  #note(link: number, second: number): void {
    if (this.#flows.add(link, ANSWERED, second) === NONE) this.count(UNFOLLOWED);
  }

  /** Turns an ICMP error about a packet that came by a published port into one about what the client sent. */
  #error(p: Packet, published: Published, ip: number, l4: number, six: boolean): void {
    const v = p.view;
    const quoted = l4 + 8;
    const end = packet.payloadEnd(v, ip);
    const t = packet.quotedTransport(v, quoted, end, six);
    if (t === NONE || !published.concerns(packet.protocolOf(t))) return;
    const ports = v.getInt32(packet.offsetOf(t));
    const own = packet.destinationOf(quoted, six);
    const client = packet.sourceOf(quoted, six);
    const b = (packet.protocolOf(t) << 24) | (six ? SIX : 0) | (ports >>> 16);
    const flows = this.#flows;
    const row = flows.find(v, client, own, (p.port << 16) | (ports & 0xffff), b);
    if (row === NONE) return;
    const link = flows.link(row);
    const before = (link << 16) | (link >>> 16);
    if (before === ports) return;
    this.count(ERRORS);
    packet.rewriteQuoted(p, l4, t, end, before);
  }
}

function tables({ ports }: NatOutOptions) {
  return {
    places: new Places(
      ports.map(({ place }) => place),
      'ports',
    ),
    published: ports.map(({ published }) => new Published(published)),
  };
}
