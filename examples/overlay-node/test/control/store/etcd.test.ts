import { test } from 'tap';
import { skip } from '../../../../../test/gen/skip.ts';
import { EtcdClient } from '../../../control/store/etcd-client.ts';
import { conformance, Log } from './conformance.ts';
import { EtcdServer, insist, noEtcd, open, Wire } from './etcd-server.ts';

const missing = noEtcd();
const away = { code: 'AWAY' };

test('conformance', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const client = new EtcdClient({ addresses: [server.address] });
  t.teardown(() => client.close());
  let n = 0;
  conformance(t, async (t) => {
    const wire = await Wire.to(t, server.address);
    const prefix = `/subject/${n++}/`;
    const store = open(t, [wire.address], { prefix });
    return {
      store,
      other: async () => open(t, [server.address], { prefix }),
      cut: () => wire.cut(),
      compact: async () => {
        const { revision } = await store.list('');
        await client.write('/v3/kv/compaction', { revision: String(revision) });
      },
      ttl: 5,
    };
  });
});

test('a restart', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const store = open(t, [server.address]);
  const second = open(t, [server.address]);
  const first = await store.put('a', '1');
  const log = new Log(store, '', first);
  await store.put('a', '2');
  await log.until(() => log.calls.length === 1);
  await server.kill();
  await log.until(() => log.ends.length > 0);
  t.strictSame(log.ends, ['away']);
  await t.rejects(store.get('a'), { ...away, message: /127\.0\.0\.1:\d+ cannot be used: .*ECONNREFUSED/ });
  await t.rejects(store.put('a', '3'), away);
  const late = new Log(store, '', first);
  await late.until(() => late.ends.length > 0);
  t.strictSame(late.ends, ['away']);

  await server.run();
  await insist(() => second.put('a', '4'));
  const next = new Log(store, '', log.calls[0]!.revision);
  await next.until(() => next.calls.length === 1);
  t.strictSame([next.lines, next.ends], [['a=4'], []], 'what was missed, and nothing twice');
  await store.put('a', '5');
  await next.until(() => next.calls.length === 2);
  next.watch.close();
});

test('a deletion at the very revision that is compacted', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const store = open(t, [server.address]);
  const client = new EtcdClient({ addresses: [server.address] });
  t.teardown(() => client.close());
  const before = await store.put('a', '1');
  await store.delete('a');
  const { revision } = await store.list('');
  await client.write('/v3/kv/compaction', { revision: String(revision) });
  const log = new Log(store, '', before);
  await log.until(() => log.ends.length + log.calls.length > 0);
  t.strictSame([log.ends, log.lines], [['compacted'], []]);
  const next = new Log(store, '', revision);
  await store.put('b', '1');
  await next.until(() => next.calls.length > 0);
  t.strictSame([next.ends, next.lines], [[], ['b=1']]);
  next.watch.close();
});

test('a list of many pages is of one moment', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const store = open(t, [server.address]);
  const put = (i: number, value: string) => ({
    type: 'put' as const,
    key: `m/${String(i).padStart(5, '0')}`,
    value,
  });
  for (let i = 0; i < 2000; i += 100)
    await store.compareAndSet(
      [],
      Array.from({ length: 100 }, (_, j) => put(i + j, '0')),
    );
  let writing = true;
  const writer = (async () => {
    for (let n = 1; writing; n++)
      await store.compareAndSet([], [put(0, String(n)), put(700, String(n)), put(1999, String(n))]);
  })();
  for (let n = 0; n < 20; n++) {
    const { entries, revision } = await store.list('m/');
    if (entries.length !== 2000) t.fail(`${entries.length} entries`);
    const ends = [entries[0]!, entries[700]!, entries[1999]!];
    if (new Set(ends.map(({ value }) => value)).size !== 1) t.fail('of several moments');
    if (entries.some((entry) => entry.revision > revision)) t.fail('later than its own revision');
  }
  writing = false;
  await writer;
});

test('large changes come whole', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const store = open(t, [server.address]);
  const { revision } = await store.list('');
  const value = 'x'.repeat(100_000);
  const put = (key: string) => ({ type: 'put' as const, key, value });
  for (let i = 0; i < 12; i++)
    await store.compareAndSet(
      [],
      Array.from({ length: 8 }, (_, j) => put(`${j}`)),
    );
  const log = new Log(store, '', revision);
  await log.until(() => log.calls.length >= 12);
  t.ok(log.calls.every(({ events }) => events.length === 8));
  log.watch.close();
});

test('two prefixes of one etcd', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const one = open(t, [server.address], { prefix: '/one/' });
  const two = open(t, [server.address], { prefix: '/one-two/' });
  const revision = await one.put('a', '1');
  const logs = [new Log(one, '', revision), new Log(two, '', revision)];
  await two.put('a', '2');
  await two.put('b', '2');
  await one.put('a', '3');
  for (const log of logs) await log.until(() => log.calls.length > 0);
  await logs[1]!.until((log) => log.calls.length === 2);
  t.strictSame(logs[0]!.lines, ['a=3']);
  t.strictSame(logs[1]!.lines, ['a=2', 'b=2']);
  t.strictSame(
    (await one.list('')).entries.map(({ key, value }) => `${key}=${value}`),
    ['a=3'],
  );
  t.equal(await one.delete('b'), false);
  t.equal((await two.get('b'))?.value, '2');
  for (const log of logs) log.watch.close();
});
