import t from 'tap';
import { NONE } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Places } from '../../../lib/tables/places.ts';
import { seed } from '../../gen/seed.ts';

t.test(`places are found at their positions, seed ${seed}`, async (t) => {
  const random = new Random(seed);
  for (const count of [0, 1, 2, 3, 100, 10_000, 65536]) {
    const wanted = new Map<number, number>();
    while (wanted.size < count) {
      const place = count === 65536 ? wanted.size : random.below(65536);
      if (!wanted.has(place)) wanted.set(place, wanted.size);
    }
    const places = new Places([...wanted.keys()]);
    let wrong = 0;
    for (let place = 0; place < 65536; place++) {
      if (places.lookup(place) !== (wanted.get(place) ?? NONE)) wrong++;
    }
    t.equal(wrong, 0, `${count} places`);
    t.equal(places.count, count);
    t.same(
      [NONE, 65536, 0x7fffffff].map((place) => places.lookup(place)),
      [NONE, NONE, NONE],
    );
  }
});

t.test('what is no local place is refused, and so is a place named twice', async (t) => {
  t.throws(() => new Places([1, 65536]), { message: '"places" expected a local place 0..65535, got 65536' });
  t.throws(() => new Places([-1], 'ports'), { message: '"ports" expected a local place 0..65535, got -1' });
  t.throws(() => new Places([0.5]), { name: 'RangeError' });
  t.throws(() => new Places([4, 5, 4]), { message: '"places" names the place 4 twice' });
});
