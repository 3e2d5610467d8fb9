/** Work in turns: in order, over failures, and nothing is kept of what has ended. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { Queue, Queues } from '../../control/queue.ts';

t.test('one after another, whatever became of the one before', async (t) => {
  const queue = new Queue();
  const done: string[] = [];
  const work = (name: string) => async () => {
    done.push(`${name} begins`);
    await turn();
    done.push(`${name} ends`);
    if (name === 'a') throw new Error('no');
    return name;
  };
  const [a, b] = [queue.run(work('a')), queue.run(work('b'))];
  await t.rejects(a, { message: 'no' });
  t.same(done, ['a begins', 'a ends', 'b begins'].slice(0, done.length));
  t.equal(await b, 'b');
  t.same(done, ['a begins', 'a ends', 'b begins', 'b ends']);
});

t.test('keys do not wait for each other', async (t) => {
  const queues = new Queues();
  let release = () => {};
  const held = queues.run(
    'x',
    () =>
      new Promise<void>((resolve) => {
        release = resolve;
      }),
  );
  const next = queues.run('x', async () => 'next');
  t.equal(await queues.run('y', async () => 'other'), 'other');
  t.ok(queues.has('x'));
  t.notOk(queues.has('y'), 'nothing is kept of what has ended');
  let idle = false;
  const waited = queues.idle().then(() => {
    idle = true;
  });
  await turn();
  t.notOk(idle);
  release();
  await Promise.all([held, waited]);
  t.equal(await next, 'next');
  t.notOk(queues.has('x'));
});
