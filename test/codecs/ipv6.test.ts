import t from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import { OK, SHORT, TRUNCATED, VERSION } from '../../codecs/fault.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { Random } from '../../lib/core/random.ts';
import { known, roundTrips } from '../gen/codec.ts';
import { seed } from '../gen/seed.ts';

const words = (text: string) => ip.parse(text).words;

// Built by scapy, printed by tcpdump.
known(t, ipv6, {
  bytes: '6b912345 0004 11 40 fe8000000000000000420afffe000002 ff0200000000000000000001ff000003 01020304',
  fields: {
    trafficClass: 0xb9,
    flowLabel: 0x12345,
    payloadLength: 4,
    nextHeader: 17,
    hopLimit: 64,
    src: 'fe80::42:aff:fe00:2',
    dst: 'ff02::1:ff00:3',
  },
  text:
    'IP6 (class 0xb9, flowlabel 0x12345, hlim 64, next-header UDP (17) payload length: 4) ' +
    'fe80::42:aff:fe00:2 > ff02::1:ff00:3',
  write: (v, at) =>
    ipv6.write(v, at, 0xb9, 0x12345, 4, 17, 64, words('fe80::42:aff:fe00:2'), words('ff02::1:ff00:3')),
});

const word = (r: Random) => (r.chance(0.4) ? 0 : r.int32() >>> 0);
const address = (r: Random) => ip.format({ family: 6, words: [word(r), word(r), word(r), word(r)] });

roundTrips(
  t,
  ipv6,
  (r) => ({
    trafficClass: r.below(256),
    flowLabel: r.below(0x100000),
    payloadLength: r.below(500),
    nextHeader: r.below(256),
    hopLimit: r.below(256),
    src: address(r),
    dst: address(r),
  }),
  500,
);

t.test('impossible lengths and versions are refused', async (t) => {
  const v = viewOf(new Uint8Array(44));
  ipv6.write(v, 0, 0, 0, 4, 17, 64, words('fd00::1'), words('fd00::2'));
  t.equal(ipv6.check(v, 0, 44), OK);
  t.equal(ipv6.payloadEnd(v, 0), 44);
  t.equal(ipv6.check(v, 0, 43), TRUNCATED);
  t.equal(ipv6.check(v, 0, 39), SHORT);
  ipv6.setPayloadLength(v, 0, 3);
  t.equal(ipv6.check(v, 0, 44), OK, 'bytes behind the payload are padding');
  ipv6.setPayloadLength(v, 0, 0);
  ipv6.setNextHeader(v, 0, 0);
  t.equal(ipv6.check(v, 0, 44), OK, 'a jumbo payload is an empty one');
  v.setUint8(0, 0x45);
  t.equal(ipv6.check(v, 0, 44), VERSION);
});

t.test(`each setter changes its field and no other, seed ${seed}`, async (t) => {
  const v = viewOf(new Uint8Array(40));
  const r = new Random(seed);
  for (let i = 0; i < 40; i++) v.setUint8(i, r.below(256));
  const fields = [
    [ipv6.trafficClass, ipv6.setTrafficClass, 0x5c],
    [ipv6.dscp, ipv6.setDscp, 33],
    [ipv6.ecn, ipv6.setEcn, 3],
    [ipv6.flowLabel, ipv6.setFlowLabel, 0xfedcb],
    [ipv6.payloadLength, ipv6.setPayloadLength, 777],
    [ipv6.nextHeader, ipv6.setNextHeader, 132],
    [ipv6.hopLimit, ipv6.setHopLimit, 9],
  ] as const;
  const traffic = ['trafficClass', 'dscp', 'ecn'];
  const version = v.getUint8(0) >>> 4;
  const addresses = ipv6.decode(v, 0).src + ipv6.decode(v, 0).dst;
  for (const [get, set, value] of fields) {
    const before = fields.map(([get]) => get(v, 0));
    set(v, 0, value);
    t.equal(get(v, 0), value, get.name);
    const touched = fields.filter(([other], i) => other(v, 0) !== before[i]).map(([other]) => other.name);
    const own = traffic.includes(get.name) ? traffic : [get.name];
    t.same(
      touched.filter((name) => !own.includes(name)),
      [],
      `${get.name} alone`,
    );
  }
  t.equal(ipv6.dscp(v, 0), 33, 'setEcn keeps the DSCP');
  t.equal(v.getUint8(0) >>> 4, version);
  t.equal(ipv6.decode(v, 0).src + ipv6.decode(v, 0).dst, addresses);
});

t.test('addresses in place', async (t) => {
  const v = viewOf(new Uint8Array(40));
  const kinds = (text: string) => {
    ipv6.setDst(v, 0, ...words(text));
    const of = [ipv6.isUnspecified, ipv6.isMulticast, ipv6.isLinkLocal, ipv6.isSolicitedNode];
    return of.filter((is) => is(v, ipv6.DST)).map((is) => is.name);
  };
  t.same(kinds('::'), ['isUnspecified']);
  t.same(kinds('::1'), []);
  t.same(kinds('8000::'), []);
  t.same(kinds('ff02::1'), ['isMulticast']);
  t.same(kinds('ff02::1:ff12:3456'), ['isMulticast', 'isSolicitedNode']);
  t.same(kinds('ff02::1:fe12:3456'), ['isMulticast']);
  t.same(kinds('ff12::1:ff12:3456'), ['isMulticast']);
  t.same(kinds('fe80::1'), ['isLinkLocal']);
  t.same(kinds('febf:ffff::1'), ['isLinkLocal']);
  t.same(kinds('fec0::1'), []);

  ipv6.setSrc(v, 0, ...words('fd00:1:2:3:4:5:6:7'));
  t.equal(ipv6.src(v, 0, 0), 0xfd000001);
  t.equal(ipv6.src(v, 0, 3), 0x00060007);
  t.notOk(ipv6.sameAddress(v, ipv6.SRC, ipv6.DST));
  ipv6.copyAddress(v, ipv6.SRC, ipv6.DST);
  t.ok(ipv6.sameAddress(v, ipv6.SRC, ipv6.DST));
  t.equal(ipv6.decode(v, 0).dst, 'fd00:1:2:3:4:5:6:7');
  t.equal(ipv6.dst(v, 0, 3), 0x00060007);
  ipv6.copyAddress(v, ipv6.SRC, ipv6.SRC + 8);
  t.equal(ipv6.decode(v, 0).dst, '4:5:6:7:4:5:6:7', 'overlapping');
  let differences = 0;
  for (let bit = 0; bit < 128; bit++) {
    ipv6.copyAddress(v, ipv6.SRC, ipv6.DST);
    const i = ipv6.DST + (bit >>> 3);
    v.setUint8(i, v.getUint8(i) ^ (1 << (bit & 7)));
    if (!ipv6.sameAddress(v, ipv6.SRC, ipv6.DST)) differences++;
  }
  t.equal(differences, 128, 'every bit counts');
});

t.test('the fields that are zero are not printed', async (t) => {
  const v = viewOf(new Uint8Array(40));
  ipv6.write(v, 0, 0, 0, 58, 0, 64, words('fd00::1'), words('fd00::2'));
  t.equal(ipv6.format(v, 0), 'IP6 (hlim 64, next-header Options (0) payload length: 58) fd00::1 > fd00::2');
});
