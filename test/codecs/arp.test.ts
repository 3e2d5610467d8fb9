import t from 'tap';
import * as arp from '../../codecs/arp.ts';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import { LENGTH, OK, SHORT, TYPE } from '../../codecs/fault.ts';
import * as ip from '../../codecs/ip.ts';
import * as mac from '../../codecs/mac.ts';
import { known, roundTrips } from '../gen/codec.ts';

const A = ip.parse('10.0.0.1').words[3];
const B = ip.parse('10.0.0.2').words[3];

// Built by scapy, printed by tcpdump.
known(t, arp, {
  bytes: '0001 0800 06 04 0001 02420a000001 0a000001 000000000000 0a000002',
  fields: {
    op: arp.REQUEST,
    sha: '02:42:0a:00:00:01',
    spa: '10.0.0.1',
    tha: '00:00:00:00:00:00',
    tpa: '10.0.0.2',
  },
  text: 'ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28',
  write: (v, at) => arp.write(v, at, arp.REQUEST, 0x0242, 0x0a000001, A, 0, 0, B),
});

roundTrips(t, arp, (r) => ({
  op: r.below(65536),
  sha: mac.format(r.below(65536), r.int32()),
  spa: ip.format4(r.int32()),
  tha: mac.format(r.below(65536), r.int32()),
  tpa: ip.format4(r.int32()),
}));

t.test('other hardware, protocols and lengths are refused', async (t) => {
  const good = '0001 0800 06 04 0001 02420a000001 0a000001 000000000000 0a000002';
  const check = (bytes: string) => arp.check(viewOf(fromHex(bytes)), 0, fromHex(bytes).length);
  t.equal(check(good), OK);
  t.equal(check(`${good}${'00'.repeat(18)}`), OK, 'padding');
  t.equal(check(good.slice(0, -2)), SHORT);
  t.equal(check(good.replace('0001', '0006')), TYPE, 'IEEE 802 hardware');
  t.equal(check(good.replace('0800', '86dd')), TYPE, 'IPv6');
  t.equal(check(good.replace('06 04', '0e 04')), LENGTH, 'hln 14');
  t.equal(check(good.replace('06 04', '06 10')), LENGTH, 'pln 16');
  t.equal(check(good.replace('06 04', '00 00')), LENGTH);
});

t.test('a request becomes the reply to it', async (t) => {
  const v = viewOf(new Uint8Array(28));
  arp.write(v, 0, arp.REQUEST, 0x0242, 0xfa000001, A, 0, 0, B);
  arp.toReply(v, 0, 0x0242, 0xfa000002);
  t.same(arp.decode(v, 0), {
    op: arp.REPLY,
    sha: '02:42:fa:00:00:02',
    spa: '10.0.0.2',
    tha: '02:42:fa:00:00:01',
    tpa: '10.0.0.1',
  });
  t.equal(arp.format(v, 0, 46), 'ARP, Reply 10.0.0.2 is-at 02:42:fa:00:00:02, length 46');
  t.equal(arp.shaLo(v, 0), 0xfa000002, 'unsigned');
  t.equal(arp.thaLo(v, 0), 0xfa000001, 'unsigned');

  arp.write(v, 0, arp.REQUEST, 0x0242, 0x0a000001, 0, 0, 0, B);
  arp.toReply(v, 0, 0x0242, 0x0a000002);
  t.equal(arp.decode(v, 0).tpa, '0.0.0.0', 'the reply to a probe');
});

t.test('what tcpdump calls others', async (t) => {
  const v = viewOf(new Uint8Array(28));
  arp.write(v, 0, arp.REQUEST, 0x0242, 0x0a000001, A, 0x0242, 0x0a000002, B);
  t.equal(arp.format(v, 0), 'ARP, Request who-has 10.0.0.2 (02:42:0a:00:00:02) tell 10.0.0.1, length 28');
  arp.setOp(v, 0, 99);
  t.equal(arp.format(v, 0), 'ARP, Unknown (99), length 28');
});
