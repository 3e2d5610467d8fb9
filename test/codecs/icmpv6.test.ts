import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import * as checksums from '../../codecs/checksum.ts';
import { OK, SHORT } from '../../codecs/fault.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { known, roundTrips } from '../gen/codec.ts';

/** The codec with the end that `format` needs, here that of the known message. */
const codec = { ...icmpv6, format: (v: DataView, at: number) => icmpv6.format(v, at, at + 16) };

// Built by scapy, printed by tcpdump; fe80::1 > fe80::2.
const ECHO = '81 00 9fcb 0001 0002 7878787878787878';
known(t, codec, {
  bytes: ECHO,
  fields: { type: icmpv6.ECHO_REPLY, code: 0, checksum: 0x9fcb, rest: 0x00010002 },
  text: 'ICMP6, echo reply, id 1, seq 2, length 16',
  write(v, at) {
    icmpv6.writeEcho(v, at, icmpv6.ECHO_REPLY, 1, 2);
    icmpv6.setChecksum(v, at, 0x9fcb);
  },
});

roundTrips(t, codec, (r) => ({
  type: r.below(256),
  code: r.below(256),
  checksum: r.below(65536),
  rest: r.int32() >>> 0,
}));

t.test('checksum', async (t) => {
  const message = fromHex(ECHO);
  const v = viewOf(new Uint8Array(40 + message.length));
  const [src, dst] = ['fe80::1', 'fe80::2'].map((text) => ip.parse(text).words);
  ipv6.write(v, 0, 0, 0, message.length, icmpv6.PROTOCOL, 255, src, dst);
  for (const [i, byte] of message.entries()) v.setUint8(40 + i, byte);
  const end = v.byteLength;
  const pseudo = checksums.pseudo6(v, 0, icmpv6.PROTOCOL, message.length);
  t.ok(icmpv6.verifyChecksum(v, 40, end, pseudo), "scapy's");
  v.setUint8(end - 1, 0);
  t.notOk(icmpv6.verifyChecksum(v, 40, end, pseudo));
  v.setUint8(end - 1, 0x78);
  icmpv6.setChecksum(v, 40, 0);
  icmpv6.fillChecksum(v, 40, end, pseudo);
  t.equal(icmpv6.checksum(v, 40), 0x9fcb);

  icmpv6.setId(v, 40, 0xbeef);
  icmpv6.setSeq(v, 40, 7);
  t.equal(icmpv6.rest(v, 40), 0xbeef0007, 'unsigned');
  icmpv6.setType(v, 40, icmpv6.ECHO_REQUEST);
  icmpv6.setCode(v, 40, 1);
  t.same([icmpv6.type(v, 40), icmpv6.code(v, 40), icmpv6.id(v, 40), icmpv6.seq(v, 40)], [128, 1, 0xbeef, 7]);
});

// UDP port 1000 of fd00::2 to port 53 of fd00::7, as an error quotes it.
const HEADER = '60000000 0010 11 40 fd000000000000000000000000000002 fd000000000000000000000000000007';
const QUOTED = `${HEADER} 03e8003500100000 3132333435363738`;
const message = (type: number, code: number, rest = '00000000', quoted = QUOTED) => {
  const [a, b] = [type, code].map((n) => n.toString(16).padStart(2, '0'));
  return viewOf(fromHex(`${a}${b}0000${rest}${quoted}`));
};
const print = (v: DataView) => icmpv6.format(v, 0, v.byteLength);

t.test('packet too big', async (t) => {
  const v = message(icmpv6.PACKET_TOO_BIG, 0, '80000500');
  t.equal(icmpv6.check(v, 0, v.byteLength), OK);
  t.equal(icmpv6.check(v, 0, 7), SHORT);
  t.equal(icmpv6.mtu(v, 0), 0x80000500, 'all 32 bits');
  icmpv6.setRest(v, 0, 1280);
  t.equal(print(v), 'ICMP6, packet too big, mtu 1280, length 64');
});

t.test('what tcpdump calls the messages', async (t) => {
  const tcp = `${HEADER.replace('0010 11', '0014 06')} 03e80035${'00'.repeat(16)}`;
  const optioned = `${HEADER.replace('11 40', '3c 40')} 1100010400000000 03e8003500100000`;
  const lines = [
    message(1, 0),
    message(1, 1),
    message(1, 2),
    message(1, 3),
    message(1, 4),
    message(1, 4, '00000000', tcp),
    message(1, 4, '00000000', optioned),
    message(1, 7),
    message(3, 0),
    message(3, 1),
    message(3, 2),
    message(4, 0, '00000028'),
    message(4, 3, '00000028'),
    message(131, 0, '00000000', '00'.repeat(16)),
    message(143, 0, '00000001', '00'.repeat(20)),
    message(99, 0, '00000000', ''),
  ].map(print);
  t.same(lines, [
    'ICMP6, destination unreachable, unreachable route fd00::7, length 64',
    'ICMP6, destination unreachable, unreachable prohibited fd00::7, length 64',
    'ICMP6, destination unreachable, beyond scope fd00::7, source address fd00::2, length 64',
    'ICMP6, destination unreachable, unreachable address fd00::7, length 64',
    'ICMP6, destination unreachable, unreachable port, fd00::7 udp port 53, length 64',
    'ICMP6, destination unreachable, unreachable port, fd00::7 tcp port 53, length 68',
    'ICMP6, destination unreachable, unreachable port, fd00::7 udp port 53, length 64',
    'ICMP6, destination unreachable, unknown unreach code (7), length 64',
    'ICMP6, time exceeded in-transit for fd00::7, length 64',
    'ICMP6, time exceeded in-transit (reassembly), length 64',
    'ICMP6, time exceeded in-transit, unknown code (2), length 64',
    'ICMP6, parameter problem, erroneous - octet 40, length 64',
    'ICMP6, parameter problem, incomplete header chain - octet 40, length 64',
    'ICMP6, multicast listener report, length 24',
    'ICMP6, multicast listener report v2, length 28',
    'ICMP6, unknown icmp6 type (99), length 8',
  ]);
});

t.test('a quoted packet cut at every length does not stop the printing', async (t) => {
  const texts = new Set<string>();
  for (const [type, code] of [1, 3].flatMap((type) => [0, 1, 2, 3, 4].map((code) => [type, code]))) {
    const whole = message(type, code);
    for (let n = 8; n < whole.byteLength; n++) {
      const cut = viewOf(new Uint8Array(whole.buffer, 0, n)); // reading behind the end would throw
      texts.add(print(cut).replace(/, length \d+$/, ''));
    }
  }
  t.ok(texts.has('ICMP6, destination unreachable, unreachable port, ?'), 'no address');
  t.ok(texts.has('ICMP6, destination unreachable, unreachable port, fd00::7'), 'no port');
});

t.test('errors and others', async (t) => {
  t.ok([1, 2, 3, 4, 100, 127].every(icmpv6.isError));
  t.notOk([128, 129, 133, 137, 143, 255].some(icmpv6.isError));
});
