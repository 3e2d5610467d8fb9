import t from 'tap';
import { Pool } from '../../../lib/core/pool.ts';
import { Random } from '../../../lib/core/random.ts';
import { Ring } from '../../../lib/core/ring.ts';
import { seed } from '../../gen/seed.ts';

t.test(`a ring is a bounded list, seed ${seed}`, async (t) => {
  const random = new Random(seed);
  for (const capacity of [1, 2, 8, 64]) {
    const pool = new Pool({ count: capacity + 1 });
    const ring = new Ring(capacity);
    const twin: (number | undefined)[] = [];
    let wrong = 0;
    for (let i = 0; i < 5000; i++) {
      const slot = random.below(capacity + 1);
      if (random.chance(0.52)) {
        if (ring.put(pool.at(slot)) !== twin.length < capacity) wrong++;
        else if (twin.length < capacity) twin.push(slot);
      } else if (ring.get()?.slot !== twin.shift()) wrong++;
      if (ring.length !== twin.length) wrong++;
    }
    t.equal(wrong, 0, `capacity ${capacity}`);
    t.equal(ring.capacity, capacity);
  }
});

t.test(`packets in rows, seed ${seed}`, async (t) => {
  const random = new Random(seed);
  const pool = new Pool({ count: 64 });
  const all = Array.from({ length: 64 }, (_, i) => pool.at(i));
  const ring = new Ring(32);
  const twin: number[] = [];
  let wrong = 0;
  for (let i = 0; i < 5000; i++) {
    const [from, n] = [random.below(32), random.below(33)];
    if (random.chance(0.5)) {
      const room = 32 - twin.length;
      if (ring.putAll(all, from, from + n) !== Math.min(n, room)) wrong++;
      for (let k = from; k < from + Math.min(n, room); k++) twin.push(k);
    } else {
      const into = all.slice(0, from);
      const got = ring.getAll(into, from, n);
      const slots = into.slice(from).map(({ slot }) => slot);
      if (got !== slots.length || slots.join() !== twin.splice(0, n).join()) wrong++;
    }
    if (ring.length !== twin.length) wrong++;
  }
  t.equal(wrong, 0);
});

t.test('the capacity is a power of two', async (t) => {
  for (const capacity of [0, 3, 0.5, -2, Number.NaN]) {
    t.throws(() => new Ring(capacity), { message: `"capacity" expected a power of two, got ${capacity}` });
  }
});
