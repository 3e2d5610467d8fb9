import t from 'tap';
import { Batch } from '../../../lib/core/batch.ts';
import { NOT_CONNECTED, POOL_DRY } from '../../../lib/core/drop.ts';
import { DebugPool, JUMBO_SLOT } from '../../../lib/core/pool.ts';
import { Tee } from '../../../lib/elements/tee.ts';
import { Collector, testContext } from '../../gen/context.ts';

function setup(count: number) {
  const context = testContext({ count });
  const tee = new Tee(context, 'tee');
  const out = new Collector();
  const copy = new Collector();
  tee.connect('out', out);
  tee.connect('copy', copy);
  return { context, tee, out, copy };
}

t.test('the original goes on, a copy goes beside', async (t) => {
  const { context, tee, out, copy } = setup(8);
  const batch = new Batch();
  for (let i = 0; i < 3; i++) {
    const p = context.pool.take()!.set(new Uint8Array([1, 2, i]));
    p.vni = 40 + i;
    batch.add(p);
  }
  const originals = batch.packets.slice(0, 3);
  tee.push(batch);
  t.equal(batch.length, 0);
  t.same(
    out.packets.map((p) => p.slot),
    originals.map((p) => p.slot),
  );
  t.same(copy.frames(), ['010200', '010201', '010202']);
  t.same(copy.frames(), out.frames());
  t.same(
    copy.packets.map((p) => p.vni),
    [40, 41, 42],
  );
  out.release();
  copy.release();
  t.equal(context.pool.used, 0);
});

t.test('without room there is no copy, and the original goes on', async (t) => {
  const { context, tee, out, copy } = setup(6);
  const batch = new Batch();
  for (let i = 0; i < 4; i++) batch.add(context.pool.take()!.set(new Uint8Array([i])));
  tee.push(batch);
  t.same(out.frames(), ['00', '01', '02', '03']);
  t.same(copy.frames(), ['00', '01']);
  t.equal(tee.dropped(POOL_DRY), 2);
  out.release();
  copy.release();
  t.equal(context.pool.used, 0);
});

t.test('a packet of another pool is copied within that pool', async (t) => {
  const { context, tee, out, copy } = setup(2);
  const jumbo = new DebugPool({ count: 2, slot: JUMBO_SLOT });
  const batch = new Batch();
  batch.add(jumbo.take()!.set(new Uint8Array(60000)));
  tee.push(batch);
  t.equal(copy.packets[0]?.length, 60000);
  out.release();
  copy.release();
  t.equal(jumbo.used + context.pool.used, 0);
});

t.test('copies that lead nowhere are dropped', async (t) => {
  const { context, tee, out } = setup(2);
  tee.connect('copy', null);
  const batch = new Batch();
  batch.add(context.pool.take()!);
  tee.push(batch);
  t.equal(tee.dropped(NOT_CONNECTED), 1);
  out.release();
  t.equal(context.pool.used, 0);
});
