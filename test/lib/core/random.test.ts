import t from 'tap';
import { Random } from '../../../lib/core/random.ts';
import { seed } from '../../gen/seed.ts';

const some = (r: Random, n = 20) => Array.from({ length: n }, () => r.int32());

/** sfc32 as its author wrote it (PractRand, sfc.h), in unsigned arithmetic. */
function reference(a: number, b: number, c: number, rounds: number): () => number {
  let [x, y, z, counter] = [a, b, c, 1];
  const u32 = (n: number) => Number(BigInt.asUintN(32, BigInt(n)));
  const next = () => {
    const sum = u32(x + y + counter);
    counter = u32(counter + 1);
    x = u32(y ^ (y >>> 9));
    y = u32(z + u32(z << 3));
    z = u32(u32((z << 21) | (z >>> 11)) + sum);
    return sum | 0;
  };
  for (let i = 0; i < rounds; i++) next();
  return next;
}

t.test('it is sfc32', async (t) => {
  for (const s of [0, 1, 2 ** 31, 2 ** 32 + 5, 2 ** 53 - 1, -1, seed]) {
    const wanted = reference(0x9e3779b9, s >>> 0, Math.floor(s / 2 ** 32) >>> 0, 12);
    t.same(some(new Random(s)), Array.from({ length: 20 }, wanted), `seed ${s}`);
  }
});

t.test('equal seeds give equal sequences, others do not', async (t) => {
  t.same(some(new Random(seed)), some(new Random(seed)));
  const first = new Set(Array.from({ length: 1000 }, (_, i) => new Random(i).int32()));
  t.equal(first.size, 1000);
  t.not(new Random(1).int32(), new Random(1 + 2 ** 32).int32(), '53 bits of the seed count');
});

t.test(`numbers are where they should be, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const buckets = new Int32Array(10);
  let outside = 0;
  for (let i = 0; i < 100_000; i++) {
    const f = r.float();
    if (!(f >= 0 && f < 1)) outside++;
    buckets[r.below(10)]++;
    if (r.below(1) !== 0) outside++;
  }
  t.equal(outside, 0);
  // 10,000 each, and five standard deviations of 95.
  t.same(
    [...buckets].filter((n) => Math.abs(n - 10_000) > 475),
    [],
  );
  let hits = 0;
  for (let i = 0; i < 100_000; i++) if (r.chance(0.01)) hits++;
  t.ok(Math.abs(hits - 1000) < 160, `${hits} of about 1000`);
  t.notOk(r.chance(0));
  t.ok(r.chance(1));
});
