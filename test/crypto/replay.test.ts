import t from 'tap';
import { DEFAULT_WINDOW, ReplayWindow } from '../../crypto/replay.ts';
import { OK, REPLAYED, type Result, TOO_OLD } from '../../crypto/result.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

const HALF = 2n ** 32n;

/** The plain twin: RFC 4303 appendix A2 in BigInt, and a set of all that was seen. */
class Twin {
  top = 0n;
  readonly seen = new Set<bigint>([0n]);
  readonly w: bigint;
  readonly esn: boolean;

  constructor(size: number, esn: boolean) {
    this.w = BigInt(size);
    this.esn = esn;
  }

  /** A2.3, without the parts that verify; null where there is no such high half. */
  infer(lo: bigint): bigint | null {
    const th = this.top / HALF;
    const tl = this.top % HALF;
    if (!this.esn) return lo;
    let hi: bigint;
    if (tl >= this.w - 1n) hi = lo >= tl - this.w + 1n ? th : th + 1n;
    else hi = lo >= tl - this.w + 1n + HALF ? th - 1n : th;
    return hi < 0n || hi >= HALF ? null : hi * HALF + lo;
  }

  judge(number: bigint): Result {
    if (number <= this.top - this.w) return TOO_OLD;
    return this.seen.has(number) ? REPLAYED : OK;
  }

  mark(number: bigint): Result {
    const result = this.judge(number);
    if (result === OK) this.seen.add(number);
    if (result === OK && number > this.top) this.top = number;
    return result;
  }
}

/** Puts a window and its twin at a top. */
function startAt(size: number, esn: boolean, top: bigint): [ReplayWindow, Twin] {
  const window = new ReplayWindow(size, esn);
  const twin = new Twin(size, esn);
  if (top > 0n) {
    window.mark(Number(top / HALF), Number(top % HALF));
    twin.mark(top);
  }
  return [window, twin];
}

/** One number through both; what differs, or null. */
function step(window: ReplayWindow, twin: Twin, lo: number, verified: boolean): string | null {
  const number = twin.infer(BigInt(lo));
  const wanted = number === null ? TOO_OLD : twin.judge(number);
  const before = `${window.topHi}:${window.topLo}`;
  const got = window.check(lo);
  if (got !== wanted) return `${lo} at ${before}: ${got}, not ${wanted}`;
  if (`${window.topHi}:${window.topLo}` !== before) return `check moved the window from ${before}`;
  if (got !== OK) return null;
  if (BigInt(window.hi) !== number! / HALF) return `${lo} at ${before}: high half ${window.hi}`;
  if (!verified) return null;
  if (window.mark(window.hi, lo) !== twin.mark(number!)) return `${lo} at ${before}: not marked alike`;
  const top = BigInt(window.topHi) * HALF + BigInt(window.topLo);
  return top === twin.top ? null : `${lo} moved the top from ${before} to ${top}, not ${twin.top}`;
}

t.comment(`seed ${seed}`);

t.test('random walks beside a plain twin, near multiples of 2^32', async (t) => {
  const r = new Random(seed);
  const faults: string[] = [];
  for (const esn of [true, false]) {
    for (const size of [64, 65, 95, 96, 97, 127, 128, 1000, 1024, DEFAULT_WINDOW, 16383, 16384]) {
      const w = BigInt(size);
      const tops = [0n, 1n, w - 2n, w - 1n, w, HALF - w, HALF - 5n];
      if (esn) tops.push(HALF + w - 2n, HALF, 2n * HALF - 3n, 2n ** 63n - 9n, 2n ** 64n - 2n * w);
      for (const top of tops) {
        const [window, twin] = startAt(size, esn, top);
        for (let i = 0; i < 400; i++) {
          const jump = walk(r, size);
          const lo = Number(BigInt.asUintN(32, twin.top + BigInt(jump)));
          const fault = step(window, twin, lo, r.chance(0.8));
          if (fault !== null && faults.length < 5) faults.push(`size ${size} esn ${esn}: ${fault}`);
        }
      }
    }
  }
  t.same(faults, []);
});

/** A step from the top: mostly near it, sometimes to an edge of the window, seldom far away. */
function walk(r: Random, size: number): number {
  const kind = r.below(20);
  if (kind < 8) return 1 + r.below(3);
  if (kind < 13) return -r.below(size);
  if (kind < 15) return -size + r.below(5) - 2;
  if (kind < 17) return r.below(3 * size);
  if (kind < 18) return 32 * r.below(1024);
  if (kind < 19) return -r.below(4 * size);
  return r.int32();
}

t.test('the table of A2: Tl at W-2, W-1, W, both ways over 2^32', async (t) => {
  const W = 64;
  const infer = (hi: number, tl: number, lo: number): number | string => {
    const window = new ReplayWindow(W);
    window.mark(hi, tl);
    return window.check(lo) === OK ? window.hi : 'refused';
  };
  t.equal(infer(5, W - 2, 0xffffffff), 4, 'case B: the window reaches one number back over 2^32');
  t.equal(infer(5, W - 2, 0xfffffffe), 5, 'case B: one further is ahead, in the same half');
  t.equal(infer(5, W - 2, 0), 5);
  t.equal(infer(5, W - 1, 0xffffffff), 5, 'case A: the window ends at 0');
  t.equal(infer(5, W - 1, 0), 5);
  t.equal(infer(5, W, 0), 6, 'case A: 0 is below the window, so of the next half');
  t.equal(infer(5, W, 1), 5);
  t.equal(infer(5, 0, 0xffffffff - W + 2), 4);
  t.equal(infer(5, 0, 0xffffffff - W + 1), 5);
  t.equal(infer(5, 0xffffffff, 0), 6, 'over 2^32: a low half of 0 is legal');
  t.equal(infer(0xffffffff, 0xffffffff, 0), 'refused', 'over 2^64');
  t.equal(infer(0, 3, 0xffffffff), 'refused', 'before the first');
});

t.test('the window is exact', async (t) => {
  const window = new ReplayWindow(992, false);
  window.mark(0, 2000);
  t.equal(window.check(1008), TOO_OLD, '2000 - 992');
  t.equal(window.check(1009), OK);
  t.equal(window.check(2000), REPLAYED);
  t.equal(window.check(0), TOO_OLD);

  const high = new ReplayWindow(992, false);
  high.mark(0, 0xffffffff);
  t.equal(high.check(0xfffffff0), OK, 'good numbers next to 2^32');
  t.equal(high.check(0xffffffff), REPLAYED);
  t.equal(high.check(0), TOO_OLD, 'no number cycles');
  t.equal(high.check(1), TOO_OLD);
});

t.test('zero is judged in 64 bits', async (t) => {
  for (const esn of [true, false]) t.equal(new ReplayWindow(64, esn).check(0), REPLAYED, 'never sent');
  const window = new ReplayWindow(64);
  window.mark(0, 0xffffffff);
  t.equal(window.check(0), OK);
  t.equal(window.hi, 1);
  t.equal(window.mark(1, 0), OK);
  t.equal(window.check(0), REPLAYED);
});

t.test('what was not verified moves nothing', async (t) => {
  const window = new ReplayWindow(64);
  for (let i = 1; i <= 100; i++) window.mark(0, i);
  for (const lo of [5000, 0x80000000, 0xffffffff]) t.equal(window.check(lo), OK);
  t.equal(window.topLo, 100);
  t.equal(window.check(101), OK);
  t.equal(window.check(100), REPLAYED);
  t.equal(window.check(36), OK, 'taken for one of the next high half, which the ICV refuses');
  t.equal(window.hi, 1);
});

t.test('a batch is checked first and marked later', async (t) => {
  const window = new ReplayWindow(64);
  t.equal(window.check(7), OK);
  t.equal(window.check(7), OK);
  t.equal(window.mark(0, 7), OK);
  t.equal(window.mark(0, 7), REPLAYED, 'of one number twice the first passes');
  t.equal(window.check(200), OK);
  t.equal(window.check(81), OK);
  t.equal(window.mark(0, 200), OK);
  t.equal(window.mark(0, 81), TOO_OLD, 'the first moved the window past the second');
});

t.test('sizes', async (t) => {
  for (const size of [0, 63, 16385, 64.5, Number.NaN]) {
    t.throws(() => new ReplayWindow(size), {
      name: 'RangeError',
      message: `"window" expected an integer 64..16384, got ${size}`,
    });
  }
  t.equal(new ReplayWindow().size, 2048);
});
