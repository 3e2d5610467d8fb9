/**
 * Super-frames and trains through ESP, against the plain twin: cut first, then sealed and opened one by one. Both
 * count with keys of their own that are equal, so that the twin's datagrams are the same bit for bit.
 */
import t from 'tap';
import { hex, viewOf } from '../../../codecs/bytes.ts';
import * as tcp from '../../../codecs/tcp.ts';
import * as udp from '../../../codecs/udp.ts';
import * as esp from '../../../crypto/esp.ts';
import { node } from '../../../crypto/providers/node.ts';
import { openssl } from '../../../crypto/providers/openssl.ts';
import { InboundSa, OutboundSa } from '../../../crypto/sa.ts';
import { Sad } from '../../../crypto/sad.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { createContext } from '../../../lib/core/context.ts';
import * as drops from '../../../lib/core/drop.ts';
import { GSO_NONE, isTrain, NONE, type Packet, segments } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Coalesce } from '../../../lib/elements/coalesce.ts';
import { EspOpen } from '../../../lib/elements/esp-open.ts';
import { EspSeal } from '../../../lib/elements/esp-seal.ts';
import { Segment } from '../../../lib/elements/segment.ts';
import { CHECKSUM, DATAGRAM, type Medium, TSO4, TSO6, USO } from '../../../lib/io/port.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { bytesPerPacket, MOST } from '../../gen/heap.ts';
import { seed } from '../../gen/seed.ts';
import { noNative, skip } from '../../gen/skip.ts';
import {
  countOf,
  type Flow,
  flowOf,
  headersOf,
  putSuper,
  randomBytes,
  segmentsOf,
  type Wish,
} from '../../gen/super-frames.ts';
import { datagramsOf, putTrain } from '../../gen/trains.ts';
import { FAMILIES, type Family, pushAll, vtep, vtepsOf } from './tunnel.ts';

const ALL = CHECKSUM | TSO4 | TSO6 | USO;
const MEDIUM: Medium = DATAGRAM;
const MAX_TRAIN = 65507;
const KEY = {
  spi: 0x1234,
  peer: 0,
  provider: node,
  algorithm: 'aes-128-gcm',
  keymat: new Uint8Array(20).fill(7),
} as const;

const KINDS: readonly Wish[] = [
  { family: 4, protocol: tcp.PROTOCOL },
  { family: 6, protocol: tcp.PROTOCOL },
  { family: 4, protocol: udp.PROTOCOL },
  { family: 6, protocol: udp.PROTOCOL },
];
const named = ({ family, protocol }: Wish) =>
  `${protocol === tcp.PROTOCOL ? 'TCP' : 'UDP'} over IPv${family}`;
const hexOf = (frames: readonly Uint8Array[]) => frames.map((bytes) => hex(viewOf(bytes), 0, bytes.length));

interface Setup {
  readonly family?: Family;
  readonly count?: number;
  readonly jumbos?: number;
  /** Of the outbound association. */
  readonly limits?: { readonly softPackets?: number; readonly hardPackets?: number };
}

/** Host 1, which seals, and host 2, which opens; each knows the other as peer 0. */
function setup({ family = 4, count = 512, jumbos = 16, limits = {} }: Setup = {}) {
  const context = testContext({ count }, jumbos);
  const [sadA, sadB] = [new Sad(16), new Sad(16)];
  const sa = new OutboundSa({ ...KEY, ...limits });
  sadA.setOutbound(sa);
  sadB.set(new InboundSa(KEY));
  const rekeys: number[] = [];
  const side = (n: number, other: number, sad: Sad) => ({
    sad,
    vteps: vtepsOf([other], family),
    medium: MEDIUM,
    local: vtep(n, family),
    onRekey: (peer: number) => void rekeys.push(peer),
  });
  const seal = new EspSeal(context, 'seal', side(1, 2, sadA));
  const open = new EspOpen(context, 'open', side(2, 1, sadB));
  const [sealed, opened, control] = [new Collector(), new Collector(), new Collector()];
  seal.connect('out', sealed);
  open.connect('out', opened);
  open.connect('control', control);
  return {
    context,
    sa,
    rekeys,
    seal,
    open,
    sealed,
    opened,
    control,
    count: (owner: string) => context.counters.read(owner),
    /** A super-frame to the other host. */
    super(flow: Flow, gap = 0): Packet {
      const p = putSuper(context.jumbo.take()!, flow, gap);
      return Object.assign(p, { peer: 0, hash: 0x1234567, tos: 3 });
    },
    /** Opens what another packet or train holds, as if it had come from the other host. */
    openTrain(datagrams: readonly Uint8Array[], gap = 0): Packet {
      const p = putTrain(context.jumbo.take()!, datagrams, gap);
      p.peer = 0;
      pushAll(open, [p]);
      return p;
    },
    /** A datagram of ESP with any payload, sealed with the key of all others. */
    sealAny(payload: Uint8Array, next: number = udp.PROTOCOL): Uint8Array {
      const bytes = new Uint8Array(esp.HEADER + payload.length + 64);
      bytes.set(payload, esp.HEADER);
      const end = esp.HEADER + payload.length;
      if (esp.seal(sa, bytes, viewOf(bytes), esp.HEADER, end, next) !== 0) throw new Error('not sealed');
      return bytes.slice(0, esp.sealedEnd(sa, esp.HEADER, end));
    },
    home(): number[] {
      for (const c of [sealed, opened, control]) c.release();
      return [...context.pool.leaked, ...context.jumbo.leaked];
    },
  };
}

/** What a super-frame becomes that is cut first, and each segment sealed by itself. */
function twin(flow: Flow, family: Family): Uint8Array[] {
  const { context, seal, sealed, super: make } = setup({ family, count: countOf(flow), jumbos: 8 });
  const segment = new Segment(context, 'segment', { medium: MEDIUM, mtu: 65536, offloads: 0 });
  segment.connect('out', seal);
  pushAll(segment, [make(flow)]);
  const frames = sealed.packets.map((p) => p.frame().slice());
  sealed.release();
  return frames;
}

/** Packets coalesced, and how many pieces each stands for; the packets themselves go home. */
function coalesce(packets: Packet[]): { frames: string[]; counts: number[] } {
  const context = testContext({ count: 64 + packets.reduce((n, p) => n + segments(p), 0) }, 8);
  const [both, out] = [new Collector(), new Collector()];
  const element = new Coalesce(context, 'coalesce', { offloads: ALL });
  const segment = new Segment(context, 'segment', { medium: MEDIUM, mtu: 65536, offloads: 0 });
  element.connect('out', both);
  segment.connect('out', out);
  pushAll(element, packets.splice(0));
  const counts = both.packets.map(segments);
  pushAll(segment, both.packets.splice(0));
  const frames = out.frames();
  out.release();
  if (context.pool.used + context.jumbo.used > 0) throw new Error('packets did not come home');
  return { frames, counts };
}

t.comment(`seed ${seed}`);

t.test('a super-frame leaves as trains of the datagrams that its segments would be', async (t) => {
  const r = new Random(seed);
  for (const family of FAMILIES) {
    for (const kind of KINDS) {
      let wrong = 0;
      for (let i = 0; i < 30; i++) {
        const flow = flowOf(r, kind);
        const s = setup({ family });
        pushAll(s.seal, [s.super(flow, r.chance(0.5) ? 1 + r.below(100) : 0)]);
        const trains = s.sealed.packets;
        const datagrams = trains.flatMap(datagramsOf);
        if (hexOf(datagrams).join() !== hexOf(twin(flow, family)).join()) wrong++;
        if (!trains.every((p) => p.peer === 0 && p.hash === 0x1234567 && p.tos === 3)) wrong++;
        if (!trains.every((p) => p.csumStart === NONE && p.gap === 0 && p.length <= MAX_TRAIN)) wrong++;
        if (!trains.every((p) => (p.gsoType === GSO_NONE ? datagrams.length === 1 : isTrain(p)))) wrong++;
        t.equal(s.count('seal').sealed, datagrams.length);
        t.same(s.home(), []);
      }
      t.equal(wrong, 0, `${named(kind)}, ESP over IPv${family}`);
    }
  }
});

t.test('what was sealed as trains is opened in place, and is the super-frame again', async (t) => {
  const r = new Random(seed);
  for (const family of FAMILIES) {
    for (const kind of KINDS) {
      let wrong = 0;
      for (let i = 0; i < 30; i++) {
        const flow = flowOf(r, { ...kind, tags: [], flags: tcp.ACK | tcp.PSH });
        const all = segmentsOf(flow);
        const s = setup({ family });
        pushAll(s.seal, [s.super(flow, r.below(2) * r.below(100))]);
        const trains = s.sealed.packets.splice(0);
        const sizes = trains.map(({ gsoSize }) => gsoSize);
        pushAll(s.open, trains);
        const inPlace = s.opened.packets.every((p, n) => p === trains[n]);
        // What the ESP headers and trailers took is a gap now.
        const apart = trains.every((p, n) => p.gsoType === GSO_NONE || p.gsoSize + p.gap === sizes[n]);
        t.equal(s.count('open').opened, all.length);
        const { frames, counts } = coalesce(s.opened.packets);
        if (!inPlace || !apart || frames.join() !== hexOf(all).join()) wrong++;
        if (trains.length === 1 && (counts.length > 1 || counts[0] !== all.length)) wrong++;
        t.same(s.home(), []);
      }
      t.equal(wrong, 0, `${named(kind)}, ESP over IPv${family}`);
    }
  }
});

t.test('what does not fit one train leaves as several', async (t) => {
  const r = new Random(seed);
  for (const kind of KINDS) {
    const common = { ...kind, tags: [7], tcpOptions: new Uint8Array(12), flags: tcp.ACK };
    for (const [size, bytes] of [
      [1400, 45 * 1400 + 300],
      [1400, 43 * 1400],
      [1400, 42 * 1400],
      [200, 60_000],
      [30_000, 60_001],
    ] as const) {
      const flow = flowOf(r, { ...common, size, payload: randomBytes(r, bytes) });
      const s = setup();
      pushAll(s.seal, [s.super(flow)]);
      const trains = s.sealed.packets;
      const first = datagramsOf(trains[0])[0].length;
      const most = Math.floor(MAX_TRAIN / first);
      const counts = trains.map(segments);
      const last = counts.pop()!;
      t.ok(counts.every((n) => n === most) && last <= most, `${named(kind)}: ${counts}, ${last} of ${first}`);
      for (const p of trains) t.ok(p.length <= MAX_TRAIN && p.end <= p.bytes.length, `${p.length} bytes`);
      t.ok(hexOf(trains.flatMap(datagramsOf)).join() === hexOf(twin(flow, 4)).join(), 'as the twin has it');
      pushAll(s.open, trains.splice(0));
      const { frames } = coalesce(s.opened.packets);
      t.ok(frames.join() === hexOf(segmentsOf(flow)).join(), 'as it was sent');
      t.same(s.home(), []);
    }
  }
});

t.test('what contradicts itself is dropped whole', async (t) => {
  const flow = flowOf(new Random(1), { ...KINDS[0], tags: [], size: 100, payload: new Uint8Array(450) });
  for (const change of [
    (p: Packet) => void (p.gsoSize = 0),
    (p: Packet) => void (p.hdrLen -= 4),
    (p: Packet) => void (p.hdrLen = 0),
    (p: Packet) => void (p.gap = 30),
    (p: Packet) => void p.view.setUint8(p.start + 22, 0x65),
    (p: Packet) => void p.end--,
  ]) {
    const s = setup();
    const p = s.super(flow);
    change(p);
    pushAll(s.seal, [p]);
    t.equal(s.sealed.packets.length, 0);
    t.equal(s.seal.dropped(drops.MALFORMED), 1);
    t.same(s.home(), []);
  }
});

/** What happens to a datagram of a train on its way, and how its loss is told. */
interface Fate {
  readonly name: string;
  /** Counter of its loss; none where it arrives. */
  readonly reason: drops.Drop | 'keepalives' | 'dummies' | 'control' | null;
  /** Whether what arrives is shorter than it was sent. */
  readonly padded?: boolean;
  change(s: ReturnType<typeof setup>, datagram: Uint8Array): Uint8Array;
}

/** Bytes of the payload of a datagram that is sealed as these tests do. */
const room = (datagram: Uint8Array) => esp.maxPayload({ icv: 16 }, datagram.length);
/** UDP to VXLAN's port that fills `bytes` but for TFC padding. */
function udpOf(bytes: number, port = 4789, length = bytes): Uint8Array {
  const payload = new Uint8Array(bytes);
  udp.write(viewOf(payload), 0, 50000, port, length, 0);
  return payload;
}

const FINE: Fate = { name: 'none', reason: null, change: (_, d) => d };
const FATES: readonly Fate[] = [
  {
    name: 'a wrong ICV',
    reason: drops.BAD_ICV,
    change: (_, d) => d.map((x, i) => (i === d.length - 1 ? x ^ 1 : x)),
  },
  {
    name: 'a flipped bit of the payload',
    reason: drops.BAD_ICV,
    change: (_, d) => d.map((x, i) => (i === 40 ? x ^ 1 : x)),
  },
  {
    name: 'an unknown SPI',
    reason: drops.UNKNOWN_SPI,
    change: (_, d) => d.map((x, i) => (i === 3 ? x ^ 1 : x)),
  },
  {
    name: 'a datagram that came before',
    reason: drops.REPLAYED,
    change(s, d) {
      const before = s.context.counters.read('open').opened ?? 0;
      const p = s.context.pool.take()!.set(d);
      p.peer = 0;
      pushAll(s.open, [p]);
      if (s.context.counters.read('open').opened !== before + 1) throw new Error('it was not opened');
      s.opened.release();
      return d;
    },
  },
  {
    name: 'a message behind the non-ESP marker',
    reason: 'control',
    change: (_, d) => d.map((x, i) => (i < 4 ? 0 : x)),
  },
  { name: 'a dummy', reason: 'dummies', change: (s, d) => s.sealAny(new Uint8Array(room(d)), 59) },
  {
    name: 'another protocol',
    reason: drops.BAD_TRAILER,
    change: (s, d) => s.sealAny(udpOf(room(d)), tcp.PROTOCOL),
  },
  {
    name: 'another port',
    reason: drops.BAD_TRAILER,
    change: (s, d) => s.sealAny(udpOf(room(d), 4790)),
  },
  {
    name: 'a length beyond the end',
    reason: drops.BAD_TRAILER,
    change: (s, d) => s.sealAny(udpOf(room(d), 4789, room(d) + 1)),
  },
  {
    name: 'TFC padding',
    reason: null,
    padded: true,
    change: (s, d) => s.sealAny(udpOf(room(d), 4789, 60)),
  },
];
/** Of a last datagram alone, which may be shorter. */
const LAST: readonly Fate[] = [
  { name: 'a keepalive', reason: 'keepalives', change: () => Uint8Array.of(0xff) },
  { name: 'three bytes', reason: drops.MALFORMED, change: () => Uint8Array.of(1, 2, 3) },
  { name: 'a truncated one', reason: drops.MALFORMED, change: (_, d) => d.slice(0, -1) },
  { name: 'four bytes less', reason: drops.BAD_ICV, change: (_, d) => d.slice(0, -4) },
];

/** Five datagrams, the last one shorter, each with a fate; opens them and compares. */
function meet(fates: readonly Fate[], gap = 0, more: Setup = {}) {
  const s = setup(more);
  const r = new Random(seed);
  const flow = flowOf(r, {
    ...KINDS[r.below(4)],
    tags: [],
    flags: tcp.ACK,
    // With DF the identification of what was merged across a gap is counted anew (RFC 6864 section 4.1).
    ipFlags: 0,
    size: 100,
    payload: randomBytes(r, 100 * fates.length - 40),
  });
  pushAll(s.seal, [s.super(flow)]);
  const sent = datagramsOf(s.sealed.packets[0]);
  s.sealed.release();
  const changed = sent.map((d, i) => fates[i].change(s, d));
  const before = s.count('open');
  const p = s.openTrain(changed, gap);
  const after = s.count('open');
  const all = segmentsOf(flow);
  const wanted = fates.flatMap(({ reason, padded }, i) => {
    if (reason !== null) return [];
    return [padded ? new Uint8Array(52) : all[i]];
  });
  const counted: Record<string, number> = {};
  for (const [name, n] of Object.entries(after)) {
    const more = n - (before[name] ?? 0);
    if (more !== 0) counted[name] = more;
  }
  const lost: Record<string, number> = {};
  for (const { reason } of fates) {
    const name =
      reason === null ? 'opened' : typeof reason === 'number' ? `drop.${drops.DROPS[reason].name}` : reason;
    lost[name] = (lost[name] ?? 0) + 1;
  }
  return { s, p, wanted: hexOf(wanted), counted, lost };
}

t.test('one datagram of a train goes astray, the others arrive in order', async (t) => {
  for (const gap of [0, 20]) {
    for (const [i, fates] of [
      [0, FATES],
      [2, FATES],
      [4, [...FATES, ...LAST]],
    ] as const) {
      for (const fate of fates) {
        const { s, p, wanted, counted, lost } = meet(
          [0, 1, 2, 3, 4].map((n) => (n === i ? fate : FINE)),
          gap,
        );
        const what = `${fate.name}, ${['first', 'middle', 'last'][i / 2]}, gap ${gap}`;
        t.same(counted, lost, what);
        const copied = s.opened.packets.every((q) => q !== p);
        const stays = fate.padded && i === 4;
        t.equal(copied, !stays, stays ? 'a shorter last one leaves the train whole' : 'copies');
        t.same(coalesce(s.opened.packets).frames, wanted);
        if (fate.reason === 'control') {
          t.equal(s.control.packets.length, 1);
          t.equal(s.control.packets[0].peer, 0, 'the message is known to be of the peer');
          t.equal(s.control.packets[0].gsoType, GSO_NONE);
        }
        t.same(s.home(), []);
      }
    }
  }
});

t.test('many do', async (t) => {
  const r = new Random(seed);
  const kept = FATES.filter(({ reason }) => reason === null);
  for (let i = 0; i < 200; i++) {
    const n = 1 + r.below(20);
    const pick = (list: readonly Fate[]) => list[r.below(list.length)];
    const good = r.chance(0.1) ? kept : [FINE, FINE, ...FATES];
    const fates = Array.from({ length: n }, () => pick(good));
    if (r.chance(0.3)) fates[n - 1] = pick(LAST);
    const { s, wanted, counted, lost } = meet(fates, r.below(2) * r.below(50));
    const what = fates.map(({ name }) => name).join(', ');
    t.same(counted, lost, what);
    t.same(coalesce(s.opened.packets).frames, wanted, what);
    t.same(s.home(), []);
  }
});

t.test('trains of what is no ESP', async (t) => {
  const s = setup();
  const [ff, marked] = [Uint8Array.of(0xff), Uint8Array.of(0, 0, 0, 0, 9, 8, 7)];
  s.openTrain([ff, ff, ff]);
  t.same(s.count('open'), { keepalives: 3 });
  s.openTrain([marked, marked, ff], 5);
  t.same(s.control.frames(), ['090807', '090807']);
  t.same(s.count('open'), { keepalives: 4, control: 2 });
  const nobody = putTrain(s.context.jumbo.take()!, [marked, marked]);
  pushAll(s.open, [nobody]);
  t.equal(s.open.dropped(drops.UNKNOWN_PEER), 1);
  t.same(s.home(), []);
});

t.test('no packet is free', async (t) => {
  const r = new Random(1);
  const flow = flowOf(r, { ...KINDS[0], tags: [], size: 1400, payload: randomBytes(r, 44 * 1400) });
  const dry = setup({ jumbos: 1 });
  pushAll(dry.seal, [dry.super(flow)]);
  t.same(dry.count('seal'), { 'drop.pool-dry': 44 }, 'not one segment leaves');
  t.same(dry.home(), []);
  const half = setup({ jumbos: 2 });
  pushAll(half.seal, [half.super(flow)]);
  t.same(half.count('seal'), { sealed: 43, 'drop.pool-dry': 1 }, 'the first train alone');
  t.same(half.sealed.packets.map(segments), [43]);
  t.same(half.home(), []);

  const wrong = FATES[0];
  const { s, counted } = meet([FINE, wrong, FINE, wrong, FINE], 0, { count: 2, jumbos: 2 });
  t.same(counted, { opened: 3, 'drop.bad-icv': 2, 'drop.pool-dry': 1 });
  t.equal(s.opened.packets.length, 2);
  t.same(s.home(), []);
  const none = setup({ count: 1 });
  const held = none.context.pool.take()!;
  const sent = [1, 2, 3].map(() => none.sealAny(udpOf(60)));
  none.openTrain([...sent, new Uint8Array(sent[0].length), wrong.change(none, none.sealAny(udpOf(60)))]);
  const told = { opened: 3, 'drop.pool-dry': 4, 'drop.bad-icv': 1 };
  t.same(none.count('open'), told, 'the message is lost too, and what is wrong is told as that');
  none.context.pool.give(held);
  t.same(none.home(), []);
});

t.test('the numbers of a key are used up within a train', async (t) => {
  const r = new Random(1);
  const flow = flowOf(r, { ...KINDS[0], tags: [], size: 100, payload: randomBytes(r, 1000) });
  const s = setup({ limits: { softPackets: 4, hardPackets: 15 } });
  pushAll(s.seal, [s.super(flow)]);
  t.same(s.sealed.packets.map(segments), [10]);
  t.same(s.rekeys, [0], 'a new key is asked for once the soft limit has passed');
  pushAll(s.seal, [s.super(flow), s.super(flow)]);
  t.same(s.sealed.packets.map(segments), [10], 'no part of a train without numbers leaves');
  t.same(s.count('seal'), { sealed: 10, rekey: 1, 'drop.sequence-exhausted': 20 });
  t.same(s.rekeys, [0]);
  t.same(s.home(), []);
  const closed = setup();
  closed.sa.close();
  pushAll(closed.seal, [closed.super(flow)]);
  t.same(closed.count('seal'), { 'drop.no-sa': 10 });
  t.same(closed.home(), []);
});

t.test('it allocates nothing', async (t) => {
  const reason = noNative();
  if (reason !== null) {
    skip(t, reason);
    return;
  }
  const context = createContext();
  const key = { ...KEY, provider: openssl() };
  const [sadA, sadB] = [new Sad(16), new Sad(16)];
  sadA.setOutbound(new OutboundSa(key));
  sadB.set(new InboundSa(key));
  const common = { vteps: vtepsOf([2], 4), medium: MEDIUM, local: vtep(2, 4) };
  const seal = new EspSeal(context, 'seal', { ...common, sad: sadA });
  const open = new EspOpen(context, 'open', { ...common, sad: sadB });
  seal.connect('out', open);
  const merge = new Coalesce(context, 'coalesce', { offloads: ALL });
  open.connect('out', merge);
  merge.connect('out', { push: (batch) => batch.release() });
  const batch = new Batch();
  for (const kind of KINDS) {
    const r = new Random(1);
    const flow = flowOf(r, { ...kind, tags: [], size: 1200, payload: randomBytes(r, 40 * 1200) });
    const like = putSuper(context.jumbo.take()!, flow);
    like.peer = 0;
    const used = bytesPerPacket((n) => {
      for (let i = 0; i < n; i += 40) {
        const p = context.jumbo.take()!;
        p.copyNotes(like);
        p.pool.copy(like, like.start, like.end, p, p.start);
        batch.add(p);
        seal.push(batch);
      }
    }, 1024);
    t.ok(used < MOST, `${named(kind)}: ${used.toFixed(2)} bytes a segment of ${headersOf(flow)} + 1200`);
    context.jumbo.give(like);
  }
  const { sealed } = context.counters.read('seal');
  t.ok(sealed > 10_000);
  t.same(context.counters.read('open'), { opened: sealed });
  t.equal(context.counters.read('coalesce').pieces, sealed);
  t.equal(context.pool.used + context.jumbo.used, 0);
});
