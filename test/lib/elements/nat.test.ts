import fc from 'fast-check';
import t from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as icmp from '../../../codecs/icmp.ts';
import * as ip from '../../../codecs/ip.ts';
import { SCTP, TCP, UDP } from '../../../codecs/protocol.ts';
import * as chunk from '../../../codecs/sctp-chunk.ts';
import * as tcp from '../../../codecs/tcp.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { FLOWS_FULL, MALFORMED, PUBLISHED_FRAGMENT, SCTP_CHECKSUM } from '../../../lib/core/drop.ts';
import { GSO_TCPV4, NONE, type Packet } from '../../../lib/core/packet.ts';
import { ipOf } from '../../../lib/elements/ecn.ts';
import { NatIn } from '../../../lib/elements/nat-in.ts';
import { NatOut } from '../../../lib/elements/nat-out.ts';
import { plainIp, plainOf, transportOf } from '../../../lib/elements/nat-packet.ts';
import { FlowTable } from '../../../lib/tables/flow.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import { errorOf, fragments, frameOf, packetOf, type Segment } from './nat-frames.ts';

const PLACE = 3;
const OWN = { 4: '10.0.0.2', 6: 'fd00::2' } as const;
const CLIENT = { 4: '10.0.0.9', 6: 'fd00::9' } as const;
type Family = 4 | 6;
const PROTOCOLS = [TCP, UDP, SCTP];

function setup(capacity = 1024) {
  const context = testContext();
  const flows = new FlowTable({ capacity, seed });
  const published = PROTOCOLS.flatMap((protocol) => [
    { protocol, published: 8080, port: 80 },
    { protocol, published: 8081, port: 80 },
    { protocol, published: 20_000, port: 40_000, count: 10_000 },
  ]);
  const addresses = [ip.parse(OWN[4]), ip.parse(OWN[6])];
  const into = new NatIn(context, 'in', { place: PLACE, addresses, published, flows });
  const out = new NatOut(context, 'out', { ports: [{ place: PLACE, published }], flows });
  const collector = new Collector();
  for (const element of [into, out]) element.connect('out', collector);
  const pass = (element: NatIn | NatOut, place: number) => {
    /** What becomes of a frame: its bytes, or why it was dropped. */
    return (frame: Uint8Array, note: (p: Packet) => void = () => {}): Uint8Array | number => {
      const reasons = [FLOWS_FULL, MALFORMED, PUBLISHED_FRAGMENT, SCTP_CHECKSUM];
      const before = reasons.map((reason) => element.dropped(reason));
      const batch = new Batch();
      const p = context.pool.take()!.set(frame);
      p.port = place;
      note(p);
      batch.add(p);
      element.push(batch);
      const [passed] = collector.packets;
      const bytes = passed && Uint8Array.from(passed.frame());
      collector.release();
      return bytes ?? reasons.find((reason, i) => element.dropped(reason) > before[i])!;
    };
  };
  return {
    context,
    flows,
    into,
    out,
    toOwn: pass(into, NONE),
    fromOwn: pass(out, PLACE),
    fromOther: pass(out, 4),
  };
}

/** From a client to a port of the endpoint. */
const asked = (family: Family, protocol: number, dstPort: number, srcPort = 5000): Segment => ({
  protocol,
  src: CLIENT[family],
  dst: OWN[family],
  srcPort,
  dstPort,
  flags: protocol === SCTP ? chunk.INIT : tcp.SYN,
});
/** The other way. */
const answered = (segment: Segment, srcPort = segment.dstPort, dstPort = segment.srcPort): Segment => ({
  ...segment,
  src: segment.dst,
  dst: segment.src,
  srcPort,
  dstPort,
  flags: segment.protocol === SCTP ? chunk.INIT_ACK : tcp.SYN | tcp.ACK,
});

const WAYS = [
  { dstPort: 8080, own: 80 },
  { dstPort: 8081, own: 80 },
  { dstPort: 80, own: 80 },
  { dstPort: 20_000, own: 40_000 },
  { dstPort: 29_999, own: 49_999 },
  { dstPort: 45_000, own: 45_000 },
  { dstPort: 9, own: 9 },
];

/** Segments to ports of the endpoint, and the port that each comes to. */
const segments = fc
  .record({
    family: fc.constantFrom(4 as const, 6 as const),
    protocol: fc.constantFrom(...PROTOCOLS),
    port: fc.constantFrom(...WAYS),
    srcPort: fc.integer({ min: 0, max: 65535 }),
    payload: fc.uint8Array({ maxLength: 64 }),
    zero: fc.boolean(),
    partial: fc.boolean(),
    options: fc.integer({ min: 0, max: 3 }),
  })
  .map(({ family, port: { dstPort, own }, partial, options, ...rest }) => {
    const segment = {
      ...asked(family, rest.protocol, dstPort),
      ...rest,
      options: options * (family === 4 ? 4 : 8),
    };
    return { segment: { ...segment, partial: partial && rest.protocol !== SCTP }, own };
  });

/** Notes that a frame's checksum is open, as whoever made it would. */
const open =
  ({ partial, protocol, src, options = 0 }: Segment) =>
  (p: Packet) => {
    if (!partial) return;
    p.csumStart = p.start + 14 + (src.includes(':') ? 40 : 20) + options;
    p.csumOffset = protocol === TCP ? 16 : 6;
  };

t.test('a flow there and back is what it would be without a published port, to the byte', async (t) => {
  fc.assert(
    fc.property(segments, ({ segment, own }) => {
      const { context, toOwn, fromOwn } = setup();
      t.same(toOwn(frameOf(segment), open(segment)), frameOf({ ...segment, dstPort: own }));
      const answer = answered({ ...segment, dstPort: own });
      t.same(fromOwn(frameOf(answer), open(answer)), frameOf({ ...answer, srcPort: segment.dstPort }));
      t.equal(context.pool.used, 0);
    }),
    { seed, numRuns: 200 },
  );
});

t.test('an ICMP error is about what its receiver knows, to the byte', async (t) => {
  const types = { 4: [icmp.UNREACHABLE, icmp.TIME_EXCEEDED, icmp.PARAMETER_PROBLEM], 6: [1, 2, 3, 4] };
  const cut = (packet: Uint8Array, { protocol, src, options = 0 }: Segment, more: number) => {
    const l4 = (src.includes(':') ? 40 : 20) + options;
    // Half a checksum cannot follow, and 8 bytes are the least that is quoted (RFC 792).
    return packet.slice(0, l4 + (protocol === SCTP ? 8 : more + (more === 7 || more === 17 ? 1 : 0)));
  };
  fc.assert(
    fc.property(segments, fc.nat(3), fc.integer({ min: 4, max: 40 }), ({ segment, own }, type, more) => {
      const { toOwn, fromOwn } = setup();
      const family = segment.src.includes(':') ? 6 : 4;
      const kind = types[family][type % types[family].length];
      const sent = { ...segment, partial: false };
      const [src, dst] = [OWN[family], CLIENT[family]];
      const error = (quoted: Segment, from: string, to: string) =>
        errorOf(kind, from, to, cut(packetOf(quoted), quoted, more));
      const came = { ...sent, dstPort: own };
      // Nobody has come that way yet.
      t.same(fromOwn(error(came, src, dst)), error(came, src, dst));
      toOwn(frameOf(sent));
      t.same(fromOwn(error(came, src, dst)), error(sent, src, dst));
      const [answer, seen] = [answered(came), answered(sent)];
      const router = family === 4 ? '10.0.0.1' : 'fd00::1';
      t.same(toOwn(error(seen, router, src)), error(answer, router, src));
    }),
    { seed, numRuns: 200 },
  );
});

t.test('a client that comes by two ways at once is told apart', async (t) => {
  for (const family of [4, 6] as const) {
    for (const protocol of PROTOCOLS) {
      const { flows, toOwn, fromOwn } = setup();
      const ways = [8080, 80, 8081].map((port) => asked(family, protocol, port));
      const ports = ways.map((way) => {
        const arrived = toOwn(frameOf(way)) as Uint8Array;
        const l4 = arrived.length - packetOf(way).length + (family === 4 ? 20 : 40);
        const srcPort = viewOf(arrived).getUint16(l4);
        t.same(arrived, frameOf({ ...way, srcPort, dstPort: 80 }), 'checksums are right');
        t.same(toOwn(frameOf(way)), arrived, 'the same again');
        return srcPort;
      });
      t.equal(ports[0], 5000, 'the first keeps its port');
      t.equal(new Set(ports).size, 3);
      for (const [i, way] of ways.entries()) {
        t.same(fromOwn(frameOf(answered(way, 80, ports[i]))), frameOf(answered(way)));
        const quoted = packetOf({ ...way, dstPort: 80, srcPort: ports[i] }).slice(0, family === 4 ? 28 : 48);
        const error = errorOf(3, OWN[family], CLIENT[family], quoted);
        const expected = errorOf(3, OWN[family], CLIENT[family], packetOf(way).slice(0, quoted.length));
        // The quoted checksum of UDP follows; 8 bytes of the others have none, or one that is not touched.
        t.same(fromOwn(error), expected);
        const back = packetOf(answered(way)).slice(0, quoted.length);
        const home = packetOf(answered(way, 80, ports[i])).slice(0, quoted.length);
        t.same(
          toOwn(errorOf(3, CLIENT[family], OWN[family], back)),
          errorOf(3, CLIENT[family], OWN[family], home),
        );
      }
      t.equal(flows.size, 5, 'three flows, two aliases');
    }
  }
});

t.test('a flow that has ended makes way for the next from the same port', async (t) => {
  const { flows, toOwn, fromOwn } = setup();
  const way = asked(4, TCP, 8080);
  toOwn(frameOf(way));
  fromOwn(frameOf({ ...answered(way, 80), flags: tcp.RST }));
  const next = asked(4, TCP, 80);
  t.same(toOwn(frameOf(next)), frameOf(next));
  t.same(fromOwn(frameOf(answered(next))), frameOf(answered(next)));
  t.equal(flows.size, 1);
});

t.test("the endpoint's own connections from ports that are published, or behind", async (t) => {
  for (const protocol of PROTOCOLS) {
    for (const port of [20_005, 8080, 40_005]) {
      const { toOwn, fromOwn } = setup();
      const begin = protocol === SCTP ? chunk.INIT : tcp.SYN;
      const out = { ...answered(asked(4, protocol, port)), flags: begin };
      for (let i = 0; i < 2; i++) {
        t.same(fromOwn(frameOf(out)), frameOf(out));
        const back = { ...answered(out), flags: tcp.ACK };
        t.same(toOwn(frameOf(back)), frameOf(back), 'an answer is no request');
      }
    }
    const { toOwn } = setup();
    const request = asked(4, protocol, 20_005);
    t.same(toOwn(frameOf(request)), frameOf({ ...request, dstPort: 40_005 }), 'without one it is');
  }
});

t.test("an endpoint's own connection by a published port is over when both have said so", async (t) => {
  for (const [protocol, begin, end] of [
    [TCP, tcp.SYN, tcp.RST],
    [SCTP, chunk.INIT, chunk.ABORT],
  ]) {
    const { flows, toOwn, fromOwn } = setup();
    const request = { ...asked(4, protocol, 8080), flags: begin };
    const own = { ...answered(request), flags: begin };
    t.same(fromOwn(frameOf(own)), frameOf(own));
    const again = { ...request, flags: begin };
    t.same(toOwn(frameOf(again)), frameOf(again), 'both may begin at once');
    const over = { ...request, flags: end };
    t.same(toOwn(frameOf(over)), frameOf(over));
    t.same(toOwn(frameOf(request)), frameOf({ ...request, dstPort: 80 }));
    t.equal(flows.size, 1);
  }
});

t.test('others pass: other places, other addresses, other ports', async (t) => {
  const { flows, toOwn, fromOther, fromOwn } = setup();
  const way = asked(4, TCP, 8080);
  toOwn(frameOf(way));
  t.same(fromOther(frameOf(answered(way, 80))), frameOf(answered(way, 80)));
  const other = { ...way, dst: '10.0.0.3' };
  t.same(toOwn(frameOf(other)), frameOf(other));
  const answer = answered(asked(4, TCP, 80, 5001));
  t.same(fromOwn(frameOf(answer)), frameOf(answer), 'nobody came that way');
  t.equal(flows.size, 1);
  for (const bytes of [0, 13, 14, 20, 33, 34, 37, 40]) {
    const short = frameOf(way).slice(0, bytes);
    t.same([toOwn(short), fromOwn(short)], [short, short], `${bytes} bytes`);
  }
});

t.test('anything at all passes, or is dropped for a reason', async (t) => {
  const { context, toOwn, fromOwn } = setup();
  const bytes = fc.record({ at: fc.nat(99), value: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(segments, fc.array(bytes, { maxLength: 4 }), fc.nat(120), ({ segment }, changes, length) => {
      const frame = fc.sample(fc.boolean(), 1)[0]
        ? frameOf(segment)
        : errorOf(3, segment.src, segment.dst, packetOf(segment));
      for (const { at, value } of changes) if (at < frame.length) frame[at] = value;
      for (const one of [frame, frame.slice(0, length)]) {
        const v = viewOf(one);
        const plain = plainOf(v, 0, one.length);
        const at = one.length < ethernet.SIZE ? NONE : ipOf(v, 0, one.length);
        const located = at === NONE ? NONE : transportOf(v, at, one.length);
        t.ok(plain === NONE || (plain === located && plainIp(plain) === at), 'the short look says the same');
        for (const pass of [toOwn, fromOwn]) {
          const result = pass(one);
          t.ok(typeof result === 'number' || result.length === one.length);
        }
      }
    }),
    { seed, numRuns: 200 },
  );
  t.equal(context.pool.used, 0);
});

t.test('of a fragmented packet the first piece is changed', async (t) => {
  for (const family of [4, 6] as const) {
    for (const protocol of PROTOCOLS) {
      const { toOwn, fromOwn } = setup();
      const way = { ...asked(family, protocol, 8080), payload: new Uint8Array(64) };
      const pieces = fragments(packetOf(way), 40);
      if (protocol === SCTP) {
        t.equal(toOwn(pieces[0]), PUBLISHED_FRAGMENT);
        continue;
      }
      const expected = fragments(packetOf({ ...way, dstPort: 80 }), 40);
      t.same(
        pieces.map((piece) => toOwn(piece)),
        expected,
      );
      const [sent, seen] = [answered(way, 80), answered(way)].map((x) => fragments(packetOf(x), 40));
      t.same(
        sent.map((piece) => fromOwn(piece)),
        seen,
      );
      const [tiny] = fragments(packetOf(way), 8);
      const [small] = fragments(packetOf({ ...way, dstPort: 80 }), 8);
      t.same(toOwn(tiny), protocol === TCP ? PUBLISHED_FRAGMENT : small);
    }
  }
});

t.test('an SCTP checksum that is wrong is not made right', async (t) => {
  const { toOwn, fromOwn } = setup();
  const way = asked(4, SCTP, 8080);
  const broken = frameOf(way);
  broken[broken.length - 1] ^= 1;
  t.equal(toOwn(broken), SCTP_CHECKSUM);
  toOwn(frameOf(way));
  const back = frameOf(answered(way, 80));
  back[back.length - 1] ^= 1;
  t.equal(fromOwn(back), SCTP_CHECKSUM);
});

t.test('a wrong TCP checksum stays wrong, and a super-frame what it is', async (t) => {
  const { toOwn } = setup();
  const way = asked(4, TCP, 8080);
  const [broken, expected] = [frameOf(way), frameOf({ ...way, dstPort: 80 })];
  broken[broken.length - 1] ^= 1;
  expected[expected.length - 1] ^= 1;
  t.same(toOwn(broken), expected);
  const large = { ...way, payload: new Uint8Array(1000), partial: true };
  const arrived = toOwn(frameOf(large), (p) => {
    open(large)(p);
    p.gsoType = GSO_TCPV4;
    p.gsoSize = 100;
    p.hdrLen = 54;
  });
  t.same(arrived, frameOf({ ...large, dstPort: 80 }));
});

t.test('a full table refuses new flows by published ports, and no others', async (t) => {
  const { context, flows, toOwn, fromOwn } = setup(16);
  for (let client = 1; client <= 16; client++) toOwn(frameOf(asked(4, UDP, 8080, client)));
  t.equal(flows.size, 16);
  t.equal(toOwn(frameOf(asked(4, UDP, 8080, 17))), FLOWS_FULL);
  t.equal(toOwn(frameOf(asked(4, UDP, 80, 5))), FLOWS_FULL, 'it could not be told from the other');
  const direct = asked(4, UDP, 80, 17);
  t.same(toOwn(frameOf(direct)), frameOf(direct));
  t.same(fromOwn(frameOf(answered(direct))), frameOf(answered(direct)));
  const known = asked(4, UDP, 8080, 3);
  t.same(toOwn(frameOf(known)), frameOf({ ...known, dstPort: 80 }));
  const own = answered(asked(4, UDP, 8080, 18));
  t.same(fromOwn(frameOf(own)), frameOf(own));
  const counters = context.counters.snapshot();
  t.match(counters.in, { flows: 16, unfollowed: 1, 'drop.flows-full': 2 });
  t.notOk(counters.in.aliased);
  t.match(counters.out, { unfollowed: 1 });
});

t.test('other ports and places are taken over', async (t) => {
  const { flows, into, out, toOwn, fromOwn } = setup();
  const way = asked(4, TCP, 9090);
  t.same(toOwn(frameOf(way)), frameOf(way));
  const published = [{ protocol: TCP, published: 9090, port: 80 }];
  const addresses = [ip.parse(OWN[4])];
  t.ok(into.configure({ place: PLACE, addresses, published, flows }));
  t.ok(out.configure({ ports: [{ place: PLACE, published }], flows }));
  t.same(toOwn(frameOf(way)), frameOf({ ...way, dstPort: 80 }));
  t.same(fromOwn(frameOf(answered(way, 80))), frameOf(answered(way)));
  t.throws(() => into.configure({ place: -1, addresses, published, flows }), {
    message: /"place" expected a local/,
  });
  t.throws(() => into.configure({ place: 1, addresses: [], published, flows }), {
    message: /"addresses" of place 1/,
  });
  t.throws(() => out.configure({ ports: [{ place: -1, published }], flows }), {
    message: /"ports" expected a local/,
  });
});
