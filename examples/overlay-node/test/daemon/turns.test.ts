import t from 'tap';
import { Turns } from '../../daemon/turns.ts';

t.test('never two at once, and what is asked for meanwhile is done once', async (t) => {
  let running = 0;
  let runs = 0;
  const turns = new Turns(async () => {
    t.equal(running++, 0);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    runs++;
  });
  const first = turns.run();
  const others = [turns.run(), turns.run(), turns.run()];
  await first;
  t.equal(runs, 1);
  await Promise.all(others);
  t.equal(runs, 2);
  await turns.run();
  t.equal(runs, 3);
  await turns.idle();
});

t.test('a run that fails rejects for who asked for it, and the next one runs', async (t) => {
  const outcomes = ['bad', 'good'];
  const turns = new Turns(async () => {
    const outcome = outcomes.shift();
    await new Promise((resolve) => setImmediate(resolve));
    if (outcome === 'bad') throw new Error(outcome);
  });
  const first = turns.run();
  const second = turns.run();
  await t.rejects(first, { message: 'bad' });
  await second;
});
