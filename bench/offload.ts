/**
 * Segmentation offload in software, both halves: super-frames of 43 segments of 1398 bytes of payload, which as
 * a train take 64 KiB. One operation is a segment. `segment.sum` is the checksum of a segment's payload alone,
 * which is part of all others.
 */
import { sum } from '../codecs/checksum.ts';
import * as tcp from '../codecs/tcp.ts';
import * as udp from '../codecs/udp.ts';
import { Batch } from '../lib/core/batch.ts';
import { type Context, createContext } from '../lib/core/context.ts';
import type { Sink } from '../lib/core/element.ts';
import { HEADROOM, type Packet } from '../lib/core/packet.ts';
import { JUMBO_SLOT, Pool } from '../lib/core/pool.ts';
import { Random } from '../lib/core/random.ts';
import { Segmenter } from '../lib/core/segmenter.ts';
import { Coalesce } from '../lib/elements/coalesce.ts';
import { Segment } from '../lib/elements/segment.ts';
import { CHECKSUM, DATAGRAM, TSO4, TSO6, USO } from '../lib/io/port.ts';
import {
  type Flow,
  flowOf,
  putSuper,
  putTrain,
  randomBytes,
  segmentsOf,
  type Wish,
} from '../test/gen/super-frames.ts';
import type { Bench } from './bench.ts';

const SEGMENTS = 43;
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

function supers(wish: Wish, pool = new Pool({ count: SUPERS, slot: JUMBO_SLOT })): Packet[] {
  return Array.from({ length: SUPERS }, () => putSuper(pool.take()!, flow(wish)));
}

const home: Sink = { push: (batch) => batch.release() };

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

/** Copied into ordinary packets, as for a port without offloads. Giving those back is part of it. */
function copy([name, wish]: [string, Wish]): Bench {
  return {
    name: `segment.copy.${name}.64k`,
    ops: OPS,
    prepare() {
      const context = createContext();
      // All that can be taken, so that those which come back hold what they are to hold.
      const { jumbo } = context;
      while (jumbo.available > SUPERS) jumbo.take();
      for (const p of supers(wish, jumbo)) jumbo.give(p);
      const like = new Pool({ count: 1, slot: JUMBO_SLOT }).take()!;
      putSuper(like, flow(wish));
      const element = new Segment(context, 'segment', { medium: DATAGRAM, mtu: 1600, offloads: 0 });
      element.connect('out', home);
      const batch = new Batch();
      return () => {
        for (let n = 0; n < SUPERS; n++) {
          const p = jumbo.take()!;
          p.copyNotes(like);
          batch.add(p);
          element.push(batch);
        }
        return like.end;
      };
    },
  };
}

/** Trains, each of one flow. Their headers are put back each time. */
function trains([name, wish]: [string, Wish]): Bench {
  return {
    name: `coalesce.${name}.64k`,
    ops: OPS,
    prepare() {
      const context = createContext();
      const element = coalesce(context);
      element.connect('out', { push: (batch) => batch.clear() });
      const packets = Array.from({ length: SUPERS }, () =>
        putTrain(context.jumbo.take()!, segmentsOf(flow(wish))),
      );
      const { end, gsoType, gsoSize } = packets[0];
      const first = packets[0].bytes.slice(HEADROOM, HEADROOM + 128);
      const batch = new Batch();
      return () => {
        for (const p of packets) {
          p.bytes.set(first, HEADROOM);
          p.reset();
          Object.assign(p, { end, gsoType, gsoSize });
          batch.add(p);
          element.push(batch);
        }
        return packets[0].hdrLen;
      };
    },
  };
}

/** Ordinary packets of one flow, copied behind each other. Making them, by a copy too, is part of it. */
function packets([name, wish]: [string, Wish]): Bench {
  return {
    name: `coalesce.packets.${name}.64k`,
    ops: OPS,
    prepare() {
      const context = createContext();
      const element = coalesce(context);
      element.connect('out', home);
      const like = segmentsOf(flow(wish)).map((bytes) => context.pool.take()!.set(bytes));
      const batch = new Batch();
      return () => {
        for (let n = 0; n < SUPERS; n++) {
          for (const p of like) batch.add(context.pool.clone(p)!);
          element.push(batch);
        }
        return like.length;
      };
    },
  };
}

function coalesce(context: Context): Coalesce {
  return new Coalesce(context, 'coalesce', { offloads: CHECKSUM | TSO4 | TSO6 | USO });
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
  ...[segment, copy, trains, packets].flatMap((make) => Object.entries(KINDS).map(make)),
];
