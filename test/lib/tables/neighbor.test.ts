import t from 'tap';
import { format, type Ip, parse } from '../../../codecs/ip.ts';
import { NONE } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { type Neighbor, NeighborTable } from '../../../lib/tables/neighbor.ts';
import { seed } from '../../gen/seed.ts';

const MAC = { hi: 0x0242, lo: 0xac110002 };

function look(table: NeighborTable, domain: number, { family, words }: Ip): Required<Neighbor> | undefined {
  const i = family === 4 ? table.lookup4(domain, words[3]) : table.lookup6(domain, ...words);
  return i === NONE ? undefined : { hi: table.macHi(i), lo: table.macLo(i), router: table.isRouter(i) };
}

t.test('both families', async (t) => {
  const table = new NeighborTable();
  table.set(1, parse('172.17.0.2'), MAC);
  table.set(1, parse('fe80::1'), { hi: 1, lo: 0xffffffff, router: true });
  t.same(look(table, 1, parse('172.17.0.2')), { ...MAC, router: false });
  t.same(look(table, 1, parse('fe80::1')), { hi: 1, lo: 0xffffffff, router: true });
  t.equal(look(table, 2, parse('172.17.0.2')), undefined, 'another domain');
  t.equal(table.lookup4(1, 0xac110002 | 0), table.lookup4(1, 0xac110002), 'signed or not');
  table.set(1, parse('172.17.0.2'), { hi: 3, lo: 4, router: true });
  t.same(look(table, 1, parse('172.17.0.2')), { hi: 3, lo: 4, router: true }, 'a change');
  t.equal(table.size, 2);
  t.same(
    [...table.entries(1)].map(({ domain, address, router }) => [domain, format(address), router]).sort(),
    [
      [1, '172.17.0.2', true],
      [1, 'fe80::1', true],
    ],
  );
  t.same([...table.entries(2)], []);
  t.ok(table.remove(1, parse('172.17.0.2')));
  t.notOk(table.remove(1, parse('172.17.0.2')));
  t.equal(table.size, 1);
});

t.test('a full table and numbers out of range', async (t) => {
  const table = new NeighborTable({ capacity: 1, seed: 7 });
  table.set(65535, parse('10.0.0.1'), MAC);
  t.throws(() => table.set(0, parse('10.0.0.2'), MAC), {
    name: 'RangeError',
    message: 'no room for the neighbor 10.0.0.2: 1 are known',
  });
  t.throws(() => table.set(65536, parse('10.0.0.1'), MAC), {
    name: 'RangeError',
    message: '"domain" expected an integer 0..65535, got 65536',
  });
  t.throws(() => new NeighborTable({ capacity: 0 }), { message: /"capacity" expected an integer/ });
});

t.test(`100,000 random operations do what they do to a Map, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const table = new NeighborTable({ capacity: 64, seed });
  const twin = new Map<string, Required<Neighbor>>();
  let wrong = 0;
  for (let i = 0; i < 100_000; i++) {
    const domain = r.below(3);
    const address = parse(r.chance(0.5) ? `10.0.0.${r.below(16)}` : `fd00::${r.below(16)}`);
    const key = `${domain} ${format(address)}`;
    const what = r.below(3);
    if (what === 0 && (twin.has(key) || twin.size < 64)) {
      const row = { hi: r.below(65536), lo: r.int32() >>> 0, router: r.chance(0.5) };
      table.set(domain, address, row);
      twin.set(key, row);
    } else if (what === 1) {
      const found = look(table, domain, address);
      if (JSON.stringify(found) !== JSON.stringify(twin.get(key))) wrong++;
    } else if (what === 2 && table.remove(domain, address) !== twin.delete(key)) wrong++;
    if (table.size !== twin.size) wrong++;
  }
  t.equal(wrong, 0);
  t.equal([...table.entries()].length, twin.size);
});
