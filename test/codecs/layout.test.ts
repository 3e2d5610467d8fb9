import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { bits, struct, u8, u16, u16le, u24, u32, u32le, u48, words } from '../../codecs/layout.ts';

const layout = struct(
  u8('a'),
  u16('b'),
  u24('c'),
  u32('d'),
  u48('e'),
  u16le('f'),
  u32le('g'),
  bits('h', 8, { high: 3, low: 5 }),
  bits('i', 16, { one: 1, rest: 15 }),
  bits('j', 32, { version: 4, class: 8, label: 20 }),
  words('k', 2),
);
const BYTES = 'fe fedc fedcba fedcba98 fedcba987654 dcfe 98badcfe bf 8001 6b9fffff fedcba98 00000001';
const FIELDS = {
  a: 0xfe,
  b: 0xfedc,
  c: 0xfedcba,
  d: 0xfedcba98,
  e: 0xfedcba987654,
  f: 0xfedc,
  g: 0xfedcba98,
  high: 5,
  low: 31,
  one: 1,
  rest: 1,
  version: 6,
  class: 0xb9,
  label: 0xfffff,
  k: [0xfedcba98, 1],
};

t.test('offsets and size', async (t) => {
  const offsets = [...'abcdefghijk'].map((name) => layout.offsetOf(name));
  t.same(offsets, [0, 1, 3, 6, 10, 16, 18, 22, 23, 25, 29]);
  t.equal(layout.span, 37);
  t.throws(() => layout.offsetOf('z'), { name: 'TypeError', message: 'the layout has no field "z"' });
  t.throws(() => layout.offsetOf('version'), { name: 'TypeError' }, 'a part of a word has no offset');
});

t.test('all fields are read and written, wherever the header lies', async (t) => {
  const bytes = fromHex(BYTES);
  for (const at of [0, 3]) {
    const v = viewOf(new Uint8Array(at + 40).fill(0xa5));
    layout.encode(FIELDS, v, at);
    t.equal(hex(v, at, 37), hex(viewOf(bytes), 0, 37));
    t.equal(hex(v, at + 37, 3), 'a5a5a5');
    t.same(layout.decode(v, at), FIELDS);
  }
});

t.test('fields that are not given stay', async (t) => {
  const v = viewOf(fromHex(BYTES));
  layout.encode({ b: 1, low: 0, label: 7 }, v, 0);
  t.same(layout.decode(v, 0), { ...FIELDS, b: 1, low: 0, label: 7 });
});

t.test('what lies outside is not touched', async (t) => {
  const short = viewOf(new Uint8Array(20));
  t.throws(() => layout.decode(short, 0), { name: 'RangeError' });
  t.throws(() => layout.encode(FIELDS, short, 0), { name: 'RangeError' });
});

t.test('fields do not fit into less', async (t) => {
  t.throws(() => bits('x', 8, { a: 4, b: 5 }));
  const v = viewOf(new Uint8Array(1));
  t.throws(() => struct(bits('x', 8, { a: 4, b: 4 })).encode({ a: 16, b: 0 }, v, 0), { name: 'TypeError' });
});
