import t from 'tap';
import { hex, viewOf } from '../../../codecs/bytes.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as tcp from '../../../codecs/tcp.ts';
import * as udp from '../../../codecs/udp.ts';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { MALFORMED, POOL_DRY } from '../../../lib/core/drop.ts';
import { GSO_NONE, isTrain, NONE, type Packet, segments } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Coalesce, type CoalesceOptions } from '../../../lib/elements/coalesce.ts';
import { Segment } from '../../../lib/elements/segment.ts';
import { CHECKSUM, DATAGRAM, TSO4, TSO6, USO } from '../../../lib/io/port.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import {
  type Flow,
  finishChecksum,
  flowOf,
  headersOf,
  networkOf,
  putSuper,
  putTrain,
  randomBytes,
  segmentsOf,
  transportOf,
  type Wish,
} from '../../gen/super-frames.ts';

const ALL = CHECKSUM | TSO4 | TSO6 | USO;

function setup(options: Partial<CoalesceOptions> = {}, count = 512, jumbos = 16) {
  const context = testContext({ count }, jumbos);
  const element = new Coalesce(context, 'coalesce', { offloads: ALL, ...options });
  const out = new Collector();
  element.connect('out', out);
  const batch = new Batch();
  const push = (...packets: Packet[]) => {
    for (const p of packets) batch.add(p);
    element.push(batch);
    return out.packets;
  };
  const train = (datagrams: readonly Uint8Array[], gap = 0) =>
    putTrain(context.jumbo.take()!, datagrams, gap);
  const single = (bytes: Uint8Array) => context.pool.take()!.set(bytes);
  const home = () => {
    out.release();
    return [...context.pool.leaked, ...context.jumbo.leaked, batch.length];
  };
  return { context, element, out, push, train, single, home };
}

const hexOf = (frames: readonly Uint8Array[]) => frames.map((bytes) => hex(viewOf(bytes), 0, bytes.length));

/** How many pieces each packet stands for. */
const countsOf = (packets: readonly Packet[]) =>
  packets.map((p) => (p.gsoType === GSO_NONE ? 1 : segments(p)));

/** The packets cut into pieces again. */
function cut(packets: Packet[]): string[] {
  const context = testContext({ count: 2048 }, 1);
  const segment = new Segment(context, 'segment', { medium: DATAGRAM, mtu: 65536, offloads: 0 });
  const out = new Collector();
  segment.connect('out', out);
  const batch = new Batch();
  for (const p of packets) {
    batch.add(p);
    segment.push(batch);
  }
  packets.length = 0;
  const frames = out.frames();
  out.release();
  return frames;
}

/** A flow of `n` segments of 100 bytes and one of `last` bytes. */
function flowWith(wish: Wish, n = 4, last = 30, r = new Random(1)): Flow {
  const payload = randomBytes(r, n * 100 + last);
  return flowOf(r, { tags: [], flags: tcp.ACK | tcp.PSH, ipFlags: 0, ...wish, size: 100, payload });
}

const KINDS: readonly Wish[] = [
  { family: 4, protocol: tcp.PROTOCOL },
  { family: 6, protocol: tcp.PROTOCOL },
  { family: 4, protocol: udp.PROTOCOL },
  { family: 6, protocol: udp.PROTOCOL },
];

const named = ({ family, protocol }: Wish) =>
  `${protocol === tcp.PROTOCOL ? 'TCP' : 'UDP'} over IPv${family}`;

t.test(`a train of one flow becomes the super-frame where it lies, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  for (const kind of KINDS) {
    for (const gap of [0, 33]) {
      const { context, push, train, home } = setup();
      let wrong = 0;
      for (let i = 0; i < 40; i++) {
        const flow = flowOf(r, kind);
        const all = segmentsOf(flow);
        if (all.length === 1) continue;
        const p = train(all, gap);
        const wanted = putSuper(context.jumbo.take()!, flow, gap + headersOf(flow));
        const [q] = push(p);
        // What lies in the gaps is nobody's business.
        for (let n = 0; n < all.length - 1; n++) {
          const at = q.hdrLen + n * (q.gsoSize + q.gap) + q.gsoSize;
          for (const x of [q, wanted]) x.bytes.fill(0, x.start + at, x.start + at + q.gap);
        }
        const same = Buffer.compare(q.frame(), wanted.frame()) === 0;
        const { gsoType, gsoSize, hdrLen, csumStart, csumOffset } = wanted;
        const notes = { gsoType, gsoSize, hdrLen, csumStart, csumOffset, gap: wanted.gap };
        t.match(q, notes);
        if (!same || q !== p) wrong++;
        context.jumbo.give(wanted);
        home();
      }
      t.equal(wrong, 0, `${named(kind)}, gap ${gap}`);
      t.same(home(), [0]);
    }
  }
});

t.test('packets of one flow are copied into one', async (t) => {
  for (const kind of KINDS) {
    for (const size of [100, 1400]) {
      const { context, out, push, single, home } = setup();
      const r = new Random(2);
      const flow = flowOf(r, {
        ...kind,
        tags: [7],
        ipFlags: 0,
        size,
        payload: randomBytes(r, 20 * size + 30),
      });
      const all = segmentsOf(flow);
      push(...all.map(single));
      t.same(countsOf(out.packets), [21], `${named(kind)}, ${size} bytes`);
      t.equal(out.packets[0].gap, 0);
      const wanted = putSuper(context.jumbo.take()!, flow);
      t.equal(Buffer.compare(out.packets[0].frame(), wanted.frame()), 0);
      context.jumbo.give(wanted);
      t.same(cut(out.packets), hexOf(all));
      t.same(home(), [0]);
    }
  }
});

t.test('trains and packets that follow one another are joined while there is room', async (t) => {
  for (const kind of KINDS) {
    const { out, push, train, single, home } = setup();
    const flow = flowWith(kind, 30);
    const all = segmentsOf(flow);
    push(
      single(all[0]),
      train(all.slice(1, 11)),
      single(all[11]),
      train(all.slice(12, 20), 20),
      train(all.slice(20)),
    );
    t.same(countsOf(out.packets), [31], named(kind));
    t.same(cut(out.packets), hexOf(all));
    t.same(home(), [0]);
  }
});

t.test('a super-frame is at most 65535 bytes, one of UDP at most 64 datagrams', async (t) => {
  const r = new Random(1);
  for (const kind of KINDS) {
    const { out, push, train, home } = setup();
    const flow = flowOf(r, {
      ...kind,
      tags: [],
      flags: tcp.ACK,
      size: 1400,
      payload: randomBytes(r, 100 * 1400),
    });
    const all = segmentsOf(flow);
    push(train(all.slice(0, 40)), train(all.slice(40, 80)), train(all.slice(80)));
    for (const p of out.packets) t.ok(p.end <= p.bytes.length && segments(p) <= 46);
    t.same(cut(out.packets), hexOf(all), named(kind));
    const tiny = flowOf(r, { ...kind, tags: [], size: 10, payload: randomBytes(r, 1500) });
    const pieces = segmentsOf(tiny);
    push(train(pieces));
    t.same(countsOf(out.packets), kind.protocol === tcp.PROTOCOL ? [150] : [64, 64, 22]);
    t.same(cut(out.packets), hexOf(pieces));
    t.same(home(), [0]);
  }
});

/** Changes one piece of a flow and fills its checksums again. */
function changed(flow: Flow, i: number, change: (v: DataView, ip: number, l4: number) => void): Uint8Array[] {
  const all = segmentsOf(flow);
  const v = viewOf(all[i]);
  change(v, networkOf(flow), transportOf(flow));
  if (flow.family === 4 && v.getUint8(networkOf(flow)) === 0x45) ipv4.fillChecksum(v, networkOf(flow));
  finishChecksum(flow, all[i]);
  return all;
}

type Change = (v: DataView, ip: number, l4: number) => void;

const CHANGES: readonly [string, Wish, Change][] = [
  ['another prefix', {}, (v) => v.setUint8(6, 99)],
  ['another MAC address', {}, (v) => v.setUint8(8 + 11, 99)],
  ['another TOS', { family: 4 }, (v, ip) => v.setUint8(ip + 1, 0xfd)],
  ['ECN', { family: 4, tos: 2 }, (v, ip) => v.setUint8(ip + 1, 3)],
  ['another identification', { family: 4 }, (v, ip) => ipv4.setId(v, ip, ipv4.id(v, ip) ^ 1)],
  ['DF', { family: 4 }, (v, ip) => ipv4.setFlags(v, ip, ipv4.DF)],
  ['a reserved flag', { family: 4 }, (v, ip) => ipv4.setFlags(v, ip, 4)],
  ['another TTL', { family: 4 }, (v, ip) => ipv4.setTtl(v, ip, 63)],
  ['another source', { family: 4 }, (v, ip) => v.setUint8(ip + 15, v.getUint8(ip + 15) ^ 1)],
  ['another destination', { family: 4 }, (v, ip) => v.setUint8(ip + 19, v.getUint8(ip + 19) ^ 1)],
  ['another traffic class', { family: 6 }, (v, ip) => v.setUint8(ip + 1, 0x71)],
  ['another flow label', { family: 6 }, (v, ip) => v.setUint8(ip + 3, 0x46)],
  ['another hop limit', { family: 6 }, (v, ip) => v.setUint8(ip + 7, 63)],
  ['another source', { family: 6 }, (v, ip) => v.setUint8(ip + 20, v.getUint8(ip + 20) ^ 1)],
  ['another destination', { family: 6 }, (v, ip) => v.setUint8(ip + 39, v.getUint8(ip + 39) ^ 1)],
  ['another port', {}, (v, _, l4) => v.setUint8(l4, v.getUint8(l4) ^ 1)],
  ['another port', {}, (v, _, l4) => v.setUint8(l4 + 3, v.getUint8(l4 + 3) ^ 1)],
  ['out of sequence', { protocol: tcp.PROTOCOL }, (v, _, l4) => tcp.setSeq(v, l4, tcp.seq(v, l4) ^ 1)],
  ['another ACK', { protocol: tcp.PROTOCOL }, (v, _, l4) => tcp.setAck(v, l4, tcp.ack(v, l4) ^ 1)],
  ['another window', { protocol: tcp.PROTOCOL }, (v, _, l4) => tcp.setWindow(v, l4, tcp.window(v, l4) ^ 1)],
  ['an urgent pointer', { protocol: tcp.PROTOCOL }, (v, _, l4) => tcp.setUrgent(v, l4, 1)],
  ...[tcp.FIN, tcp.SYN, tcp.RST, tcp.URG, tcp.ECE, tcp.CWR].map((flag): [string, Wish, Change] => [
    `flag ${flag}`,
    { protocol: tcp.PROTOCOL },
    (v, _, l4) => tcp.setFlags(v, l4, tcp.ACK | flag),
  ]),
  ['no ACK', { protocol: tcp.PROTOCOL }, (v, _, l4) => tcp.setFlags(v, l4, 0)],
  ['a reserved bit', { protocol: tcp.PROTOCOL }, (v, _, l4) => v.setUint8(l4 + 12, v.getUint8(l4 + 12) | 1)],
  [
    'other options',
    { protocol: tcp.PROTOCOL, tcpOptions: new Uint8Array(12) },
    (v, _, l4) => v.setUint8(l4 + 31, 1),
  ],
];

t.test('a piece whose headers differ ends a run', async (t) => {
  for (const [what, wish, change] of CHANGES) {
    for (const kind of KINDS) {
      const flow = flowWith({ ...kind, ...wish });
      if (flow.family !== (kind.family ?? 4) || flow.protocol !== kind.protocol) continue;
      for (const [i, counts] of [
        [0, [1, 4]],
        [2, [2, 1, 2]],
      ] as const) {
        const all = changed(flow, i, change);
        for (const apart of [false, true]) {
          const { out, push, train, single, home } = setup();
          push(...(apart ? all.map(single) : [train(all)]));
          const is = countsOf(out.packets);
          t.same(is, counts, `${what}, ${named(kind)}, piece ${i}`);
          t.same(cut(out.packets), hexOf(all));
          t.same(home(), [0]);
        }
      }
    }
  }
});

t.test('a piece whose checksum is wrong goes on alone, as it was', async (t) => {
  for (const kind of KINDS) {
    for (const where of ['ip', 'transport', 'payload'] as const) {
      if (where === 'ip' && kind.family === 6) continue;
      for (const i of [0, 1, 4]) {
        const flow = flowWith(kind);
        const all = segmentsOf(flow);
        const at = where === 'ip' ? networkOf(flow) + 10 : where === 'payload' ? headersOf(flow) + 5 : 0;
        const l4 = transportOf(flow) + (kind.protocol === tcp.PROTOCOL ? 16 : 6);
        all[i][at || l4] ^= 0x10;
        const { out, push, train, home } = setup();
        push(train(all));
        const counts = i === 0 ? [1, 4] : i === 1 ? [1, 1, 3] : [4, 1];
        t.same(countsOf(out.packets), counts, `${where} of piece ${i}, ${named(kind)}`);
        t.same(cut(out.packets), hexOf(all));
        t.same(home(), [0]);
      }
    }
  }
});

t.test('checksums written in the other way are not lost', async (t) => {
  // A TCP checksum of 0 may be written 0xffff, which verifies as well.
  const flow = flowWith({ family: 6, protocol: tcp.PROTOCOL });
  const check = tcp.checksum(viewOf(segmentsOf(flow)[1]), transportOf(flow));
  flow.payload.set([check >>> 8, check & 0xff], 100);
  // The two bytes were not 0.
  const second = () => tcp.checksum(viewOf(segmentsOf(flow)[1]), transportOf(flow));
  for (let i = 0; i < 3 && second() !== 0; i++) {
    const v = viewOf(flow.payload);
    const s = v.getUint16(100) + second();
    v.setUint16(100, (s & 0xffff) + (s >>> 16));
  }
  t.equal(second(), 0);
  const { out, push, train, home } = setup();
  push(train(segmentsOf(flow)));
  t.same(countsOf(out.packets), [5], '0 as 0');
  out.release();
  const all = segmentsOf(flow);
  tcp.setChecksum(viewOf(all[1]), transportOf(flow), 0xffff);
  push(train(all));
  t.same(countsOf(out.packets), [1, 1, 3], '0 as 0xffff');
  t.same(cut(out.packets), hexOf(all));
  t.same(home(), [0]);
});

t.test('UDP without a checksum is not merged', async (t) => {
  const flow = flowWith({ family: 4, protocol: udp.PROTOCOL });
  const all = segmentsOf(flow);
  for (const bytes of all) udp.setChecksum(viewOf(bytes), transportOf(flow), 0);
  const { out, push, train, home } = setup();
  push(train(all));
  t.same(countsOf(out.packets), [1, 1, 1, 1, 1]);
  t.same(cut(out.packets), hexOf(all));
  t.same(home(), [0]);
});

t.test('PSH ends a run behind its piece', async (t) => {
  const flow = flowWith({ protocol: tcp.PROTOCOL });
  const all = changed(flow, 1, (v, _, l4) => tcp.setFlags(v, l4, tcp.ACK | tcp.PSH));
  const { out, push, train, home } = setup();
  push(train(all));
  t.same(countsOf(out.packets), [2, 3]);
  t.same(
    out.packets.map((p) => tcp.flags(p.view, p.csumStart)),
    [tcp.ACK | tcp.PSH, tcp.ACK | tcp.PSH],
  );
  t.same(cut(out.packets), hexOf(all));
  t.same(home(), [0]);
});

t.test('a short piece ends a run, a longer one begins another', async (t) => {
  for (const kind of KINDS) {
    const { out, push, single, home } = setup();
    const r = new Random(3);
    const parts = [100, 100, 50, 50, 80, 80, 80];
    let at = 0;
    const flow = flowOf(r, { ...kind, tags: [], flags: tcp.ACK, ipFlags: ipv4.DF, size: 100 });
    const all = parts.flatMap((size) => {
      const piece = { ...flow, seq: (flow.seq + at) >>> 0, size, payload: randomBytes(r, size) };
      at += size;
      return segmentsOf(piece);
    });
    push(...all.map(single));
    t.same(countsOf(out.packets), [3, 1, 3], named(kind));
    t.same(home(), [0]);
  }
});

t.test('the identification counts up, but for packets with DF', async (t) => {
  const r = new Random(1);
  for (const protocol of [tcp.PROTOCOL, udp.PROTOCOL] as const) {
    for (const ipFlags of [0, ipv4.DF]) {
      const flow = flowOf(r, {
        family: 4,
        protocol,
        ipFlags,
        tags: [],
        flags: tcp.ACK,
        size: 10,
        id: 0xfffe,
      });
      const all = segmentsOf({ ...flow, payload: randomBytes(r, 50) });
      const { out, push, train, home } = setup();
      push(train(all));
      t.same(countsOf(out.packets), [5], 'it wraps');
      out.release();
      for (const bytes of all) {
        ipv4.setId(viewOf(bytes), networkOf(flow), 0);
        ipv4.fillChecksum(viewOf(bytes), networkOf(flow));
      }
      push(train(all));
      t.same(countsOf(out.packets), ipFlags === 0 ? [1, 1, 1, 1, 1] : [5], `always 0, flags ${ipFlags}`);
      t.same(home(), [0]);
    }
  }
});

t.test('what is no whole TCP or UDP packet goes on as it is', async (t) => {
  const flow = flowWith({ family: 4 });
  const [frame] = segmentsOf(flow);
  const six = segmentsOf(flowWith({ family: 6 }))[0];
  const edit = (of: Uint8Array, change: (v: DataView, ip: number, bytes: Uint8Array) => void) => {
    const bytes = of.slice();
    change(viewOf(bytes), networkOf(flow), bytes);
    return bytes;
  };
  const odd: readonly (readonly [string, Uint8Array])[] = [
    ['nothing', new Uint8Array(0)],
    ['a byte', new Uint8Array(1)],
    ['zeros', new Uint8Array(100)],
    ['ARP', edit(frame, (v, ip) => v.setUint16(ip - 2, 0x0806))],
    ['many tags', edit(frame, (v, ip) => [0, 4, 8, 12].map((i) => v.setUint16(ip - 2 + i, 0x8100)))],
    ['IPv4 options', edit(frame, (v, ip) => v.setUint8(ip, 0x46))],
    ['version 5', edit(frame, (v, ip) => v.setUint8(ip, 0x55))],
    ['a fragment', edit(frame, (v, ip) => v.setUint16(ip + 6, 0x2000))],
    ['a later fragment', edit(frame, (v, ip) => v.setUint16(ip + 6, 1))],
    ['ICMP', edit(frame, (v, ip) => v.setUint8(ip + 9, 1))],
    ['padding', Uint8Array.from([...frame, 0])],
    ['a data offset of 4', edit(frame, (v, ip) => v.setUint8(ip + 32, 0x10))],
    ['a data offset of 60', edit(frame, (v, ip) => v.setUint8(ip + 32, 0xf0))],
    ['IPv6, version 4', edit(six, (v, ip) => v.setUint8(ip, 0x45))],
    ['hop-by-hop options', edit(six, (v, ip) => v.setUint8(ip + 6, 0))],
    ['IPv6 with padding', Uint8Array.from([...six, 0])],
  ];
  for (const [what, bytes] of odd) {
    for (const apart of [true, false]) {
      if (bytes.length === 0 && !apart) continue;
      const { out, push, train, single, home } = setup();
      push(...(apart ? [single(bytes), single(bytes), single(bytes)] : [train([bytes, bytes, bytes])]));
      t.same(countsOf(out.packets), [1, 1, 1], what);
      t.same(out.frames(), hexOf([bytes, bytes, bytes]), what);
      t.same(home(), [0]);
    }
  }
});

t.test('every truncation goes on as it is', async (t) => {
  for (const kind of KINDS) {
    const { out, push, train, single, home } = setup();
    const flow = flowWith({ ...kind, tags: [1, 2] });
    const [first, second] = segmentsOf(flow);
    let wrong = 0;
    for (let n = 0; n < second.length; n++) {
      const short = second.subarray(0, n);
      for (const way of [() => [single(first), single(short)], () => [train([first, short])]]) {
        push(...way());
        const frames = out.frames().join();
        if (frames !== hexOf(n === 0 ? [first, short].slice(0, out.packets.length) : [first, short]).join())
          wrong++;
        out.release();
      }
    }
    t.equal(wrong, 0, named(kind));
    t.same(home(), [0]);
  }
});

t.test('only what is asked for is made, and trains are taken apart all the same', async (t) => {
  const bits = [TSO4, TSO6, USO, USO];
  for (const [i, kind] of KINDS.entries()) {
    const all = segmentsOf(flowWith(kind));
    for (const [offloads, merged] of [
      [ALL, true],
      [CHECKSUM | bits[i], true],
      [ALL & ~bits[i], false],
      [ALL & ~CHECKSUM, false],
      [0, false],
    ] as const) {
      const { out, push, train, home } = setup({ offloads });
      push(train(all, 10));
      t.same(countsOf(out.packets), merged ? [5] : [1, 1, 1, 1, 1], `${named(kind)}, ${offloads}`);
      t.ok(out.packets.every((p) => !isTrain(p) && (merged || p.csumStart === NONE)));
      t.same(cut(out.packets), hexOf(all));
      t.same(home(), [0]);
    }
  }
});

t.test('packets of different peers, ports or outer TOS are not mixed', async (t) => {
  const all = segmentsOf(flowWith({}));
  for (const note of ['peer', 'port', 'tos'] as const) {
    const { out, push, train, single, home } = setup();
    const packets = [single(all[0]), single(all[1]), train(all.slice(2))];
    packets[1][note] = 1;
    push(...packets);
    t.same(countsOf(out.packets), [1, 1, 3], note);
    t.same(cut(out.packets), hexOf(all));
    t.same(home(), [0]);
  }
});

t.test('notes stay with what is copied', async (t) => {
  const { out, push, train, single, home } = setup();
  const kind = { ...KINDS[0], tcpOptions: new Uint8Array(12) };
  const [a, b] = [segmentsOf(flowWith(kind)), segmentsOf(flowWith(kind, 4, 100, new Random(9)))];
  const note = (p: Packet) => Object.assign(p, { peer: 5, port: 6, tos: 7, hash: 8 });
  push(note(train(a.slice(0, 4).concat(b.slice(0, 2)))), ...b.slice(2).map((bytes) => note(single(bytes))));
  t.same(countsOf(out.packets), [4, 5]);
  for (const { peer, port, tos, hash } of out.packets) t.same([peer, port, tos, hash], [5, 6, 7, 8]);
  t.same(home(), [0]);
});

t.test('super-frames and open checksums pass, in order', async (t) => {
  const { context, out, push, single, home } = setup();
  const flow = flowWith({});
  const all = segmentsOf(flow);
  const whole = putSuper(context.jumbo.take()!, flow);
  const open = single(all[1]);
  open.csumStart = open.start + transportOf(flow);
  open.csumOffset = 16;
  const packets = [single(all[0]), whole, single(all[1]), open, single(all[2])];
  push(...packets);
  t.ok(out.packets.every((p, i) => p === packets[i]));
  t.equal(out.packets.length, 5);
  t.same(home(), [0]);
});

t.test('a train without a segment size is dropped', async (t) => {
  const { element, push, train, home } = setup();
  const [a, b] = [train([new Uint8Array(50)]), train([new Uint8Array(50)])];
  a.gsoSize = 0;
  b.gap = -1;
  t.equal(push(a, b).length, 0);
  t.equal(element.dropped(MALFORMED), 2);
  t.same(home(), [0]);
});

t.test('without free packets a train of many flows loses pieces and counts them', async (t) => {
  const kind = { ...KINDS[0], tcpOptions: new Uint8Array(12) };
  const flows = [1, 2, 3].map((n) => segmentsOf(flowWith(kind, 4, 100, new Random(n))));
  const mixed = flows[0].flatMap((_, i) => flows.map((all) => all[i]));
  const { element, out, push, train, home } = setup({}, 1, 1);
  push(train(mixed));
  t.equal(out.packets.length + element.dropped(POOL_DRY), mixed.length);
  t.equal(out.packets.length, 2);
  t.same(home(), [0]);
});

t.test('packets that find no jumbo stay packets', async (t) => {
  const { context, out, push, single, home } = setup({}, 64, 1);
  const r = new Random(1);
  const flow = flowOf(r, { ...KINDS[0], size: 1400, payload: randomBytes(r, 14000), tags: [] });
  const taken = context.jumbo.take()!;
  push(...segmentsOf(flow).map(single));
  t.equal(out.packets.length, 10);
  context.jumbo.give(taken);
  t.same(home(), [0]);
});

t.test('it counts, and takes over other options', async (t) => {
  const { context, element, push, train, single, home } = setup();
  const all = segmentsOf(flowWith({}));
  push(train(all));
  push(...all.map(single));
  t.same(context.counters.read('coalesce'), { merged: 2, pieces: 10, copied: 4 });
  t.ok(element.configure({ offloads: 0 }));
  t.equal(push(single(all[0]), single(all[1])).length, 4);
  t.throws(() => element.configure({ offloads: 0, prefix: -1 }), { message: /"prefix" expected/ });
  t.throws(() => setup({ prefix: 1.5 }), { message: /"prefix" expected an integer of at least 0, got 1.5/ });
  t.same(home(), [0]);
});

/** Pieces of a few flows in random order, some of them damaged. */
function traffic(r: Random): Uint8Array[] {
  const size = 20 + r.below(r.chance(0.2) ? 1300 : 100);
  const flows = Array.from({ length: 1 + r.below(3) }, () =>
    segmentsOf(
      flowOf(r, {
        size,
        payload: randomBytes(r, 1 + r.below(size * 30)),
        ...(r.chance(0.7) ? { tags: [] } : {}),
      }),
    ),
  );
  const pieces: Uint8Array[] = [];
  while (flows.some((all) => all.length > 0) && pieces.length < 80) {
    const all = flows[r.below(flows.length)];
    pieces.push(...all.splice(0, 1 + r.below(r.chance(0.5) ? 3 : 30)));
  }
  const bad = r.chance(0.5) ? 0 : r.float() / 4;
  return pieces.map((bytes) => {
    if (!r.chance(bad)) return bytes;
    if (r.chance(0.2)) return randomBytes(r, bytes.length);
    if (r.chance(0.3)) return bytes.subarray(0, 1 + r.below(bytes.length));
    bytes[r.below(r.chance(0.8) ? Math.min(bytes.length, 80) : bytes.length)] ^= 1 << r.below(8);
    return bytes;
  });
}

/** Puts the next of the pieces into a packet: one, or several of one length and perhaps a shorter one. */
function pack(r: Random, pieces: Uint8Array[], context: ReturnType<typeof testContext>): Packet {
  const first = pieces.shift()!;
  const train = [first];
  const most = r.chance(0.3) ? 1 : 1 + r.below(50);
  let room = 60_000;
  while (train.length < most && pieces.length > 0 && pieces[0].length <= first.length && room > 0) {
    const next = pieces.shift()!;
    train.push(next);
    room -= next.length + 100;
    if (next.length < first.length) break;
  }
  const gap = r.below(2) * r.below(100);
  if (train.length > 1 || r.chance(0.1)) return putTrain(context.jumbo.take()!, train, gap);
  return (r.chance(0.2) ? context.jumbo : context.pool).take()!.set(first);
}

/** A frame without what may change: identification and header checksum of IPv4 with DF. */
function anonymous(frame: string): string {
  const bytes = Buffer.from(frame, 'hex');
  let ip = 8 + 14;
  while (bytes.length > ip + 20 && bytes.readUInt16BE(ip - 2) === 0x8100) ip += 4;
  const atomic = bytes.length > ip + 12 && bytes.readUInt16BE(ip - 2) === 0x0800 && bytes[ip + 6] === 0x40;
  if (atomic) for (const i of [4, 5, 10, 11]) bytes[ip + i] = 0;
  return bytes.toString('hex');
}

t.test(`cut again, everything is what came in, in order, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const { context, element, out, push, home } = setup({}, 256, 96);
  let wrong = 0;
  for (let i = 0; i < 400 && wrong === 0; i++) {
    const pieces = traffic(r);
    const wanted = hexOf(pieces).map(anonymous);
    const packets: Packet[] = [];
    while (pieces.length > 0 && packets.length < BATCH) packets.push(pack(r, pieces, context));
    push(...packets);
    if (out.packets.some(isTrain)) wrong++;
    const is = cut(out.packets).map(anonymous);
    if (is.join() !== wanted.slice(0, wanted.length - pieces.length).join()) wrong++;
    if (home().join() !== '0') wrong++;
  }
  t.equal(wrong, 0);
  const { merged, pieces } = context.counters.read('coalesce');
  t.ok(merged > 400 && pieces > merged * 3, `${pieces} pieces in ${merged} super-frames`);
  t.equal(element.dropped(POOL_DRY), 0);
});
