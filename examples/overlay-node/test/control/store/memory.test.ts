import { test } from 'tap';
import { MemoryStore } from '../../../control/store/memory.ts';
import type { Event } from '../../../control/store/store.ts';
import { conformance } from './conformance.ts';

test('clients share the data, and each can be cut off', async (t) => {
  const one = new MemoryStore();
  const two = one.client();
  const seen: (readonly Event[])[] = [];
  const ends: string[] = [];
  two.watch('a/', 0, { onEvents: (events) => seen.push(events), onEnd: (why) => ends.push(why) });
  await one.put('a/1', 'x');
  t.equal((await two.get('a/1'))?.value, 'x');
  t.equal(seen.length, 1);
  two.away = true;
  await t.rejects(two.get('a/1'), { code: 'AWAY' });
  t.strictSame(ends, ['away']);
  await one.put('a/2', 'y');
  two.away = false;
  t.equal((await two.list('a/')).entries.length, 2);
});

test('leases on a clock that is given', async (t) => {
  let now = 0;
  const store = new MemoryStore({ now: () => now });
  const lease = await store.grant(10);
  await store.put('alive/1', '', lease);
  now = 9_999;
  t.ok(await store.get('alive/1'));
  await lease.keepAlive();
  now = 19_998;
  t.ok(await store.get('alive/1'));
  now = 19_999;
  t.equal(await store.get('alive/1'), null);
  await t.rejects(lease.keepAlive(), { code: 'NOT_FOUND' });
});

test('conformance', async (t) => {
  conformance(t, async () => {
    const store = new MemoryStore({ history: { commits: 600 } });
    return {
      store,
      other: async () => store.client(),
      cut: () => {
        store.away = true;
      },
      compact: async () => {
        for (let i = 0; i < 700; i++) await store.put('elsewhere', String(i));
      },
      ttl: 3,
    };
  });
});
