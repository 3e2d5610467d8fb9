import t from 'tap';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { CLOSED, NOT_CONNECTED, QUEUE_FULL } from '../../../lib/core/drop.ts';
import { Queue } from '../../../lib/elements/queue.ts';
import { Collector, type TestContext, testContext } from '../../gen/context.ts';

/** A batch of `count` packets, numbered in `hash` from `first` on. */
function batchOf(context: TestContext, count: number, first = 0): Batch {
  const batch = new Batch();
  for (let i = 0; i < count; i++) {
    const p = context.pool.take()!;
    p.hash = first + i;
    batch.add(p);
  }
  return batch;
}

function setup(capacity: number) {
  const context = testContext();
  const queue = new Queue(context, 'queue', { capacity });
  const out = new Collector();
  queue.connect('out', out);
  return { context, queue, out };
}

const numbers = (out: Collector) => out.packets.map((p) => p.hash);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

t.test('first in, first out, one batch a time', async (t) => {
  const { context, queue, out } = setup(3 * BATCH);
  queue.push(batchOf(context, BATCH));
  const batch = batchOf(context, BATCH, BATCH);
  queue.push(batch);
  t.equal(batch.length, 0, 'the batch is left empty');
  queue.push(batchOf(context, 6, 2 * BATCH));
  t.equal(queue.length, 2 * BATCH + 6);
  t.equal(out.packets.length, 0, 'nothing leaves by itself');
  t.same([queue.exhale(), queue.exhale(), queue.exhale(), queue.exhale()], [BATCH, BATCH, 6, 0]);
  t.same(numbers(out), range(0, 2 * BATCH + 6));
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('what does not fit is dropped', async (t) => {
  const { context, queue, out } = setup(5);
  for (let round = 0; round < 7; round++) {
    queue.push(batchOf(context, 3, round * 10));
    queue.push(batchOf(context, 4, round * 10 + 3));
    t.equal(queue.exhale(), 5);
    t.same(numbers(out), range(round * 10, round * 10 + 5), 'around the ring');
    out.release();
  }
  t.equal(queue.dropped(QUEUE_FULL), 14);
  t.equal(context.pool.used, 0);
});

t.test('a queue that closes drops what it holds', async (t) => {
  const { context, queue } = setup(40);
  let closed = 0;
  context.onDrop = (_p, reason) => {
    if (reason === CLOSED) closed++;
  };
  queue.push(batchOf(context, 32));
  queue.close();
  t.equal(closed, 32);
  t.equal(queue.length, 0);
  t.equal(context.pool.used, 0);
});

t.test('another capacity keeps what fits, in order', async (t) => {
  const { context, queue, out } = setup(8);
  queue.push(batchOf(context, 6));
  queue.exhale();
  out.release();
  queue.push(batchOf(context, 7, 100));
  t.ok(queue.configure({ capacity: 4 }));
  t.equal(queue.dropped(QUEUE_FULL), 3);
  t.ok(queue.configure({ capacity: 16 }));
  queue.push(batchOf(context, 12, 200));
  queue.exhale();
  t.same(numbers(out), [...range(100, 104), ...range(200, 212)]);
  out.release();
  t.equal(context.pool.used, 0);
});

t.test('an output that leads nowhere drops', async (t) => {
  const { context, queue } = setup(8);
  queue.connect('out', null);
  queue.push(batchOf(context, 3));
  queue.exhale();
  t.equal(queue.dropped(NOT_CONNECTED), 3);
  t.equal(context.pool.used, 0);
});

t.test('a capacity that is none is refused', async (t) => {
  const context = testContext();
  for (const capacity of [0, -1, 1.5, Number.NaN, 2 ** 20 + 1]) {
    t.throws(() => new Queue(context, 'queue', { capacity }), { name: 'RangeError', message: /"capacity"/ });
  }
  t.same(context.counters.directory(), [], 'nothing is left of the refused');
});
