/**
 * The packet path allocates nothing. To add a part: a line in `parts` with a function that takes `n` packets
 * through it.
 */
import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import { CaptureReader } from '../../codecs/capture-reader.ts';
import { CaptureWriter } from '../../codecs/capture-writer.ts';
import * as checksum from '../../codecs/checksum.ts';
import { dissect } from '../../codecs/dissect.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { flowHash } from '../../codecs/flow-hash.ts';
import { Layers } from '../../codecs/layers.ts';
import * as linktype from '../../codecs/linktype.ts';
import { BATCH, Batch } from '../../lib/core/batch.ts';
import { RealClock } from '../../lib/core/clock.ts';
import { Pool } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { memoryPair } from '../../lib/io/memory.ts';
import { Fdb } from '../../lib/tables/fdb.ts';
import { NeighborTable } from '../../lib/tables/neighbor.ts';
import { VtepTable } from '../../lib/tables/vtep.ts';
import { verify } from '../gen/checksums.ts';
import { testHost } from '../gen/context.ts';
import { FrameMaker } from '../gen/frames.ts';
import { bytesPerPacket, MOST } from '../gen/heap.ts';

/** Where results go, so that no work is left out. A variable would hold a new object for every large number. */
const sink = new Int32Array(1);
const pool = new Pool({ count: 256 });
const other = new Pool({ count: 64 });
const p = pool.take()!.set(
  // UDP from 10.0.0.1 to 10.0.0.2, padded to 60 bytes.
  fromHex(
    `ffffffffffff 0242ac110002 0800 4500001c00010000401166cf0a0000010a000002 3039270f0008a98a ${'00'.repeat(18)}`,
  ),
);
const v = p.view;
const random = new Random(1);
const los = Int32Array.from({ length: 4096 }, () => random.int32());
const fdb = new Fdb({ capacity: 4096, seed: 1 });
const neighbors = new NeighborTable();
const vteps = new VtepTable();
let now = 0;

const clock = new RealClock();
const host = testHost({ pool, clock });
const [a, b] = memoryPair();
await a.open(host);
await b.open(host);
const batch = new Batch();

const maker = new FrameMaker(random);
const frames = Array.from({ length: 256 }, () => maker.frame());
const views = frames.map(viewOf);
const layers = new Layers();

/** Reads a capture file that has no end. */
function reading(format: 'pcap' | 'pcapng'): (n: number) => void {
  const pieces: Uint8Array[] = [];
  const writer = new CaptureWriter((bytes) => pieces.push(bytes.slice()), { format });
  writer.interface({ link: linktype.ETHERNET });
  writer.flush();
  for (const frame of frames) writer.frame(0, 1_790_000_000, 999_999_999, 0, frame, 0, frame.length);
  writer.flush();
  const [head, records] = pieces;
  const reader = new CaptureReader();
  reader.push(head);
  return (n) => {
    for (let i = 0; i < n; i++) {
      if (!reader.next()) reader.push(records);
      sink[0] += reader.record.captured;
    }
  };
}

const parts: Record<string, (n: number) => void> = {
  'pool: take and give': (n) => {
    for (let i = 0; i < n; i++) pool.give(pool.take()!);
  },
  'pool: clone within': (n) => {
    for (let i = 0; i < n; i++) pool.give(pool.clone(p)!);
  },
  'pool: clone from another': (n) => {
    for (let i = 0; i < n; i++) other.give(other.clone(p)!);
  },
  'memory port': (n) => {
    for (let i = 0; i < n; i += BATCH) {
      while (!batch.full) batch.add(pool.clone(p)!);
      a.send(batch);
      sink[0] += b.receive(batch);
      batch.release();
    }
  },
  'fdb: learn and look up': (n) => {
    for (let i = 0; i < n; i++) {
      const hi = ethernet.srcHi(v, p.start);
      sink[0] += fdb.learn(1, hi, ethernet.srcLo(v, p.start), 7, now);
      sink[0] += fdb.lookup(1, hi, los[i & 4095]);
    }
  },
  'fdb: learn new addresses, move, expire': (n) => {
    now += 1000.25;
    for (let i = 0; i < n; i++) {
      sink[0] += fdb.learn(2, 0x0242, los[(i + now) & 4095] | 0, i & 31, now);
      if (i % BATCH === 0) sink[0] += fdb.age(now, 64);
    }
  },
  'neighbor: look up': (n) => {
    for (let i = 0; i < n; i++) sink[0] += neighbors.lookup4(1, v.getUint32(p.start + 26));
    for (let i = 0; i < n; i++) sink[0] += neighbors.lookup6(1, 0xfd000000, 0, 0xffffffff, los[i & 4095]);
  },
  'vtep: look up': (n) => {
    for (let i = 0; i < n; i++) sink[0] += vteps.lookup(0, 0, 0xffff, v.getUint32(p.start + 26));
  },
  checksum: (n) => {
    for (let i = 0; i < n; i++) sink[0] += checksum.sum(v, p.start, p.end);
    for (let i = 0; i < n; i++) sink[0] += checksum.update32(i & 0xffff, v.getUint32(p.start), 0xffffffff);
  },
  'flow hash': (n) => {
    for (let i = 0; i < n; i++) sink[0] += flowHash(v, p.start, p.end, i);
  },
  'dissect, and all checksums': (n) => {
    for (let i = 0; i < n; i++) {
      const frame = views[i % views.length];
      dissect(frame, 0, frame.byteLength, layers);
      for (let k = 0; k < layers.count; k++) sink[0] += verify(frame, layers, k) === false ? 1 : 0;
    }
  },
  'read a pcap file': reading('pcap'),
  'read a pcapng file': reading('pcapng'),
};

t.test('the measurement sees what is allocated', async (t) => {
  const kept: object[] = [{}];
  const objects = (each: () => object) =>
    bytesPerPacket(
      (n) => {
        for (let i = 0; i < n; i++) kept[i & 7] = each();
      },
      2048,
      5,
    );
  const small = objects(() => ({ start: sink[0] }));
  t.ok(small >= 8 && small <= 64, `an object of one field: ${small} bytes`);
  const view = objects(() => p.bytes.subarray(1));
  t.ok(view > 64, `a view: ${view} bytes`);
  t.ok(objects(() => new Array(200).fill(sink[0])) > MOST, 'much at once');
});

for (const [name, run] of Object.entries(parts)) {
  t.test(name, async (t) => {
    const bytes = bytesPerPacket(run);
    t.ok(bytes < MOST, `${bytes.toFixed(2)} bytes a packet`);
  });
}

t.test('everything has come home', async (t) => {
  await a.close();
  await b.close();
  pool.give(p);
  t.equal(pool.used + other.used, 0);
});
