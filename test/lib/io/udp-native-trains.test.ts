/**
 * Trains and super-frames through the native UDP port. What leaves is compared, datagram by datagram, with what a
 * socket of node:dgram receives; what comes in, with what was sent.
 */
import t, { type Test } from 'tap';
import { parse } from '../../../codecs/ip.ts';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import * as drops from '../../../lib/core/drop.ts';
import { isTrain, type Packet } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { type UdpNativeOptions, UdpNativePort } from '../../../lib/io/udp-native.ts';
import { type TestContext, testContext, testHost } from '../../gen/context.ts';
import { FarSocket, hasIpv6, until } from '../../gen/far-socket.ts';
import { seed } from '../../gen/seed.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import {
  finishChecksum,
  flowOf,
  frameOf,
  networkOf,
  putSuper,
  randomBytes,
  segmentsOf,
  setPartial,
} from '../../gen/super-frames.ts';
import { datagramsOf, putTrain } from '../../gen/trains.ts';
import { difference } from './conformance.ts';

/** Bytes of a batch. */
const BUDGET = 100_000;
const ROUNDS = 60;

const random = new Random(seed);
t.comment(`seed ${seed}`);

const bytes = (n: number) => randomBytes(random, n);
const hex = (frame: Uint8Array) => Buffer.from(frame).toString('hex');

interface Stand {
  readonly context: TestContext;
  readonly port: UdpNativePort;
  readonly fars: readonly FarSocket[];
  readonly batch: Batch;
}

/** A port with an MTU of 9000 and two far sockets as its peers 0 and 1. */
async function stand(t: Test, options: Partial<UdpNativeOptions>): Promise<Stand> {
  const { address = '127.0.0.1' } = options;
  const context = testContext({ count: 512, slot: 9600 });
  const port = new UdpNativePort({ port: 0, mtu: 9000, ...options, address });
  const fars: FarSocket[] = [];
  for (const there of address === '::1' ? ['::1', '::1'] : ['127.0.0.2', '127.0.0.3']) {
    const far = await FarSocket.at(there);
    fars.push(far.enlarge(16 << 20));
    port.peers.set({ address: parse(there), port: far.port });
    if (address === '::1') break; // it has but one
  }
  await port.open(testHost(context));
  t.teardown(async () => {
    await port.close();
    for (const far of fars) await far.close();
    if (context.pool.used + context.jumbo.used > 0) throw new Error('packets did not come home');
  });
  return { context, port, fars, batch: new Batch() };
}

/** A packet, and the datagrams that it is to become. */
type Wanted = [Packet, readonly Uint8Array[]];

/** An ordinary datagram. */
function plain({ context }: Stand): Wanted {
  const frame = bytes(random.chance(0.3) ? 1200 : 1 + random.below(9000));
  return [context.pool.take()!.set(frame), [frame]];
}

/** A datagram with a frame in it whose checksum is still to be completed. */
function partial({ context }: Stand): Wanted {
  const flow = flowOf(random, { size: 1000, payload: bytes(1 + random.below(1000)) });
  const frame = frameOf(flow, 0, flow.flags, flow.payload);
  const p = context.pool.take()!.set(frame);
  setPartial(p, flow);
  finishChecksum(flow, frame);
  return [p, [frame]];
}

/** A train, with or without gaps. */
function train({ context }: Stand): Wanted {
  const size = 1 + random.below(random.chance(0.3) ? 30 : 9000);
  const gap = random.chance(0.5) ? random.below(100) : 0;
  const n = 2 + random.below(Math.min(200, Math.floor(40_000 / (size + gap))));
  const last = 1 + random.below(size);
  const datagrams = Array.from({ length: n }, (_, i) => bytes(i === n - 1 ? last : size));
  return [putTrain(context.jumbo.take()!, datagrams, gap), datagrams];
}

/** A frame of a tunnel, of many segments. */
function superFrame({ context }: Stand): Wanted {
  const size = random.chance(0.1) ? 20 : 500 + random.below(900);
  const flow = flowOf(random, { size, payload: bytes(size + 1 + random.below(40 * size)) });
  const p = putSuper(context.jumbo.take()!, flow, random.chance(0.5) ? random.below(100) : 0);
  p.l3 = p.start + networkOf(flow);
  return [p, segmentsOf(flow)];
}

const MAKERS = [plain, plain, plain, partial, train, superFrame];

/** Sends random batches, and compares what each flow to each peer became. */
async function mixes(t: Test, s: Stand, sockets: number): Promise<void> {
  let [count, total] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    const want = new Map<string, string[]>();
    let [left, wanted, room] = [BUDGET, 0, 1 + random.below(BATCH)];
    for (; room > 0 && left > 0; room--) {
      const [p, datagrams] = MAKERS[random.below(MAKERS.length)](s);
      p.peer = random.below(s.fars.length);
      p.hash = random.chance(0.5) ? 0 : random.int32();
      p.tos = random.chance(0.7) ? 0 : random.below(256);
      // Those of one peer and source port stay in order.
      const key = `${p.peer} ${(p.hash >>> 0) % sockets}`;
      want.set(key, [...(want.get(key) ?? []), ...datagrams.map(hex)]);
      for (const datagram of datagrams) {
        left -= datagram.length;
        wanted++;
        total += datagram.length;
      }
      s.batch.add(p);
    }
    count += wanted;
    s.port.send(s.batch);
    const got = await collect(s, wanted);
    if (compare(want, got) !== null)
      return void t.same(compare(want, got), null, `round ${round}, seed ${seed}`);
  }
  const { txPackets, txBytes, dropped } = s.port.stats;
  t.same([txPackets, txBytes, dropped], [count, total, 0], 'counted');
}

/** What the far sockets got, by peer and source port. */
async function collect(s: Stand, count: number): Promise<Map<string, string[]>> {
  const got = new Map<string, string[]>();
  let n = 0;
  await until(() => {
    for (const [peer, far] of s.fars.entries()) {
      for (const { frame, port } of far.collect()) {
        got.set(`${peer} ${port}`, [...(got.get(`${peer} ${port}`) ?? []), hex(frame)]);
        n++;
      }
    }
    return n >= count;
  });
  return got;
}

/** Null where both hold the same flows. Source ports are not known, but each way has one of its own. */
function compare(want: Map<string, string[]>, got: Map<string, string[]>): unknown {
  const flows = (map: Map<string, string[]>) =>
    [...map].map(([key, frames]) => `${key[0]} ${frames.join()}`).sort();
  const [a, b] = [flows(want), flows(got)];
  const i = a.findIndex((flow, i) => flow !== b[i]);
  if (i < 0 && a.length === b.length) return null;
  return { flows: [a.length, b.length], lengths: [a[i]?.length, b[i]?.length] };
}

/** Trains between two native ports, cut apart where they arrive. */
async function between(t: Test, options: Partial<UdpNativeOptions>): Promise<void> {
  const s = await stand(t, options);
  const there = new UdpNativePort({ address: s.port.address, port: 0, mtu: 9000, ...options });
  await there.open(testHost(s.context));
  t.teardown(() => there.close());
  const peer = s.port.peers.set({ address: parse(there.address), port: there.port });
  there.peers.set({ address: parse(s.port.address), port: s.port.port });
  const inward = new Batch();
  let [trains, count] = [0, 0];
  for (let round = 0; round < 100; round++) {
    const [p, want] = train(s);
    p.peer = peer;
    p.tos = random.below(256);
    const { tos } = p;
    s.batch.add(p);
    s.port.send(s.batch);
    const got: Uint8Array[] = [];
    await until(() => {
      there.receive(inward);
      for (let i = 0; i < inward.length; i++) {
        const p = inward.packets[i];
        if (isTrain(p)) trains++;
        if (p.tos !== tos) throw new Error(`TOS ${p.tos}, sent was ${tos}`);
        got.push(...datagramsOf(p));
      }
      inward.release();
      return got.length >= want.length;
    });
    count += want.length;
    if (difference(got, want) !== null) return void t.same(difference(got, want), null, `seed ${seed}`);
  }
  t.equal(there.stats.rxPackets, count, 'each datagram is counted');
  t.equal(trains > 50, s.port.segmentation, `${trains} trains came as such`);
}

/** A train of which the jumbo pool has no packet left, and one that comes when it has again. */
async function dry(t: Test): Promise<void> {
  const s = await stand(t, { segmentation: true });
  const there = new UdpNativePort({ address: '127.0.0.9', port: 0, segmentation: true });
  await there.open(testHost(s.context));
  t.teardown(() => there.close());
  there.peers.set({ address: parse('127.0.0.1'), port: 1 });
  const peer = s.port.peers.set({ address: parse('127.0.0.9'), port: there.port });
  const want = Array.from({ length: 20 }, () => bytes(1000));
  const hoard: Packet[] = [];
  const sendTrain = (p: Packet) => {
    s.batch.add(Object.assign(putTrain(p, want), { peer }));
    s.port.send(s.batch);
  };
  const first = s.context.jumbo.take()!;
  for (let p = s.context.jumbo.take(); p !== null; p = s.context.jumbo.take()) hoard.push(p);
  sendTrain(first);
  hoard.push(s.context.jumbo.take()!);
  const inward = new Batch();
  await until(() => there.receive(inward) > 0 || there.stats.dropped > 0);
  t.equal(there.stats.droppedFor(drops.POOL_DRY), 20, 'counted by the datagram');
  sendTrain(hoard.pop()!);
  await until(() => there.receive(inward) > 0);
  t.same(difference(datagramsOf(inward.packets[0]), want), null);
  inward.release();
  for (const p of hoard) p.pool.give(p);
}

/** What contradicts itself is dropped, and what is around it leaves. */
async function lies(t: Test): Promise<void> {
  const s = await stand(t, {});
  const change = (more: Partial<Packet>, [p]: Wanted) =>
    s.batch.add(Object.assign(p, { peer: 0, hash: 0 }, more));
  const [first, second] = [plain(s), plain(s)];
  change({}, first);
  change({ l3: -1 }, superFrame(s));
  change({ hdrLen: 20 }, superFrame(s));
  change({ gsoSize: 0 }, superFrame(s));
  change({ gsoSize: 9000 }, train(s));
  change({ gsoSize: 9001 }, train(s));
  change({ csumStart: 5 }, partial(s));
  change({ csumOffset: 9000 }, partial(s));
  change({}, second);
  const sent = s.batch.length;
  s.port.send(s.batch);
  const got: Uint8Array[] = [];
  await until(() => {
    got.push(...s.fars[0].collect().map(({ frame }) => frame));
    return got.some((frame) => hex(frame) === hex(second[1][0]));
  });
  t.equal(hex(got[0]), hex(first[1][0]));
  t.equal(s.port.stats.droppedFor(drops.MALFORMED) + s.port.stats.droppedFor(drops.TOO_BIG), sent - 3);
}

const reason = noNative() ?? noNamespaces();
if (reason !== null) skip(t, reason);
else {
  const six = await hasIpv6();
  for (const address of six ? ['127.0.0.1', '::1'] : ['127.0.0.1']) {
    for (const segmentation of [true, false]) {
      const options = { address, segmentation };
      const how = `${address}, segmentation ${segmentation}`;
      t.test(`mixes from ${how}`, async (t) => mixes(t, await stand(t, { ...options, sourcePorts: 4 }), 4));
      t.test(`mixes from ${how}, one socket`, async (t) => {
        await mixes(t, await stand(t, { ...options, sourcePorts: 1 }), 1);
      });
      t.test(`trains to and from ${how}`, (t) => between(t, options));
    }
  }
  if (!six) skip(t, 'this machine has no ::1');
  t.test('no packet for a train', dry);
  t.test('packets that lie', lies);
}
