import t from 'tap';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import { DebugPool } from '../../../lib/core/pool.ts';

t.test('a batch is filled, forgotten and given back', async (t) => {
  const pool = new DebugPool({ count: BATCH });
  const batch = new Batch();
  t.equal(batch.length, 0);
  t.notOk(batch.full);
  while (!batch.full) batch.add(pool.take()!);
  t.equal(batch.length, BATCH);
  t.equal(new Set(batch.packets.slice(0, batch.length)).size, BATCH);

  const packets = [...batch.packets];
  batch.clear();
  t.equal(batch.length, 0);
  t.equal(pool.used, BATCH, 'who clears it has given the packets to somebody');

  for (const p of packets) batch.add(p);
  batch.release();
  t.equal(batch.length, 0);
  batch.release();
  t.equal(pool.used, 0);
});

t.test('packets of several pools go home to their own', async (t) => {
  const pools = [new DebugPool({ count: 2 }), new DebugPool({ count: 2 })];
  const batch = new Batch();
  for (const pool of pools) batch.add(pool.take()!);
  batch.release();
  t.same(
    pools.map((pool) => pool.used),
    [0, 0],
  );
});
