import t from 'tap';
import { hex, viewOf } from '../../../codecs/bytes.ts';
import * as tcp from '../../../codecs/tcp.ts';
import * as udp from '../../../codecs/udp.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { MALFORMED, POOL_DRY, TOO_BIG } from '../../../lib/core/drop.ts';
import { GSO_NONE, GSO_UDP_L4, HEADROOM, NONE, type Packet } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Segment, type SegmentOptions } from '../../../lib/elements/segment.ts';
import { CHECKSUM, DATAGRAM, ETHERNET, GAPS, IP, TRAIN, TSO4, TSO6, USO } from '../../../lib/io/port.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import {
  type Flow,
  flowOf,
  headersOf,
  putSuper,
  putTrain,
  randomBytes,
  segmentsOf,
  transportOf,
  type Wish,
} from '../../gen/super-frames.ts';

const ALL = CHECKSUM | TSO4 | TSO6 | USO | TRAIN | GAPS;
const bare = { prefix: new Uint8Array(0) };

function setup(options: Partial<SegmentOptions> = {}, count = 1024, jumbos = 32) {
  const context = testContext({ count }, jumbos);
  const element = new Segment(context, 'segment', { medium: DATAGRAM, mtu: 1600, offloads: 0, ...options });
  const out = new Collector();
  element.connect('out', out);
  const batch = new Batch();
  const push = (...packets: Packet[]) => {
    for (const p of packets) batch.add(p);
    element.push(batch);
    return out.frames();
  };
  const home = () => {
    out.release();
    return [...context.pool.leaked, ...context.jumbo.leaked, batch.length];
  };
  return { context, element, out, push, home };
}

const hexOf = (frames: readonly Uint8Array[]) => frames.map((bytes) => hex(viewOf(bytes), 0, bytes.length));

t.test(`a super-frame becomes its segments, on every medium, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const media: [SegmentOptions['medium'], Wish][] = [
    [DATAGRAM, {}],
    [ETHERNET, bare],
    [IP, { ...bare, ethernet: false, tags: [] }],
  ];
  for (const [medium, wish] of media) {
    const { context, push, out, home } = setup({ medium });
    let wrong = 0;
    for (let i = 0; i < 200; i++) {
      const flow = flowOf(r, wish);
      const p = putSuper(context.jumbo.take()!, flow, r.below(2) * r.below(100));
      if (push(p).join() !== hexOf(segmentsOf(flow)).join()) wrong++;
      if (!out.packets.every((q) => q.gsoType === GSO_NONE && q.csumStart === NONE && q.gap === 0)) wrong++;
      out.release();
    }
    t.equal(wrong, 0, `medium ${medium}`);
    t.same(home(), [0]);
  }
});

t.test('segments keep the notes, moved to where they lie', async (t) => {
  const { context, push, out, home } = setup();
  const flow = flowOf(new Random(1), { size: 100, payload: new Uint8Array(250) });
  const p = putSuper(context.jumbo.take()!, flow);
  p.bytes.copyWithin(HEADROOM - 50, p.start, p.end);
  p.start -= 50;
  p.end -= 50;
  Object.assign(p, { port: 3, out: 4, vni: 5, peer: 6, hash: 7, tos: 8, l3: p.start + 22, l4: NONE });
  t.same(push(p), hexOf(segmentsOf(flow)));
  for (const q of out.packets) {
    const { start, port, out, vni, peer, hash, tos, l3, l4 } = q;
    t.same(
      { start, port, out, vni, peer, hash, tos, l3, l4 },
      { start: HEADROOM, port: 3, out: 4, vni: 5, peer: 6, hash: 7, tos: 8, l3: HEADROOM + 22, l4: NONE },
    );
    t.equal(q.pool, context.pool);
  }
  t.same(context.counters.read('segment'), { segmented: 1, segments: 3 });
  t.same(home(), [0]);
});

t.test('what fits goes on as it is', async (t) => {
  const { context, push, out, home } = setup({ offloads: ALL });
  const r = new Random(seed);
  const packets: Packet[] = [];
  for (let i = 0; i < 20; i++) packets.push(putSuper(context.jumbo.take()!, flowOf(r), r.below(2) * 50));
  packets.push(context.pool.take()!.set(new Uint8Array(60)));
  packets.push(putTrain(context.jumbo.take()!, [new Uint8Array(10), new Uint8Array(5)]));
  const frames = packets.map((p) => Buffer.from(p.frame()).toString('hex'));
  t.same(push(...packets), frames);
  t.ok(out.packets.every((p, i) => p === packets[i]));
  t.same(home(), [0]);
});

t.test('order is kept, and batches are bounded', async (t) => {
  const { context, push, home } = setup();
  const r = new Random(seed);
  const wanted: string[] = [];
  const packets: Packet[] = [];
  for (let i = 0; i < 20; i++) {
    const flow = flowOf(r, { size: 10, payload: randomBytes(r, 200) });
    const plain = randomBytes(r, 60);
    packets.push(putSuper(context.jumbo.take()!, flow), context.pool.take()!.set(plain));
    wanted.push(...hexOf(segmentsOf(flow)), ...hexOf([plain]));
  }
  t.same(push(...packets), wanted);
  t.same(home(), [0]);
});

t.test('a checksum left open is completed', async (t) => {
  const r = new Random(1);
  const flow = flowOf(r, { size: 1000, payload: randomBytes(r, 700) });
  for (const offloads of [0, CHECKSUM]) {
    const { context, push, home } = setup({ offloads });
    const p = putSuper(context.jumbo.take()!, flow);
    const [start, offset] = [p.csumStart, p.csumOffset];
    p.clearOffload();
    p.csumStart = start;
    p.csumOffset = offset;
    const before = hexOf([p.frame()]);
    t.same(push(p), offloads === 0 ? hexOf(segmentsOf(flow)) : before);
    t.same(home(), [0]);
  }
  const { context, element, push, home } = setup();
  const p = context.pool.take()!.set(new Uint8Array(60));
  p.csumStart = p.end;
  t.same(push(p), []);
  t.equal(element.dropped(MALFORMED), 1);
  t.same(home(), [0]);
});

t.test('payload moves together for who takes super-frames and no gaps', async (t) => {
  const r = new Random(seed);
  const { context, push, out, home } = setup({ offloads: ALL & ~GAPS });
  for (let i = 0; i < 50; i++) {
    const flow = flowOf(r);
    const wanted = putSuper(context.jumbo.take()!, flow);
    const p = putSuper(context.jumbo.take()!, flow, 1 + r.below(100));
    t.same(push(p), hexOf([wanted.frame()]));
    t.equal(out.packets[0], p);
    t.equal(p.gap, 0);
    t.equal(p.csumStart, wanted.csumStart);
    context.jumbo.give(wanted);
    out.release();
  }
  const datagrams = [1, 2, 3, 4].map((n) => new Uint8Array(n < 4 ? 50 : 7).fill(n));
  t.same(push(putTrain(context.jumbo.take()!, datagrams, 30)), [Buffer.concat(datagrams).toString('hex')]);
  t.same(home(), [0]);
});

t.test('a train becomes its datagrams', async (t) => {
  const { context, push, out, home } = setup({ offloads: ALL & ~TRAIN });
  for (const gap of [0, 40]) {
    for (const last of [1, 99, 100]) {
      const datagrams = [1, 2, 3, 4].map((n) => new Uint8Array(n < 4 ? 100 : last).fill(n));
      t.same(push(putTrain(context.jumbo.take()!, datagrams, gap)), hexOf(datagrams));
      out.release();
    }
  }
  t.same(home(), [0]);
});

t.test('segments that fit no slot go into jumbo packets', async (t) => {
  const { context, push, out, home } = setup({ mtu: 9000 });
  const flow = flowOf(new Random(2), { size: 4000, payload: randomBytes(new Random(2), 9000) });
  t.same(push(putSuper(context.jumbo.take()!, flow)), hexOf(segmentsOf(flow)));
  t.same(
    out.packets.map((p) => p.pool === context.jumbo),
    [true, true, false],
  );
  t.same(home(), [0]);
});

t.test('what cannot go on is dropped and counted', async (t) => {
  const r = new Random(1);
  const flow = flowOf(r, { family: 4, protocol: tcp.PROTOCOL, size: 1000, payload: randomBytes(r, 4500) });
  const cases: [string, number, (p: Packet, flow: Flow) => void][] = [
    ['no segment size', MALFORMED, (p) => (p.gsoSize = 0)],
    ['a negative gap', MALFORMED, (p) => (p.gap = -2000)],
    ['headers longer than the packet', MALFORMED, (p) => (p.hdrLen = p.length + 1)],
    ['negative headers', MALFORMED, (p) => (p.hdrLen = -1)],
    ['an end in a gap', MALFORMED, (p) => (p.gap = 600)],
    ['another kind', MALFORMED, (p) => (p.gsoType = GSO_UDP_L4)],
    ['a broken header', MALFORMED, (p, f) => p.view.setUint8(p.start + transportOf(f) + 12, 0)],
    ['segments that are too big', TOO_BIG, (p) => (p.gsoSize = 1550)],
    ['a packet that is too big', TOO_BIG, (p) => p.clearOffload()],
  ];
  for (const [what, reason, spoil] of cases) {
    const { context, element, push, home } = setup();
    const p = putSuper(context.jumbo.take()!, flow);
    spoil(p, flow);
    t.same(push(p), [], what);
    t.equal(element.dropped(reason), 1, what);
    t.same(home(), [0]);
  }
  t.ok(headersOf(flow) > 0);
});

t.test('a dry pool costs the segments that found no packet, and nothing else', async (t) => {
  const r = new Random(1);
  const flow = flowOf(r, { protocol: udp.PROTOCOL, size: 100, payload: randomBytes(r, 1000) });
  const { context, element, push, out, home } = setup({}, 4);
  t.same(push(putSuper(context.jumbo.take()!, flow)), hexOf(segmentsOf(flow)).slice(0, 4));
  t.equal(element.dropped(POOL_DRY), 6);
  out.release();
  t.equal(push(putTrain(context.jumbo.take()!, segmentsOf(flow))).length, 4);
  t.equal(element.dropped(POOL_DRY), 12);
  t.same(home(), [0]);
});

t.test('options', async (t) => {
  const { element } = setup();
  const options = { medium: DATAGRAM, mtu: 1500, offloads: 0 } as const;
  t.throws(() => element.configure({ ...options, mtu: 0 }), {
    message: /"mtu" expected an integer of at least 1, got 0/,
  });
  t.throws(() => setup({ prefix: -1 }), { message: /"prefix" expected an integer of at least 0, got -1/ });
});

t.test('it takes over other options while it runs', async (t) => {
  const { context, element, push, home } = setup();
  const flow = flowOf(new Random(1), { size: 100, payload: new Uint8Array(200) });
  t.ok(element.configure({ medium: DATAGRAM, mtu: 1600, offloads: ALL }));
  const p = putSuper(context.jumbo.take()!, flow);
  t.equal(push(p).length, 1);
  t.same(home(), [0]);
});
