import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { LENGTH, OK, TRUNCATED } from '../../codecs/fault.ts';
import * as vlan from '../../codecs/vlan.ts';
import { known, roundTrips } from '../gen/codec.ts';

// The outer tag of tcpdump's tests/802.1ad_QinQ.pcap has VLAN 200; here with every bit field set.
known(t, vlan, {
  bytes: 'b0c8 8100',
  fields: { pcp: 5, dei: 1, vid: 200, etherType: 0x8100 },
  text: 'vlan 200, p 5, DEI, ethertype 802.1Q (0x8100)',
  write: (v, at) => vlan.write(v, at, 5, 1, 200, 0x8100),
});

roundTrips(t, vlan, (r) => ({
  pcp: r.below(8),
  dei: r.below(2),
  vid: r.below(4096),
  etherType: 0x0600 + r.below(0xfa00),
}));

t.test('two tags chain', async (t) => {
  const v = viewOf(fromHex('02420a000002 02420a000001 88a8 70c8 8100 0005 0806'));
  t.equal(ethernet.check(v, 0, 22), OK);
  t.ok(vlan.isTag(ethernet.etherType(v, 0)));
  t.equal(vlan.vid(v, 14), 200);
  t.equal(vlan.pcp(v, 14), 3);
  t.equal(vlan.dei(v, 14), 1);
  t.equal(vlan.tci(v, 14), 0x70c8);
  t.ok(vlan.isTag(vlan.etherType(v, 14)));
  t.equal(vlan.format(v, 18), 'vlan 5, p 0, ethertype ARP (0x0806)');
  t.notOk(vlan.isTag(vlan.etherType(v, 18)));
});

t.test('the type behind the tag is judged as in an Ethernet header', async (t) => {
  const v = viewOf(fromHex('0005 0003 010203'));
  t.equal(vlan.check(v, 0, 7), OK, 'an 802.3 length');
  t.equal(vlan.format(v, 0), 'vlan 5, p 0, 802.3');
  t.equal(vlan.check(v, 0, 6), TRUNCATED);
  vlan.setEtherType(v, 0, 1501);
  t.equal(vlan.check(v, 0, 7), LENGTH);
  vlan.setEtherType(v, 0, 0x0600);
  t.equal(vlan.check(v, 0, 7), OK);
});

t.test('each setter changes its field and no other', async (t) => {
  const v = viewOf(new Uint8Array(4).fill(0xff));
  vlan.setVid(v, 0, 0);
  t.same(vlan.decode(v, 0), { pcp: 7, dei: 1, vid: 0, etherType: 0xffff });
  vlan.setDei(v, 0, 0);
  vlan.setVid(v, 0, 4095);
  t.same(vlan.decode(v, 0), { pcp: 7, dei: 0, vid: 4095, etherType: 0xffff });
  vlan.setPcp(v, 0, 0);
  vlan.setDei(v, 0, 1);
  t.same(vlan.decode(v, 0), { pcp: 0, dei: 1, vid: 4095, etherType: 0xffff });
});
