import t from 'tap';
import { RealClock, VirtualClock } from '../../../lib/core/clock.ts';

t.test('the real clock stands still between updates and never goes back', async (t) => {
  const clock = new RealClock();
  const start = clock.now;
  for (let i = 0; i < 1000; i++) Math.sqrt(i);
  t.equal(clock.now, start);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 1000; i++) {
    const before = clock.now;
    clock.update();
    least = Math.min(least, clock.now - before);
  }
  t.ok(least >= 0);
  t.ok(clock.now > start);
  t.ok(Math.abs(clock.origin + clock.now - Date.now()) < 60_000, 'the origin leads to the time of day');
});

t.test('a virtual clock goes as far as it is told', async (t) => {
  const clock = new VirtualClock(1_700_000_000_000);
  t.equal(clock.origin, 1_700_000_000_000);
  t.equal(clock.now, 0);
  clock.update();
  t.equal(clock.now, 0);
  clock.advance(2.5);
  clock.advance(0);
  t.equal(clock.now, 2.5);
  for (const ms of [-1, Number.NaN]) {
    t.throws(() => clock.advance(ms), {
      name: 'RangeError',
      message: `"ms" expected a number of at least 0, got ${ms}`,
    });
  }
  t.equal(clock.now, 2.5);
});
