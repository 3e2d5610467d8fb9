import t from 'tap';
import { fromHex, hex, setU24, u24, viewOf } from '../../codecs/bytes.ts';

t.test('24 bits', async (t) => {
  const v = viewOf(new Uint8Array(5).fill(0xa5));
  setU24(v, 1, 0xfedcba);
  t.equal(hex(v, 0, 5), 'a5fedcbaa5', 'nothing beside them');
  t.equal(u24(v, 1), 0xfedcba);
  setU24(v, 1, 1);
  t.equal(u24(v, 1), 1);
});

t.test('a view has exactly the bytes of the array', async (t) => {
  const all = Uint8Array.of(1, 2, 3, 4, 5);
  const v = viewOf(all.subarray(1, 4));
  t.equal(v.byteLength, 3);
  t.equal(v.getUint8(0), 2);
  t.throws(() => v.getUint8(3), { name: 'RangeError' });
  v.setUint8(0, 9);
  t.equal(all[1], 9, 'the same memory');
});

t.test('hexadecimal digits', async (t) => {
  t.same([...fromHex(' 00 fF\n0a')], [0, 255, 10]);
  t.same(fromHex(''), new Uint8Array(0));
  t.equal(hex(viewOf(fromHex('00ff0a')), 1, 2), 'ff0a');
  t.equal(hex(viewOf(fromHex('00')), 0, 0), '');
  for (const text of ['0', '0g', '0x00', '00-']) {
    t.throws(() => fromHex(text), {
      name: 'TypeError',
      message: /expected pairs of hexadecimal digits, got "/,
    });
  }
});
