import t from 'tap';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as mac from '../../../codecs/mac.ts';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import {
  FDB_FROZEN,
  GROUP_SOURCE,
  MALFORMED,
  NO_DESTINATION,
  NOT_CONNECTED,
  NOT_OWNER,
  POOL_DRY,
  RESERVED_MULTICAST,
  SAME_PORT,
  SPLIT_HORIZON,
  SPOOFED_MAC,
} from '../../../lib/core/drop.ts';
import type { Sink } from '../../../lib/core/element.ts';
import { ALL_REMOTES, NONE, type Packet, remote } from '../../../lib/core/packet.ts';
import { DebugPool, JUMBO_SLOT } from '../../../lib/core/pool.ts';
import { Random } from '../../../lib/core/random.ts';
import { Bridge, type BridgeOptions } from '../../../lib/elements/bridge.ts';
import { Fdb } from '../../../lib/tables/fdb.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';

const DOMAIN = 7;
const VNI = 4097;
const ALL = 'ff:ff:ff:ff:ff:ff';
const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const C = '02:00:00:00:00:0c';

function setup(options: Partial<BridgeOptions> = {}, count = 256) {
  const context = testContext({ count });
  const fdb = new Fdb({ capacity: 1000, seed });
  const base = { domain: DOMAIN, vni: VNI, fdb, ports: [1, 2, 3] };
  const bridge = new Bridge(context, 'bridge', { ...base, ...options });
  const local = new Collector();
  const far = new Collector();
  bridge.connect('local', local);
  bridge.connect('remote', far);
  const packet = (from: number, src: string, dst: string, length = 64): Packet => {
    const p = context.pool.take()!.set(new Uint8Array(length));
    writeAddresses(p, src, dst);
    p.port = from;
    return p;
  };
  const send = (...packets: Packet[]) => {
    const batch = new Batch();
    for (const p of packets) batch.add(p);
    bridge.push(batch);
    if (batch.length > 0) throw new Error('the batch was not emptied');
    return { local: outs(local), remote: outs(far) };
  };
  const lookup = (text: string) => {
    const { hi, lo } = mac.parse(text);
    return fdb.lookup(DOMAIN, hi, lo);
  };
  return { context, fdb, bridge, base, local, far, packet, send, lookup };
}

function writeAddresses(p: Packet, src: string, dst: string): void {
  const [s, d] = [mac.parse(src), mac.parse(dst)];
  ethernet.write(p.view, p.start, d.hi, d.lo, s.hi, s.lo, 0x88b5);
}

/** Where the packets go, and gives them back. */
function outs(collector: Collector): number[] {
  const places = collector.packets.map((p) => p.out);
  collector.release();
  return places;
}

const set = (fdb: Fdb, text: string, place: number) => {
  const { hi, lo } = mac.parse(text);
  fdb.set(DOMAIN, hi, lo, place);
};

t.test('what is known goes to its place, what is not goes everywhere else', async (t) => {
  const { context, bridge, packet, send, lookup } = setup();
  t.same(send(packet(1, A, B)), { local: [2, 3], remote: [ALL_REMOTES] }, 'unknown');
  t.equal(lookup(A), 1, 'the source is learned');
  t.same(send(packet(2, B, A)), { local: [1], remote: [] }, 'known');
  t.same(send(packet(1, A, B)), { local: [2], remote: [] }, 'known by now');
  t.same(send(packet(2, B, ALL)), { local: [1, 3], remote: [ALL_REMOTES] }, 'broadcast');
  t.same(send(packet(2, B, '33:33:00:00:00:01')), { local: [1, 3], remote: [ALL_REMOTES] }, 'multicast');
  t.same(context.counters.read('bridge'), { learned: 2, flooded: 3 });
  t.equal(bridge.dropped(POOL_DRY), 0);
  t.equal(context.pool.used, 0);
});

t.test('remote endpoints are places too, and get nothing from each other', async (t) => {
  const { context, bridge, far, packet, send, lookup } = setup();
  t.same(send(packet(remote(5), A, ALL)), { local: [1, 2, 3], remote: [] }, 'flooded to local ports alone');
  t.equal(lookup(A), remote(5));
  const batch = new Batch();
  batch.add(packet(2, B, A));
  batch.add(packet(2, B, ALL));
  bridge.push(batch);
  t.same(
    far.packets.map((p) => [p.out, p.peer, p.vni]),
    [
      [remote(5), 5, VNI],
      [ALL_REMOTES, NONE, VNI],
    ],
  );
  far.release();
  t.same(send(), { local: [1, 3], remote: [] });
  t.same(send(packet(remote(6), C, A)), { local: [], remote: [] });
  t.same(send(packet(remote(6), C, '02:99:00:00:00:01')), { local: [1, 2, 3], remote: [] }, 'unknown');
  t.equal(bridge.dropped(SPLIT_HORIZON), 1);
  t.same(send(packet(remote(5), C, A)), { local: [], remote: [] }, 'back to the same endpoint');
  t.equal(bridge.dropped(SAME_PORT), 1);
  t.equal(context.pool.used, 0);
});

t.test('what an element made is forwarded and not learned from', async (t) => {
  const { context, packet, send, lookup } = setup();
  t.same(send(packet(NONE, A, B)), { local: [1, 2, 3], remote: [ALL_REMOTES] });
  t.equal(lookup(A), NONE);
  send(packet(remote(5), B, ALL));
  t.same(send(packet(NONE, A, B)), { local: [], remote: [remote(5)] });
  t.equal(context.pool.used, 0);
});

t.test('each reason to drop', async (t) => {
  const { context, bridge, fdb, packet, send, lookup } = setup();
  const dropped = (reason: number, p: Packet) => {
    const before = bridge.dropped(reason);
    const { local, remote } = send(p);
    return bridge.dropped(reason) === before + 1 && local.length + remote.length === 0;
  };
  t.ok(dropped(MALFORMED, packet(1, A, B, 14)) === false, '14 bytes are a frame');
  for (const length of [0, 13]) {
    const p = packet(1, C, B);
    p.end = p.start + length;
    t.ok(dropped(MALFORMED, p), `${length} bytes`);
  }
  t.equal(lookup(C), NONE, 'nothing is learned from a frame that is none');
  t.ok(dropped(GROUP_SOURCE, packet(1, '03:00:00:00:00:01', B)));
  t.ok(dropped(GROUP_SOURCE, packet(1, ALL, B)));
  for (const last of ['00', '0e', '0f']) {
    t.ok(dropped(RESERVED_MULTICAST, packet(1, A, `01:80:c2:00:00:${last}`)));
    t.ok(dropped(RESERVED_MULTICAST, packet(remote(2), C, `01:80:c2:00:00:${last}`)));
  }
  t.notOk(dropped(RESERVED_MULTICAST, packet(1, A, '01:80:c2:00:00:10')), ':10 is an ordinary group');
  t.ok(dropped(SAME_PORT, packet(1, B, A)));
  set(fdb, C, 3);
  t.ok(dropped(SPOOFED_MAC, packet(2, C, ALL)), 'a static address from another port');
  t.ok(dropped(NOT_OWNER, packet(remote(1), C, ALL)), 'and from a remote endpoint');
  t.notOk(dropped(SPOOFED_MAC, packet(3, C, ALL)), 'and from where it belongs');
  t.equal(context.pool.used, 0);
});

t.test('question and answer in one batch', async (t) => {
  const { context, packet, send } = setup();
  t.same(send(packet(1, A, B), packet(2, B, A)), { local: [2, 1], remote: [] });
  t.equal(context.pool.used, 0);
});

t.test('nobody to flood to', async (t) => {
  const { context, bridge, base, packet, send } = setup({ ports: [1], remotes: false });
  t.same(send(packet(1, A, ALL)), { local: [], remote: [] });
  t.equal(bridge.dropped(NO_DESTINATION), 1);
  bridge.configure({ ...base, floodUnknown: false });
  t.same(send(packet(1, A, B)), { local: [], remote: [] });
  t.equal(bridge.dropped(NO_DESTINATION), 2, 'unknown addresses are not flooded');
  t.same(send(packet(1, A, ALL)), { local: [2, 3], remote: [ALL_REMOTES] }, 'broadcast is');
  t.equal(context.pool.used, 0);
});

t.test('an address moves, and is held when it moves too often', async (t) => {
  const { context, bridge, packet, send, lookup } = setup();
  send(packet(1, A, ALL));
  send(packet(2, A, ALL));
  t.equal(lookup(A), 2);
  t.equal(context.counters.get('bridge', 'moved'), 1);
  for (let i = 0; i < 20; i++) send(packet(1 + (i % 2), A, ALL));
  t.ok(bridge.dropped(FDB_FROZEN) > 0);
  t.ok(context.counters.get('bridge', 'moved') < 20);
  t.equal(context.pool.used, 0);
});

t.test('without room an address is not learned, and its frames go on', async (t) => {
  const fdb = new Fdb({ capacity: 1000, seed });
  fdb.limitPlace(1, 1);
  const { context, packet, send, lookup } = setup({ fdb });
  send(packet(1, A, ALL));
  t.same(send(packet(1, B, A)).local, []);
  t.same(send(packet(1, B, ALL)).local, [2, 3]);
  t.equal(lookup(B), NONE);
  t.equal(context.counters.get('bridge', 'refused'), 2);
  t.equal(context.pool.used, 0);
});

t.test('without learning', async (t) => {
  const { context, bridge, fdb, packet, send, lookup } = setup({ learning: false });
  set(fdb, B, remote(4));
  t.same(send(packet(1, A, B)), { local: [], remote: [remote(4)] });
  t.equal(lookup(A), NONE);
  t.equal(context.counters.get('bridge', 'learned'), 0);
  send(packet(1, B, ALL));
  t.equal(bridge.dropped(SPOOFED_MAC), 1, 'a static address still belongs to its place');
  t.equal(context.pool.used, 0);
});

t.test('a dry pool costs copies, counted, and never the frame', async (t) => {
  const { context, bridge, local, far, packet } = setup({ ports: [1, 2, 3, 4] }, 2);
  const batch = new Batch();
  batch.add(packet(1, A, ALL));
  bridge.push(batch);
  t.same(
    local.packets.map((p) => p.out),
    [2],
  );
  t.equal(bridge.dropped(POOL_DRY), 2, 'for ports 3 and 4');
  t.equal(far.packets[0]?.out, ALL_REMOTES, 'the frame itself');
  local.release();
  far.release();
  t.equal(context.counters.get('bridge', 'flooded'), 1);
  bridge.connect('remote', null);
  batch.add(packet(1, A, ALL));
  bridge.push(batch);
  t.equal(bridge.dropped(NOT_CONNECTED), 1, 'the original went to the remote side');
  local.release();
  t.equal(context.pool.used, 0);
});

t.test('copies are equal and do not share bytes', async (t) => {
  const { context, bridge, local, far } = setup();
  const jumbo = new DebugPool({ count: 4, slot: JUMBO_SLOT });
  const p = jumbo.take()!.set(new Uint8Array(40_000).fill(0x3c));
  writeAddresses(p, A, ALL);
  p.port = 1;
  p.gsoType = 1;
  p.gsoSize = 1400;
  const frame = Buffer.from(p.frame()).toString('hex');
  const batch = new Batch();
  batch.add(p);
  bridge.push(batch);
  t.same([...local.frames(), ...far.frames()], [frame, frame, frame]);
  t.equal(new Set([...local.packets, ...far.packets].map((q) => q.slot)).size, 3);
  t.same(
    local.packets.map((q) => q.gsoSize),
    [1400, 1400],
  );
  local.release();
  far.release();
  t.equal(jumbo.used + context.pool.used, 0);
});

t.test('a flood to 10,000 ports needs no more than a batch of copies', async (t) => {
  const ports = Array.from({ length: 10_000 }, (_, i) => i);
  const { context, bridge, packet } = setup({ ports, remotes: false }, 2 * BATCH);
  const got = new Uint8Array(10_000);
  let most = 0;
  let largest = 0;
  const counting: Sink = {
    push(batch) {
      for (let i = 0; i < batch.length; i++) got[batch.packets[i].out]++;
      most = Math.max(most, context.pool.used);
      largest = Math.max(largest, batch.length);
      batch.release();
    },
  };
  bridge.connect('local', counting);
  const batch = new Batch();
  batch.add(packet(77, A, ALL));
  bridge.push(batch);
  t.equal(got[77], 0);
  t.equal(
    got.reduce((sum, n) => sum + n),
    9_999,
  );
  t.equal(largest, BATCH);
  t.ok(most <= BATCH + 2, `${most} packets at once: a batch, the next copy, the frame`);
  t.equal(bridge.dropped(POOL_DRY), 0);
  t.equal(context.pool.used, 0);
});

t.test('options change while it runs; what was learned stays', async (t) => {
  const { context, bridge, base, packet, send } = setup();
  send(packet(1, A, ALL));
  t.ok(bridge.configure({ ...base, vni: 5, ports: [1, 9], remotes: false }));
  t.same(send(packet(9, B, ALL)), { local: [1], remote: [] });
  t.same(send(packet(9, B, A)), { local: [1], remote: [] });
  t.throws(() => bridge.configure({ ...base, ports: [1, 2, 1] }), {
    message: '"ports" names the place 1 twice',
  });
  t.throws(() => bridge.configure({ ...base, vni: 2 ** 24 }), { message: /"vni" expected an integer 0\.\./ });
  t.same(send(packet(9, B, ALL)), { local: [1], remote: [] }, 'refused options change nothing');
  t.equal(context.pool.used, 0);
});

t.test(`random frames are delivered as a plain model says, seed ${seed}`, async (t) => {
  const { context, bridge, local, far } = setup({ ports: [0, 1, 2, 3, 4, 5] });
  const random = new Random(seed);
  const learned = new Set<number>();
  // Stations stay where they are: the damping of moves is tested by itself.
  const home = Array.from({ length: 20 }, () =>
    random.chance(0.6) ? random.below(6) : remote(random.below(3)),
  );
  let drops = 0;
  let wrong = 0;
  for (let id = 0; id < 20_000; ) {
    const batch = new Batch();
    const sent: { id: number; s: number; d: number }[] = [];
    for (let n = 1 + random.below(BATCH); n > 0; n--) {
      const [s, d] = [random.below(20), random.below(22)];
      const p = context.pool.take()!.set(new Uint8Array(60));
      ethernet.write(p.view, p.start, d > 19 ? 0xffff : 0x0200, d > 19 ? 0xffffffff : d, 0x0200, s, 0x88b5);
      p.hash = id;
      p.port = home[s];
      batch.add(p);
      sent.push({ id: id++, s, d });
      learned.add(s);
    }
    const expected = { local: [] as string[], remote: [] as string[] };
    for (const { id, s, d } of sent) {
      const from = home[s];
      const far = from >= remote(0);
      const to = home[d];
      if (!learned.has(d)) {
        for (let place = 0; place < 6; place++) if (place !== from) expected.local.push(`${id}>${place}`);
        if (!far) expected.remote.push(`${id}>${ALL_REMOTES}`);
      } else if (to === from || (far && to >= remote(0))) drops++;
      else (to >= remote(0) ? expected.remote : expected.local).push(`${id}>${to}`);
    }
    bridge.push(batch);
    const got = (c: Collector) => c.packets.map((p) => `${p.hash}>${p.out}`).join();
    if (got(local) !== expected.local.join() || got(far) !== expected.remote.join()) wrong++;
    local.release();
    far.release();
  }
  t.equal(wrong, 0);
  t.equal(bridge.dropped(SAME_PORT) + bridge.dropped(SPLIT_HORIZON), drops);
  t.equal(context.pool.used, 0);
});
