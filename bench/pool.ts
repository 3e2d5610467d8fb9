/** Taking packets, giving them back, and copying them. */
import { BATCH, Batch } from '../lib/core/batch.ts';
import { Pool } from '../lib/core/pool.ts';
import type { Bench } from './bench.ts';

const OPS = 32 * BATCH;

function clone(bytes: number): Bench {
  return {
    name: `pool.clone.${bytes}`,
    ops: OPS,
    prepare() {
      const pool = new Pool({ count: 2 });
      const p = pool.take()!;
      p.end = p.start + bytes;
      return () => {
        let all = 0;
        for (let i = 0; i < OPS; i++) {
          const copy = pool.clone(p)!;
          all += copy.end;
          pool.give(copy);
        }
        return all;
      };
    },
  };
}

export const benches: readonly Bench[] = [
  {
    name: 'pool.take-give',
    ops: OPS,
    prepare() {
      const pool = new Pool({ count: 256 });
      const batch = new Batch();
      return () => {
        let all = 0;
        for (let n = 0; n < OPS; n += BATCH) {
          while (!batch.full) batch.add(pool.take()!);
          all += batch.packets[n % BATCH].slot;
          batch.release();
        }
        return all;
      };
    },
  },
  clone(64),
  clone(1500),
];
