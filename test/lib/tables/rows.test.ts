import t from 'tap';
import { NONE } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Rows } from '../../../lib/tables/rows.ts';
import { seed } from '../../gen/seed.ts';

type Key = [number, number, number, number, number];

t.test(`200,000 random operations do what they do to a Map, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const rows = new Rows(40, seed);
  const twin = new Map<string, number>();
  const key = (): Key => [r.below(2), 0, r.below(2), 0xffff, r.below(12) + (r.chance(0.2) ? 0xfffffff0 : 0)];
  let wrong = 0;
  for (let i = 0; i < 200_000; i++) {
    const k = key();
    const known = twin.get(String(k));
    const what = r.below(3);
    if (what === 0) {
      const row = rows.add(...k);
      if (known !== undefined) wrong += row === known ? 0 : 1;
      else if (twin.size === 40) wrong += row === NONE ? 0 : 1;
      else {
        if (row < 0 || row >= 40 || [...twin.values()].includes(row)) wrong++;
        twin.set(String(k), row);
      }
    } else if (what === 1) wrong += rows.find(...k) === (known ?? NONE) ? 0 : 1;
    else if (known !== undefined) {
      rows.remove(known);
      twin.delete(String(k));
    }
    if (rows.size !== twin.size) wrong++;
  }
  t.equal(wrong, 0);
  const word = (row: number) => [0, 1, 2, 3, 4].map((i) => rows.word(row, i));
  t.same(new Map([...rows.all()].map((row) => [String(word(row)), row])), twin);
});

t.test('words may be signed or not', async (t) => {
  const rows = new Rows(4);
  const row = rows.add(1, -1, 0, 0xffff, 0x80000000);
  t.equal(rows.find(1, 0xffffffff, 0, 0xffff, 0x80000000 | 0), row);
  t.equal(rows.add(1, 0xffffffff, 0, 0xffff, 0x80000000 | 0), row);
  t.equal(rows.word(row, 1), 0xffffffff);
  t.equal(rows.size, 1);
});

t.test('a capacity that is none is refused', async (t) => {
  for (const capacity of [0, 1.5, Number.NaN, 2 ** 24 + 1]) {
    t.throws(() => new Rows(capacity), {
      name: 'RangeError',
      message: `"capacity" expected an integer 1..16777216, got ${capacity}`,
    });
  }
  const one = new Rows(1);
  t.equal(one.add(1, 2, 3, 4, 5), 0);
  t.equal(one.add(1, 2, 3, 4, 6), NONE);
  one.remove(0);
  t.equal(one.add(1, 2, 3, 4, 6), 0);
});
