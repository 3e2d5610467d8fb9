import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import * as checksums from '../../codecs/checksum.ts';
import { OK, OPTIONS, SHORT, TYPE } from '../../codecs/fault.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as nd from '../../codecs/nd.ts';
import * as options from '../../codecs/nd-options.ts';
import type { Random } from '../../lib/core/random.ts';
import { known, roundTrips } from '../gen/codec.ts';

const words = (text: string) => ip.parse(text).words;

// Messages built by scapy from fe80::1 to fe80::2, printed by tcpdump.
const NS = '87006fd900000000 fe800000000000000000000000000002 010102420a000001';
const NA = '88008dd8e0000000 fe800000000000000000000000000002 020102420a000001';
const BARE_NA = '88007c2500000000 fe800000000000000000000000000002';
const RS = '8500706c00000000 010102420a000001';
const RA =
  '8600522d40c807080000000500000007 010102420a000001 05010000000005aa ' +
  '030440c0000151800000384000000000fd000001000000000000000000000000';
const REDIRECT =
  '8900fa4900000000 fe800000000000000000000000000002 fd000000000000000000000000000007 020102420a000001 ' +
  '0408000000000000 6000000000101140fd000000000000000000000000000002fd000000000000000000000000000007' +
  '03e80035001030d23132333435363738';

/** The codec in the form of those whose header says how long it is. */
let end = 0;
const codec = {
  SIZE: nd.SIZE,
  check: (v: DataView, at: number, until: number) => nd.check(v, at, Math.min(until, end)),
  decode: (v: DataView, at: number) => nd.decode(v, at, end),
  format: (v: DataView, at: number) => nd.format(v, at, end),
  encode(fields: nd.Nd, v: DataView, at: number) {
    end = nd.encode(fields, v, at);
  },
};

end = 6 + nd.SIZE;
known(t, codec, {
  bytes: BARE_NA,
  fields: { type: 136, code: 0, checksum: 0x7c25, flags: 0, target: 'fe80::2', options: [] },
  text: 'ICMP6, neighbor advertisement, tgt is fe80::2, length 24',
  write(v, at) {
    nd.writeAdvertisement(v, at, 0, ...words('fe80::2'));
    icmpv6.setChecksum(v, at, 0x7c25);
  },
});

const word = (r: Random) => (r.chance(0.4) ? 0 : r.int32() >>> 0);
const address = (r: Random) => ip.format({ family: 6, words: [word(r), word(r), word(r), word(r)] });

function randomOptions(r: Random): options.Option[] {
  return Array.from({ length: r.below(4) }, () => {
    const type = r.below(256);
    const units = type === options.PREFIX ? 4 : 1 + r.below(4);
    return {
      type,
      value: r
        .below(256)
        .toString(16)
        .padStart(2, '0')
        .repeat(units * 8 - 2),
    };
  });
}

function random(r: Random): nd.Nd {
  const head = { code: r.below(256), checksum: r.below(65536) };
  const list = { options: randomOptions(r) };
  switch (133 + r.below(5)) {
    case icmpv6.ROUTER_SOLICITATION:
      return { type: 133, ...head, ...list };
    case icmpv6.ROUTER_ADVERTISEMENT: {
      const router = { hopLimit: r.below(256), flags: r.below(256), lifetime: r.below(65536) };
      return { type: 134, ...head, ...router, reachable: word(r), retrans: word(r), ...list };
    }
    case icmpv6.NEIGHBOR_SOLICITATION:
      return { type: 135, ...head, target: address(r), ...list };
    case icmpv6.NEIGHBOR_ADVERTISEMENT:
      return { type: 136, ...head, flags: r.below(256), target: address(r), ...list };
    default:
      return { type: 137, ...head, target: address(r), destination: address(r), ...list };
  }
}

roundTrips(t, codec, random);

t.test('messages with options', async (t) => {
  const read = (bytes: string) => {
    const v = viewOf(fromHex(bytes));
    t.equal(nd.check(v, 0, v.byteLength), OK);
    const message = nd.decode(v, 0, v.byteLength);
    const again = viewOf(new Uint8Array(v.byteLength));
    t.equal(nd.encode(message, again, 0), v.byteLength);
    t.equal(hex(again, 0, v.byteLength), bytes.replaceAll(' ', ''));
    return { v, message, text: nd.format(v, 0, v.byteLength) };
  };
  const link = (type: number) => [{ type, value: '02420a000001' }];

  const ns = read(NS);
  t.same(ns.message, { type: 135, code: 0, checksum: 0x6fd9, target: 'fe80::2', options: link(1) });
  t.equal(ns.text, 'ICMP6, neighbor solicitation, who has fe80::2, length 32');
  t.equal(nd.target(ns.v, 0, 0), 0xfe800000);
  t.equal(nd.target(ns.v, 0, 3), 2);
  const source = nd.option(ns.v, 0, 32, options.SOURCE_LINK);
  t.equal(source, 24);
  t.equal(options.linkHi(ns.v, source), 0x0242);
  t.equal(options.linkLo(ns.v, source), 0x0a000001);
  t.equal(nd.option(ns.v, 0, 32, options.TARGET_LINK), -1);

  const na = read(NA);
  t.equal(nd.flags(na.v, 0), nd.ROUTER | nd.SOLICITED | nd.OVERRIDE);
  t.same(na.message.options, link(2));
  t.equal(na.text, 'ICMP6, neighbor advertisement, tgt is fe80::2, length 32');

  t.equal(read(RS).text, 'ICMP6, router solicitation, length 16');

  const { v, message, text } = read(RA);
  t.equal(text, 'ICMP6, router advertisement, length 64');
  t.equal(message.options.length, 3);
  t.equal(nd.hopLimit(v, 0), 64);
  t.equal(nd.routerFlags(v, 0) & (nd.MANAGED | nd.OTHER), nd.MANAGED | nd.OTHER);
  t.same([nd.lifetime(v, 0), nd.reachable(v, 0), nd.retrans(v, 0)], [1800, 5, 7]);
  t.equal(options.mtu(v, nd.option(v, 0, 64, options.MTU)), 1450);
  const prefix = nd.option(v, 0, 64, options.PREFIX);
  t.equal(options.length(v, prefix), 32);
  t.equal(options.prefixLength(v, prefix), 64);
  t.equal(options.prefixFlags(v, prefix), options.PREFIX_ON_LINK | options.PREFIX_AUTONOMOUS);
  t.equal(options.validLifetime(v, prefix), 86400);
  t.equal(options.preferredLifetime(v, prefix), 14400);
  t.equal(ip.format(ip.read6(v, options.prefixAt(prefix))), 'fd00:1::');

  const redirect = read(REDIRECT);
  t.equal(redirect.text, 'ICMP6, redirect, fd00::7 to fe80::2, length 112');
  t.equal(redirect.message.destination, 'fd00::7');
  t.equal(options.length(redirect.v, nd.option(redirect.v, 0, 112, options.REDIRECTED)), 64);
});

t.test('written hot', async (t) => {
  const v = viewOf(new Uint8Array(32).fill(0xa5));
  nd.writeSolicitation(v, 0, ...words('fe80::2'));
  options.writeLink(v, nd.SIZE, options.SOURCE_LINK, 0x0242, 0x0a000001);
  icmpv6.setChecksum(v, 0, 0x6fd9);
  t.equal(hex(v, 0, 32), NS.replaceAll(' ', ''));
  nd.writeAdvertisement(v, 0, 0, ...words('::'));
  nd.setFlags(v, 0, nd.ROUTER | nd.SOLICITED | nd.OVERRIDE);
  nd.setTarget(v, 0, ...words('fe80::2'));
  options.writeLink(v, nd.SIZE, options.TARGET_LINK, 0x0242, 0x0a000001);
  icmpv6.setChecksum(v, 0, 0x8dd8);
  t.equal(hex(v, 0, 32), NA.replaceAll(' ', ''));
});

t.test('malformed messages', async (t) => {
  const check = (bytes: string) => nd.check(viewOf(fromHex(bytes)), 0, fromHex(bytes).length);
  t.equal(check('8700'), SHORT);
  t.equal(check('80006fd900000000'), TYPE, 'another ICMPv6 message');
  t.notOk(nd.isNd(icmpv6.ECHO_REQUEST) || nd.isNd(132) || nd.isNd(138));
  for (const [message, size] of [
    [RS, 8],
    [RA, 16],
    [NS, 24],
    [NA, 24],
    [REDIRECT, 40],
  ] as const) {
    const v = viewOf(fromHex(message));
    t.equal(nd.sizeOf(icmpv6.type(v, 0)), size);
    const faults = [...Array(v.byteLength).keys()].map((n) => nd.check(v, 0, n));
    t.ok(
      faults.slice(0, size).every((fault) => fault === SHORT),
      'truncations of the message',
    );
    t.equal(faults[size], OK, 'no options');
    const good = faults.flatMap((fault, n) => (fault === OK ? [n] : []));
    t.ok(
      good.every((n) => n % 8 === 0),
      'the end is that of an option',
    );
    t.ok(faults.slice(size).every((fault) => fault === OK || fault === OPTIONS));
  }
  const option = (bytes: string) => check(`${BARE_NA}${bytes}`);
  t.equal(option('0200000000000000'), OPTIONS, 'length 0: the walk must end');
  t.equal(option('0202000000000000'), OPTIONS, 'longer than the message');
  t.equal(option('0201'), OPTIONS, 'two bytes of an option');
  t.equal(option('03030000000000000000000000000000000000000000000000'), OPTIONS, 'a prefix of 24 bytes');
  t.equal(option(`0304${'00'.repeat(30)}`), OK);
  t.equal(option('fe010000000000000e01000000000000'), OK, 'unknown types and a nonce');
  t.equal(option('fe01000000000000fe00000000000000'), OPTIONS, 'the second has length 0');

  const v = viewOf(fromHex(`${BARE_NA} fe00000000000000 020102420a000001`));
  t.equal(nd.option(v, 0, v.byteLength, options.TARGET_LINK), -1, 'behind a malformed one nothing is found');
  t.same(nd.decode(v, 0, v.byteLength).options, []);
});

/** Whether a receiver may believe this message, sent with a right checksum. */
function valid(src: string, dst: string, bytes: string, change: (v: DataView) => void = () => {}): boolean {
  const message = fromHex(bytes);
  const v = viewOf(new Uint8Array(40 + message.length));
  ipv6.write(v, 0, 0, 0, message.length, icmpv6.PROTOCOL, 255, words(src), words(dst));
  for (const [i, byte] of message.entries()) v.setUint8(40 + i, byte);
  change(v);
  const pseudo = checksums.pseudo6(v, 0, icmpv6.PROTOCOL, message.length);
  icmpv6.fillChecksum(v, 40, v.byteLength, pseudo);
  if (nd.check(v, 40, v.byteLength) !== OK) throw new Error('malformed');
  if (!nd.valid(v, 0, 40, v.byteLength)) return false;
  icmpv6.setChecksum(v, 40, icmpv6.checksum(v, 40) ^ 1);
  if (nd.valid(v, 0, 40, v.byteLength)) throw new Error('a wrong checksum is believed');
  return true;
}

const A = 'fe80::1';
const B = 'fe80::2';
const SOLICITED_NODE = 'ff02::1:ff00:2';
const BARE_NS = NS.slice(0, -17);
const withTarget = (address: string) => (v: DataView) => nd.setTarget(v, 40, ...words(address));

t.test('what all messages need', async (t) => {
  for (const message of [NS, NA, RS, RA, REDIRECT]) {
    t.ok(valid(A, B, message));
    t.notOk(
      valid(A, B, message, (v) => ipv6.setHopLimit(v, 0, 254)),
      'it came through a router',
    );
    t.notOk(valid(A, B, message, (v) => icmpv6.setCode(v, 40, 1)));
  }
});

t.test('neighbor solicitations', async (t) => {
  t.ok(valid(A, SOLICITED_NODE, NS));
  t.ok(valid('::', SOLICITED_NODE, BARE_NS), 'duplicate address detection');
  t.notOk(valid('::', SOLICITED_NODE, NS), 'from :: with a source link address');
  t.notOk(valid('::', B, BARE_NS), 'from :: to a single node');
  t.notOk(valid('::', 'ff02::1', BARE_NS), 'from :: to all nodes');
  t.notOk(valid(A, B, NS, withTarget('ff02::1')), 'for a group');
});

t.test('neighbor advertisements', async (t) => {
  t.notOk(valid(A, 'ff02::1', NA), 'solicited, but to a group');
  t.ok(valid(A, 'ff02::1', BARE_NA));
  t.notOk(valid(A, B, NA, withTarget('ff02::1')), 'of a group');
});

t.test('router messages', async (t) => {
  t.ok(valid('::', 'ff02::2', RS.slice(0, 16)));
  t.notOk(valid('::', 'ff02::2', RS), 'from :: with a source link address');
  t.ok(valid(A, 'ff02::1', RA));
  t.notOk(valid('fd00::1', 'ff02::1', RA), 'from an address that is not of the link');
  t.notOk(valid('::', 'ff02::1', RA));
});

t.test('redirects', async (t) => {
  t.notOk(valid('fd00::1', B, REDIRECT), 'from an address that is not of the link');
  t.ok(valid(A, B, REDIRECT, withTarget('fd00::7')), 'the destination is a neighbor');
  t.notOk(valid(A, B, REDIRECT, withTarget('fd00::8')), 'to a router that is not of the link');
  const toGroup = (v: DataView) => ipv6.setAddress(v, 40 + nd.DESTINATION, ...words('ff0e::7'));
  t.notOk(valid(A, B, REDIRECT, toGroup));
});

t.test('a fragment header is not allowed', async (t) => {
  const message = fromHex(NS);
  for (const [word, what] of [
    [0, 'atomic'],
    [1, 'first'],
  ] as const) {
    const v = viewOf(new Uint8Array(48 + message.length));
    ipv6.write(v, 0, 0, 0, 8 + message.length, 44, 255, words(A), words(B));
    v.setUint8(40, icmpv6.PROTOCOL);
    v.setUint16(42, word);
    for (const [i, byte] of message.entries()) v.setUint8(48 + i, byte);
    t.notOk(nd.valid(v, 0, 48, v.byteLength), what);
    v.setUint8(6, 60);
    v.setUint16(42, 0x0104);
    t.ok(nd.valid(v, 0, 48, v.byteLength), 'destination options are');
  }
});
