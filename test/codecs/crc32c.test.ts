import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import * as crc from '../../codecs/crc32c.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

/** One bit at a time, as RFC 9260 appendix A and RFC 3720 section 12.1 say it. */
function plain(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) {
    c ^= byte;
    for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  }
  return ~c >>> 0;
}

t.test('vectors of RFC 3720 appendix B.4', async (t) => {
  const up = Uint8Array.from({ length: 32 }, (_, i) => i);
  const read10 = `01c00000 00000000 00000000 00000000 14000000 00000400
    00000014 00000018 28000000 00000000 02000000 00000000`;
  for (const [bytes, value] of [
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(0xff), 0x62a8ab43],
    [up, 0x46dd794e],
    [up.toReversed(), 0x113fdb5c],
    [fromHex(read10), 0xd9963a56],
    [new TextEncoder().encode('123456789'), 0xe3069283], // the usual check value
    [new Uint8Array(0), 0],
  ] as const) {
    t.equal(crc.crc32c(viewOf(bytes), 0, bytes.length), value);
  }
});

t.test(`like the plain one at every length and offset, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const bytes = Uint8Array.from({ length: 400 }, () => r.below(256));
  const v = viewOf(bytes);
  const wrong: number[][] = [];
  for (let at = 0; at < 9; at++) {
    for (let end = at; end <= at + 300; end++) {
      const middle = at + r.below(end - at + 1);
      const whole = crc.crc32c(v, at, end);
      const parts = crc.finish(crc.update(crc.update(crc.START, v, at, middle), v, middle, end));
      if (whole !== plain(bytes.subarray(at, end)) || parts !== whole) wrong.push([at, middle, end]);
    }
  }
  t.same(wrong, []);
});

t.test('skipped bytes count as zeros', async (t) => {
  const v = viewOf(fromHex('010203 00000000 04'));
  const skipped = crc.skip(crc.update(crc.START, v, 0, 3), 4);
  t.equal(crc.finish(crc.update(skipped, v, 7, 8)), crc.crc32c(v, 0, 8));
});
