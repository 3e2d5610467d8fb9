import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import { OK, SHORT } from '../../codecs/fault.ts';
import * as icmp from '../../codecs/icmp.ts';
import { known, roundTrips } from '../gen/codec.ts';

/** The codec with the end that `format` needs, here that of the known message. */
const codec = { ...icmp, format: (v: DataView, at: number) => icmp.format(v, at, at + 16) };

// Built by scapy, printed by tcpdump.
known(t, codec, {
  bytes: '00 00 1e1b 0001 0002 7878787878787878',
  fields: { type: icmp.ECHO_REPLY, code: 0, checksum: 0x1e1b, rest: 0x00010002 },
  text: 'ICMP echo reply, id 1, seq 2, length 16',
  write(v, at) {
    icmp.writeEcho(v, at, icmp.ECHO_REPLY, 1, 2);
    icmp.setChecksum(v, at, 0x1e1b);
  },
});

roundTrips(t, codec, (r) => ({
  type: r.below(256),
  code: r.below(256),
  checksum: r.below(65536),
  rest: r.int32() >>> 0,
}));

// UDP port 1000 to 198.51.100.7 port 53, as an error quotes it.
const QUOTED = '45000024000100004011 8e8b c0000202c6336407 03e8003500103e9f3132333435363738';
const error = (type: number, code: number, rest = '00000000', quoted = QUOTED) => {
  const v = viewOf(
    fromHex(`${[type, code].map((n) => n.toString(16).padStart(2, '0')).join('')}0000${rest}${quoted}`),
  );
  icmp.fillChecksum(v, 0, v.byteLength);
  return v;
};
const print = (v: DataView) => icmp.format(v, 0, v.byteLength);

t.test('fragmentation needed', async (t) => {
  const v = error(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, '00000578');
  t.equal(icmp.check(v, 0, v.byteLength), OK);
  t.equal(icmp.check(v, 0, 7), SHORT);
  t.equal(icmp.checksum(v, 0), 0xe3e2, "scapy's");
  t.equal(icmp.mtu(v, 0), 1400);
  t.ok(icmp.isError(icmp.type(v, 0)));
  t.equal(print(v), 'ICMP 198.51.100.7 unreachable - need to frag (mtu 1400), length 44');
  t.equal(
    print(error(3, 4)),
    'ICMP 198.51.100.7 unreachable - need to frag, length 44',
    'a router older than RFC 1191',
  );
});

t.test('checksum', async (t) => {
  const v = viewOf(new Uint8Array(19).fill(0x33));
  icmp.write(v, 0, icmp.ECHO_REQUEST, 0, 0);
  icmp.setId(v, 0, 0xbeef);
  icmp.setSeq(v, 0, 7);
  t.equal(icmp.rest(v, 0), 0xbeef0007, 'unsigned');
  for (const end of [8, 9, 18, 19]) {
    icmp.fillChecksum(v, 0, end);
    t.ok(icmp.verifyChecksum(v, 0, end), `${end} bytes`);
    v.setUint8(end - 1, v.getUint8(end - 1) ^ 1);
    t.notOk(icmp.verifyChecksum(v, 0, end), 'one bit flipped');
    v.setUint8(end - 1, v.getUint8(end - 1) ^ 1);
  }
  icmp.setType(v, 0, icmp.ECHO_REPLY);
  icmp.setCode(v, 0, 1);
  t.same([icmp.type(v, 0), icmp.code(v, 0), icmp.id(v, 0), icmp.seq(v, 0)], [0, 1, 0xbeef, 7]);
});

t.test('what tcpdump calls the messages', async (t) => {
  const tcp = '45000028000100004006 0000 c0000202c6336407 03e8005000000000000000005002200000000000';
  const lines = [
    error(3, 0),
    error(3, 1),
    error(3, 2),
    error(3, 3),
    error(3, 3, '00000000', tcp),
    error(3, 3, '00000000', QUOTED.replace('4011', '4084')),
    error(3, 13),
    error(3, 16),
    error(4, 0),
    error(5, 1, 'c0000209'),
    error(5, 4, 'c0000209'),
    error(11, 0),
    error(11, 1),
    error(11, 2),
    error(12, 0, '05000000'),
    error(12, 1),
    error(10, 0, '00000000', ''),
    error(13, 0, '00030004', '00'.repeat(12)),
    error(42, 0, '00000000', ''),
  ].map(print);
  t.same(lines, [
    'ICMP net 198.51.100.7 unreachable, length 44',
    'ICMP host 198.51.100.7 unreachable, length 44',
    'ICMP 198.51.100.7 protocol 17 unreachable, length 44',
    'ICMP 198.51.100.7 udp port 53 unreachable, length 44',
    'ICMP 198.51.100.7 tcp port 80 unreachable, length 48',
    'ICMP 198.51.100.7 protocol 132 port 53 unreachable, length 44',
    'ICMP host 198.51.100.7 unreachable - admin prohibited filter, length 44',
    'ICMP 198.51.100.7 unreachable - #16, length 44',
    'ICMP source quench, length 44',
    'ICMP redirect 198.51.100.7 to host 192.0.2.9, length 44',
    'ICMP redirect-#4 198.51.100.7 to 192.0.2.9, length 44',
    'ICMP time exceeded in-transit, length 44',
    'ICMP ip reassembly time exceeded, length 44',
    'ICMP time exceeded-#2, length 44',
    'ICMP parameter problem - octet 5, length 44',
    'ICMP parameter problem - code 1, length 44',
    'ICMP router solicitation, length 8',
    'ICMP time stamp query id 3 seq 4, length 20',
    'ICMP type-#42, length 8',
  ]);
});

t.test('a quoted packet cut at every length does not stop the printing', async (t) => {
  const texts = new Set<string>();
  for (const [type, code] of [3, 5].flatMap((type) => [0, 1, 2, 3, 4, 5].map((code) => [type, code]))) {
    const whole = error(type, code);
    for (let n = 8; n < whole.byteLength; n++) {
      const cut = viewOf(new Uint8Array(whole.buffer, 0, n)); // reading behind the end would throw
      texts.add(print(cut).replace(/, length \d+$/, ''));
    }
  }
  t.ok(texts.has('ICMP ? port unreachable'), 'no address');
  t.ok(texts.has('ICMP 198.51.100.7 port unreachable'), 'no port');
});

t.test('errors and others', async (t) => {
  const errors = [...Array(256).keys()].filter(icmp.isError);
  t.same(errors, [3, 4, 5, 11, 12]);
});
