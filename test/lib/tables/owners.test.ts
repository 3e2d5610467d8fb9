import t from 'tap';
import * as ip from '../../../codecs/ip.ts';
import * as mac from '../../../codecs/mac.ts';
import { NONE } from '../../../lib/core/packet.ts';
import { Owners } from '../../../lib/tables/owners.ts';

const A = mac.parse('02:00:00:00:00:01');
const B = mac.parse('02:00:ff:00:00:02');
const V4 = ip.parse('192.0.2.1');
const V6 = ip.parse('fd00::ffff:1');

t.test('each place owns its addresses and no others', async (t) => {
  const owners = new Owners([
    { place: 9, macs: [A, B], addresses: [V4] },
    { place: 4, addresses: [V6, V4] },
    { place: 5, macs: [B] },
    { place: 6 },
  ]);
  t.same(
    [9, 4, 5, 6, 7, NONE].map((place) => owners.lookup(place)),
    [0, 1, 2, 3, NONE, NONE],
  );
  const each = [0, 1, 2, 3];
  t.same(
    each.map((i) => owners.knowsMacs(i)),
    [true, false, true, false],
  );
  t.same(
    each.map((i) => owners.knowsIps(i)),
    [true, true, false, false],
  );
  t.same(
    each.map((i) => [owners.hasMac(i, A.hi, A.lo), owners.hasMac(i, B.hi, B.lo), owners.hasMac(i, 0x200, 3)]),
    [
      [true, true, false],
      [false, false, false],
      [false, true, false],
      [false, false, false],
    ],
  );
  t.same(
    each.map((i) => [
      owners.hasIp(i, ...V4.words),
      owners.hasIp(i, ...V6.words),
      owners.hasIp(i, 0, 0, 0, 0),
    ]),
    [
      [true, false, false],
      [true, true, false],
      [false, false, false],
      [false, false, false],
    ],
  );
  t.ok(owners.hasMac(0, B.hi, B.lo | 0), 'words may be signed');
});

t.test('lists that say nothing or cannot be are refused', async (t) => {
  t.throws(() => new Owners([{ place: 1, macs: [] }]), {
    message: '"macs" of place 1 is empty: name one or leave it out',
  });
  t.throws(() => new Owners([{ place: 1, addresses: [] }]), { message: /"addresses" of place 1 is empty/ });
  t.throws(() => new Owners([{ place: 1, macs: [mac.BROADCAST] }]), { message: /the address of a group/ });
  t.throws(() => new Owners([{ place: -1 }]), {
    message: /"ports" expected a local place 0\.\.65535, got -1/,
  });
  t.throws(() => new Owners([{ place: 1 }, { place: 1 }]), { message: /"ports" names the place 1 twice/ });
});
