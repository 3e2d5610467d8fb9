/** The Internet checksum of whole packets, and its update for one changed word. */
import { sum, update32 } from '../codecs/checksum.ts';
import { Random } from '../lib/core/random.ts';
import type { Bench } from './bench.ts';

const OPS = 512;

function whole(bytes: number): Bench {
  return {
    name: `checksum.${bytes}`,
    ops: OPS,
    prepare() {
      const random = new Random(1);
      const v = new DataView(new ArrayBuffer(OPS + bytes));
      for (let i = 0; i < v.byteLength; i++) v.setUint8(i, random.below(256));
      return () => {
        let all = 0;
        for (let i = 0; i < OPS; i++) all += sum(v, i, i + bytes);
        return all;
      };
    },
  };
}

export const benches: readonly Bench[] = [
  whole(20),
  whole(64),
  whole(1500),
  whole(65535),
  {
    name: 'checksum.update32',
    ops: OPS,
    prepare: () => () => {
      let checksum = 0x1234;
      for (let i = 0; i < OPS; i++) checksum = update32(checksum, i, i * 0x10001);
      return checksum;
    },
  },
];
