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

t.test('the capacity is a power of two', async (t) => {
  for (const capacity of [0, 3, 0.5, -2, Number.NaN]) {
    t.throws(() => new Ring(capacity), { message: `"capacity" expected a power of two, got ${capacity}` });
  }
});
