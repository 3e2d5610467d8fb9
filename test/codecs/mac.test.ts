import t from 'tap';
import * as mac from '../../codecs/mac.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

t.test('text', async (t) => {
  t.same(mac.parse('02:42:0A:00:00:fe'), { hi: 0x0242, lo: 0x0a0000fe });
  t.same(mac.parse('ff-ff-ff-ff-ff-ff'), mac.BROADCAST);
  t.equal(mac.format(0, 1), '00:00:00:00:00:01');
  t.equal(mac.format(0xffff, -1), 'ff:ff:ff:ff:ff:ff', 'lo may be signed');
  const r = new Random(seed);
  let wrong = 0;
  for (let i = 0; i < 2000; i++) {
    const [hi, lo] = [r.below(65536), r.int32() >>> 0];
    const back = mac.parse(mac.format(hi, lo));
    if (back.hi !== hi || back.lo !== lo) wrong++;
  }
  t.equal(wrong, 0, `seed ${seed}`);
  const bad = [
    '',
    '02:42:0a:00:00',
    '02:42:0a:00:00:02:03',
    '2:42:0a:00:00:02',
    '02:42:0a:00:00:0g',
    '02420a000002',
  ];
  for (const text of [...bad, ' 02:42:0a:00:00:02']) {
    t.throws(() => mac.parse(text), {
      name: 'TypeError',
      message: /expected a MAC address such as .*, got "/,
    });
  }
});

t.test('groups', async (t) => {
  const kinds = (text: string) => {
    const { hi, lo } = mac.parse(text);
    return [mac.isGroup(hi), mac.isBroadcast(hi, lo), mac.isReserved(hi, lo)].map(Number).join('');
  };
  t.equal(kinds('ff:ff:ff:ff:ff:ff'), '110');
  t.equal(kinds('ff:ff:ff:ff:ff:fe'), '100');
  t.equal(kinds('fe:ff:ff:ff:ff:ff'), '000');
  t.equal(kinds('01:00:5e:00:00:01'), '100');
  t.equal(kinds('33:33:00:00:00:01'), '100');
  t.equal(kinds('02:42:0a:00:00:02'), '000');
  t.equal(kinds('01:80:c2:00:00:00'), '101');
  t.equal(kinds('01:80:c2:00:00:0f'), '101');
  t.equal(kinds('01:80:c2:00:00:10'), '100');
  t.equal(kinds('01:80:c2:00:01:00'), '100');
  t.equal(kinds('00:80:c2:00:00:00'), '000');
  t.ok(mac.isBroadcast(0xffff, -1), 'lo may be signed');
  t.ok(mac.isReserved(0x0180, 0xc2000003 | 0), 'lo may be signed');
});
