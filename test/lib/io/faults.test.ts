import t from 'tap';
import { parse } from '../../../codecs/ip.ts';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { VirtualClock } from '../../../lib/core/clock.ts';
import { CLOSED, FAULT_INJECTED, PORT_FULL } from '../../../lib/core/drop.ts';
import { Pool } from '../../../lib/core/pool.ts';
import { MemoryUnderlay, memoryPair } from '../../../lib/io/memory.ts';
import { PortError } from '../../../lib/io/port.ts';
import { type FaultOptions, Faults } from '../../../lib/io/wrap/faults.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { bytesPerPacket, MOST } from '../../gen/heap.ts';
import { seed } from '../../gen/seed.ts';
import { type Bench, FarPort, portConformance, type Rig } from './conformance.ts';

/** A cable with faults on this end. */
const cable = (options: FaultOptions) => async (bench: Bench) => {
  const [inner, other] = memoryPair();
  const far = new FarPort(other, bench);
  await far.open();
  const port = new Faults(inner, options);
  const lost = () => other.stats.dropped + port.stats.dropped;
  return { port, deliver: far.deliver, collect: far.collect, close: far.close, lost } satisfies Rig;
};

portConformance(t, 'faults, none of them', cable({ seed }), { copies: false });
portConformance(t, 'faults, a fixed delay', cable({ seed, delay: { min: 5, max: 5 } }), { copies: false });

/** The same on a datagram port. */
async function underlay(bench: Bench): Promise<Rig> {
  const network = new MemoryUnderlay();
  const [inner, other] = [network.port('192.0.2.1'), network.port('192.0.2.2')];
  const far = new FarPort(other, bench, other.peers.set({ address: parse('192.0.2.1'), port: 4789 }));
  inner.peers.set({ address: parse('192.0.2.2'), port: 4789 });
  await far.open();
  const port = new Faults(inner, { seed, delay: { min: 1, max: 1 } });
  const lost = () => other.stats.dropped + port.stats.dropped;
  return { port, deliver: far.deliver, collect: far.collect, close: far.close, lost };
}

portConformance(t, 'faults on datagrams', underlay, { copies: false });

/** Sends `count` numbered frames through faults at one end, a batch every 10 ms, and back. */
async function run(options: FaultOptions, count = 2000) {
  const context = testContext({ count: 4096 });
  const { port, deliver, collect, close } = await cable(options)(context);
  let wakes = 0;
  await port.open(testHost(context, () => wakes++));
  const here = new FarPort(port, context);
  const out: Uint8Array[] = [];
  const back: Uint8Array[] = [];
  const turn = () => {
    port.tick(context.clock.now);
    out.push(...collect());
    back.push(...here.collect());
    context.clock.advance(10);
  };
  for (let i = 0; i < count; i += 20) {
    const frames = Array.from({ length: 20 }, (_, j) => numbered(i + j));
    here.deliver(frames);
    deliver(frames);
    turn();
  }
  for (let i = 0; i < 100; i++) turn();
  const { counts, stats } = port;
  await port.close();
  await close();
  return { out, back, counts, stats, used: context.pool.used, wakes };
}

function numbered(n: number): Uint8Array {
  const frame = new Uint8Array(64);
  new DataView(frame.buffer).setUint32(60, n);
  return frame;
}

const numbers = (frames: readonly Uint8Array[]) =>
  frames.map((frame) => new DataView(frame.buffer, frame.byteOffset).getUint32(60));
const rising = (list: readonly number[]) => list.every((n, i) => i === 0 || n > list[i - 1]);
const hex = (frames: readonly Uint8Array[]) =>
  frames.map((frame) => Buffer.from(frame).toString('hex')).join();

const ALL: FaultOptions = {
  seed,
  drop: 0.1,
  duplicate: 0.1,
  corrupt: 0.1,
  reorder: { probability: 0.1, depth: 8 },
  delay: { min: 1, max: 50 },
};

t.test(`equal seeds do the same, seed ${seed}`, async (t) => {
  const [a, b, other] = [await run(ALL), await run(ALL), await run({ ...ALL, seed: seed + 1 })];
  t.equal(hex(a.out), hex(b.out), 'sent');
  t.equal(hex(a.back), hex(b.back), 'received');
  t.same(a.counts, b.counts);
  t.not(hex(a.out), hex(other.out), 'another seed does something else');
  t.not(hex(a.out), hex(a.back), 'each direction has chances of its own');
  t.same([a.used, b.used, other.used], [0, 0, 0]);
});

t.test('each fault is as likely as asked', async (t) => {
  const near = (n: number, expected: number) => Math.abs(n - expected) < 6 * Math.sqrt(expected);
  const { counts, out, back, stats, used } = await run({ ...ALL, seed: 42 });
  t.ok(near(counts.dropped, 400), `dropped ${counts.dropped} of 4000`);
  t.ok(near(counts.duplicated, 360), `duplicated ${counts.duplicated} of 3600`);
  t.ok(near(counts.corrupted, 396), `corrupted ${counts.corrupted} of 3960`);
  t.ok(near(counts.reordered, 396), `reordered ${counts.reordered} of 3960`);
  t.equal(counts.delayed, 4000 - counts.dropped + counts.duplicated);
  t.equal(stats.droppedFor(FAULT_INJECTED), counts.dropped);
  t.equal(out.length + back.length, 4000 - counts.dropped + counts.duplicated, 'nothing else is lost');
  t.equal(used, 0);
});

t.test('drop', async (t) => {
  const { out, back, stats } = await run({ seed, drop: 1 }, 200);
  t.same([out.length, back.length], [0, 0]);
  t.equal(stats.droppedFor(FAULT_INJECTED), 400);
  t.equal(stats.rxPackets, 200, 'what is dropped behind the wrapped port was received');
  t.equal(stats.txPackets, 0);
});

t.test('duplicate', async (t) => {
  const { out, back } = await run({ seed, duplicate: 1 }, 100);
  const twice = Array.from({ length: 200 }, (_, i) => i >> 1);
  t.same(numbers(out), twice);
  t.same(numbers(back), twice);
});

t.test('corrupt flips one bit', async (t) => {
  const { out } = await run({ seed, corrupt: 1, direction: 'send' }, 200);
  const flipped = out.map((frame, i) => {
    const was = numbered(i);
    return frame.reduce((n, byte, at) => n + (byte ^ was[at]).toString(2).replaceAll('0', '').length, 0);
  });
  t.same(new Set(flipped), new Set([1]));
});

t.test('reorder', async (t) => {
  const { out, back, counts } = await run({ seed, reorder: { probability: 0.2, depth: 4 } });
  for (const list of [numbers(out), numbers(back)]) {
    t.equal(new Set(list).size, 2000, 'nothing is lost');
    t.notOk(rising(list));
    const late = list.map((n, i) => list.slice(0, i).filter((m) => m > n).length);
    t.ok(Math.max(...late) <= 4 + 4, 'nobody is overtaken by many more than the depth');
  }
  t.ok(counts.reordered > 0);
  const few = await run({ seed: 7, reorder: { probability: 0.01, depth: 4 } });
  const list = numbers(few.out);
  const overtaken = list.map((n, i) => list.slice(0, i).filter((m) => m > n).length);
  t.same([...new Set(overtaken)].sort(), [0, 1, 2, 3, 4], 'by 1 to 4 others');
  const alone = await run({ seed, reorder: { probability: 1, depth: 4 } }, 20);
  t.equal(new Set(numbers(alone.out)).size, 20, 'those that nobody overtakes go on by and by');
});

t.test('delay holds each packet for its time', async (t) => {
  const context = testContext();
  const rig = await cable({ seed, delay: { min: 15, max: 15 } })(context);
  const { clock } = context;
  let wakes = 0;
  await rig.port.open(testHost(context, () => wakes++));
  const here = new FarPort(rig.port, context);
  const step = (ms: number) => {
    clock.advance(ms);
    rig.port.tick(clock.now);
    return [numbers(rig.collect()), numbers(here.collect())];
  };
  here.deliver([numbered(1)]);
  rig.deliver([numbered(2)]);
  t.equal(wakes, 1);
  t.same(step(0), [[], []]);
  t.same(step(14), [[], []]);
  t.equal(wakes, 1);
  t.same(step(1), [[1], [2]]);
  t.equal(wakes, 2, 'what is due wakes');
  here.deliver([numbered(3)]);
  clock.advance(20);
  here.deliver([numbered(4)]);
  t.same(numbers(rig.collect()), [3], 'what is due goes before the next, without a tick');
  await rig.port.close();
  t.equal(rig.port.stats.droppedFor(CLOSED), 1, 'what still waited is dropped');
  await rig.close();
  t.equal(context.pool.used, 0);
});

t.test('a wrapped port that fails takes what waits with it', async (t) => {
  const context = testContext();
  const rig = await cable({ seed, delay: { min: 15, max: 15 } })(context);
  const errors: string[] = [];
  rig.port.onError = (error) => errors.push(error.code);
  await rig.port.open(testHost(context));
  new FarPort(rig.port, context).deliver([numbered(1)]);
  t.equal(context.pool.used, 1);
  rig.port.inner.onError!(new PortError('IO', 'gone'));
  t.equal(context.pool.used, 0);
  t.same(errors, ['IO']);
  await rig.port.close();
  await rig.close();
});

t.test('what is delayed is bounded', async (t) => {
  const { out, back, stats, used } = await run({ seed, delay: { min: 1e6, max: 1e6 }, capacity: 50 }, 200);
  t.same([out.length, back.length], [0, 0]);
  t.equal(stats.droppedFor(PORT_FULL), 300);
  t.equal(stats.droppedFor(CLOSED), 100);
  t.equal(used, 0);
});

t.test('one direction alone', async (t) => {
  const sent = await run({ seed, drop: 1, direction: 'send' }, 100);
  t.same([sent.out.length, sent.back.length], [0, 100]);
  const received = await run({ seed, drop: 1, direction: 'receive' }, 100);
  t.same([received.out.length, received.back.length], [100, 0]);
});

t.test('a receiver that drops everything does not hold up the loop, nor lose a wake-up', async (t) => {
  const context = testContext({ count: 8192 });
  const [inner, other] = memoryPair({ capacity: 8192 });
  const far = new FarPort(other, context);
  await far.open();
  const port = new Faults(inner, { seed, drop: 1 });
  let woken = false;
  await port.open(testHost(context, () => (woken = true)));
  far.deliver(Array.from({ length: 5000 }, () => new Uint8Array(60)));
  const batch = new Batch();
  let rounds = 0;
  for (; woken && rounds < 100; rounds++) {
    woken = false;
    t.equal(port.receive(batch), 0);
    port.tick(0);
  }
  t.equal(port.stats.droppedFor(FAULT_INJECTED), 5000);
  t.ok(rounds > 1, 'in more than one go');
  await port.close();
  await far.close();
  t.equal(context.pool.used, 0);
});

t.test('an empty frame and a dry pool are survived', async (t) => {
  const context = testContext({ count: 1 });
  const rig = await cable({ seed, corrupt: 1, duplicate: 1 })(context);
  await rig.port.open(testHost(context));
  const here = new FarPort(rig.port, context);
  here.deliver([new Uint8Array(0)]);
  t.equal(rig.collect().length, 1);
  t.same(rig.port.counts, { dropped: 0, duplicated: 0, corrupted: 0, delayed: 0, reordered: 0 });
  await rig.port.close();
  await rig.close();
  t.equal(context.pool.used, 0);
});

t.test('options are checked', async (t) => {
  const [inner] = memoryPair();
  const refuse = (options: Partial<FaultOptions>, message: RegExp) =>
    t.throws(() => new Faults(inner, { seed: 1, ...options }), { message });
  refuse({ drop: 1.5 }, /"drop" expected a probability 0\.\.1, got 1\.5/);
  refuse({ corrupt: Number.NaN }, /"corrupt" expected a probability 0\.\.1, got NaN/);
  refuse({ reorder: { probability: -1, depth: 1 } }, /"reorder.probability" expected a probability/);
  refuse({ reorder: { probability: 1, depth: 0 } }, /"reorder.depth" expected an integer 1\.\.1024, got 0/);
  refuse({ delay: { min: 5, max: 1 } }, /"delay" expected 0 <= min <= max in ms, got 5 and 1/);
  refuse({ capacity: 0 }, /"capacity" expected an integer 1\.\.1048576, got 0/);
  refuse({ seed: 0.5 }, /"seed" expected an integer/);
  refuse({ direction: 'up' as 'send' }, /"direction" expected send, receive or both, got up/);
});

t.test('no packet costs memory of its own', async (t) => {
  const pool = new Pool({ count: 4096 });
  const clock = new VirtualClock();
  const [inner, other] = memoryPair();
  const port = new Faults(inner, { ...ALL, seed: 1 });
  for (const end of [port, other]) await end.open(testHost({ pool, clock }));
  const batch = new Batch();
  const bytes = bytesPerPacket((n) => {
    for (let i = 0; i < n; i += BATCH) {
      while (!batch.full) batch.add(pool.take()!);
      port.send(batch);
      clock.now += 1;
      port.tick(clock.now);
      while (other.receive(batch) > 0) batch.release();
    }
  });
  t.ok(bytes < MOST, `${bytes.toFixed(2)} bytes a packet`);
  for (const end of [port, other]) await end.close();
  t.equal(pool.used, 0);
});
