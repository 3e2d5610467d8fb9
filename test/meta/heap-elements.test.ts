/** Elements on the packet path allocate nothing: bridge and what stands around it, with a clock of fractions. */
import t from 'tap';
import { fromHex } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ip from '../../codecs/ip.ts';
import { BATCH, Batch } from '../../lib/core/batch.ts';
import { RealClock } from '../../lib/core/clock.ts';
import { createContext } from '../../lib/core/context.ts';
import type { Sink } from '../../lib/core/element.ts';
import { Pool } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { Bridge } from '../../lib/elements/bridge.ts';
import { Dispatch } from '../../lib/elements/dispatch.ts';
import { Guard } from '../../lib/elements/guard.ts';
import { Meter } from '../../lib/elements/meter.ts';
import { Queue } from '../../lib/elements/queue.ts';
import { Tee } from '../../lib/elements/tee.ts';
import { Fdb } from '../../lib/tables/fdb.ts';
import { bytesPerPacket, MOST } from '../gen/heap.ts';

const PORTS = 64;
const STATIONS = 1024;
const HI = 0x02ff;

const context = createContext({ pool: new Pool({ count: 256 }), clock: new RealClock() });
const home: Sink = { push: (batch) => batch.release() };
const random = new Random(1);
// Half of them do not fit a small integer.
const los = Int32Array.from({ length: STATIONS }, () => random.int32());
const fdb = new Fdb({ capacity: 4096, seed: 1 });
for (let i = 0; i < STATIONS; i++) fdb.learn(0, HI, los[i], i % PORTS, context.clock.now);
const ports = Array.from({ length: PORTS }, (_, i) => i);

const bridge = new Bridge(context, 'bridge', { domain: 0, vni: 0xfffffe, fdb, ports });
bridge.connect('local', home);
bridge.connect('remote', home);
const dispatch = new Dispatch(context, 'dispatch');
for (const place of ports) dispatch.connect(`${place * 1000}`, home);
const packetsPerSecond = 1e7;
const meter = new Meter(context, 'meter', {
  domain: 0,
  fdb,
  ports: ports.map((place) => ({ place, packetsPerSecond })),
});
meter.connect('out', home);
const guard = new Guard(context, 'guard', {
  ports: ports.map((place) => ({
    place,
    macs: Array.from({ length: STATIONS / PORTS }, (_, i) => ({ hi: HI, lo: los[place + i * PORTS] })),
    addresses: [ip.parse('250.0.0.1'), ip.parse('fd00::ffff:1')],
  })),
});
guard.connect('out', home);
const queue = new Queue(context, 'queue', { capacity: 100 });
queue.connect('out', home);
const tee = new Tee(context, 'tee');
tee.connect('out', home);
tee.connect('copy', home);

const frames = {
  ipv4: fromHex('0800 4500 001c 0000 0000 4011 0000 fa000001 fa000002 3039 270f 0008 0000'),
  ipv6: fromHex(
    `86dd 60000000 0008 11 40 fd00${'00'.repeat(10)}ffff0001 ff02${'00'.repeat(13)}01 3039270f00080000`,
  ),
};

const batch = new Batch();
let next = 0;
let broadcast = false;
let bytes = frames.ipv4;

/** Fills the batch with frames from station to station, or to all. */
function fill(): Batch {
  while (!batch.full) {
    const p = context.pool.take()!;
    const from = next++ % STATIONS;
    const to = (next * 7) % STATIONS;
    p.port = from % PORTS;
    p.out = (next % PORTS) * 1000;
    ethernet.setDst(p.view, p.start, broadcast ? 0xffff : HI, broadcast ? -1 : los[to]);
    ethernet.setSrc(p.view, p.start, HI, los[from]);
    for (let i = 0; i < bytes.length; i++) p.bytes[p.start + 12 + i] = bytes[i];
    p.end = p.start + 12 + bytes.length;
    batch.add(p);
  }
  return batch;
}

const through = (sink: Sink) => (n: number) => {
  context.clock.update();
  for (let i = 0; i < n; i += BATCH) sink.push(fill());
};

const parts: Record<string, (n: number) => void> = {
  bridge: through(bridge),
  'bridge: flood': (n) => {
    broadcast = true;
    through(bridge)(n / PORTS);
    broadcast = false;
  },
  dispatch: through(dispatch),
  'guard: IPv4': through(guard),
  'guard: IPv6': (n) => {
    bytes = frames.ipv6;
    through(guard)(n);
    bytes = frames.ipv4;
  },
  meter: through(meter),
  'meter: broadcast': (n) => {
    broadcast = true;
    through(meter)(n);
    broadcast = false;
  },
  queue: (n) => {
    for (let i = 0; i < n; i += BATCH) {
      queue.push(fill());
      queue.push(fill());
      queue.exhale();
    }
    while (queue.exhale() > 0);
  },
  tee: through(tee),
  // Last, since the guard knows the old ones.
  'bridge: new addresses': (n) => {
    for (let i = 0; i < STATIONS; i++) los[i] = random.int32();
    through(bridge)(n);
  },
};

for (const [name, run] of Object.entries(parts)) {
  t.test(name, async (t) => {
    const used = bytesPerPacket(run);
    t.ok(used < MOST, `${used.toFixed(2)} bytes a packet`);
  });
}

t.test('the packets went where they should, and have come home', async (t) => {
  t.ok(fdb.size > STATIONS);
  const passed = { learned: 0, flooded: 0, ...context.counters.read('bridge') };
  t.ok(passed.learned > 0 && passed.flooded > 0, 'bridge');
  for (const name of ['dispatch', 'guard', 'meter', 'tee']) t.same(context.counters.read(name), {}, name);
  t.same(Object.keys(context.counters.read('queue')), ['drop.queue-full'], 'queue');
  t.equal(context.pool.used, 0);
});
