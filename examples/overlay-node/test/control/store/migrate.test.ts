import { test } from 'tap';
import { createCluster } from '../../../control/cluster.ts';
import { ControlError } from '../../../control/errors.ts';
import { MemoryStore } from '../../../control/store/memory.ts';
import { copyStore, leased, MOVED, movedRecord, readMoved } from '../../../control/store/migrate.ts';
import type { Condition, Operation, Store } from '../../../control/store/store.ts';
import { embedded } from './served.ts';

async function content(store: Store): Promise<Record<string, string>> {
  const { entries } = await store.list('');
  return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
}

/** A store that fails at one transaction, before it is made or after, or whenever it is asked. */
class Failing extends MemoryStore {
  readonly sizes: number[] = [];
  failAt = Number.POSITIVE_INFINITY;
  lost = false;

  override async compareAndSet(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ done: boolean; revision: number }> {
    const n = this.sizes.push(conditions.length + operations.length) - 1;
    if (n === this.failAt && this.lost) await super.compareAndSet(conditions, operations);
    if (n === this.failAt) throw new ControlError(this.lost ? 'AWAY' : 'CORRUPT', 'interrupted');
    return super.compareAndSet(conditions, operations);
  }
}

async function old(store: Store): Promise<Record<string, string>> {
  await createCluster(store);
  await store.put('alive/1', '{}', await store.grant(60));
  const put = (i: number) => ({ type: 'put' as const, key: `endpoints/${i}`, value: `${i}` });
  for (let i = 0; i < 300; i += 100) {
    await store.compareAndSet(
      [],
      Array.from({ length: 100 }, (_, j) => put(i + j)),
    );
  }
  for (let i = 0; i < 3; i++) await store.put(`large/${i}`, `${i}`.repeat(400 << 10));
  await store.put('larger', 'x'.repeat(1 << 20));
  const { 'alive/1': _, ...kept } = await content(store);
  return kept;
}

test('from the embedded store to another', async (t) => {
  const from = await embedded(t);
  const kept = await old(from);
  const to = new Failing();
  t.equal(await copyStore(from, to, leased), Object.keys(kept).length);
  t.strictSame(await content(to), kept);
  t.ok(to.sizes.length > 6 && to.sizes.every((size) => size <= 128), String(to.sizes));
  await t.rejects(copyStore(from, to, leased), { code: 'CONFLICT', message: /carries a cluster already/ });
});

test('interrupted at each step, and taken up again', async (t) => {
  const from = await embedded(t);
  await old(from);
  const whole = new Failing();
  await copyStore(from, whole, leased);
  for (let step = 0; step < whole.sizes.length; step++) {
    const to = new Failing();
    to.failAt = step;
    await t.rejects(copyStore(from, to, leased), { message: 'interrupted' });
    t.notOk((await to.list('cluster')).entries.length, `step ${step}: not half a cluster`);
    // Meanwhile the old store was used.
    await from.put('endpoints/1', `changed ${step}`);
    await from.delete(`endpoints/${100 + step}`);
    await copyStore(from, to, leased);
    const { 'alive/1': _, ...kept } = await content(from);
    t.strictSame(await content(to), kept, `step ${step}`);

    const doubt = new Failing();
    doubt.failAt = step;
    doubt.lost = true;
    await copyStore(from, doubt, leased);
    t.strictSame(await content(doubt), kept, `step ${step}: made, and the answer lost`);
  }
});

test('what is refused', async (t) => {
  const [from, empty, other] = [new MemoryStore(), new MemoryStore(), new MemoryStore()];
  await t.rejects(copyStore(empty, new MemoryStore(), leased), { code: 'NOT_JOINED' });
  await createCluster(from);
  await createCluster(other);
  const before = await content(other);
  await t.rejects(copyStore(from, other, leased), { code: 'CONFLICT', message: /carries a cluster already/ });
  t.strictSame(await content(other), before);
  await empty.put('networks/1', '{}');
  await t.rejects(copyStore(from, empty, leased), { code: 'CONFLICT', message: /something else in it/ });
  const half = new Failing();
  half.failAt = 1;
  await t.rejects(copyStore(other, half, leased), { message: 'interrupted' });
  await t.rejects(copyStore(from, half, leased), { code: 'CONFLICT' }, "another cluster's half");
  const both = new MemoryStore();
  const results = await Promise.allSettled([
    copyStore(from, both, leased),
    copyStore(from, both.client(), leased),
  ]);
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1, 'of two at once one');
  t.strictSame(await content(both), await content(from));
});

test('where it has gone', async (t) => {
  t.equal(MOVED, 'moved');
  t.strictSame(readMoved(movedRecord('etcd://a:2379')), { to: 'etcd://a:2379' });
  for (const value of ['', '{}', 'null', '{"to":1}', '['])
    t.throws(() => readMoved(value), { code: 'CORRUPT' });
});
