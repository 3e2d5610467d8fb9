/**
 * Segmentation offload in software: super-frames of 45 segments of 1398 bytes of payload. One operation is a
 * segment. `sum` is the checksum of a segment's payload alone, which is part of all others.
 */
import { sum } from '../codecs/checksum.ts';
import * as tcp from '../codecs/tcp.ts';
import * as udp from '../codecs/udp.ts';
import { HEADROOM, type Packet } from '../lib/core/packet.ts';
import { JUMBO_SLOT, Pool } from '../lib/core/pool.ts';
import { Random } from '../lib/core/random.ts';
import { Segmenter } from '../lib/core/segmenter.ts';
import { type Flow, flowOf, putSuper, randomBytes, type Wish } from '../test/gen/super-frames.ts';
import type { Bench } from './bench.ts';

const SEGMENTS = 45;
const SIZE = 1398;
/** Super-frames in turn: more than the second-level cache holds. */
const SUPERS = 16;
const OPS = SUPERS * SEGMENTS;

const KINDS: Record<string, Wish> = {
  tcp4: { family: 4, protocol: tcp.PROTOCOL, tcpOptions: new Uint8Array(12) },
  tcp6: { family: 6, protocol: tcp.PROTOCOL, tcpOptions: new Uint8Array(12) },
  udp4: { family: 4, protocol: udp.PROTOCOL },
};

function flow(wish: Wish): Flow {
  const r = new Random(1);
  return flowOf(r, { tags: [], size: SIZE, payload: randomBytes(r, SEGMENTS * SIZE), ...wish });
}

function supers(wish: Wish): Packet[] {
  const pool = new Pool({ count: SUPERS, slot: JUMBO_SLOT });
  return Array.from({ length: SUPERS }, () => putSuper(pool.take()!, flow(wish)));
}

/** Headers written into memory of their own, as ports do that send payload by reference. */
function segment([name, wish]: [string, Wish]): Bench {
  return {
    name: `segment.${name}.64k`,
    ops: OPS,
    prepare() {
      const packets = supers(wish);
      const segmenter = new Segmenter();
      const headers = new DataView(new ArrayBuffer(SEGMENTS * 128));
      return () => {
        for (const p of packets) {
          segmenter.begin(p, p.start + 8);
          for (let i = 0; i < segmenter.count; i++) segmenter.write(i, headers, i * 128);
        }
        return headers.getUint8(40);
      };
    },
  };
}

export const benches: readonly Bench[] = [
  {
    name: 'segment.sum.64k',
    ops: OPS,
    prepare() {
      const packets = supers(KINDS.tcp4);
      return () => {
        let all = 0;
        for (const { view, hdrLen } of packets) {
          for (let i = 0, at = HEADROOM + hdrLen; i < SEGMENTS; i++, at += SIZE)
            all += sum(view, at, at + SIZE);
        }
        return all;
      };
    },
  },
  ...Object.entries(KINDS).map(segment),
];
