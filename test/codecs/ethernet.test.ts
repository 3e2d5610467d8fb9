import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { LENGTH, OK, TRUNCATED } from '../../codecs/fault.ts';
import * as mac from '../../codecs/mac.ts';
import { known, roundTrips } from '../gen/codec.ts';

// A broadcast ARP frame, made up; the text is tcpdump's.
known(t, ethernet, {
  bytes: 'ffffffffffff 02420a000001 0806',
  fields: { dst: 'ff:ff:ff:ff:ff:ff', src: '02:42:0a:00:00:01', etherType: 0x0806 },
  text: '02:42:0a:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806)',
  write: (v, at) => ethernet.write(v, at, 0xffff, 0xffffffff, 0x0242, 0x0a000001, ethernet.TYPE_ARP),
});

roundTrips(t, ethernet, (r) => ({
  dst: mac.format(r.below(65536), r.int32()),
  src: mac.format(r.below(65536), r.int32()),
  etherType: 0x0600 + r.below(0xfa00),
}));

t.test('lengths and types', async (t) => {
  const v = viewOf(new Uint8Array(14 + 1500));
  const check = (type: number, end = 14) => {
    ethernet.setEtherType(v, 0, type);
    return ethernet.check(v, 0, end);
  };
  t.equal(check(0), OK, 'an empty 802.3 frame');
  t.equal(check(1), TRUNCATED);
  t.equal(check(1500, 1514), OK);
  t.equal(check(1500, 1513), TRUNCATED);
  t.equal(check(3, 60), OK, 'padding');
  t.equal(check(1501, 1514), LENGTH);
  t.equal(check(0x05ff, 1514), LENGTH);
  t.equal(check(0x0600), OK);
  t.equal(check(0xffff), OK);
});

t.test('the getters are unsigned, the setters touch their own bytes', async (t) => {
  const v = viewOf(fromHex('fedcba987654 fdecba987655 86dd'));
  t.same(
    [ethernet.dstHi(v, 0), ethernet.dstLo(v, 0), ethernet.srcHi(v, 0), ethernet.srcLo(v, 0)],
    [0xfedc, 0xba987654, 0xfdec, 0xba987655],
  );
  ethernet.setDst(v, 0, 0x0102, 0x03040506);
  ethernet.setSrc(v, 0, 0x1112, 0x13141516);
  t.same(ethernet.decode(v, 0), { dst: '01:02:03:04:05:06', src: '11:12:13:14:15:16', etherType: 0x86dd });
});

t.test('what tcpdump calls the types', async (t) => {
  t.equal(ethernet.formatType(0x0800), 'ethertype IPv4 (0x0800)');
  t.equal(ethernet.formatType(0x8100), 'ethertype 802.1Q (0x8100)');
  t.equal(ethernet.formatType(0x88a8), 'ethertype 802.1Q-QinQ (0x88a8)');
  t.equal(ethernet.formatType(0x0640), 'ethertype Unknown (0x0640)');
  t.equal(ethernet.formatType(64), '802.3');
});
