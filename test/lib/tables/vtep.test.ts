import t from 'tap';
import { format, parse } from '../../../codecs/ip.ts';
import { NONE } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { VtepTable } from '../../../lib/tables/vtep.ts';
import { seed } from '../../gen/seed.ts';

const vtep = (address: string, port = 4789) => ({ address: parse(address), port });

t.test('endpoints have numbers', async (t) => {
  const table = new VtepTable(3);
  const a = table.set(vtep('192.0.2.1'));
  const b = table.set(vtep('2001:db8::1'));
  t.same([a, b], [0, 1]);
  t.equal(table.lookup(...parse('192.0.2.1').words), a);
  t.equal(table.lookup(...parse('2001:db8::1').words), b);
  t.equal(table.lookup(...parse('192.0.2.2').words), NONE);
  t.equal(table.get(b)?.port, 4789);
  const { version } = table;
  t.equal(table.set(vtep('192.0.2.1', 8472)), a, 'a change keeps the number');
  t.equal(table.get(a)?.port, 8472);
  t.ok(table.version > version);

  table.remove(a);
  table.remove(a);
  t.equal(table.get(a), undefined);
  t.equal(table.lookup(...parse('192.0.2.1').words), NONE);
  t.same(
    [...table.entries()].map(([peer, { address }]) => [peer, format(address)]),
    [[1, '2001:db8::1']],
  );
  t.equal(table.set(vtep('192.0.2.9')), a, 'the number is used again');
});

t.test('a full table and capacities that are none', async (t) => {
  const table = new VtepTable(1);
  table.set(vtep('192.0.2.1'));
  t.throws(() => table.set(vtep('192.0.2.2')), {
    name: 'RangeError',
    message: 'no room for the tunnel endpoint 192.0.2.2: 1 are known',
  });
  for (const capacity of [0, 65537]) {
    t.throws(() => new VtepTable(capacity), { message: /"capacity" expected an integer 1\.\./ });
  }
});

t.test(`random operations do what they do to a Map, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const table = new VtepTable(100);
  const twin = new Map<string, number>();
  let wrong = 0;
  for (let i = 0; i < 100_000; i++) {
    const address = parse(r.chance(0.5) ? `10.0.0.${r.below(50)}` : `fd00::${r.below(50).toString(16)}`);
    const key = format(address);
    const known = twin.get(key);
    const what = r.below(4);
    if (what < 2) {
      const peer = table.set({ address, port: 1 });
      if (known === undefined ? [...twin.values()].includes(peer) : peer !== known) wrong++;
      twin.set(key, peer);
    } else if (what === 2 && known !== undefined) {
      table.remove(known);
      twin.delete(key);
    } else if (table.lookup(...address.words) !== (known ?? NONE)) wrong++;
  }
  t.equal(wrong, 0);
  t.equal([...table.entries()].length, twin.size);
});
