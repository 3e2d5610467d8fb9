import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import { FAULTS, OPTIONS, TOO_DEEP, TRUNCATED } from '../../codecs/fault.ts';
import * as ext from '../../codecs/ipv6-extensions.ts';
import * as protocols from '../../codecs/protocol.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

const AT = 6;

/** An IPv6 header, otherwise zero, whose next header is the one given, and what follows it. */
function packet(next: number, rest: string): DataView {
  const bytes = fromHex(rest);
  const v = viewOf(new Uint8Array(AT + 40 + bytes.length));
  v.setUint8(AT, 0x60);
  v.setUint16(AT + 4, bytes.length);
  v.setUint8(AT + 6, next);
  for (const [i, byte] of bytes.entries()) v.setUint8(AT + 40 + i, byte);
  return v;
}

/** What the walk says, in words. */
function walk(v: DataView, end = v.byteLength): string {
  const u = ext.upper(v, AT, end);
  if (u < 0) return FAULTS[-u];
  const notes = [ext.hasFragmentHeader, ext.isFragment, ext.isLaterFragment].filter((is) => is(u));
  return [ext.upperProtocol(u), ext.upperOffset(u), ...notes.map((is) => is.name)].join(' ');
}

const REST = '0000 00000000'; // what follows next header and length, or pads an upper layer

t.test('where the upper layer is', async (t) => {
  const { HOP_BY_HOP, ROUTING, FRAGMENT, AH, DESTINATION_OPTIONS, UDP, ESP, NO_NEXT_HEADER } = protocols;
  t.equal(walk(packet(UDP, '')), '17 40');
  t.equal(walk(packet(HOP_BY_HOP, `1100 ${REST}`)), '17 48');
  t.equal(walk(packet(ROUTING, `1101 ${REST} ${'00'.repeat(8)}`)), '17 56');
  t.equal(walk(packet(DESTINATION_OPTIONS, `3a00 ${REST}`)), '58 48');
  t.equal(walk(packet(AH, `0604 ${REST} ${'00'.repeat(16)}`)), '6 64', 'AH counts words of 4 bytes');
  t.equal(walk(packet(ESP, '')), '50 40', 'nothing behind ESP can be read');
  t.equal(walk(packet(NO_NEXT_HEADER, REST)), '59 40');
  t.equal(walk(packet(135, `1100 ${REST}`)), '135 40', 'one that is not known');
  t.equal(walk(packet(FRAGMENT, '11ff 0000 00000007')), '17 48 hasFragmentHeader', 'atomic; no length');
  t.equal(walk(packet(FRAGMENT, '1100 0001 00000007')), '17 48 hasFragmentHeader isFragment', 'first');
  t.equal(walk(packet(FRAGMENT, '1100 0006 00000007')), '17 48 hasFragmentHeader', 'reserved bits');
  for (const word of ['0008', 'fff9', '0009']) {
    t.equal(
      walk(packet(FRAGMENT, `1100 ${word} 00000007`)),
      '17 48 hasFragmentHeader isFragment isLaterFragment',
    );
  }
  t.equal(
    walk(packet(FRAGMENT, `3c00 0008 00000007 ${'ff'.repeat(8)}`)),
    '60 48 hasFragmentHeader isFragment isLaterFragment',
    'what follows in a later fragment is data, whatever it was in the first',
  );
});

// Built by scapy: hop-by-hop, routing, fragment (first), destination options, UDP.
const CHAIN =
  '2b00050200000100 2c02000100000000fd000000000000000000000000000009 3c00000100000007 1100010400000000' +
  '00010002000a8d537878';

t.test('a chain of them, cut at every length', async (t) => {
  const v = packet(0, CHAIN);
  t.equal(walk(v), '17 88 hasFragmentHeader isFragment');
  const cut = new Set<string>();
  for (let n = 0; n < 48; n++) cut.add(walk(v, AT + 40 + n));
  t.same([...cut], [FAULTS[TRUNCATED]]);
  t.equal(walk(v, AT + 88), '17 88 hasFragmentHeader isFragment', 'the upper layer itself may be cut');
});

t.test('malformed chains', async (t) => {
  t.equal(walk(packet(60, `0000 ${REST} 1100 ${REST}`)), FAULTS[OPTIONS], 'hop-by-hop options second');
  t.equal(walk(packet(0, `0000 ${REST} 1100 ${REST}`)), FAULTS[OPTIONS], 'hop-by-hop options twice');
  t.equal(walk(packet(60, `11ff ${REST}`)), FAULTS[TRUNCATED]);
  const deep = (n: number) => `3c00 ${REST}`.repeat(n - 1).concat(`1100 ${REST}`);
  t.equal(walk(packet(60, deep(ext.MAX_HEADERS))), `17 ${40 + 8 * ext.MAX_HEADERS}`);
  t.equal(walk(packet(60, deep(ext.MAX_HEADERS + 1))), FAULTS[TOO_DEEP]);
});

t.test(`the longest chain fits the packed answer`, async (t) => {
  const longest = `3cff ${REST} ${'00'.repeat(2040)}`;
  t.equal(
    walk(packet(60, `${longest.repeat(15)} 11ff ${REST} ${'00'.repeat(2040)}`)),
    `17 ${40 + 16 * 2048}`,
  );
});

t.test('10,000 random chains stay within their bytes', async (t) => {
  const r = new Random(seed);
  const types = [0, 43, 44, 51, 60, 60, 60, 17, 50, 59];
  let wrong = 0;
  for (let i = 0; i < 10_000; i++) {
    const n = 8 * r.below(40) + r.below(8);
    const v = packet(types[r.below(types.length)], '00'.repeat(n));
    for (let j = AT + 40; j < v.byteLength; j++) v.setUint8(j, j % 2 === 0 ? types[r.below(10)] : r.below(3));
    const end = v.byteLength;
    const u = ext.upper(v, AT, end); // a view of just these bytes: reading behind the end would throw
    if (u < 0 && ![TRUNCATED, OPTIONS, TOO_DEEP].includes(-u)) wrong++;
    if (u > 0 && (AT + ext.upperOffset(u) > end || ext.upperOffset(u) < 40)) wrong++;
  }
  t.equal(wrong, 0, `seed ${seed}`);
});
