import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import { OK, SHORT, TYPE } from '../../codecs/fault.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { known, roundTrips } from '../gen/codec.ts';

// The header of all frames of tcpdump's tests/vxlan.pcap.
known(t, vxlan, {
  bytes: '08 000000 000064 00',
  fields: { flags: 0x08, reserved: 0, vni: 100, reserved2: 0 },
  text: 'VXLAN, flags [I] (0x08), vni 100',
  write: (v, at) => vxlan.write(v, at, 100),
});

roundTrips(t, vxlan, (r) => ({
  flags: (r.below(256) | vxlan.FLAG_VNI) & ~vxlan.FLAG_GPE,
  reserved: r.below(0x1000000),
  vni: r.below(0x1000000),
  reserved2: r.below(256),
}));

const header = (digits: string) => viewOf(fromHex(digits));

t.test('without a valid VNI, or VXLAN-GPE', async (t) => {
  t.equal(vxlan.check(header('08000000 00006400'), 0, 7), SHORT);
  t.equal(vxlan.check(header('08000000 00006400'), 0, 8), OK);
  t.equal(vxlan.check(header('00000000 00006400'), 0, 8), TYPE);
  t.equal(vxlan.check(header('f7000000 00006400'), 0, 8), TYPE);
  t.equal(vxlan.check(header('0c000003 00006400'), 0, 8), TYPE, 'GPE');
  t.equal(vxlan.check(header('fbffffff 000064ff'), 0, 8), OK, 'reserved bits are ignored');
});

t.test('every reserved bit is seen by who wants to see it', async (t) => {
  let seen = 0;
  for (let bit = 0; bit < 64; bit++) {
    const v = header('08000000 00000000');
    if (vxlan.reservedBits(v, 0) !== 0) seen = -100;
    v.setUint8(bit >>> 3, v.getUint8(bit >>> 3) | (0x80 >>> (bit & 7)));
    if (vxlan.reservedBits(v, 0) !== 0) seen++;
  }
  t.equal(seen, 64 - 24 - 1, 'all but the VNI and the I flag');
  t.equal(vxlan.reservedBits(header('08000000 ffffff00'), 0), 0);
});

t.test('the VNI', async (t) => {
  const v = header('a5a5a5a5 a5a5a5a5');
  vxlan.setVni(v, 0, vxlan.MAX_VNI);
  t.equal(vxlan.vni(v, 0), vxlan.MAX_VNI);
  t.equal(v.getUint8(7), 0xa5, 'nothing beside it');
  vxlan.setFlags(v, 0, vxlan.FLAG_VNI);
  t.equal(vxlan.flags(v, 0), 0x08);
  vxlan.write(v, 0, vxlan.MAX_VNI);
  t.equal(vxlan.reservedBits(v, 0), 0, 'a whole header has no reserved bits');
  t.equal(vxlan.vni(v, 0), vxlan.MAX_VNI);
});

t.test('extensions', async (t) => {
  const gpe = header('0c000004 00000500');
  t.equal(vxlan.nextProtocol(gpe, 0), 4);
  t.equal(vxlan.format(gpe, 0), 'VXLAN-GPE, flags (0x0c), next protocol 4, vni 5');
  const gbp = header('88001234 00000500');
  t.equal(vxlan.groupPolicy(gbp, 0), 0x1234);
  t.equal(vxlan.format(gbp, 0), 'VXLAN, flags [I] (0x88), group policy 4660, vni 5');
  t.equal(vxlan.format(header('00000000 00000500'), 0), 'VXLAN, flags [.] (0x00), vni 5');
});
