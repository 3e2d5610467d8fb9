import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Counters } from '../../../lib/core/counters.ts';

const counters = (n: number) => new Counters(new SharedArrayBuffer(n * 8));

t.test('blocks lie apart and are read by name', async (t) => {
  const c = counters(8);
  const a = c.allocate('a', ['x', 'y']);
  const b = c.allocate('b', ['x']);
  c.values[a + 1] += 3;
  c.values[b]++;
  t.equal(c.get('a', 'y'), 3);
  t.equal(c.get('b', 'x'), 1);
  t.equal(c.get('a', 'x'), 0);
  t.equal(c.get('a', 'z'), 0, 'no such counter');
  t.equal(c.get('c', 'x'), 0, 'no such owner');
  t.same(c.read('a'), { y: 3 });
  t.same(c.read('c'), {});
  t.same(c.snapshot(), { a: { y: 3 }, b: { x: 1 } });
  t.same(c.directory(), [
    { owner: 'a', name: 'x', index: a },
    { owner: 'a', name: 'y', index: a + 1 },
    { owner: 'b', name: 'x', index: b },
  ]);
});

t.test('what was released is used again, from zero', async (t) => {
  const c = counters(3);
  const a = c.allocate('a', ['x', 'y']);
  c.values[a] = 7;
  c.release('a', a);
  c.release('a', a);
  t.equal(c.get('a', 'x'), 0);
  t.equal(c.allocate('b', ['p', 'q']), a);
  t.same(c.read('b'), {});
  t.throws(() => c.allocate('c', ['p', 'q']), {
    name: 'RangeError',
    message: 'no room for the counters of "c": give Counters a larger memory',
  });
  t.same(c.snapshot(), {}, 'a refusal leaves nothing');
  t.equal(c.allocate('c', ['p']), 2);
});

t.test('an owner that is replaced goes on counting', async (t) => {
  const c = counters(4);
  const before = c.allocate('a', ['x', 'y']);
  c.values[before] = 5;
  const after = c.allocate('a', ['x', 'y']);
  t.equal(after, before);
  c.release('a', before);
  t.equal(c.get('a', 'x'), 5, 'the newer one still counts');
  c.release('a', after);
  t.same(c.directory(), []);
});

t.test('an owner that is replaced by one of another kind', async (t) => {
  const c = counters(8);
  const old = c.allocate('a', ['x', 'y']);
  c.values[old] = 5;
  const other = c.allocate('a', ['z']);
  t.not(other, old);
  c.values[old]++;
  t.same(c.read('a'), {}, 'the newer one is read, from zero');
  c.release('a', other);
  t.same(c.read('a'), { x: 6 }, 'as is the older one where the newer goes first');
  c.allocate('a', ['z']);
  c.release('a', old);
  c.values[other] = 1;
  t.same(c.snapshot(), { a: { z: 1 } });
  t.equal(c.directory().length, 1);
});

t.test('another thread reads them without asking', async (t) => {
  const c = counters(4);
  const at = c.allocate('a', ['x']);
  c.values[at] = 2 ** 53;
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     parentPort.postMessage(new Float64Array(workerData.memory)[workerData.at]);`,
    { eval: true, workerData: { memory: c.values.buffer, at }, execArgv: [] },
  );
  const read = await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  t.equal(read, 2 ** 53);
});

t.test('another thread mirrors the blocks over the same memory', async (t) => {
  const memory = new SharedArrayBuffer(1024 * 8);
  const here = new Counters(memory);
  const there = new Counters(memory);
  const follow = () => {
    const gone = [...there.blocks()].map(({ owner }) => owner);
    there.mirror(here.blocks(), gone);
  };
  const { version } = here;
  const a = here.allocate('a', ['seen', 'drop.too-big']);
  const b = here.allocate('b', ['drop.too-big', 'drop.closed']);
  t.not(here.version, version, 'a block that came');
  here.values[a] = 3;
  here.values[a + 1] = 1;
  here.values[b] = 2;
  t.same(there.snapshot(), {});
  follow();
  t.same(there.snapshot(), { a: { seen: 3, 'drop.too-big': 1 }, b: { 'drop.too-big': 2 } });
  t.same(there.drops(), { 'too-big': 3 });
  here.values[b + 1]++;
  t.equal(there.get('b', 'drop.closed'), 1, 'a value needs no word');
  const before = here.version;
  here.allocate('a', ['seen', 'drop.too-big']);
  here.release('a', a);
  t.equal(here.version, before, 'the same block once more is no change');
  here.release('b', b);
  t.not(here.version, before, 'a block that went');
  follow();
  t.same(Object.keys(there.snapshot()), ['a']);
});
