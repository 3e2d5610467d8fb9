import t from 'tap';
import { HEADROOM } from '../../../lib/core/packet.ts';
import { DebugPool, Pool } from '../../../lib/core/pool.ts';

t.test('a pool gives what it has and no more', async (t) => {
  const pool = new Pool({ count: 2 });
  const a = pool.take()!;
  const b = pool.take()!;
  t.not(a, b);
  t.equal(pool.take(), null);
  t.equal(pool.dry, 1);
  a.start = 3;
  a.vni = 7;
  pool.give(a);
  const again = pool.take()!;
  t.equal(again, a, 'the freshest slot is the warmest');
  t.equal(again.start, HEADROOM);
  t.equal(again.vni, -1, 'nothing is left of its former life');
  t.equal(pool.used, 2);
});

t.test('a clone has the bytes and the notes, at every length and offset', async (t) => {
  for (const [own, other] of [
    [true, 'the same pool'],
    [false, 'another pool'],
  ] as const) {
    const pool = new DebugPool({ count: 4 });
    const target = own ? pool : new DebugPool({ count: 4 }, 0x11);
    for (const start of [64, 65, 66, 67, 68, 69, 70, 71, HEADROOM]) {
      for (const length of [0, 1, 7, 8, 9, 63, 64, 512, 513, 1500]) {
        const p = pool.take()!;
        p.start = start;
        p.end = start + length;
        p.vni = 42;
        p.csumStart = 99;
        for (let i = 0; i < length; i++) p.bytes[start + i] = (i * 31 + length) & 0xff;
        const c = target.clone(p)!;
        t.equal(Buffer.compare(c.frame(), p.frame()), 0, `${length} bytes at ${start}, ${other}`);
        t.equal(c.vni, 42);
        t.equal(c.csumStart, 99);
        pool.give(p);
        target.give(c);
      }
    }
    t.equal(pool.used + target.used, 0);
  }
});

t.test('a clone has bits that are no number, too', async (t) => {
  // Small frames are copied as floating-point words, which must leave signalling NaNs as they are.
  const pool = new DebugPool({ count: 2 });
  const p = pool.take()!.set(new Uint8Array(512));
  const words = [
    '010000000000f07f',
    '01000000000000f8',
    'fffffffffffff77f',
    'fffffffffffff7ff',
    'ffffffffffffffff',
  ];
  let wrong = 0;
  for (let i = 0; i < 20_000; i++) {
    const word = Buffer.from(words[i % words.length], 'hex');
    for (let at = p.start; at < p.end; at++) p.bytes[at] = word[at % 8];
    const c = pool.clone(p)!;
    if (Buffer.compare(c.frame(), p.frame()) !== 0) wrong++;
    pool.give(c);
  }
  t.equal(wrong, 0);
  pool.give(p);
  t.equal(pool.used, 0);
});

t.test('bytes are copied from packet to packet, in one memory and in two', async (t) => {
  const memory = new ArrayBuffer(4 * 2048 + 2 * 4096);
  const pool = new DebugPool({ count: 4, memory });
  const others = [
    new DebugPool({ count: 2, slot: 4096, memory, at: 4 * 2048 }),
    new DebugPool({ slot: 4096 }),
  ];
  for (const other of others) {
    for (const [from, to] of [
      [pool, pool],
      [pool, other],
      [other, pool],
    ]) {
      const p = from.take()!;
      const q = to.take()!;
      for (const length of [0, 1, 3, 4, 5, 63, 64, 65, 66, 500, 1500]) {
        for (const shift of [-3, 0, 1, 8]) {
          for (let i = 0; i < length; i++) p.bytes[HEADROOM + i] = (i * 31 + length + shift) & 0xff;
          q.bytes.fill(7);
          to.copy(p, HEADROOM, HEADROOM + length, q, HEADROOM + shift);
          const wanted = new Uint8Array(q.bytes.length).fill(7);
          wanted.set(p.bytes.subarray(HEADROOM, HEADROOM + length), HEADROOM + shift);
          if (Buffer.compare(q.bytes, wanted) !== 0) t.fail(`${length} bytes, shifted by ${shift}`);
        }
      }
      from.give(p);
      to.give(q);
    }
    t.same([pool.leaked, other.leaked], [[], []]);
  }
});

t.test('pools that share a memory share no slot', async (t) => {
  const memory = new ArrayBuffer(2 * 512 + 2 * 1024);
  const one = new DebugPool({ count: 2, slot: 512, memory }, 0x11);
  const two = new DebugPool({ count: 2, slot: 1024, memory, at: 1024 }, 0x22);
  t.ok(new Uint8Array(memory).every((byte, i) => byte === (i < 1024 ? 0x11 : 0x22)));
  t.same([one.at(1).base, two.at(0).base, two.at(1).base], [512, 1024, 2048]);
  t.throws(() => new Pool({ count: 2, slot: 1024, memory, at: 1032 }), {
    message: /"memory" expected at least 3080 bytes, got 3072/,
  });
  t.throws(() => new Pool({ at: 4 }), { message: /"at" expected a multiple of 8, got 4/ });
  t.throws(() => new Pool({ at: -8 }), { message: /"at" expected an integer of at least 0, got -8/ });
});

t.test('a clone that does not fit is refused', async (t) => {
  const big = new Pool({ count: 1, slot: 4096 });
  const small = new Pool({ count: 1 });
  const p = big.take()!;
  p.end = 3000;
  t.equal(small.clone(p), null);
  t.equal(small.used, 0);
});

t.test('memory can be shared and is checked', async (t) => {
  const memory = new SharedArrayBuffer(8 * 2048);
  const pool = new Pool({ count: 8, memory });
  const p = pool.take()!;
  p.view.setUint8(5, 77);
  t.equal(new Uint8Array(memory)[p.slot * pool.slot + 5], 77);
  t.throws(() => new Pool({ count: 9, memory }), {
    message: /"memory" expected at least 18432 bytes, got 16384/,
  });
  t.throws(() => new Pool({ count: 0 }), { message: /"count" expected an integer of at least 1, got 0/ });
  t.throws(() => new Pool({ slot: 1001 }), { message: /"slot" expected a multiple of 8, got 1001/ });
});

t.test('the debug pool finds mistakes', async (t) => {
  const pool = new DebugPool({ count: 2 });
  const p = pool.take()!;
  p.set(new Uint8Array([1, 2, 3]));
  t.same(pool.leaked, [p.slot]);
  pool.give(p);
  t.throws(() => pool.give(p), { message: /given back twice/ });
  t.equal(p.bytes[HEADROOM], 0xdb, 'poisoned');
  const foreign = new DebugPool({ count: 1 }).take()!;
  t.throws(() => pool.give(foreign), { message: /not its own/ });
  const q = pool.take()!;
  q.start = -1;
  t.throws(() => pool.give(q), { message: /frame at -1/ });
});
