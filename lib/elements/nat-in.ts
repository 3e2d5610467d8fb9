/**
 * Published ports, the way in: stands in front of one local port and turns the published port that a packet is for into
 * the endpoint's own port behind it. The endpoint's own ports stay reachable; which way a client came is noted in the
 * flow table, by which {@link NatOut} turns answers back.
 *
 * A client that uses one port of its own for two ports that lead to the same port of the endpoint (8080 and 80 where
 * 8080 leads to 80) is seen by the endpoint with another port the second time, since both would be one flow to it.
 * Where the first flow has ended the second takes its place. A port that is published and of which the endpoint makes
 * a connection itself belongs to that connection, for the other end of it.
 *
 * TCP and UDP checksums are updated (RFC 1624); an SCTP packet's is verified and made anew. Of a fragmented TCP or UDP
 * packet only the first fragment has ports, and only it is changed; SCTP in fragments is dropped. ICMP errors about
 * what the endpoint has sent (RFC 5508 section 4) quote it as it left; they are turned back into what the endpoint knows.
 *
 * Flows are followed for addresses of the endpoint alone, and link-local ones are none. A packet that cannot be read
 * passes: nobody else can read it either.
 *
 * Output: `out`.
 */
import * as ethernet from '../../codecs/ethernet.ts';
import type { Ip } from '../../codecs/ip.ts';
import { MAPPED } from '../../codecs/ip.ts';
import type { Batch } from '../core/batch.ts';
import { type Drop, FLOWS_FULL } from '../core/drop.ts';
import { type Context, Element } from '../core/element.ts';
import { NONE, type Packet } from '../core/packet.ts';
import { ALIAS, ASKED, BEGUN, type FlowTable, SIX } from '../tables/flow.ts';
import { Owners } from '../tables/owners.ts';
import { checkPlace } from '../tables/places.ts';
import { type Publication, Published } from '../tables/publish.ts';
import { ipOf } from './ecn.ts';
import * as packet from './nat-packet.ts';
import { CHANGED, PASS } from './nat-packet.ts';

/** A local port that publishes ports. */
export interface Publisher {
  /** Its local place. */
  readonly place: number;
  /** Its IP addresses, at least one. */
  readonly addresses: readonly Ip[];
  readonly published: readonly Publication[];
}

export interface NatInOptions extends Publisher {
  readonly flows: FlowTable;
}

const COUNTERS = ['translated', 'flows', 'aliased', 'errors', 'unfollowed'];
const TRANSLATED = 0;
const FLOWS = 1;
const ALIASED = 2;
const ERRORS = 3;
/** Packets for the endpoint's own port that went on without a flow, since there was no room. */
const UNFOLLOWED = 4;

/** In place of a row: the packet goes on as it is. */
const AS_IS = -2;

export class NatIn extends Element {
  readonly #out = this.output('out');
  #place = 0;
  #addresses: Owners;
  #published: Published;
  #flows: FlowTable;

  /** Throws a RangeError for a place, addresses or ports that are none. */
  constructor(context: Context, name: string, options: NatInOptions) {
    const { addresses, published } = tables(options);
    super(context, name, COUNTERS);
    this.#place = options.place;
    this.#addresses = addresses;
    this.#published = published;
    this.#flows = options.flows;
  }

  override configure(options: NatInOptions): boolean {
    const { addresses, published } = tables(options);
    this.#place = options.place;
    this.#addresses = addresses;
    this.#published = published;
    this.#flows = options.flows;
    return true;
  }

  override push(batch: Batch): void {
    const { packets, length } = batch;
    const second = Math.ceil(this.context.clock.now * 0.001) | 0;
    let n = 0;
    let changed = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      const reason = this.#judge(p, second);
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
  #judge(p: Packet, second: number): Drop {
    const v = p.view;
    const plain = packet.plainOf(v, p.start, p.end);
    if (plain !== NONE) return this.#judgeAt(p, packet.plainIp(plain), plain, second);
    if (p.length < ethernet.SIZE) return PASS;
    const ip = ipOf(v, p.start, p.end);
    if (ip === NONE) return PASS;
    const t = packet.transportOf(v, ip, p.end);
    return t === NONE ? PASS : this.#judgeAt(p, ip, t, second);
  }

  #judgeAt(p: Packet, ip: number, t: packet.Transport, second: number): Drop {
    if (!this.#published.concerns(packet.protocolOf(t))) return this.#judgeOther(p, ip, t, second);
    const ports = p.view.getInt32(packet.offsetOf(t));
    return this.#published.isNear(ports & 0xffff) ? this.#translate(p, ip, t, ports, second) : PASS;
  }

  #judgeOther(p: Packet, ip: number, t: packet.Transport, second: number): Drop {
    if (packet.isError(p.view, t)) this.#error(p, ip, packet.offsetOf(t), packet.isSix(t), second);
    return PASS;
  }

  #translate(p: Packet, ip: number, t: packet.Transport, ports: number, second: number): Drop {
    const v = p.view;
    const flows = this.#flows;
    const kind = packet.kindOf(t);
    const six = packet.isSix(t);
    const client = packet.sourceOf(ip, six);
    const mine = packet.destinationOf(ip, six);
    // As the client sees them, its own port last.
    const link = (ports << 16) | (ports >>> 16);
    let row = flows.recallAsked(v, client, mine, this.#place, kind, link);
    if (row === NONE) {
      row = this.#look(v, client, mine, kind, link, packet.flagsOf(v, t, p.end, ASKED), second);
      if (row === AS_IS) return PASS;
      if (row === NONE) return FLOWS_FULL;
    }
    flows.see(row, packet.flagsOf(v, t, p.end, ASKED), second);
    const after = flows.inside(row);
    if (after === ports) return PASS;
    return packet.rewrite(p, ip, t, ports, after);
  }

  /** The row of the flow of what a client sends; AS_IS where that is nobody else's matter, NONE where there is no room. */
  #look(
    v: DataView,
    client: number,
    mine: number,
    kind: number,
    link: number,
    flags: number,
    second: number,
  ): number {
    const port = link >>> 16;
    const own = this.#published.ownPort(kind >>> 24, port);
    if (own === NONE || !this.#isMine(v, mine, (kind & SIX) !== 0)) return AS_IS;
    const flows = this.#flows;
    const a = (this.#place << 16) | own;
    const b = kind | (link & 0xffff);
    const known = flows.find(v, client, mine, a, b);
    const found = known !== NONE && flows.link(known) === link;
    const row = found ? known : this.#resolve(v, client, mine, a, b, link, known, flags, second);
    if (row >= 0) flows.remember(row);
    // Without a row what is for the endpoint's own port goes on, unless that could be taken for another flow.
    if (row !== NONE || own !== port || known !== NONE) return row;
    this.count(UNFOLLOWED);
    return AS_IS;
  }

  /** The row of a flow that is new, or of which the endpoint sees another client's port; NONE where there is no room,
   * or AS_IS. `known` has the key of the flow and another link, or is NONE. */
  #resolve(
    v: DataView,
    client: number,
    mine: number,
    a: number,
    b: number,
    link: number,
    known: number,
    flags: number,
    second: number,
  ): number {
    const flows = this.#flows;
    const aliased = this.#alias(v, client, mine, a, b, link, flags, second);
    if (aliased !== NONE) return aliased;
    let row: number;
    if (known !== NONE && !flows.isDone(known)) {
      row = flows.addAliased(v, client, mine, a, b, link, second);
      if (row !== NONE) this.count(ALIASED);
      return row;
    }
    if (known !== NONE) flows.remove(known);
    flows.find(v, client, mine, a, b);
    row = flows.add(link, ASKED, second);
    if (row !== NONE) this.count(FLOWS);
    return row;
  }

  /** The row of a flow by its alias; AS_IS where the endpoint itself uses the port, NONE where there is no alias. */
  #alias(
    v: DataView,
    client: number,
    mine: number,
    a: number,
    b: number,
    link: number,
    flags: number,
    second: number,
  ): number {
    const flows = this.#flows;
    const alias = flows.find(v, client, mine, (a & ~0xffff) | (link >>> 16), b | ALIAS);
    if (alias === NONE) return NONE;
    const seen = flows.link(alias);
    if (seen !== 0) return flows.find(v, client, mine, a, (b & ~0xffff) | seen);
    if ((flags & BEGUN) !== 0 && flows.isDone(alias)) {
      // The endpoint's own connection has ended, and this is another.
      flows.remove(alias);
      return NONE;
    }
    flows.see(alias, flags, second);
    return AS_IS;
  }

  /** Turns an ICMP error about a packet of the endpoint into one about what the endpoint sent. */
  #error(p: Packet, ip: number, l4: number, six: boolean, second: number): void {
    const v = p.view;
    const quoted = l4 + 8;
    const end = packet.payloadEnd(v, ip);
    const t = packet.quotedTransport(v, quoted, end, six);
    if (t === NONE || !this.#published.concerns(packet.protocolOf(t))) return;
    const protocol = packet.protocolOf(t);
    const ports = v.getInt32(packet.offsetOf(t));
    const own = this.#published.ownPort(protocol, ports >>> 16);
    if (own === NONE) return;
    const client = packet.destinationOf(quoted, six);
    const mine = packet.sourceOf(quoted, six);
    const a = (this.#place << 16) | own;
    const b = (protocol << 24) | (six ? SIX : 0) | (ports & 0xffff);
    const flows = this.#flows;
    let row = flows.find(v, client, mine, a, b);
    if (row === NONE || flows.link(row) !== ports)
      row = this.#alias(v, client, mine, a, b, ports, ASKED, second);
    if (row < 0) return;
    const before = (own << 16) | flows.clientPort(row);
    if (before === ports) return;
    this.count(ERRORS);
    packet.rewriteQuoted(p, l4, t, end, before);
  }

  #isMine(v: DataView, at: number, six: boolean): boolean {
    if (!six) return this.#addresses.hasIp(0, 0, 0, MAPPED, v.getInt32(at));
    return this.#addresses.hasIp(
      0,
      v.getInt32(at),
      v.getInt32(at + 4),
      v.getInt32(at + 8),
      v.getInt32(at + 12),
    );
  }
}

function tables({ place, addresses, published }: NatInOptions) {
  checkPlace('place', place);
  return { addresses: new Owners([{ place, addresses }]), published: new Published(published) };
}
