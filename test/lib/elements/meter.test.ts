import t from 'tap';
import * as ethernet from '../../../codecs/ethernet.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { MALFORMED, RATE_LIMITED } from '../../../lib/core/drop.ts';
import { GSO_UDP_L4, NONE, type Packet, remote } from '../../../lib/core/packet.ts';
import { Meter, type MeteredPort } from '../../../lib/elements/meter.ts';
import { Fdb } from '../../../lib/tables/fdb.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';

const BROADCAST = [0xffff, 0xffffffff] as const;
const MULTICAST = [0x3333, 0xfffffffe] as const;
const UNKNOWN = [0x0200, 0xfffffff1] as const;
const KNOWN = [0x0200, 0xfffffff2] as const;

function setup(ports: readonly MeteredPort[]) {
  const context = testContext();
  const fdb = new Fdb({ capacity: 100, seed });
  fdb.set(1, ...KNOWN, 9);
  fdb.set(2, ...UNKNOWN, 9); // in another network
  const options = { domain: 1, fdb, ports };
  const meter = new Meter(context, 'meter', options);
  const out = new Collector();
  meter.connect('out', out);
  const packet = (from: number, to: readonly [number, number], length = 60): Packet => {
    const p = context.pool.take()!.set(new Uint8Array(length));
    ethernet.write(p.view, p.start, to[0], to[1], 0x0200, 1, 0x88b5);
    p.port = from;
    return p;
  };
  /** How many of `count` equal frames pass. */
  const pass = (count: number, from: number, to: readonly [number, number]): number => {
    const batch = new Batch();
    for (let i = 0; i < count; i++) batch.add(packet(from, to));
    meter.push(batch);
    if (batch.length > 0) throw new Error('the batch was not emptied');
    const n = out.packets.length;
    out.release();
    return n;
  };
  return { context, meter, options, out, packet, pass };
}

t.test('what would be flooded is limited, what is known is not', async (t) => {
  const { context, meter, pass } = setup([{ place: 1, packetsPerSecond: 100, burst: 10 }]);
  t.equal(pass(4, 1, BROADCAST), 4);
  t.equal(pass(4, 1, MULTICAST), 4);
  t.equal(pass(4, 1, UNKNOWN), 2, 'the three kinds share one bucket');
  t.equal(pass(32, 1, KNOWN), 32);
  t.equal(meter.dropped(RATE_LIMITED), 2);
  t.equal(context.pool.used, 0);
});

t.test('tokens come with time, up to the burst', async (t) => {
  const { context, pass } = setup([{ place: 1, packetsPerSecond: 100, burst: 5 }]);
  t.equal(pass(32, 1, BROADCAST), 5);
  context.clock.advance(9.5);
  t.equal(pass(32, 1, BROADCAST), 0);
  context.clock.advance(0.5);
  t.equal(pass(32, 1, BROADCAST), 1, 'a refused frame costs nothing');
  context.clock.advance(30);
  t.equal(pass(32, 1, BROADCAST), 3);
  context.clock.advance(1e9);
  t.equal(pass(32, 1, BROADCAST), 5);
  let passed = 0;
  for (let i = 0; i < 1000; i++) {
    context.clock.advance(10);
    passed += pass(3, 1, BROADCAST);
  }
  t.equal(passed, 1000, '10 seconds at 100 a second');
  t.equal(context.pool.used, 0);
});

t.test('ports have buckets of their own, others are not metered', async (t) => {
  const { context, pass } = setup([
    { place: 7, packetsPerSecond: 3 },
    { place: 65535, packetsPerSecond: 0.1 },
    { place: 0, packetsPerSecond: 0 },
  ]);
  t.equal(pass(32, 7, BROADCAST), 3, 'the burst is one second by default');
  t.equal(pass(32, 65535, BROADCAST), 1, 'and at least one');
  t.equal(pass(32, 0, BROADCAST), 1);
  for (const from of [8, NONE, remote(7)]) t.equal(pass(32, from, BROADCAST), 32);
  context.clock.advance(1000);
  t.equal(pass(32, 0, BROADCAST), 0, 'a rate of 0 gives nothing back');
  t.equal(context.pool.used, 0);
});

t.test('packets stay in order, what is no frame is dropped', async (t) => {
  const { context, meter, out, packet } = setup([{ place: 1, packetsPerSecond: 1 }]);
  const batch = new Batch();
  const frames = [packet(1, KNOWN), packet(1, BROADCAST), packet(1, BROADCAST), packet(2, BROADCAST)];
  for (const p of [...frames, packet(1, KNOWN, 13), packet(1, KNOWN)]) batch.add(p);
  for (let i = 0; i < batch.length; i++) batch.packets[i].hash = i;
  const short = batch.packets[4];
  short.end = short.start + 13;
  meter.push(batch);
  t.same(
    out.packets.map((p) => p.hash),
    [0, 1, 3, 5],
  );
  t.same([meter.dropped(RATE_LIMITED), meter.dropped(MALFORMED)], [1, 1]);
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('a super-frame costs its segments, on credit', async (t) => {
  const { context, meter, out, packet, pass } = setup([{ place: 1, packetsPerSecond: 10, burst: 2 }]);
  const p = packet(1, BROADCAST, 1042);
  p.gsoType = GSO_UDP_L4;
  p.gsoSize = 100;
  p.hdrLen = 42;
  const batch = new Batch();
  batch.add(p);
  meter.push(batch);
  t.equal(out.packets.length, 1, '10 segments pass on 2 tokens');
  out.release();
  context.clock.advance(800);
  t.equal(pass(32, 1, BROADCAST), 0, 'the debt is paid');
  context.clock.advance(100);
  t.equal(pass(32, 1, BROADCAST), 1);
  t.equal(context.pool.used, 0);
});

t.test('a port keeps its tokens when others change', async (t) => {
  const { context, meter, options, pass } = setup([
    { place: 1, packetsPerSecond: 10, burst: 10 },
    { place: 2, packetsPerSecond: 10, burst: 10 },
  ]);
  t.equal(pass(8, 1, BROADCAST), 8);
  context.clock.advance(100);
  const ports = [
    { place: 3, packetsPerSecond: 10, burst: 4 },
    { place: 1, packetsPerSecond: 20, burst: 10 },
  ];
  t.ok(meter.configure({ ...options, ports }));
  t.equal(pass(32, 1, BROADCAST), 3, 'what it had, and the time gone by at the old rate');
  t.equal(pass(32, 3, BROADCAST), 4);
  t.equal(pass(32, 2, BROADCAST), 32, 'no longer metered');
  context.clock.advance(100);
  t.equal(pass(32, 1, BROADCAST), 2, 'at the new rate');
  t.equal(context.pool.used, 0);
});

t.test('options that are none are refused', async (t) => {
  const { context, meter, options } = setup([]);
  const refused = (port: MeteredPort, message: string | RegExp) => {
    t.throws(() => new Meter(context, 'other', { ...options, ports: [port] }), { message });
    t.throws(() => meter.configure({ ...options, ports: [port] }), { message });
  };
  refused({ place: 1, packetsPerSecond: -1 }, '"packetsPerSecond" expected a number of at least 0, got -1');
  refused({ place: 1, packetsPerSecond: Number.NaN }, /"packetsPerSecond"/);
  refused({ place: 1, packetsPerSecond: 1, burst: 0.5 }, '"burst" expected a number of at least 1, got 0.5');
  refused({ place: -1, packetsPerSecond: 1 }, '"ports" expected a local place 0..65535, got -1');
});
