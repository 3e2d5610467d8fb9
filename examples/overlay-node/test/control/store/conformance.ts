/** One suite over every store. */
import type { Test } from 'tap';
import type { Entry, Event, Store, Watch, WatchEnd } from '../../../control/store/store.ts';

/** A store as the suite needs it. */
export interface Subject {
  readonly store: Store;
  /** Another client of the same data. */
  other(): Promise<Store>;
  /** Cuts `store`, and only this client, off; absent where it cannot be. */
  cut?(): Promise<void> | void;
  /** Makes the store forget its changes up to now. */
  compact?(): Promise<void>;
  /** Shortest time to live of a lease, in seconds. */
  readonly ttl: number;
}

/** Makes a fresh subject; what it needs ended goes to `t.teardown`. */
export type MakeSubject = (t: Test) => Promise<Subject>;

export function conformance(t: Test, make: MakeSubject): void {
  const cases: [string, (t: Test, subject: Subject) => Promise<void>][] = [
    ['get, put, delete and revisions', basics],
    ['lists in byte order, with a revision to watch from', lists],
    ['values of every kind', values],
    ['what no store takes', refusals],
    ['compare and set', compareAndSet],
    ['of many at once exactly one wins', races],
    ['a watch tells all, by revision', watches],
    ['a watch goes on from a revision', resumption],
    ['a watch from a revision that is not yet', future],
    ['a watch from before a compaction', compaction],
    ['a watch that is cut off', cutOff],
    ['leases', leases],
    ['closing with things under way', closing],
  ];
  for (const [name, run] of cases) t.test(name, async (t) => run(t, await make(t)));
}

/** What a watch has told. */
export class Log {
  readonly calls: { revision: number; events: readonly Event[] }[] = [];
  readonly ends: WatchEnd[] = [];
  readonly watch: Watch;
  #wake: () => void = () => {};

  constructor(store: Store, prefix: string, revision: number) {
    this.watch = store.watch(prefix, revision, {
      onEvents: (events, revision) => {
        this.calls.push({ revision, events });
        this.#wake();
      },
      onEnd: (why) => {
        this.ends.push(why);
        this.#wake();
      },
    });
  }

  get lines(): string[] {
    return this.calls.flatMap(({ events }) => events.map(line));
  }

  /** Waits until it holds; the test's own timeout is the limit. */
  async until(holds: (log: Log) => boolean): Promise<void> {
    // The timers of a store do not keep a process alive.
    const alive = setInterval(() => {}, 1000);
    while (!holds(this)) await new Promise<void>((resolve) => (this.#wake = resolve));
    clearInterval(alive);
  }
}

function line(event: Event): string {
  return event.type === 'put' ? `${event.entry.key}=${event.entry.value}` : `-${event.key}`;
}

function pairs(entries: readonly Entry[]): [string, string][] {
  return entries.map(({ key, value }) => [key, value]);
}

async function basics(t: Test, { store, other }: Subject): Promise<void> {
  t.equal(await store.get('a'), null);
  const first = await store.put('a', '1');
  t.strictSame(await store.get('a'), { key: 'a', value: '1', revision: first });
  const second = await store.put('a', '2');
  t.ok(second > first);
  const third = await store.put('b', '');
  t.ok(third > second);
  t.strictSame(await (await other()).get('b'), { key: 'b', value: '', revision: third });
  t.equal((await store.get('a'))?.revision, second, 'its own last change');
  t.equal(await store.delete('a'), true);
  t.equal(await store.delete('a'), false);
  t.equal(await store.get('a'), null);
  t.ok((await store.list('')).revision > third);
}

async function lists(t: Test, { store }: Subject): Promise<void> {
  const empty = await store.list('x/');
  t.strictSame(empty.entries, []);
  const keys = [
    'x/\u{10000}',
    'x/\uffee',
    'x/é',
    'x/b',
    'x/a',
    'x/B',
    'x/a/1',
    'x/a0',
    'x',
    'x0',
    'y/a',
    'x/',
  ];
  for (const key of keys) await store.put(key, key);
  const { entries, revision } = await store.list('x/');
  const sorted = ['x/', 'x/B', 'x/a', 'x/a/1', 'x/a0', 'x/b', 'x/é', 'x/\uffee', 'x/\u{10000}'];
  t.strictSame(
    entries.map(({ key }) => key),
    sorted,
  );
  t.ok(entries.every((entry) => entry.key === entry.value && entry.revision <= revision));
  t.equal((await store.list('')).entries.length, keys.length);
  const log = new Log(store, 'x/', revision);
  await store.put('x/c', '1');
  await log.until(() => log.calls.length > 0);
  t.strictSame(log.lines, ['x/c=1'], 'nothing that was in the list');
  log.watch.close();
}

async function values(t: Test, { store, other }: Subject): Promise<void> {
  const second = await other();
  const large = 'naïve 😀 "\\\n\0'.repeat(7000);
  for (const value of ['', ' ', '\0', '{"a":[1]}', '😀\u{10ffff}\uffff', large]) {
    await store.put('netz/ä 😀', value);
    t.ok((await second.get('netz/ä 😀'))?.value === value, `${Buffer.byteLength(value)} bytes`);
  }
  for (let i = 0; i < 40; i++) await store.put(`large/${String(i).padStart(3, '0')}`, `${i}${large}`);
  const { entries } = await second.list('large/');
  t.equal(entries.length, 40);
  t.ok(entries.every(({ value }, i) => value === `${i}${large}`));
}

async function refusals(t: Test, { store }: Subject): Promise<void> {
  const invalid = { code: 'INVALID' };
  await t.rejects(store.put('', 'x'), invalid);
  await t.rejects(store.put('half \ud800', 'x'), invalid);
  await t.rejects(store.put('half', '\udc00'), invalid);
  await t.rejects(store.put('k'.repeat(5000), 'x'), invalid);
  await t.rejects(store.put('large', 'x'.repeat(3 << 20)), invalid);
  await t.rejects(store.grant(0), invalid);
  await t.rejects(store.grant(Number.NaN), invalid);
  await t.rejects(store.compareAndSet([{ key: 'a', revision: -1 }], []), invalid);
  const put = (key: string) => ({ type: 'put' as const, key, value: '' });
  await t.rejects(store.compareAndSet([], [put('a'), { type: 'delete', key: 'a' }]), invalid);
  const many = Array.from({ length: 129 }, (_, i) => put(`many/${i}`));
  await t.rejects(store.compareAndSet([], many), invalid);
  t.equal((await store.compareAndSet([], many.slice(1))).done, true, '128 are taken');
  t.strictSame(pairs((await store.list('')).entries).length, 128, 'nothing else was changed');
}

async function compareAndSet(t: Test, { store }: Subject): Promise<void> {
  const put = (key: string, value: string) => ({ type: 'put' as const, key, value });
  const made = await store.compareAndSet([{ key: 'a', revision: 0 }], [put('a', '1'), put('b', '1')]);
  t.ok(made.done);
  t.equal((await store.get('a'))?.revision, made.revision);
  t.equal((await store.get('b'))?.revision, made.revision, 'one revision for all');
  const again = await store.compareAndSet([{ key: 'a', revision: 0 }], [put('a', '2'), put('c', '2')]);
  t.equal(again.done, false);
  t.equal(again.revision, made.revision, 'and the revision of the store');
  t.equal(await store.get('c'), null, 'nothing was done');
  const both = [
    { key: 'a', revision: made.revision },
    { key: 'c', revision: 0 },
  ];
  const moved = await store.compareAndSet(both, [{ type: 'delete', key: 'a' }, put('c', '3')]);
  t.ok(moved.done && moved.revision > made.revision);
  t.equal(await store.get('a'), null);
  t.equal((await store.compareAndSet(both, [put('d', '')])).done, false);
  const nothing = await store.compareAndSet([{ key: 'a', revision: 0 }], []);
  t.strictSame(nothing, { done: true, revision: moved.revision }, 'conditions alone');
  const none = await store.compareAndSet([], [{ type: 'delete', key: 'a' }]);
  t.strictSame(none, { done: true, revision: moved.revision }, 'what is not there is no change');
}

async function races(t: Test, { store, other }: Subject): Promise<void> {
  const stores = [store, await other()];
  for (let round = 0, revision = 0; round < 3; round++) {
    const tries = Array.from({ length: 1000 }, (_, i) =>
      stores[i % 2]!.compareAndSet(
        [{ key: 'one', revision }],
        [{ type: 'put', key: 'one', value: `${round} ${i}` }],
      ),
    );
    const results = await Promise.all(tries);
    const winners = results.flatMap(({ done }, i) => (done ? [i] : []));
    t.equal(winners.length, 1);
    const entry = (await store.get('one'))!;
    t.equal(entry.value, `${round} ${winners[0]}`);
    t.equal(entry.revision, results[winners[0]!]!.revision);
    revision = entry.revision;
  }
}

async function watches(t: Test, { store, other }: Subject): Promise<void> {
  const second = await other();
  const { revision } = await store.list('');
  const log = new Log(store, 'w/', revision);
  const all = new Log(second, '', revision);
  t.equal(log.calls.length, 0);
  await second.put('w/1', 'a');
  await second.put('v/1', 'not watched');
  const put = (key: string, value: string) => ({ type: 'put' as const, key, value });
  const three = await second.compareAndSet(
    [],
    [put('w/2', 'b'), put('u/1', 'x'), { type: 'delete', key: 'w/1' }, put('w/3', '')],
  );
  await second.delete('w/absent');
  await second.delete('w/2');
  await log.until(() => log.lines.length >= 5);
  t.strictSame(log.lines.slice(0, 1), ['w/1=a']);
  t.strictSame(log.lines.slice(1, 4).sort(), ['-w/1', 'w/2=b', 'w/3=']);
  t.strictSame(log.lines.slice(4), ['-w/2']);
  t.equal(log.calls.length, 3, 'all changes of one revision in one call');
  t.equal(log.calls[1]!.revision, three.revision);
  for (const { revision, events } of log.calls)
    for (const event of events)
      t.equal(event.type === 'put' ? event.entry.revision : event.revision, revision);
  await all.until(() => all.lines.length >= 7);
  t.equal(all.calls.length, 4);
  log.watch.close();
  await store.put('w/9', 'after close');
  await all.until(() => all.lines.length >= 8);
  t.equal(log.calls.length, 3);
  t.strictSame([log.ends, all.ends], [[], []]);
  all.watch.close();
}

async function resumption(t: Test, { store, other }: Subject): Promise<void> {
  const second = await other();
  const revisions = [(await store.list('')).revision];
  for (let i = 0; i < 200; i++) revisions.push(await store.put(`r/${i % 7}`, String(i)));
  for (const from of [0, 1, 77, 199, 200]) {
    const log = new Log(second, 'r/', revisions[from]!);
    const told = Array.from({ length: 200 - from }, (_, i) => `r/${(i + from) % 7}=${i + from}`);
    await log.until(() => log.calls.length >= told.length);
    t.strictSame(log.lines, told, `from ${from}`);
    log.watch.close();
  }
  const log = new Log(second, 'r/', revisions[198]!);
  await store.put('r/0', 'next');
  await log.until(() => log.lines.length >= 3);
  t.strictSame(log.lines, ['r/2=198', 'r/3=199', 'r/0=next']);
  log.watch.close();
}

async function future(t: Test, { store }: Subject): Promise<void> {
  const revision = await store.put('f', '');
  const log = new Log(store, 'f', revision + 100);
  await log.until(() => log.ends.length > 0);
  t.strictSame(log.ends, ['compacted'], 'the store is not the one that it was');
  t.equal(log.calls.length, 0);
}

async function compaction(t: Test, { store, compact }: Subject): Promise<void> {
  if (!compact) return t.comment('this subject cannot be compacted');
  const old = await store.put('c', '1');
  await store.put('c', '2');
  await compact();
  const log = new Log(store, 'c', old);
  await log.until(() => log.ends.length > 0);
  t.strictSame([log.ends, log.calls], [['compacted'], []]);
  const { revision } = await store.list('c');
  const next = new Log(store, 'c', revision);
  await store.put('c', '3');
  await next.until(() => next.calls.length > 0);
  t.strictSame([next.lines, next.ends], [['c=3'], []]);
  next.watch.close();
}

async function cutOff(t: Test, { store, cut }: Subject): Promise<void> {
  if (!cut) return t.comment('this subject cannot be cut off');
  const { revision } = await store.list('');
  const logs = ['a', 'b'].map((prefix) => new Log(store, prefix, revision));
  await store.put('a', '1');
  await logs[0]!.until((log) => log.calls.length > 0);
  await cut();
  for (const log of logs) await log.until(() => log.ends.length > 0);
  t.strictSame(
    logs.map(({ ends }) => ends),
    [['away'], ['away']],
  );
  await t.rejects(store.put('a', '2'), { code: 'AWAY' });
  const late = new Log(store, 'a', revision);
  await late.until(() => late.ends.length > 0);
  t.strictSame(late.ends, ['away']);
}

async function leases(t: Test, { store, other, ttl }: Subject): Promise<void> {
  const second = await other();
  const { revision } = await store.list('');
  const log = new Log(second, 'alive/', revision);
  const kept = await store.grant(ttl);
  const lost = await store.grant(ttl);
  t.ok(kept.ttl >= ttl && kept.id !== lost.id);
  await store.put('alive/kept', '1', kept);
  await store.put('alive/lost', '1', lost);
  await store.put('alive/other', '1', lost);
  await store.put('alive/rescued', '1', lost);
  await store.put('alive/rescued', '2');
  const beat = setInterval(() => kept.keepAlive().catch(() => {}), (ttl * 1000) / 5);
  t.teardown(() => clearInterval(beat));
  await log.until(() => log.lines.includes('-alive/lost') && log.lines.includes('-alive/other'));
  clearInterval(beat);
  const left = (await second.list('alive/')).entries.map(({ key }) => key);
  t.strictSame(
    left,
    ['alive/kept', 'alive/rescued'],
    'what was kept alive, and what was taken from the lease',
  );
  await t.rejects(lost.keepAlive(), { code: 'NOT_FOUND' });
  await t.rejects(store.put('alive/late', '', lost), { code: 'NOT_FOUND' });
  t.equal(await store.get('alive/late'), null);
  await kept.keepAlive();
  await kept.revoke();
  await log.until(() => log.lines.includes('-alive/kept'));
  await t.rejects(kept.keepAlive(), { code: 'NOT_FOUND' });
  await t.rejects(kept.revoke(), { code: 'NOT_FOUND' });
  log.watch.close();
}

async function closing(t: Test, { store, other }: Subject): Promise<void> {
  const second = await other();
  const log = new Log(store, '', (await store.list('')).revision);
  const under = Array.from({ length: 50 }, (_, i) => store.put(`close/${i}`, 'x'));
  const settled = Promise.allSettled(under);
  await store.close();
  for (const result of await settled)
    if (result.status === 'rejected') t.equal(result.reason.code, 'AWAY', result.reason.message);
  await t.rejects(store.get('a'), { code: 'AWAY' });
  const told = log.calls.length;
  await second.put('close/after', '').catch((error) => t.equal(error.code, 'AWAY'));
  t.equal(log.calls.length, told, 'nothing is told after close');
  t.strictSame(log.ends, []);
  await store.close();
}
