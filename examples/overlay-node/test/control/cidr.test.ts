import * as fc from 'fast-check';
import t from 'tap';
import { seed } from '../../../../test/gen/seed.ts';
import * as c from '../../control/cidr.ts';

const address: fc.Arbitrary<c.Address> = fc.oneof(
  fc.record({ family: fc.constant(4 as const), value: fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }) }),
  fc.record({ family: fc.constant(6 as const), value: fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }) }),
);
const cidr = fc.tuple(address, fc.integer({ min: 0, max: 128 })).map(([{ family, value }, n]) => {
  const length = family === 4 ? n % 33 : n;
  return c.parseCidr(`${c.formatAddress({ family, value })}/${length}`)!;
});

t.test('what is no subnet', async (t) => {
  for (const text of [
    '',
    '10.0.0.0',
    '10.0.0.0/',
    '/24',
    '10.0.0.0/33',
    '10.0.0.0/024',
    '10.0.0/24',
    '::/129',
    'x/8',
  ])
    t.equal(c.parseCidr(text), null, text);
  t.throws(() => c.cidr('rubbish'), { code: 'CORRUPT' });
});

t.test('bounds leave out what hosts cannot have', async (t) => {
  const of = (subnet: string, range: string | null) => {
    const { first, last } = c.bounds(c.cidr(subnet), range === null ? null : c.cidr(range));
    const { family } = c.cidr(subnet);
    return [first, last].map((value) => c.formatAddress({ family, value }));
  };
  t.same(of('10.0.1.0/24', null), ['10.0.1.1', '10.0.1.254']);
  t.same(
    of('10.0.1.0/24', '10.0.1.64/26'),
    ['10.0.1.64', '10.0.1.127'],
    'a range has no broadcast of its own',
  );
  t.same(of('10.0.1.0/24', '10.0.1.192/26'), ['10.0.1.192', '10.0.1.254']);
  t.same(of('fd00::/64', null), ['fd00::1', 'fd00::ffff:ffff:ffff:ffff']);
});

t.test(`properties, seed ${seed}`, async () => {
  const options = { seed, numRuns: 2000 };
  fc.assert(
    fc.property(address, (a) => {
      const back = c.parseAddress(c.formatAddress(a))!;
      return back.family === a.family && back.value === a.value;
    }),
    options,
  );
  fc.assert(
    fc.property(cidr, (one) => {
      const back = c.parseCidr(c.formatCidr(one))!;
      return back.base === one.base && back.length === one.length && back.address === back.base;
    }),
    options,
  );
  fc.assert(
    fc.property(cidr, cidr, (a, b) => {
      const share = a.family === b.family && a.base <= c.last(b) && b.base <= c.last(a);
      return c.overlap(a, b) === share && c.overlap(b, a) === share && (!c.within(a, b) || share);
    }),
    options,
  );
  fc.assert(
    fc.property(cidr, (one) => {
      const { family } = one;
      const inside = [one.base, c.last(one)].every((value) => c.contains(one, { family, value }));
      return inside && !c.contains(one, { family, value: c.last(one) + 1n });
    }),
    options,
  );
});
