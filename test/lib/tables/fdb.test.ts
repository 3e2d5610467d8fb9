import t, { type Test } from 'tap';
import { NONE, REMOTE, remote } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import {
  ALL,
  DOMAINS,
  Fdb,
  type FdbEntry,
  FROZEN,
  KNOWN,
  LEARNED,
  MOVED,
  PLACES,
  REFUSED,
  STATIC,
} from '../../../lib/tables/fdb.ts';
import { seed } from '../../gen/seed.ts';

const S = 1000;

/** The same table with nothing clever in it. */
class Twin {
  readonly rows = new Map<string, Row>();
  readonly #capacity: number;
  readonly limits = { domain: new Map<number, number>(), place: new Map<number, number>() };

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  count(match: (row: Row) => boolean): number {
    return [...this.rows.values()].filter(match).length;
  }

  lookup(domain: number, hi: number, lo: number): number {
    return this.rows.get(key(domain, hi, lo))?.place ?? NONE;
  }

  #admits(place: number): boolean {
    const most =
      this.limits.place.get(place) ?? Math.max(16, Math.floor(this.#capacity / (place < REMOTE ? 8 : 2)));
    return this.count((row) => row.place === place) < most;
  }

  learn(domain: number, hi: number, lo: number, place: number, now: number): number {
    const second = Math.ceil(now / S);
    const row = this.rows.get(key(domain, hi, lo));
    if (row === undefined) {
      const most = this.limits.domain.get(domain) ?? Number.POSITIVE_INFINITY;
      if (this.rows.size === this.#capacity || this.count((r) => r.domain === domain) >= most) return REFUSED;
      if (!this.#admits(place)) return REFUSED;
      const fresh = { domain, hi, lo, place, static: false, seen: second, moves: 0, since: 0 };
      this.rows.set(key(domain, hi, lo), fresh);
      return LEARNED;
    }
    if (row.place === place) {
      row.seen = second;
      return KNOWN;
    }
    if (row.static) return STATIC;
    if (second - row.since >= 180) row.moves = 0;
    if (row.moves === 6) return FROZEN;
    if (row.moves < 5 && !this.#admits(place)) return REFUSED;
    row.moves++;
    if (row.moves === 1 || row.moves === 6) row.since = second;
    row.seen = second;
    if (row.moves === 6) return FROZEN;
    row.place = place;
    return MOVED;
  }

  set(domain: number, hi: number, lo: number, place: number): boolean {
    const old = this.rows.get(key(domain, hi, lo));
    if (old === undefined && this.rows.size === this.#capacity) return false;
    const seen = old?.seen ?? 0;
    this.rows.set(key(domain, hi, lo), { domain, hi, lo, place, static: true, seen, moves: 0, since: 0 });
    return true;
  }

  remove(match: (row: Row) => boolean): number {
    const gone = [...this.rows].filter(([, row]) => match(row));
    for (const [k] of gone) this.rows.delete(k);
    return gone.length;
  }

  age(now: number, ageing: number): number {
    return this.remove((row) => !row.static && Math.floor(now / S) - row.seen >= ageing / S);
  }
}

interface Row {
  domain: number;
  hi: number;
  lo: number;
  place: number;
  static: boolean;
  /** Seconds. */
  seen: number;
  moves: number;
  since: number;
}

function key(domain: number, hi: number, lo: number): string {
  return `${domain} ${hi} ${lo >>> 0}`;
}

function sorted(rows: Iterable<Row | FdbEntry>): string[] {
  return [...rows].map((r) => `${key(r.domain, r.hi, r.lo)} ${r.place} ${r.static}`).sort();
}

t.test(`100,000 random operations do what they do to a Map, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const capacity = 48;
  const fdb = new Fdb({ capacity, seed, ageing: 60 * S });
  const twin = new Twin(capacity);
  const places = [0, 1, 2, 65535, REMOTE, remote(65535)];
  let now = 0;
  const operation = (): [unknown, unknown, string] => {
    const domain = [0, 1, 65535][r.below(3)];
    const hi = r.chance(0.5) ? 0 : 0xfeff;
    const lo = r.chance(0.9) ? r.below(14) : 0xffffffff - r.below(3);
    const place = places[r.below(places.length)];
    const what = r.below(1000);
    if (what < 600) {
      return [fdb.learn(domain, hi, lo, place, now), twin.learn(domain, hi, lo, place, now), 'learn'];
    }
    if (what < 800) return [fdb.lookup(domain, hi, lo | 0), twin.lookup(domain, hi, lo), 'lookup'];
    if (what < 900) {
      const k = key(domain, hi, lo);
      return [fdb.remove(domain, hi, lo), twin.rows.delete(k), 'remove'];
    }
    if (what < 930) {
      const room = twin.set(domain, hi, lo, place);
      let did = true;
      try {
        fdb.set(domain, hi, lo, place);
      } catch {
        did = false;
      }
      return [did, room, 'set'];
    }
    if (what < 990) {
      now += r.below(4000);
      return [fdb.age(now, 1e9), twin.age(now, 60 * S), 'age'];
    }
    if (what < 994) {
      const statics = r.chance(0.5);
      const match = (row: Row) => row.domain === domain && (statics || !row.static);
      return [fdb.flush(domain, statics), twin.remove(match), 'flush'];
    }
    if (what < 998) {
      const match = (row: Row) => row.place === place && !row.static;
      return [fdb.flushPlace(place), twin.remove(match), 'flush a place'];
    }
    const max = r.chance(0.3) ? Number.POSITIVE_INFINITY : r.below(20);
    if (r.chance(0.5)) {
      fdb.limitDomain(domain, max);
      twin.limits.domain.set(domain, max);
    } else {
      fdb.limitPlace(place, max);
      twin.limits.place.set(place, max);
    }
    return [fdb.countPlace(place), twin.count((row) => row.place === place), 'limit'];
  };

  const seen = new Map<string, number>();
  for (let i = 0; i < 100_000; i++) {
    const [got, wanted, name] = operation();
    seen.set(`${name} ${got}`, (seen.get(`${name} ${got}`) ?? 0) + 1);
    if (got === wanted && fdb.size === twin.rows.size) continue;
    t.equal(got, wanted, `${name}, operation ${i} (seed ${seed})`);
    return;
  }
  t.same(sorted(fdb.entries()), sorted(twin.rows.values()));
  for (const domain of [0, 1, 65535]) {
    t.equal(
      fdb.countDomain(domain),
      twin.count((row) => row.domain === domain),
    );
  }
  const results = [KNOWN, LEARNED, MOVED, FROZEN, REFUSED, STATIC];
  t.same(
    results.filter((result) => !seen.has(`learn ${result}`)),
    [],
    'everything that can happen did',
  );
});

t.test('what is in the table is found, whatever was deleted beside it', async (t) => {
  const r = new Random(seed);
  const fdb = new Fdb({ capacity: 300_000, seed });
  fdb.limitPlace(1, Number.POSITIVE_INFINITY);
  const los = Int32Array.from({ length: 300_000 }, () => r.int32());
  for (const lo of los) fdb.learn(7, 0x0242, lo, 1, 0);
  t.equal(fdb.size, new Set(los).size);
  const kept = new Set(los);
  for (let i = 0; i < los.length; i += 2) {
    fdb.remove(7, 0x0242, los[i]);
    kept.delete(los[i]);
  }
  t.equal(fdb.size, kept.size);
  let wrong = 0;
  for (const lo of los) if ((fdb.lookup(7, 0x0242, lo) === 1) !== kept.has(lo)) wrong++;
  t.equal(wrong, 0, `seed ${seed}`);
});

t.test('a learned address ages out, a seen one does not, a static one never', async (t) => {
  const fdb = new Fdb({ capacity: 100, seed: 1 });
  t.equal(fdb.ageing, 300_000, 'the default');
  fdb.learn(0, 1, 1, 5, 400);
  fdb.learn(0, 1, 2, 5, 400);
  fdb.set(0, 1, 3, 5);
  t.equal(fdb.learn(0, 1, 2, 5, 200_000), KNOWN);
  t.equal(fdb.age(300_400, 1e9), 0, 'never early');
  t.equal(fdb.age(301_000, 1e9), 1);
  t.equal(fdb.lookup(0, 1, 1), NONE);
  t.equal(fdb.lookup(0, 1, 2), 5);
  t.equal(fdb.age(1e9, 1e9), 1);
  t.equal(fdb.lookup(0, 1, 3), 5);
  t.equal(fdb.size, 1);
});

t.test('ageing can be set between 10 s and 1,000,000 s, and changed', async (t) => {
  const fdb = new Fdb({ capacity: 100, seed: 1, ageing: 1_000_000 * S });
  fdb.learn(0, 1, 1, 5, 0);
  t.equal(fdb.age(999_999 * S, 1e9), 0);
  fdb.ageing = 10 * S;
  t.equal(fdb.age(9 * S, 1e9), 0);
  t.equal(fdb.age(10 * S, 1e9), 1);
  for (const ageing of [9999, 1_000_000_001, Number.NaN]) {
    t.throws(() => new Fdb({ capacity: 1, seed: 1, ageing }), { message: /"ageing" expected/ }, `${ageing}`);
  }
});

t.test('ageing goes round in bounded steps', async (t) => {
  const fdb = new Fdb({ capacity: 1000, seed });
  for (let lo = 0; lo < 500; lo++) fdb.learn(0, 1, lo, lo % 10, 0);
  let steps = 0;
  let most = 0;
  for (; fdb.size > 0 && steps < 1000; steps++) most = Math.max(most, fdb.age(1000 * S, 16));
  t.equal(fdb.size, 0);
  t.ok(most <= 16, 'a step looks at its budget of slots');
  t.ok(steps > 100 && steps <= 288, `4096 slots and 500 deletions, 16 at a time: ${steps} steps`);
});

t.test('a static entry beats a learned one', async (t) => {
  const fdb = new Fdb({ capacity: 100, seed: 1 });
  fdb.learn(0, 1, 1, 5, 0);
  t.notOk(fdb.isStatic(0, 1, 1));
  fdb.set(0, 1, 1, 6);
  t.ok(fdb.isStatic(0, 1, 1));
  t.equal(fdb.countPlace(5), 0);
  t.equal(fdb.learn(0, 1, 1, 5, 0), STATIC, 'it is not where it is said to be');
  t.equal(fdb.learn(0, 1, 1, 6, 0), KNOWN, 'it is');
  t.equal(fdb.lookup(0, 1, 1), 6);
  t.equal(fdb.flush(0), 0, 'flushing forgets what was learned');
  t.equal(fdb.flushPlace(6, ALL, true), 1, 'unless it is told to forget everything');
  t.equal(fdb.learn(0, 1, 1, 5, 0), LEARNED);
});

t.test('equal addresses in two domains never meet', async (t) => {
  const fdb = new Fdb({ capacity: 100, seed: 1 });
  fdb.learn(0, 0xfffe, 0xffffffff, 5, 0);
  t.equal(fdb.lookup(1, 0xfffe, 0xffffffff), NONE);
  fdb.learn(65535, 0xfffe, 0xffffffff, 6, 0);
  t.equal(fdb.lookup(0, 0xfffe, 0xffffffff), 5);
  t.equal(fdb.lookup(65535, 0xfffe, -1), 6, 'signed or not');
  fdb.learn(0, 0, 0, remote(7), 0);
  t.equal(fdb.lookup(0, 0, 0), remote(7), 'the address of zeros is one like others');
  fdb.remove(0, 0, 0);
  t.equal(fdb.lookup(0, 0, 0), NONE);
  t.equal(fdb.flush(0), 1);
  t.equal(fdb.lookup(65535, 0xfffe, -1), 6);
});

t.test('an address that moves is held after the fifth move within 180 s', async (t) => {
  const fdb = new Fdb({ capacity: 100, seed: 1 });
  const results = (from: number, n: number, step: number) =>
    Array.from({ length: n }, (_, i) => fdb.learn(0, 1, 1, i % 2 === 0 ? 5 : 6, from + i * step));
  t.same(results(0, 7, S), [LEARNED, MOVED, MOVED, MOVED, MOVED, MOVED, FROZEN]);
  t.equal(fdb.lookup(0, 1, 1), 6, 'it is where the fifth move took it');
  t.equal(fdb.learn(0, 1, 1, 6, 100 * S), KNOWN);
  t.equal(fdb.learn(0, 1, 1, 5, 185 * S), FROZEN, 'frozen at 6 s');
  t.equal([...fdb.entries()][0].frozen, true);
  t.same(results(186 * S, 6, 0), [MOVED, MOVED, MOVED, MOVED, MOVED, FROZEN], 'and counts anew');
  t.same(fdb.countPlace(5) + fdb.countPlace(6), 1);

  t.test('five moves in each 180 s are none too many', async (t) => {
    const fdb = new Fdb({ capacity: 100, seed: 1, ageing: 1e9 });
    const seen = new Set<number>();
    for (let i = 0; i < 10_000; i++) seen.add(fdb.learn(0, 1, 1, 5 + (i % 2), i * 36 * S));
    t.same(seen, new Set([LEARNED, MOVED]));
  });

  t.test('what happened long ago does not count, however long ago', async (t) => {
    for (const pause of [180, 1024, 1025, 1100, 2048 + 90, 1024 * 1024 + 5]) {
      const fdb = new Fdb({ capacity: 100, seed: 1, ageing: 1e9 });
      for (let i = 0; i < 6; i++) fdb.learn(0, 1, 1, i % 2, 0);
      t.equal(fdb.learn(0, 1, 1, 0, pause * S), MOVED, `${pause} s of silence`);
      t.equal(fdb.learn(0, 1, 1, 1, pause * S), MOVED, 'and that was the first');
      for (let i = 0; i < 3; i++) fdb.learn(0, 1, 1, i % 2, pause * S);
      for (let s = 1; s <= pause; s += 90) fdb.learn(0, 1, 1, 0, (pause + s) * S);
      t.equal(fdb.learn(0, 1, 1, 1, 2 * pause * S + 180 * S), MOVED, `${pause} s of being seen in one place`);
    }
  });
});

t.test('a flood of made-up addresses costs its own port only', async (t) => {
  const r = new Random(seed);
  const fdb = new Fdb({ capacity: 4096, seed });
  for (let place = 0; place < 100; place++) fdb.learn(place % 3, 0x0242, place, place, 0);
  const before = sorted(fdb.entries());
  const results = { [LEARNED]: 0, [REFUSED]: 0 };
  const attack = (place: number) => {
    for (let i = 0; i < 100_000; i++) results[fdb.learn(0, 0x0600, r.int32(), place, S) as 1 | 4]++;
  };
  attack(666);
  t.equal(fdb.countPlace(666), 512, 'an eighth of the table');
  t.ok(results[LEARNED] >= 512 && results[REFUSED] > 99_000);
  t.equal(fdb.learn(0, 0x0242, 5, 666, S), REFUSED, 'nor can it draw addresses of others to itself');
  attack(remote(1));
  t.equal(fdb.countPlace(remote(1)), 2048, 'half of the table for a remote host');
  const kept = new Set(sorted(fdb.entries()));
  t.same(
    before.filter((entry) => !kept.has(entry)),
    [],
    'what others have stays',
  );
  t.equal(fdb.learn(2, 0x0242, 1000, 7, S), LEARNED, 'and others are still learned');
  t.equal(fdb.flushPlace(666), 512);
  t.equal(fdb.learn(0, 0x0600, 1, 666, S), LEARNED);
});

t.test('limits of domains and places', async (t) => {
  const fdb = new Fdb({ capacity: 100, seed: 1 });
  fdb.limitDomain(3, 2);
  fdb.limitPlace(9, 1);
  t.equal(fdb.learn(3, 1, 1, 1, 0), LEARNED);
  t.equal(fdb.learn(3, 1, 2, 1, 0), LEARNED);
  t.equal(fdb.learn(3, 1, 3, 1, 0), REFUSED);
  t.equal(fdb.learn(4, 1, 3, 9, 0), LEARNED, 'another domain');
  t.equal(fdb.learn(5, 1, 3, 9, 0), REFUSED, 'a place has one quota in all domains');
  fdb.set(3, 1, 4, 9);
  t.equal(fdb.countDomain(3), 3, 'static entries are not refused, but count');
  t.equal(fdb.countPlace(9), 2);
  fdb.limitPlace(9, 3);
  t.equal(fdb.learn(5, 1, 3, 9, 0), LEARNED);
  fdb.limitDomain(3, Number.POSITIVE_INFINITY);
  t.equal(fdb.learn(3, 1, 3, 1, 0), LEARNED);
  fdb.limitPlace(9, 0);
  t.equal(fdb.learn(6, 1, 3, 9, 0), REFUSED);
  t.throws(() => fdb.limitPlace(9, -1), { message: '"max" expected an integer of at least 0, got -1' });
  t.throws(() => fdb.limitDomain(DOMAINS, 1), {
    message: '"domain" expected an integer 0..65535, got 65536',
  });
});

t.test('a full table refuses, and says so to control', async (t) => {
  const fdb = new Fdb({ capacity: 3, seed: 1 });
  for (let lo = 0; lo < 3; lo++) t.equal(fdb.learn(0, 1, lo, lo, 0), LEARNED);
  t.equal(fdb.learn(0, 1, 3, 3, 0), REFUSED);
  t.throws(() => fdb.set(0, 1, 3, 3), { message: 'no room for a static entry: the table holds 3' });
  t.equal(fdb.learn(0, 1, 2, 3, 0), MOVED, 'what is known may move');
  fdb.set(0, 1, 1, 4);
  t.equal(fdb.lookup(0, 1, 1), 4, 'and be made static');
  t.ok(fdb.remove(0, 1, 0));
  t.notOk(fdb.remove(0, 1, 0));
  t.equal(fdb.learn(0, 1, 3, 3, 0), LEARNED);
});

t.test('numbers out of range', async (t) => {
  const fdb = new Fdb({ capacity: 3, seed: 1 });
  t.throws(() => fdb.set(-1, 1, 1, 1), { message: '"domain" expected an integer 0..65535, got -1' });
  t.throws(() => fdb.set(0, 1, 1, PLACES), { message: '"place" expected an integer 0..131071, got 131072' });
  t.equal(fdb.learn(0, 1, 1, NONE, 0), REFUSED, 'nobody is nowhere');
  t.equal(fdb.learn(0, 1, 1, PLACES, 0), REFUSED);
  t.equal(fdb.size, 0);
  t.throws(() => new Fdb({ capacity: 0, seed: 1 }), { message: /"capacity" expected an integer 1\.\./ });
  t.throws(() => new Fdb({ capacity: 1, seed: 0.5 }), { message: /"seed" expected an integer, got 0.5/ });
});

t.test('a million entries take at most 32 bytes each', async (t) => {
  const fdb = new Fdb({ capacity: 1_000_000, seed });
  t.ok(fdb.bytes <= 32_000_000, `${fdb.bytes} bytes`);
});

// With random keys the longest chain of a full table of this size is 55 to 105 slots.
t.test('made-up addresses cannot be steered into one chain', async (t) => {
  const capacity = 180_000;
  const sets: Record<string, (i: number) => [hi: number, lo: number]> = {
    counting: (i) => [0x0242, i],
    'only the high bits': (i) => [(i >> 16) << 8, i << 16],
    'the vendor first': (i) => [i & 0xffff, i >> 16],
    'in steps': (i) => [0x0242, Math.imul(i, 0x10001)],
    'pairs that differ in two high bits': (i) => [0x0242, (i >> 1) ^ (i & 1 ? 0x80008000 : 0)],
    'multiples of a well-known multiplier': (i) => [0x0242, Math.imul(i, 0x9e3779b1)],
    'multiples of its inverse': (i) => [0x0242, Math.imul(i, 0x144cbc89)],
  };
  for (const [name, make] of Object.entries(sets)) {
    const longest = chain(t, capacity, capacity, seed, make);
    t.ok(longest < 250, `${name}: ${longest} slots (seed ${seed})`);
  }

  t.test('a set that was made for one seed is harmless under another', async (t) => {
    // Whoever knew the seed could take the addresses that land in the first 64th of the table.
    const los = steered(0x5eed, capacity, 4096);
    const known = chain(t, capacity, los.length, 0x5eed, (i) => [0x0242, los[i]]);
    const secret = chain(t, capacity, los.length, seed, (i) => [0x0242, los[i]]);
    t.ok(known > 2000, `with the seed: ${known}`);
    t.ok(secret < 30, `without: ${secret} (seed ${seed})`);
  });
});

function chain(
  t: Test,
  capacity: number,
  count: number,
  seed: number,
  make: (i: number) => [hi: number, lo: number],
): number {
  const fdb = new Fdb({ capacity, seed });
  fdb.limitPlace(1, Number.POSITIVE_INFINITY);
  let learned = 0;
  for (let i = 0; i < count; i++) if (fdb.learn(3, ...make(i), 1, 0) === LEARNED) learned++;
  if (learned < count / 2) t.fail(`only ${learned} addresses differ`);
  return fdb.longestChain();
}

/** Addresses that share a small part of a table whose seed is known: found by their order in it. */
function steered(seed: number, capacity: number, count: number): number[] {
  const found: number[] = [];
  for (let lo = 0; found.length < count; lo += capacity) {
    const fdb = new Fdb({ capacity, seed });
    fdb.limitPlace(1, Number.POSITIVE_INFINITY);
    for (let i = 0; i < capacity; i++) fdb.learn(3, 0x0242, lo + i, 1, 0);
    let n = 0;
    for (const entry of fdb.entries()) {
      if (n++ >= capacity / 256) break;
      found.push(entry.lo);
    }
  }
  return found.slice(0, count);
}
