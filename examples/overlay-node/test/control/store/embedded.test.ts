import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Test, test } from 'tap';
import { skip } from '../../../../../test/gen/skip.ts';
import { EmbeddedStore } from '../../../control/store/embedded.ts';
import { conformance, Log } from './conformance.ts';

async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'packetweave-store-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return join(path, 'store');
}

/** Runs a few lines with an EmbeddedStore in a process of their own; its standard output, by lines. */
function child(
  t: Test,
  path: string,
  lines: string,
): { process: ChildProcess; output: AsyncIterator<string> } {
  const modules = new URL('../../../control/store/embedded.ts', import.meta.url).href;
  const code = `import { EmbeddedStore } from ${JSON.stringify(modules)};
    const path = ${JSON.stringify(path)};\n${lines}`;
  const options = { stdio: ['ignore', 'pipe', 'inherit'] as ['ignore', 'pipe', 'inherit'] };
  const process_ = spawn(process.execPath, [...process.execArgv, '--input-type=module', '-e', code], options);
  t.teardown(() => process_.kill('SIGKILL'));
  return { process: process_, output: createInterface(process_.stdout!)[Symbol.asyncIterator]() };
}

test('conformance', async (t) => {
  conformance(t, async (t) => {
    const store = await EmbeddedStore.open(await folder(t), { history: { commits: 600 } });
    t.teardown(() => store.close());
    return { store, other: async () => store, compact: () => store.compact(), ttl: 3 };
  });
});

test('all is there after a restart: entries, history and leases', async (t) => {
  const path = await folder(t);
  const first = await EmbeddedStore.open(path);
  const from = await first.put('a', '1');
  await first.put('a', '2');
  const lease = await first.grant(5);
  await first.put('alive/1', '', lease);
  await first.put('b', 'x');
  await first.delete('b');
  const before = await first.list('');
  await first.close();
  t.ok(from > Date.now() * 1000 - 60e6, 'revisions begin at the wall clock');

  const second = await EmbeddedStore.open(path);
  const after = await second.list('');
  t.strictSame(after.entries, before.entries);
  t.ok(after.revision > before.revision);
  const log = new Log(second, '', from);
  await log.until(() => log.lines.length >= 4);
  t.strictSame(log.lines, ['a=2', 'alive/1=', 'b=x', '-b']);
  await log.until(() => log.lines.length >= 5);
  t.strictSame(log.lines[4], '-alive/1', 'the lease had its time again and ran out');
  t.equal(await second.get('alive/1'), null);
  const never = new Log(second, '', before.revision + 1);
  await never.until(() => never.ends.length > 0);
  t.strictSame(never.ends, ['compacted'], 'a revision that was never given');
  await second.close();
});

test('a folder that was lost, and one that was put back from a copy', async (t) => {
  const path = await folder(t);
  const first = await EmbeddedStore.open(path);
  await first.put('a', '1');
  await first.close();
  await cp(path, `${path}-copy`, { recursive: true });
  const second = await EmbeddedStore.open(path);
  const revision = await second.put('a', '2');
  await second.close();
  for (const state of ['lost', 'copy']) {
    await rm(path, { recursive: true });
    if (state === 'copy') await cp(`${path}-copy`, path, { recursive: true });
    const store = await EmbeddedStore.open(path);
    t.equal((await store.get('a'))?.value, state === 'copy' ? '1' : undefined);
    for (let i = 0; i < 10; i++) await store.put('more', String(i));
    const log = new Log(store, '', revision);
    await log.until(() => log.ends.length > 0);
    t.strictSame([log.ends, log.calls], [['compacted'], []], state);
    await store.close();
  }
});

test('history is trimmed on the disk, too', async (t) => {
  const path = await folder(t);
  const history = { commits: 50 };
  const first = await EmbeddedStore.open(path, { history });
  const puts = Array.from({ length: 2500 }, (_, i) => first.put(`k/${i % 10}`, String(i)));
  const revisions = await Promise.all(puts);
  await first.close();
  const second = await EmbeddedStore.open(path, { history });
  t.teardown(() => second.close());
  const log = new Log(second, '', revisions.at(-51)!);
  await log.until(() => log.lines.length >= 50);
  t.equal(log.lines[0], 'k/0=2450');
  const old = new Log(second, '', revisions.at(-52)!);
  await old.until(() => old.ends.length > 0);
  t.strictSame(old.ends, ['compacted']);
});

test('a process that is killed loses nothing that was confirmed', async (t) => {
  const path = await folder(t);
  const run = child(
    t,
    path,
    `const store = await EmbeddedStore.open(path);
    for (let i = 0; ; i++) {
      const put = (key) => ({ type: 'put', key, value: String(i) });
      await store.compareAndSet([], [put('a'), put('b'), put('c/' + i)]);
      process.stdout.write(i + '\\n');
    }`,
  );
  let last = -1;
  while (last < 100) last = Number((await run.output.next()).value);
  run.process.kill('SIGKILL');
  for (let next = await run.output.next(); !next.done; next = await run.output.next())
    last = Number(next.value);
  const store = await EmbeddedStore.open(path);
  t.teardown(() => store.close());
  const a = Number((await store.get('a'))?.value);
  t.ok(a >= last && a <= last + 1, `confirmed ${last}, found ${a}`);
  t.equal((await store.get('b'))?.value, String(a), 'a transaction is whole');
  t.equal((await store.list('c/')).entries.length, a + 1);
});

test('a folder that another process has', async (t) => {
  const path = await folder(t);
  const run = child(
    t,
    path,
    `await EmbeddedStore.open(path); console.log('open'); setInterval(() => {}, 1000);`,
  );
  t.equal((await run.output.next()).value, 'open');
  const wanted = { code: 'CONFLICT', message: /is in use: another packetweave/ };
  await t.rejects(EmbeddedStore.open(path), wanted);
  run.process.kill('SIGKILL');
  await once(run.process, 'exit');
  const store = await EmbeddedStore.open(path);
  await t.rejects(EmbeddedStore.open(path), wanted, 'and this one itself');
  await store.close();
});

test('folders that are none', async (t) => {
  const path = await folder(t);
  await writeFile(path, 'a file');
  await t.rejects(EmbeddedStore.open(path), { code: 'AWAY', message: path });
  await t.rejects(EmbeddedStore.open('/dev/null/store'), { code: 'AWAY', message: '/dev/null/store' });
});

test('a disk that is full', async (t) => {
  const path = await mkdtemp(join(tmpdir(), 'packetweave-disk-'));
  const mounted =
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=10m', 'packetweave-test', path]).status === 0;
  t.teardown(async () => {
    if (mounted) spawnSync('umount', [path]);
    await rm(path, { recursive: true });
  });
  if (!mounted) return skip(t, 'a small file system cannot be mounted here');
  const store = await EmbeddedStore.open(join(path, 'store'));
  t.teardown(() => store.close());
  const log = new Log(store, '', (await store.list('')).revision);
  await writeFile(join(path, 'ballast'), Buffer.alloc(6 << 20));
  const { randomBytes } = await import('node:crypto');
  const noise = () => randomBytes(40_000).toString('base64');
  const kept: string[] = [];
  const put = (key: string) => ({ type: 'put' as const, key, value: noise() });
  const fill = async () => {
    for (let i = 0; i < 200; i++) {
      await store.compareAndSet([], [put(`full/${i}/a`), put(`full/${i}/b`)]);
      kept.push(`full/${i}/a`, `full/${i}/b`);
    }
  };
  await t.rejects(fill(), { code: 'AWAY', message: /No space.*make room/ });
  await t.rejects(fill(), { code: 'AWAY' }, 'again');
  const there = (await store.list('')).entries;
  t.equal(there.length, new Set(kept).size, 'a transaction is done or not');
  await rm(join(path, 'ballast'));
  await store.put('small', 'x');
  t.equal((await store.get('small'))?.value, 'x', 'goes on when there is room');
  const { entries } = await store.list('');
  t.equal(entries.length % 2, 1);
  await store.close();
  const again = await EmbeddedStore.open(join(path, 'store'));
  t.strictSame((await again.list('')).entries, entries, 'and the disk holds what was seen');
  await again.close();
  t.equal(log.lines.filter((line) => line.startsWith('small')).length, 1);
});
