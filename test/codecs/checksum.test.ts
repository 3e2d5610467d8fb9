import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import * as checksum from '../../codecs/checksum.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

/** RFC 1071 section 1, to the letter. */
function plainSum(bytes: Uint8Array): number {
  let s = 0;
  for (let i = 0; i < bytes.length; i += 2) s += bytes[i] * 256 + (bytes[i + 1] ?? 0);
  while (s > 0xffff) s = (s % 0x10000) + Math.floor(s / 0x10000);
  return s;
}

function randomBytes(r: Random, n: number): Uint8Array {
  const dense = r.chance(0.3); // many bytes of 0xff make the most carries
  return Uint8Array.from({ length: n }, () => (dense && r.chance(0.9) ? 0xff : r.below(256)));
}

t.test('the example of RFC 1071 section 3', async (t) => {
  const v = viewOf(fromHex('0001 f203 f4f5 f6f7'));
  t.equal(checksum.sum(v, 0, 8), 0xddf2);
  t.equal(checksum.finish(0xddf2), 0x220d);
});

t.test(`the sum equals a plain one at every length and offset, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  let wrong = 0;
  for (let n = 0; n < 200; n++) {
    for (let at = 0; at < 8; at++) {
      const slot = randomBytes(r, at + n + r.below(4));
      const v = viewOf(slot); // reading behind its end would throw
      if (checksum.sum(v, at, at + n) !== plainSum(slot.subarray(at, at + n))) wrong++;
    }
  }
  for (const n of [1399, 1400, 1500, 9000, 65535, 65536, 1 << 20]) {
    const bytes = randomBytes(r, n);
    if (checksum.sum(viewOf(bytes), 0, n) !== plainSum(bytes)) wrong++;
    const ones = new Uint8Array(n).fill(0xff);
    if (checksum.sum(viewOf(ones), 0, n) !== plainSum(ones)) wrong++;
  }
  t.equal(wrong, 0);
  t.equal(checksum.sum(viewOf(new Uint8Array(1500)), 0, 1500), 0, 'only zeros sum to 0');
});

t.test(`what is copied within packets' memory is added up on the way, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const SPACE = 8192;
  const memory = checksum.packetMemory(2 * SPACE);
  const bytes = new Uint8Array(memory);
  const from = new DataView(memory, 0, SPACE);
  const to = new DataView(memory, SPACE, SPACE);
  let wrong = 0;
  for (let i = 0; i < 3000; i++) {
    const n = 128 + (i < 300 ? i : r.below(3000));
    const at = r.below(100);
    const target = 1 + r.below(100);
    bytes.set(randomBytes(r, n), at);
    bytes.fill(0xa5, SPACE);
    const expected = plainSum(bytes.subarray(at, at + n));
    if (checksum.sum(from, at, at + n) !== expected) wrong++;
    if (checksum.copySum(from, at, at + n, to, target) !== expected) wrong++;
    const copied = bytes.subarray(SPACE + target, SPACE + target + n);
    if (Buffer.compare(copied, bytes.subarray(at, at + n)) !== 0) wrong++;
    if (to.getUint8(target - 1) !== 0xa5 || to.getUint8(target + n) !== 0xa5) wrong++;
  }
  t.equal(wrong, 0);
  const elsewhere = new DataView(new ArrayBuffer(SPACE));
  bytes.fill(0xa5, SPACE);
  t.equal(checksum.copySum(elsewhere, 0, 1400, to, 0), -1, 'from elsewhere nothing is copied');
  t.equal(checksum.copySum(from, 0, 1400, elsewhere, 0), -1);
  t.equal(checksum.copySum(from, 0, 127, to, 0), -1, 'nor is little');
  t.ok(bytes.subarray(SPACE).every((byte) => byte === 0xa5));
});

t.test(`sums add up where the first ends on an even byte, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  let wrong = 0;
  for (let i = 0; i < 1000; i++) {
    const bytes = randomBytes(r, 2 + r.below(100));
    const v = viewOf(bytes);
    const cut = 2 * r.below(bytes.length / 2);
    const parts = checksum.add(checksum.sum(v, 0, cut), checksum.sum(v, cut, bytes.length));
    if (parts !== plainSum(bytes)) wrong++;
  }
  t.equal(wrong, 0);
  t.equal(checksum.add(0xffff, 0xffff), 0xffff);
  t.equal(checksum.add(0xffff, 1), 1);
});

t.test('words added up plainly are folded', async (t) => {
  for (const n of [0, 1, 0xffff, 0x10000, 0x1ffff, 0x12345678, 0x7fff8000, 0x7fffffff]) {
    t.equal(checksum.fold(n), n === 0 ? 0 : n % 0xffff || 0xffff, `${n}`);
  }
});

t.test('a computed 0 where 0 means none', async (t) => {
  t.equal(checksum.finish(0xffff), 0);
  t.equal(checksum.finishNonZero(0xffff), 0xffff);
  t.equal(checksum.finishNonZero(0), 0xffff);
  t.equal(checksum.finishNonZero(0x1234), 0xedcb);
});

t.test(`incremental update, seed ${seed}`, async (t) => {
  t.equal(checksum.update(0xdd2f, 0x5555, 0x3285), 0x0000, 'RFC 1624 section 4, where RFC 1141 fails');
  const r = new Random(seed);
  let wrong = 0;
  for (let i = 0; i < 5000; i++) {
    const bytes = randomBytes(r, 20 + 2 * r.below(20));
    const v = viewOf(bytes);
    const whole = () => checksum.finish(checksum.sum(v, 0, bytes.length));
    const at = 4 * r.below(4);
    const before = whole();
    const long = r.chance(0.5);
    const [was, is] = [v.getUint32(at), r.chance(0.1) ? 0xffffffff : r.int32() >>> 0];
    if (long) v.setUint32(at, is);
    else v.setUint16(at, is >>> 16);
    const after = long ? checksum.update32(before, was, is) : checksum.update(before, was >>> 16, is >>> 16);
    if (after !== whole()) wrong++;
  }
  t.equal(wrong, 0);
});

t.test('pseudo headers', async (t) => {
  const v = viewOf(new Uint8Array(40));
  ipv4.write(v, 0, 0, 28, 0, 0, 64, 17, 0xc0000201, 0xc6336407);
  t.equal(checksum.pseudo4(v, 0, 17, 8), plainSum(fromHex('c0000201 c6336407 0011 0008')));
  t.equal(checksum.pseudo4(v, 0, 255, 65515), plainSum(fromHex('c0000201 c6336407 00ff ffeb')));

  const [src, dst] = ['fd000001000200030004000500060007', 'fe80000000000000ffffffffffffffff'];
  ipv6.write(
    v,
    0,
    0,
    0,
    8,
    17,
    64,
    [0xfd000001, 0x00020003, 0x00040005, 0x00060007],
    [0xfe800000, 0, 0xffffffff, 0xffffffff],
  );
  t.equal(checksum.pseudo6(v, 0, 17, 8), plainSum(fromHex(`${src}${dst} 00000008 00000011`)));
  t.equal(checksum.pseudo6(v, 0, 58, 0x12345), plainSum(fromHex(`${src}${dst} 00012345 0000003a`)));
});
