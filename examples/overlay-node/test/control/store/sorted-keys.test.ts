import * as fc from 'fast-check';
import t from 'tap';
import { seed } from '../../../../../test/gen/seed.ts';
import { compareKeys } from '../../../control/store/keys.ts';
import { SortedKeys } from '../../../control/store/sorted-keys.ts';

t.test('as a plain list that is sorted', async () => {
  const key = fc.oneof(fc.string({ unit: 'binary', maxLength: 3 }), fc.stringMatching(/^[ab]{0,12}$/));
  fc.assert(
    fc.property(fc.array(key, { maxLength: 3000, size: 'max' }), fc.array(key), (some, prefixes) => {
      const keys = new SortedKeys();
      const plain = new Set<string>();
      for (const one of some) {
        // What comes twice goes.
        if (plain.delete(one)) keys.remove(one);
        else {
          plain.add(one);
          keys.add(one);
        }
      }
      const sorted = [...plain].sort(compareKeys);
      for (const prefix of ['', ...prefixes]) {
        const found = [...keys.startingWith(prefix)];
        if (found.join('|') !== sorted.filter((one) => one.startsWith(prefix)).join('|')) return false;
      }
      return keys.size === plain.size;
    }),
    { seed, numRuns: 10 },
  );
});

t.test('rows that are cut and emptied', async (t) => {
  const keys = new SortedKeys();
  const all = [...Array(10_000).keys()].map((i) => String((i * 7919) % 10_000).padStart(4, '0'));
  for (const key of all) keys.add(key);
  t.same([...keys.startingWith('')], all.toSorted());
  t.same(
    [...keys.startingWith('123')],
    [...Array(10).keys()].map((i) => `123${i}`),
  );
  for (const key of all) keys.remove(key);
  t.same([...keys.startingWith('')], []);
  t.equal(keys.size, 0);
  keys.add('again');
  t.same([...keys.startingWith('a')], ['again']);
});
