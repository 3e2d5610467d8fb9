import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { LENGTH, OK, OPTIONS, SHORT, TRUNCATED, VERSION } from '../../codecs/fault.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as options from '../../codecs/ipv4-options.ts';
import { Random } from '../../lib/core/random.ts';
import { known, roundTrips } from '../gen/codec.ts';
import { seed } from '../gen/seed.ts';

const A = ip.parse('10.0.0.1').words[3];
const B = ip.parse('10.255.0.2').words[3];

// Built by scapy, printed by tcpdump: a header without options, and one with NOP and record route.
t.test('without options', async (t) =>
  known(t, ipv4, {
    bytes: '45b9 0018 1234 4000 3f11 13e7 0a000001 0aff0002 01020304',
    fields: {
      dscp: 46,
      ecn: 1,
      totalLength: 24,
      id: 0x1234,
      flags: ipv4.DF,
      fragmentOffset: 0,
      ttl: 63,
      protocol: 17,
      checksum: 0x13e7,
      src: '10.0.0.1',
      dst: '10.255.0.2',
      options: '',
    },
    text:
      'IP (tos 0xb9,ECT(1), ttl 63, id 4660, offset 0, flags [DF], proto UDP (17), length 24) ' +
      '10.0.0.1 > 10.255.0.2',
    write: (v, at) => ipv4.write(v, at, 0xb9, 24, 0x1234, ipv4.DF, 63, 17, A, B),
  }),
);

t.test('with options', async (t) =>
  known(t, ipv4, {
    bytes: '47b9 0020 1234 4000 3f11 09d4 0a000001 0aff0002 0107070400000000 01020304',
    fields: {
      dscp: 46,
      ecn: 1,
      totalLength: 32,
      id: 0x1234,
      flags: ipv4.DF,
      fragmentOffset: 0,
      ttl: 63,
      protocol: 17,
      checksum: 0x09d4,
      src: '10.0.0.1',
      dst: '10.255.0.2',
      options: '0107070400000000',
    },
    text:
      'IP (tos 0xb9,ECT(1), ttl 63, id 4660, offset 0, flags [DF], proto UDP (17), length 32, ' +
      'options (NOP,RR)) 10.0.0.1 > 10.255.0.2',
    size: 28,
    write(v, at) {
      ipv4.write(v, at, 0xb9, 32, 0x1234, ipv4.DF, 63, 17, A, B);
      ipv4.setHeaderLength(v, at, 28);
      v.setUint32(at + 20, 0x01070704);
      v.setUint32(at + 24, 0);
      ipv4.fillChecksum(v, at);
    },
  }),
);

roundTrips(
  t,
  ipv4,
  (r) => {
    const options = '01'.repeat(4 * r.below(11));
    return {
      dscp: r.below(64),
      ecn: r.below(4),
      totalLength: 20 + options.length / 2 + r.below(500),
      id: r.below(65536),
      flags: r.below(8),
      fragmentOffset: 8 * r.below(8192),
      ttl: r.below(256),
      protocol: r.below(256),
      checksum: r.below(65536),
      src: ip.format4(r.int32()),
      dst: ip.format4(r.int32()),
      options,
    };
  },
  500,
);

t.test('impossible lengths and versions are refused', async (t) => {
  const v = viewOf(fromHex('4500 0018 1234 4000 3f11 0000 0a000001 0aff0002 01020304'));
  t.equal(ipv4.check(v, 0, 24), OK);
  t.equal(ipv4.check(v, 0, 19), SHORT);
  t.equal(ipv4.check(v, 0, 23), TRUNCATED);
  ipv4.setTotalLength(v, 0, 20);
  t.equal(ipv4.check(v, 0, 24), OK, 'bytes behind the packet are padding');
  ipv4.setTotalLength(v, 0, 19);
  t.equal(ipv4.check(v, 0, 24), LENGTH, 'shorter than the header');
  ipv4.setTotalLength(v, 0, 20);
  ipv4.setHeaderLength(v, 0, 24);
  t.equal(ipv4.check(v, 0, 24), LENGTH, 'the header is longer than the packet');
  ipv4.setTotalLength(v, 0, 24);
  t.equal(ipv4.check(v, 0, 24), OK);
  ipv4.setHeaderLength(v, 0, 16);
  t.equal(ipv4.check(v, 0, 24), LENGTH, 'a header of 16 bytes');
  v.setUint8(0, 0x65);
  t.equal(ipv4.check(v, 0, 24), VERSION);
});

t.test('each setter changes its field and no other', async (t) => {
  const v = viewOf(new Uint8Array(20));
  const r = new Random(seed);
  for (let i = 0; i < 20; i++) v.setUint8(i, r.below(256));
  ipv4.setHeaderLength(v, 0, 20);
  const fields = [
    [ipv4.tos, ipv4.setTos, 0x5c],
    [ipv4.dscp, ipv4.setDscp, 33],
    [ipv4.totalLength, ipv4.setTotalLength, 777],
    [ipv4.id, ipv4.setId, 4711],
    [ipv4.flags, ipv4.setFlags, 5],
    [ipv4.fragmentOffset, ipv4.setFragmentOffset, 0x1ffe * 8],
    [ipv4.ttl, ipv4.setTtl, 9],
    [ipv4.protocol, ipv4.setProtocol, 132],
    [ipv4.checksum, ipv4.setChecksum, 0xbeef],
    [ipv4.src, ipv4.setSrc, 0xfedcba98],
    [ipv4.dst, ipv4.setDst, 0xffffffff],
  ] as const;
  for (const [get, set, value] of fields) {
    const before = fields.map(([get]) => get(v, 0));
    set(v, 0, value);
    t.equal(get(v, 0), value, get.name);
    const touched = fields.filter(([other], i) => other(v, 0) !== before[i]).map(([other]) => other.name);
    const shared = ['tos', 'dscp'];
    const own = shared.includes(get.name) ? shared : [get.name];
    t.same(
      touched.filter((name) => !own.includes(name)),
      [],
      `${get.name} alone`,
    );
  }
});

t.test('fragments', async (t) => {
  const v = viewOf(new Uint8Array(20));
  ipv4.write(v, 0, 0, 20, 1, ipv4.DF, 64, 17, A, B);
  t.notOk(ipv4.isFragment(v, 0) || ipv4.isLaterFragment(v, 0), 'whole');
  ipv4.setFlags(v, 0, ipv4.MF);
  t.ok(ipv4.isFragment(v, 0) && !ipv4.isLaterFragment(v, 0), 'first');
  ipv4.setFragmentOffset(v, 0, 1480);
  t.ok(ipv4.isFragment(v, 0) && ipv4.isLaterFragment(v, 0), 'middle');
  ipv4.setFlags(v, 0, 0);
  t.ok(ipv4.isFragment(v, 0) && ipv4.isLaterFragment(v, 0), 'last');
  t.match(ipv4.format(v, 0), /offset 1480, flags \[none\]/);
});

t.test(`checksum, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const v = viewOf(new Uint8Array(20));
  let filled = 0;
  let updated = 0;
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    ipv4.write(v, 0, r.below(256), 20, r.below(65536), 0, r.below(256), r.below(256), r.int32(), r.int32());
    if (ipv4.verifyChecksum(v, 0)) filled++;
    const ecn = r.below(4);
    ipv4.setEcn(v, 0, ecn);
    const incremental = ipv4.checksum(v, 0);
    const right = ipv4.verifyChecksum(v, 0) && ipv4.ecn(v, 0) === ecn;
    ipv4.fillChecksum(v, 0);
    if (right && incremental === ipv4.checksum(v, 0)) updated++;
    const bit = r.below(160);
    v.setUint8(bit >>> 3, v.getUint8(bit >>> 3) ^ (1 << (bit & 7)));
    ipv4.setHeaderLength(v, 0, 20);
    if (!ipv4.verifyChecksum(v, 0) || bit < 8) refused++;
  }
  t.same({ filled, updated, refused }, { filled: 2000, updated: 2000, refused: 2000 });
});

/** A header with these options behind it. */
function withOptions(digits: string): DataView {
  const bytes = fromHex(digits);
  const v = viewOf(new Uint8Array(20 + bytes.length + 4).fill(0x07));
  ipv4.write(v, 0, 0, 20 + bytes.length, 1, 0, 64, 17, A, B);
  ipv4.setHeaderLength(v, 0, 20 + bytes.length);
  for (const [i, byte] of bytes.entries()) v.setUint8(20 + i, byte);
  return v;
}

const find = (v: DataView, type: number) => options.find(v, 20, ipv4.headerLength(v, 0), type);

t.test('options', async (t) => {
  const good = withOptions('01 940400ff 070304 de02 00 ff');
  t.equal(ipv4.checkOptions(good, 0), OK);
  t.equal(find(good, options.ROUTER_ALERT), 21);
  t.equal(find(good, options.RECORD_ROUTE), 25);
  t.equal(find(good, options.TIMESTAMP), -1);
  t.equal(options.format(good, 20, 28), 'NOP,RA,RR');
  t.match(ipv4.format(good, 0), /options \(NOP,RA,RR,unknown 222,EOL\)/);

  const ended = withOptions('00 07 99 01');
  t.equal(ipv4.checkOptions(ended, 0), OK, 'behind the end anything may lie');
  t.equal(find(ended, options.RECORD_ROUTE), -1);

  for (const [bytes, what] of [
    ['01010144', 'no room for the length'],
    ['44000000', 'length 0: the walk must end'],
    ['44010000', 'length 1'],
    ['44050000', 'longer than the header'],
    ['94ff0000 01010101', 'far longer'],
  ]) {
    const v = withOptions(bytes);
    t.equal(ipv4.check(v, 0, v.byteLength), OK);
    t.equal(ipv4.checkOptions(v, 0), OPTIONS, what);
    t.equal(find(v, v.getUint8(20) === 1 ? 0x44 : v.getUint8(20)), -1);
    t.match(ipv4.format(v, 0), /\[bad opt\]/);
  }
});

t.test('options of 10,000 random headers', async (t) => {
  const r = new Random(seed);
  let outside = 0;
  for (let i = 0; i < 10_000; i++) {
    let digits = '';
    const types = ['00', '01', '07', '94', '44', '02', '04', 'ff'];
    for (let n = 4 * (1 + r.below(10)); n > 0; n--) digits += types[r.below(types.length)];
    const v = withOptions(digits);
    const at = find(v, options.ROUTER_ALERT);
    if (at >= 0 && (at < 20 || at + v.getUint8(at + 1) > ipv4.headerLength(v, 0))) outside++;
    if ((ipv4.checkOptions(v, 0) !== OK) !== ipv4.format(v, 0).includes('[bad opt]')) outside++;
  }
  t.equal(outside, 0, `seed ${seed}`);
});

t.test('the hot writer overwrites everything', async (t) => {
  const v = viewOf(new Uint8Array(20).fill(0xff));
  ipv4.write(v, 0, 0, 20, 0, 0, 0, 0, 0, 0);
  t.equal(hex(v, 0, 20), `45000014${'0'.repeat(12)}baeb`.padEnd(40, '0'));
});
