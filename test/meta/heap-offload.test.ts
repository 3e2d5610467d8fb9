/** Segmentation and coalescing allocate nothing: neither where payload stays nor where it is copied. */
import t from 'tap';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import { Batch } from '../../lib/core/batch.ts';
import { createContext } from '../../lib/core/context.ts';
import type { Sink } from '../../lib/core/element.ts';
import { GSO_UDP_L4, type Packet } from '../../lib/core/packet.ts';
import { completeChecksum } from '../../lib/core/partial-checksum.ts';
import { Random } from '../../lib/core/random.ts';
import { Segmenter } from '../../lib/core/segmenter.ts';
import { Coalesce } from '../../lib/elements/coalesce.ts';
import { Segment } from '../../lib/elements/segment.ts';
import { CHECKSUM, DATAGRAM, TSO4, TSO6, USO } from '../../lib/io/port.ts';
import { bytesPerPacket, MOST } from '../gen/heap.ts';
import { flowOf, putSuper, putTrain, randomBytes, segmentsOf, type Wish } from '../gen/super-frames.ts';

const SEGMENTS = 40;
const ALL = CHECKSUM | TSO4 | TSO6 | USO;

const context = createContext();
const home: Sink = { push: (batch) => batch.release() };
const batch = new Batch();
const segmenter = new Segmenter();
const headers = new DataView(new ArrayBuffer(256));
const segment = new Segment(context, 'segment', { medium: DATAGRAM, mtu: 1600, offloads: 0 });
segment.connect('out', home);
const coalesce = new Coalesce(context, 'coalesce', { offloads: ALL });
coalesce.connect('out', home);
const both = new Coalesce(context, 'both', { offloads: ALL });
const together = new Segment(context, 'together', { medium: DATAGRAM, mtu: 1600, offloads: ALL });
both.connect('out', together);
together.connect('out', home);

const KINDS: Record<string, Wish> = {
  'TCP over IPv4': { family: 4, protocol: tcp.PROTOCOL },
  'TCP over IPv6': { family: 6, protocol: tcp.PROTOCOL },
  'UDP over IPv4': { family: 4, protocol: udp.PROTOCOL },
};

/** A copy of a packet made by hand, since a slot that was used may hold anything. */
function again(like: Packet): Packet {
  const p = context.jumbo.take()!;
  p.copyNotes(like);
  p.pool.copy(like, like.start, like.end, p, p.start);
  return p;
}

for (const [name, wish] of Object.entries(KINDS)) {
  const r = new Random(1);
  const flow = flowOf(r, { ...wish, tags: [], size: 1200, payload: randomBytes(r, SEGMENTS * 1200) });
  const other = flowOf(r, { ...flow, srcPort: 1, payload: flow.payload });
  const whole = putSuper(context.jumbo.take()!, flow);
  const apart = putSuper(context.jumbo.take()!, flow, 50);
  const pieces = segmentsOf(flow);
  const train = putTrain(context.jumbo.take()!, pieces);
  const rival = segmentsOf(other);
  const mixed = putTrain(context.jumbo.take()!, [
    ...pieces.slice(0, 9),
    ...rival.slice(0, 3),
    ...pieces.slice(9, 30),
  ]);
  const singles = pieces.map((bytes) => context.pool.take()!.set(bytes));
  const ways: Record<string, () => void> = {
    segmenter: () => {
      segmenter.begin(whole, whole.start + 8);
      for (let i = 0; i < segmenter.count; i++) segmenter.write(i, headers, 2);
    },
    segment: () => {
      batch.add(again(whole));
      segment.push(batch);
    },
    'segment: a train': () => {
      batch.add(again(train));
      segment.push(batch);
    },
    'segment: gaps': () => {
      batch.add(again(apart));
      together.push(batch);
    },
    'a partial checksum': () => {
      for (const p of singles) {
        p.csumStart = p.start + 50;
        p.csumOffset = 6;
        completeChecksum(p);
      }
    },
    coalesce: () => {
      batch.add(again(train));
      coalesce.push(batch);
    },
    'coalesce: flows in one train': () => {
      batch.add(again(mixed));
      both.push(batch);
    },
    'coalesce: packets': () => {
      for (const p of singles) batch.add(context.pool.clone(p)!);
      coalesce.push(batch);
    },
  };
  // What the checksum's test does to them must not be what the others see.
  for (const [way, run] of Object.entries(ways).sort(([a], [b]) => Number(a > b) - 0.5)) {
    t.test(`${way}, ${name}`, async (t) => {
      const used = bytesPerPacket((n) => {
        for (let i = 0; i < n; i += SEGMENTS) run();
      }, 1024);
      t.ok(used < MOST, `${used.toFixed(2)} bytes a segment`);
      for (const [i, p] of singles.entries()) p.set(pieces[i]).clearOffload();
    });
  }
  t.equal(train.gsoType, GSO_UDP_L4);
}

t.test('it was what should be measured, and all came home', async (t) => {
  const { merged, pieces, copied } = context.counters.read('coalesce');
  t.ok(
    pieces === merged * SEGMENTS && copied > 1000,
    `${merged} merged of ${pieces} pieces, ${copied} copied`,
  );
  t.ok(context.counters.read('both').merged % 3 === 0);
  t.ok(context.counters.read('segment').segmented > 100);
  t.equal(context.jumbo.used, 4 * 3);
  t.equal(context.pool.used, SEGMENTS * 3);
});
