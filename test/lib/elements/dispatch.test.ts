import t from 'tap';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { NOT_CONNECTED } from '../../../lib/core/drop.ts';
import type { Sink } from '../../../lib/core/element.ts';
import { ALL_REMOTES, NONE, remote } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Dispatch } from '../../../lib/elements/dispatch.ts';
import { Collector, type TestContext, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';

/** A batch with one packet for each place, numbered in `hash`. */
function batchTo(context: TestContext, places: readonly number[]): Batch {
  const batch = new Batch();
  for (const [i, place] of places.entries()) {
    const p = context.pool.take()!;
    p.out = place;
    p.hash = i;
    batch.add(p);
  }
  return batch;
}

const numbers = (out: Collector) => out.packets.map((p) => p.hash);

t.test('each packet goes to its place, in order', async (t) => {
  const context = testContext();
  const dispatch = new Dispatch(context, 'dispatch');
  const [a, b] = [new Collector(), new Collector()];
  dispatch.connect('3', a);
  dispatch.connect('65535', b);
  const batch = batchTo(context, [3, 65535, 3, 3, 65535]);
  dispatch.push(batch);
  t.equal(batch.length, 0);
  t.same(numbers(a), [0, 2, 3]);
  t.same(numbers(b), [1, 4]);
  a.release();
  b.release();
  t.equal(context.pool.used, 0);
});

t.test('a place without an output is counted', async (t) => {
  const context = testContext();
  const dispatch = new Dispatch(context, 'dispatch');
  const a = new Collector();
  dispatch.connect('3', a);
  dispatch.push(batchTo(context, [2, 3, 4, NONE, remote(3), ALL_REMOTES]));
  dispatch.push(batchTo(context, [2]));
  dispatch.push(new Batch());
  t.equal(dispatch.dropped(NOT_CONNECTED), 6);
  t.same(numbers(a), [1]);
  a.release();
  t.equal(context.pool.used, 0);
});

t.test('an output can be taken away and given again', async (t) => {
  const context = testContext();
  const dispatch = new Dispatch(context, 'dispatch');
  const [a, b] = [new Collector(), new Collector()];
  dispatch.connect('3', a);
  dispatch.connect('3', null);
  dispatch.connect('4', null);
  dispatch.push(batchTo(context, [3, 4]));
  t.equal(dispatch.dropped(NOT_CONNECTED), 2);
  dispatch.connect('3', a);
  dispatch.connect('3', b);
  dispatch.push(batchTo(context, [3]));
  t.same([a.packets.length, b.packets.length], [0, 1]);
  b.release();
  t.equal(context.pool.used, 0);
});

t.test('outputs are places', async (t) => {
  const dispatch = new Dispatch(testContext(), 'dispatch');
  for (const name of ['out', '', '-1', '03', '1.5', '1e3', '65536']) {
    t.throws(() => dispatch.connect(name, new Collector()), { name: 'RangeError' }, `"${name}"`);
  }
});

t.test(`10,000 outputs, seed ${seed}`, async (t) => {
  const context = testContext();
  const random = new Random(seed);
  const dispatch = new Dispatch(context, 'dispatch');
  const got = new Map<number, number>();
  let wrong = 0;
  for (let place = 0; place < 10_000; place++) {
    const port: Sink = {
      push(batch) {
        for (let i = 0; i < batch.length; i++) if (batch.packets[i].out !== place) wrong++;
        got.set(place, (got.get(place) ?? 0) + batch.length);
        batch.release();
      },
    };
    dispatch.connect(String(place), port);
  }
  const sent = new Map<number, number>();
  for (let i = 0; i < 5000; i++) {
    const places = Array.from({ length: 1 + random.below(BATCH) }, () => random.below(10_000));
    for (const place of places) sent.set(place, (sent.get(place) ?? 0) + 1);
    dispatch.push(batchTo(context, places));
  }
  t.equal(wrong, 0);
  const sorted = (m: Map<number, number>) => [...m].sort(([a], [b]) => a - b);
  t.same(sorted(got), sorted(sent));
  t.equal(context.pool.used, 0);
});
