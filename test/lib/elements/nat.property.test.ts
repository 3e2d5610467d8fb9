/**
 * Published ports against an oracle: clients ask, the endpoint answers, both report errors, in any order and by all
 * ways at once. The oracle knows of each way only what a client and the endpoint themselves would know; what every frame
 * has to be is made anew, with all checksums, and these are verified besides.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import { dissect } from '../../../codecs/dissect.ts';
import * as ip from '../../../codecs/ip.ts';
import * as layer from '../../../codecs/layers.ts';
import { SCTP, TCP, UDP } from '../../../codecs/protocol.ts';
import * as chunk from '../../../codecs/sctp-chunk.ts';
import * as tcp from '../../../codecs/tcp.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { NONE, type Packet } from '../../../lib/core/packet.ts';
import { completeChecksum } from '../../../lib/core/partial-checksum.ts';
import { NatIn } from '../../../lib/elements/nat-in.ts';
import { NatOut } from '../../../lib/elements/nat-out.ts';
import { FlowTable } from '../../../lib/tables/flow.ts';
import { verify } from '../../gen/checksums.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import { errorOf, frameOf, packetOf, type Segment } from './nat-frames.ts';

const PLACE = 7;
const OWN = ['10.0.0.2', 'fd00::2'];
const CLIENTS = ['10.0.0.9', '10.0.0.10', 'fd00::9'];
const ROUTERS = ['10.0.0.1', 'fd00::1'];
const CLIENT_PORTS = [80, 5000, 0xc000, 65535];
/** Ports of the endpoint that clients use, and where each leads. */
const LEADS: readonly (readonly [number, number])[] = [
  [8080, 80],
  [8081, 80],
  [80, 80],
  [20_000, 40_000],
  [20_007, 40_007],
  [40_007, 40_007],
  [443, 8443],
  [8443, 444],
  [9, 9],
];
const PUBLISHED = [TCP, UDP, SCTP].flatMap((protocol) => [
  { protocol, published: 8080, port: 80 },
  { protocol, published: 8081, port: 80 },
  { protocol, published: 20_000, port: 40_000, count: 10 },
  { protocol, published: 443, port: 8443 },
  // A port of its own that is published is another one for others.
  { protocol, published: 8443, port: 444 },
]);

/** Frames differ in what lies around the ports. */
interface Shape {
  readonly payload: Uint8Array;
  readonly zero: boolean;
  readonly partial: boolean;
  readonly options: number;
  readonly tags: number;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  payload: fc.uint8Array({ maxLength: 40 }),
  zero: fc.boolean(),
  partial: fc.boolean(),
  options: fc.nat(3),
  tags: fc.nat(2),
});

const action = fc.record({
  what: fc.constantFrom('ask', 'ask', 'ask', 'answer', 'answer', 'error', 'report', 'wait', 'reset'),
  client: fc.nat(CLIENTS.length - 1),
  srcPort: fc.constantFrom(...CLIENT_PORTS),
  lead: fc.constantFrom(...LEADS),
  protocol: fc.constantFrom(TCP, UDP, SCTP),
  shape,
  /** Which of the ways that are known, modulo how many there are. */
  which: fc.nat(1000),
  /** Bytes of the transport header that an error quotes, beyond 8. */
  more: fc.constantFrom(0, 2, 12, 40),
});

type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

/** What a client and the endpoint know of one connection. */
interface Way {
  readonly client: number;
  readonly protocol: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly own: number;
  /** The client's port, for the endpoint. */
  readonly seen: number;
  /** In seconds. */
  at: number;
  over: boolean;
}

const familyOf = (client: number): 0 | 1 => (CLIENTS[client].includes(':') ? 1 : 0);
const keyOf = ({ client, protocol, srcPort, dstPort }: Omit<Way, 'own' | 'seen' | 'at' | 'over'>) =>
  [client, protocol, srcPort, dstPort].join(' ');

function tagged(frame: Uint8Array, tags: number): Uint8Array {
  const inserted = [0x81, 0, 0, 5, 0x81, 0, 0, 6].slice(0, 4 * tags);
  return Uint8Array.of(...frame.slice(0, 12), ...inserted, ...frame.slice(12));
}

class Session {
  readonly #context = testContext();
  readonly #flows = new FlowTable({ capacity: 512, seed });
  readonly #into: NatIn;
  readonly #out: NatOut;
  readonly #collector = new Collector();
  readonly #ways = new Map<string, Way>();
  #now = 0;

  constructor() {
    const addresses = OWN.map((text) => ip.parse(text));
    const flows = this.#flows;
    this.#into = new NatIn(this.#context, 'in', { place: PLACE, addresses, published: PUBLISHED, flows });
    this.#out = new NatOut(this.#context, 'out', { ports: [{ place: PLACE, published: PUBLISHED }], flows });
    for (const element of [this.#into, this.#out]) element.connect('out', this.#collector);
  }

  run(actions: readonly Action[]): void {
    for (const { what, which, more, lead, shape, ...rest } of actions) {
      const live = [...this.#ways.values()].filter(({ at, over }) => !over && this.#now - at < 200);
      const way = live[which % Math.max(live.length, 1)];
      if (what === 'ask') this.#ask({ ...rest, dstPort: lead[0] }, lead[1], shape);
      else if (what === 'wait') this.#wait(1 + (which % 100));
      else if (way === undefined) continue;
      else if (what === 'answer') this.#answer(way, shape);
      else if (what === 'error') this.#error(way, shape, more);
      else if (what === 'report') this.#report(way, shape, more);
      else if (what === 'reset') this.#reset(way, shape);
    }
    assert.equal(this.#context.pool.used, 0);
  }

  #ask(asked: { client: number; protocol: number; srcPort: number; dstPort: number }, own: number, s: Shape) {
    const key = keyOf(asked);
    const known = this.#ways.get(key);
    const at = this.#now;
    const fresh = known === undefined || known.over || at - known.at >= 200;
    const { client, protocol, srcPort, dstPort } = asked;
    const flags = protocol === SCTP ? (fresh ? chunk.INIT : chunk.DATA) : fresh ? tcp.SYN : tcp.ACK;
    const segment = this.#segment({ protocol, srcPort, dstPort, flags }, client, true, s);
    const arrived = this.#pass(this.#into, NONE, segment, s);
    const l4 = this.#l4(segment, s);
    const seen = viewOf(arrived).getUint16(l4);
    this.#expect(arrived, { ...segment, srcPort: seen, dstPort: own }, s);
    if (!fresh) assert.equal(seen, known.seen, 'the same again');
    const rivals = [...this.#ways.values()].filter(
      (w) => w.client === client && w.protocol === protocol && w.own === own && keyOf(w) !== key,
    );
    for (const w of rivals) {
      if (w.seen !== seen) continue;
      // Only what has ended, or was forgotten, makes way for another.
      assert.ok(w.over || at - w.at >= 200, 'the endpoint can tell them apart');
      this.#ways.delete(keyOf(w));
    }
    if (rivals.length === 0 && fresh && known === undefined)
      assert.equal(seen, srcPort, 'nothing is in the way');
    this.#ways.set(key, { ...asked, own, seen, at, over: false });
  }

  #answer(way: Way, s: Shape): void {
    const sent = this.#segment(this.#home(way), way.client, false, s);
    const left = this.#pass(this.#out, PLACE, sent, s);
    this.#expect(left, { ...sent, srcPort: way.dstPort, dstPort: way.srcPort }, s);
    way.at = this.#now;
  }

  /** The endpoint ends the connection. */
  #reset(way: Way, s: Shape): void {
    if (way.protocol === UDP) return;
    const flags = way.protocol === SCTP ? chunk.ABORT : tcp.RST;
    const sent = this.#segment({ ...this.#home(way), flags }, way.client, false, s);
    const left = this.#pass(this.#out, PLACE, sent, s);
    this.#expect(left, { ...sent, srcPort: way.dstPort, dstPort: way.srcPort }, s);
    way.over = true;
  }

  /** The endpoint reports an error about what came. */
  #error(way: Way, s: Shape, more: number): void {
    const family = familyOf(way.client);
    const segment = this.#segment({ ...way, flags: tcp.ACK }, way.client, true, { ...s, partial: false });
    const came = { ...segment, srcPort: way.seen, dstPort: way.own };
    const make = (quoted: Segment) => errorOf(3, OWN[family], CLIENTS[way.client], this.#cut(quoted, more));
    this.#same(this.#passFrame(this.#out, PLACE, tagged(make(came), s.tags)), tagged(make(segment), s.tags));
  }

  /** The client, or somebody on the way to it, reports an error about an answer. */
  #report(way: Way, s: Shape, more: number): void {
    const family = familyOf(way.client);
    const sent = this.#segment(this.#home(way), way.client, false, { ...s, partial: false });
    const arrived = { ...sent, srcPort: way.dstPort, dstPort: way.srcPort };
    const from = more === 0 ? ROUTERS[family] : CLIENTS[way.client];
    const make = (quoted: Segment) => errorOf(3, from, OWN[family], this.#cut(quoted, more));
    this.#same(this.#passFrame(this.#into, NONE, tagged(make(arrived), s.tags)), tagged(make(sent), s.tags));
  }

  #wait(seconds: number): void {
    this.#now += seconds;
    this.#context.clock.advance(seconds * 1000);
    this.#flows.age(this.#now * 1000);
  }

  #home({ protocol, own, seen }: Way) {
    const flags = protocol === SCTP ? chunk.DATA : tcp.ACK;
    return { protocol, srcPort: own, dstPort: seen, flags };
  }

  #segment(
    ports: { protocol: number; srcPort: number; dstPort: number; flags: number },
    client: number,
    inward: boolean,
    { payload, zero, partial, options }: Shape,
  ): Segment {
    const family = familyOf(client);
    const [src, dst] = inward ? [CLIENTS[client], OWN[family]] : [OWN[family], CLIENTS[client]];
    const { protocol, srcPort, dstPort, flags } = ports;
    const open = partial && protocol !== SCTP;
    const bytes = options * (family === 0 ? 4 : 8);
    return { protocol, src, dst, srcPort, dstPort, flags, payload, zero, partial: open, options: bytes };
  }

  #l4({ src, options = 0 }: Segment, { tags }: Shape): number {
    return 14 + 4 * tags + (src.includes(':') ? 40 : 20) + options;
  }

  /** The first bytes of a packet. */
  #cut(quoted: Segment, more: number): Uint8Array {
    // SCTP has a checksum that cannot follow.
    const bytes = quoted.protocol === SCTP ? 8 : 8 + more;
    return packetOf(quoted).slice(0, (quoted.src.includes(':') ? 40 : 20) + (quoted.options ?? 0) + bytes);
  }

  #pass(element: NatIn | NatOut, place: number, segment: Segment, s: Shape): Uint8Array {
    const note = (p: Packet): void => {
      if (!segment.partial) return;
      p.csumStart = p.start + this.#l4(segment, s);
      p.csumOffset = segment.protocol === TCP ? 16 : 6;
    };
    return this.#passFrame(element, place, tagged(frameOf(segment), s.tags), note);
  }

  #passFrame(
    element: NatIn | NatOut,
    place: number,
    frame: Uint8Array,
    note: (p: Packet) => void = () => {},
  ) {
    const p = this.#context.pool.take()!.set(frame);
    p.port = place;
    note(p);
    const batch = new Batch();
    batch.add(p);
    element.push(batch);
    const [passed] = this.#collector.packets;
    if (passed === undefined) throw new Error('the packet was dropped');
    if (passed.csumStart !== NONE) assert.ok(completeChecksum(passed));
    const bytes = Uint8Array.from(passed.frame());
    this.#collector.release();
    return bytes;
  }

  /** A frame is what it would be had it been made so, and every checksum is right. */
  #expect(frame: Uint8Array, segment: Segment, { tags }: Shape): void {
    this.#same(
      frame,
      tagged(frameOf({ ...segment, partial: false, ...(segment.partial && { zero: false }) }), tags),
    );
  }

  #same(frame: Uint8Array, expected: Uint8Array): void {
    assert.equal(Buffer.from(frame).toString('hex'), Buffer.from(expected).toString('hex'));
    const v = viewOf(frame);
    const layers = new layer.Layers();
    dissect(v, 0, frame.length, layers);
    for (let i = 0; i < layers.count; i++)
      assert.notEqual(verify(v, layers, i), false, layer.KINDS[layers.kind[i]]);
  }
}

t.test(`any order of requests, answers and errors, seed ${seed}`, async (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(action, { minLength: 5, maxLength: 100, size: 'max' }), (actions) =>
        new Session().run(actions),
      ),
      { seed, numRuns: 300 },
    ),
  );
});
