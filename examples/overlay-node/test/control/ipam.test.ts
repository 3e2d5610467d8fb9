import * as fc from 'fast-check';
import t from 'tap';
import { seed } from '../../../../test/gen/seed.ts';
import { cidr, contains, overlap, parseAddress } from '../../control/cidr.ts';
import { homeOf, macOf, nextAddresses, nextPool, place } from '../../control/ipam.ts';
import type { Network } from '../../control/model.ts';
import { checkNetworkRequest } from '../../control/requests.ts';

const subnetOf = (text: string, range?: string) =>
  checkNetworkRequest({ name: 'n', subnets: [text], ...(range && { ranges: [range] }) }).subnets[0]!;
const made = (name: string, vni: number, ...subnets: string[]) =>
  ({ name, vni, subnets: subnets.map((text) => subnetOf(text)) }) as unknown as Network;

t.test('defaults are those of Docker', async (t) => {
  const wanted = checkNetworkRequest({ name: 'n' });
  t.match(place(wanted, [], 0), { vni: 4097, subnets: [{ cidr: '10.0.1.0/24', gateway: '10.0.1.1' }] });
  const others = [
    made('a', 4097, '10.0.1.0/24'),
    made('b', 4098, '10.0.2.128/25'),
    made('c', 9, '10.0.4.0/22'),
  ];
  t.match(place(wanted, others, 0), { vni: 4099, subnets: [{ cidr: '10.0.3.0/24' }] });
  t.match(place(wanted, [...others, made('d', 10, '10.0.3.0/24')], 4500), {
    vni: 4501,
    subnets: [{ cidr: '10.0.8.0/24' }],
  });
  t.match(place(wanted, others, 0xffffff), { vni: 4099 }, 'round again');
  const six = place(checkNetworkRequest({ name: 'n', ipv6: true }), others, 0);
  t.match(six.subnets[1]!.cidr, /^fd[0-9a-f:]+::\/64$/);
  t.equal(macOf('10.0.1.35'), '02:42:0a:00:01:23');
  t.match(homeOf('10.0.1.35', [subnetOf('10.1.0.0/22'), subnetOf('10.0.0.0/22')]), { cidr: '10.0.0.0/22' });
});

t.test('what clashes', async (t) => {
  const others = [made('a', 4097, '10.0.0.0/16')];
  const pool = checkNetworkRequest({ name: 'n', subnets: ['10.0.7.0/24'] });
  t.throws(() => place(pool, others, 0), { code: 'CONFLICT', message: /Pool overlaps .* network a: / });
  const apart = checkNetworkRequest({ name: 'n', subnets: ['10.0.7.0/24'], options: { overlap: '' } });
  t.match(place(apart, others, 0), { subnets: [{ cidr: '10.0.7.0/24' }] }, 'unless it is asked for');
  const vni = checkNetworkRequest({ name: 'n', options: { vni: '4097' } });
  t.throws(() => place(vni, others, 0), { code: 'CONFLICT', message: 'VNI 4097 is in use by network a' });
  t.throws(() => nextPool([cidr('10.0.0.0/8')]), { code: 'FULL', message: /give one with --subnet/ });
});

t.test('in turn', async (t) => {
  const subnet = subnetOf('10.0.1.0/29');
  const next = (after: string | null, taken: string[] = [], n = 1) =>
    nextAddresses(subnet, after, (address) => taken.includes(address), n);
  t.same(next(null), ['10.0.1.2']);
  t.same(next('10.0.1.2'), ['10.0.1.3'], 'what was released is not next');
  t.same(next('10.0.1.6'), ['10.0.1.2'], 'round again, past the gateway');
  t.same(next('10.0.1.3', ['10.0.1.4', '10.0.1.5'], 9), ['10.0.1.6', '10.0.1.2', '10.0.1.3']);
  t.same(next('10.0.1.3', ['10.0.1.2', '10.0.1.3', '10.0.1.4', '10.0.1.5', '10.0.1.6']), [], 'full');
  t.same(next('rubbish'), ['10.0.1.2']);
});

t.test(`properties, seed ${seed}`, async () => {
  const v4 = fc.record({ block: fc.integer({ min: 0, max: 255 }), length: fc.integer({ min: 20, max: 29 }) });
  const subnet = v4.map(({ block, length }) => subnetOf(`10.${block}.0.0/${length}`));
  fc.assert(
    fc.property(
      subnet,
      fc.array(fc.nat(300)),
      fc.nat(300),
      fc.integer({ min: 1, max: 20 }),
      (one, used, at, n) => {
        const text = (i: number) => `${one.cidr.split('.').slice(0, 2).join('.')}.${i >> 8}.${i & 255}`;
        const taken = new Set(used.map(text));
        const found = nextAddresses(one, text(at), (address) => taken.has(address), n);
        const home = cidr(one.cidr);
        return (
          new Set(found).size === found.length &&
          found.every((address) => !taken.has(address) && address !== one.gateway) &&
          found.every((address) => contains(home, parseAddress(address)!))
        );
      },
    ),
    { seed, numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.array(v4, { maxLength: 30 }), (blocks) => {
      const used = blocks.map(({ block, length }) =>
        cidr(`10.0.${(block >> 2) << 2}.0/${Math.max(22, length)}`),
      );
      const pool = nextPool(used);
      return !used.some((one) => overlap(one, pool));
    }),
    { seed, numRuns: 500 },
  );
});
