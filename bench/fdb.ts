/** Finding and learning addresses, in random order: each in a table that holds as many as it may. */
import { Random } from '../lib/core/random.ts';
import { Fdb } from '../lib/tables/fdb.ts';
import type { Bench } from './bench.ts';

const OPS = 1 << 14;
const PORTS = 64;

interface Known {
  readonly fdb: Fdb;
  /** Last words of the addresses. */
  readonly los: Int32Array;
}

function filled(count: number): Known {
  const random = new Random(count);
  const fdb = new Fdb({ capacity: count, seed: random.int32() });
  const los = Int32Array.from({ length: count }, () => random.int32());
  for (let i = 0; i < PORTS; i++) fdb.limitPlace(i, Number.POSITIVE_INFINITY);
  for (let i = 0; i < count; i++) fdb.learn(1, 0x0242, los[i], i % PORTS, 0);
  return { fdb, los };
}

/** A way through `of` things that is as long as a call, another one for each call. */
function order(of: number): () => Int32Array {
  const random = new Random(of);
  const ways = Array.from({ length: 64 }, () => Int32Array.from({ length: OPS }, () => random.below(of)));
  let next = 0;
  return () => ways[next++ % ways.length];
}

function lookup(name: string, count: number): Bench {
  return {
    name,
    ops: OPS,
    prepare() {
      const { fdb, los } = filled(count);
      const way = order(count);
      return () => {
        const indices = way();
        let found = 0;
        for (let i = 0; i < OPS; i++) found += fdb.lookup(1, 0x0242, los[indices[i]]);
        return found;
      };
    },
  };
}

export const benches: readonly Bench[] = [
  lookup('fdb.lookup.10k', 10_000),
  lookup('fdb.lookup.1m', 1_000_000),
  {
    name: 'fdb.learn.known',
    ops: OPS,
    prepare() {
      const { fdb, los } = filled(10_000);
      const way = order(los.length);
      let now = 0;
      return () => {
        const indices = way();
        let all = 0;
        now++;
        for (let i = 0; i < OPS; i++) all += fdb.learn(1, 0x0242, los[indices[i]], indices[i] % PORTS, now);
        return all;
      };
    },
  },
  {
    name: 'fdb.learn.new',
    ops: OPS,
    prepare() {
      const random = new Random(2);
      const fdb = new Fdb({ capacity: OPS, seed: 1 });
      fdb.limitPlace(1, Number.POSITIVE_INFINITY);
      return () => {
        let all = fdb.flush(1);
        for (let i = 0; i < OPS; i++) all += fdb.learn(1, 0x0242, random.int32(), 1, 0);
        return all;
      };
    },
  },
];
