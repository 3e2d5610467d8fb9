import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { INBOUND, OUTBOUND } from '../../../codecs/capture.ts';
import { readCapture } from '../../../codecs/capture-reader.ts';
import { parse } from '../../../codecs/ip.ts';
import * as linktype from '../../../codecs/linktype.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { VirtualClock } from '../../../lib/core/clock.ts';
import { GSO_UDP_L4, type Packet } from '../../../lib/core/packet.ts';
import { DebugPool } from '../../../lib/core/pool.ts';
import { Random } from '../../../lib/core/random.ts';
import { MemoryUnderlay, memoryPair } from '../../../lib/io/memory.ts';
import {
  CHECKSUM,
  GAPS,
  IP,
  type Port,
  type PortError,
  TRAIN,
  TSO4,
  TSO6,
  USO,
} from '../../../lib/io/port.ts';
import { Capture, type CaptureOptions } from '../../../lib/io/wrap/capture.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import { flowOf, putSuper, putTrain, randomBytes } from '../../gen/super-frames.ts';
import { type Bench, FarPort, portConformance, type Rig } from './conformance.ts';

const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

async function captured(bench: Bench): Promise<Rig> {
  const [inner, other] = memoryPair();
  const far = new FarPort(other, bench);
  await far.open();
  const port = new Capture(inner, { to: () => {} });
  const { deliver, collect, close } = far;
  return { port, deliver, collect, close, lost: () => other.stats.dropped };
}

const LOCAL = { address: '192.0.2.1', port: 4789 };

async function datagrams(bench: Bench): Promise<Rig> {
  const underlay = new MemoryUnderlay();
  const inner = underlay.port('192.0.2.1');
  const other = underlay.port('192.0.2.2');
  inner.peers.set({ address: parse('192.0.2.2'), port: 4789 });
  const far = new FarPort(other, bench, other.peers.set({ address: parse('192.0.2.1'), port: 4789 }));
  await far.open();
  const port = new Capture(inner, { to: () => {}, local: LOCAL });
  const { deliver, collect, close } = far;
  return { port, deliver, collect, close, lost: () => other.stats.dropped };
}

portConformance(t, 'capture', captured, { copies: false });
portConformance(t, 'capture of datagrams', datagrams, { copies: false });

/** A port that is captured into memory, and its far end, both open. */
async function stand(inner: Port, other: Port, options: Partial<CaptureOptions> = {}) {
  const parts: Uint8Array[] = [];
  const context = { ...testContext(), clock: new VirtualClock(1_700_000_000_000.5) };
  const errors: PortError[] = [];
  const port = new Capture(inner, {
    to: (bytes) => parts.push(bytes.slice()),
    onError: (error) => errors.push(error),
    ...options,
  });
  const [here, far] = [new FarPort(port, context), new FarPort(other, context)];
  await here.open();
  await far.open();
  const finish = async () => {
    await port.close();
    await other.close();
    return readCapture(Buffer.concat(parts));
  };
  return { port, here, far, context, errors, parts, finish };
}

t.test('both directions, unchanged, with time and direction', async (t) => {
  const [inner, other] = memoryPair({ name: 'cable' });
  const { here, far, context, finish, port } = await stand(inner, other, { comment: 'a test' });
  const frames = [60, 1514, 14].map((length) => new Uint8Array(length).fill(length));
  here.deliver([frames[0], frames[1]]);
  context.clock.advance(1234.25);
  far.deliver([frames[2]]);
  t.same(far.collect().map(hex), [frames[0], frames[1]].map(hex));
  t.same(here.collect().map(hex), [hex(frames[2])]);
  t.ok(port.capturing);
  const { packets, interfaces, sections, error } = await finish();
  t.notOk(port.capturing);
  t.equal(error, null);
  t.match(sections, [{ application: 'packetweave', comments: ['a test'] }]);
  t.match(interfaces, [{ name: 'cable.a', link: linktype.ETHERNET, resolution: 9 }]);
  t.match(packets, [
    { flags: OUTBOUND, seconds: 1_700_000_000, nanoseconds: 500_000 },
    { flags: OUTBOUND, seconds: 1_700_000_000, nanoseconds: 500_000 },
    { flags: INBOUND, seconds: 1_700_000_001, nanoseconds: 234_750_000 },
  ]);
  t.same(
    packets.map(({ bytes }) => hex(bytes)),
    frames.map(hex),
  );
  t.equal(context.pool.used, 0);
});

t.test('what the port says about itself shines through', async (t) => {
  const [inner] = memoryPair({ mtu: 9000, medium: IP, offloads: 3 });
  const port = new Capture(inner, { to: () => {}, interface: 'other' });
  t.same([port.name, port.mtu, port.medium, port.offloads], [inner.name, 9000, IP, 3]);
  t.equal(port.stats, inner.stats);
  t.equal(port.peers, undefined);
  const { finish } = await stand(...memoryPair({ medium: IP }), { interface: 'tun0' });
  t.match((await finish()).interfaces, [{ name: 'tun0', link: linktype.RAW }]);
});

const ONE = '20010db8000000000000000000000001';
const TWO = '20010db8000000000000000000000002';
/** What goes out, twice, what comes in, and what goes to a peer that nobody knows; bytes made with scapy. */
const OUTER = {
  '192.0.2.1 192.0.2.2': [
    '020000000002020000000001080045000021000040004011b6c8c0000201c000020212b52118000d3efd0102030405',
    '02000000000202000000000108004500001c000040004011b6cdc0000201c000020212b521180008480d',
    '02000000000102000000000208004500001d000040004011b6ccc0000202c0000201211812b50009420b06',
    '02000000000202000000000108004500001d00004000401178cfc00002010000000012b500000009242607',
  ],
  '2001:db8::1 2001:db8::2': [
    `02000000000202000000000186dd60000000000d1140${ONE}${TWO}12b52118000d678c0102030405`,
    `02000000000202000000000186dd6000000000081140${ONE}${TWO}12b521180008709c`,
    `02000000000102000000000286dd6000000000091140${TWO}${ONE}211812b500096a9a06`,
    `02000000000202000000000186dd6000000000091140${ONE}${'0'.repeat(32)}12b500000009b86d07`,
  ],
};

t.test('outer headers of datagrams are made up, over IPv4 and IPv6', async (t) => {
  for (const [addresses, expected] of Object.entries(OUTER)) {
    const [us, them] = addresses.split(' ');
    const underlay = new MemoryUnderlay();
    const [inner, other] = [underlay.port(us), underlay.port(them)];
    inner.peers.set({ address: parse(them), port: 8472 });
    other.peers.set({ address: parse(us), port: 4789 });
    const local = { address: parse(us), port: 4789 };
    const { here, far, finish, context } = await stand(inner, other, { local });
    const payload = [new Uint8Array([1, 2, 3, 4, 5]), new Uint8Array(0)];
    here.deliver(payload);
    far.deliver([new Uint8Array([6])]);
    t.same(far.collect().map(hex), payload.map(hex));
    t.same(here.collect().map(hex), ['06']);
    new FarPort(here.port, context, 77).deliver([new Uint8Array([7])]);
    const { packets, error } = await finish();
    t.equal(error, null);
    t.same(
      packets.map(({ bytes }) => hex(bytes)),
      expected,
    );
    t.equal(context.pool.used, 0);
  }
});

t.test('a train is written as the datagrams that it is made of', async (t) => {
  const underlay = new MemoryUnderlay();
  const [inner, other] = [underlay.port('192.0.2.1', { offloads: TRAIN }), underlay.port('192.0.2.2')];
  inner.peers.set({ address: parse('192.0.2.2'), port: 4789 });
  const { port, finish, context } = await stand(inner, other, { local: LOCAL });
  const p = context.pool.take()!.set(new Uint8Array(250).fill(9));
  p.peer = 0;
  p.gsoType = GSO_UDP_L4;
  p.gsoSize = 100;
  const batch = new Batch();
  batch.add(p);
  port.send(batch);
  const { packets } = await finish();
  t.same(
    packets.map(({ bytes }) => bytes.length - 42),
    [100, 100, 50],
  );
});

t.test('payload that lies in pieces is written as if it lay together', async (t) => {
  const offloads = TRAIN | GAPS | CHECKSUM | TSO4 | TSO6 | USO;
  const r = new Random(seed);
  const hosts = (): [Port, Port] => {
    const underlay = new MemoryUnderlay();
    const [inner, other] = [
      underlay.port('192.0.2.1', { offloads }),
      underlay.port('192.0.2.2', { offloads }),
    ];
    inner.peers.set({ address: parse('192.0.2.2'), port: 4789 });
    return [inner, other];
  };
  const cable = () => memoryPair({ offloads });
  // An odd size, so that checksums meet pieces at odd places.
  const flow = flowOf(r, { size: 333, payload: randomBytes(r, 2000) });
  const datagrams = [0, 1, 2].map((i) => randomBytes(r, i < 2 ? 101 : 50));
  const cases: [string, () => [Port, Port], (p: Packet, gap: number) => Packet, number][] = [
    ['a super-frame', cable, (p, gap) => putSuper(p, { ...flow, prefix: new Uint8Array(0) }, gap), 1],
    ['a super-frame in VXLAN', hosts, (p, gap) => putSuper(p, flow, gap), 1],
    ['a train', hosts, (p, gap) => putTrain(p, datagrams, gap), 3],
  ];
  for (const [name, ports, put, count] of cases) {
    const record = async (gap: number, snaplen: number) => {
      const { port, finish, context } = await stand(...ports(), { local: LOCAL, snaplen });
      const p = put(context.jumbo.take()!, gap);
      p.peer = 0;
      const batch = new Batch();
      batch.add(p);
      port.send(batch);
      return (await finish()).packets.map(({ bytes, original }) => `${original} ${hex(bytes)}`);
    };
    for (const snaplen of [262144, 128]) {
      const solid = await record(0, snaplen);
      t.equal(solid.length, count, name);
      for (const gap of [1, 42]) t.same(await record(gap, snaplen), solid, `${name}, ${gap} bytes apart`);
    }
  }
});

t.test('the snap length counts made-up headers, and checksums are of the whole', async (t) => {
  const bytes = new Uint8Array(1000).map((_, i) => i);
  const record = async (snaplen: number) => {
    const underlay = new MemoryUnderlay();
    const [inner, other] = [underlay.port('192.0.2.1'), underlay.port('192.0.2.2')];
    inner.peers.set({ address: parse('192.0.2.2'), port: 4789 });
    const { here, finish } = await stand(inner, other, { local: LOCAL, snaplen });
    here.deliver([bytes]);
    return (await finish()).packets[0];
  };
  const [whole, cut] = [await record(262144), await record(128)];
  t.same([whole.bytes.length, whole.original, cut.bytes.length, cut.original], [1042, 1042, 128, 1042]);
  t.equal(hex(cut.bytes), hex(whole.bytes.subarray(0, 128)));
});

t.test('secrets stand in front of the packets that they open', async (t) => {
  const [inner, other] = memoryPair();
  const { port, here, finish } = await stand(inner, other);
  here.deliver([new Uint8Array(60)]);
  port.addSecrets(0x544c534b, new Uint8Array([1, 2, 3]));
  const { secrets, packets } = await finish();
  t.same(secrets, [{ type: 0x544c534b, bytes: new Uint8Array([1, 2, 3]) }]);
  t.equal(packets.length, 1);
});

t.test('opened again, the file goes on', async (t) => {
  const [inner, other] = memoryPair();
  const path = at('again.pcapng');
  const { port, here } = await stand(inner, other, { to: path });
  port.addSecrets(7, new Uint8Array([1]));
  here.deliver([new Uint8Array(60)]);
  await port.close();
  await here.open();
  here.deliver([new Uint8Array(61)]);
  port.tick(2000);
  t.equal(readCapture(readFileSync(path)).packets.length, 2, 'every second it reaches the file');
  here.deliver([new Uint8Array(62)]);
  await port.close();
  const { sections, packets, error, secrets } = readCapture(readFileSync(path));
  t.equal(error, null);
  t.same([sections.length, packets.length, secrets.length], [2, 3, 2]);
  await other.close();
});

t.test('a capture that fails ends, and the port goes on', async (t) => {
  const [inner, other] = memoryPair();
  const { here, far, errors, finish, port } = await stand(inner, other, {
    to: () => {
      throw new Error('no more');
    },
  });
  here.deliver([new Uint8Array(60)]);
  t.same(errors, []);
  port.tick(1000);
  t.match(errors, [{ name: 'PortError', code: 'IO', message: /not taken any more: no more/ }]);
  t.notOk(port.capturing);
  port.addSecrets(1, new Uint8Array(1));
  here.deliver([new Uint8Array(61)]);
  t.same(
    far.collect().map((frame) => frame.length),
    [60, 61],
  );
  await finish();
  t.equal(errors.length, 1);
  if (!existsSync('/dev/full')) return;
  for (const how of ['send', 'close']) {
    const full = await stand(...memoryPair({ capacity: 4096 }), { to: '/dev/full' });
    const frames = Array.from({ length: how === 'send' ? 200 : 1 }, () => new Uint8Array(1514));
    full.here.deliver(frames);
    t.equal(full.errors.length, how === 'send' ? 1 : 0);
    t.equal(full.far.collect().length, frames.length, 'no packet is lost');
    await full.finish();
    t.match(full.errors, [{ code: 'IO', message: '"/dev/full" cannot be written: the disk is full' }]);
    t.equal(full.context.pool.used, 0);
  }
});

t.test('what cannot be opened is closed again', async (t) => {
  const [inner] = memoryPair();
  const host = testHost({ pool: new DebugPool({ count: 1 }) });
  const lost = new Capture(inner, { to: at('no/such/folder') });
  await t.rejects(lost.open(host), { code: 'NO_SUCH_FILE' });
  const port = new Capture(inner, { to: at('fine') });
  await port.open(host);
  await t.rejects(port.open(host), { code: 'STATE' });
  t.ok(port.capturing, 'a second opening changes nothing');
  await port.close();
});

t.test('options are checked', async (t) => {
  const [inner] = memoryPair();
  const underlay = new MemoryUnderlay().port('192.0.2.1');
  t.throws(() => new Capture(inner, { to: 'x', snaplen: 127 }), {
    message: /"snaplen" expected an integer 128/,
  });
  t.throws(() => new Capture(underlay, { to: 'x' }), { message: /"local" expected the address and port/ });
});
