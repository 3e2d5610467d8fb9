/**
 * The bridge: 64-byte frames between 10,000 stations on 16 ports, in batches of 32, each source learned anew
 * and each destination looked up. Taking a packet from the pool, writing its addresses and giving it back is
 * part of what is measured.
 */
import * as ethernet from '../codecs/ethernet.ts';
import { BATCH, Batch } from '../lib/core/batch.ts';
import { createContext } from '../lib/core/context.ts';
import type { Sink } from '../lib/core/element.ts';
import { HEADROOM } from '../lib/core/packet.ts';
import { Pool } from '../lib/core/pool.ts';
import { Random } from '../lib/core/random.ts';
import { Bridge } from '../lib/elements/bridge.ts';
import { Fdb } from '../lib/tables/fdb.ts';
import type { Bench } from './bench.ts';

const OPS = 1 << 14;
const STATIONS = 10_000;
const PORTS = 16;
const FRAME = 64;
const HI = 0x0242;
/** Frames until the same come again. */
const FRAMES = 1 << 16;

/** Counts packets and gives them back. */
class Home implements Sink {
  packets = 0;

  push(batch: Batch): void {
    this.packets += batch.length;
    batch.release();
  }
}

/** A pool whose slots hold frames but for the addresses, which are written when a packet is taken. */
function filledPool(): Pool {
  const pool = new Pool({ count: 256 });
  for (let i = 0; i < pool.count; i++) ethernet.setEtherType(pool.at(i).view, HEADROOM, ethernet.TYPE_IPV4);
  return pool;
}

function setup() {
  const context = createContext({ pool: filledPool() });
  const random = new Random(1);
  const fdb = new Fdb({ capacity: STATIONS, seed: random.int32() });
  const ports = Array.from({ length: PORTS }, (_, i) => i);
  const los = Int32Array.from({ length: STATIONS }, () => random.int32());
  for (let i = 0; i < STATIONS; i++) fdb.learn(0, HI, los[i], i % PORTS, context.clock.now);
  const bridge = new Bridge(context, 'bridge', { domain: 0, vni: 1, fdb, ports, remotes: false });
  const home = new Home();
  bridge.connect('local', home);
  bridge.connect('remote', home);
  return { context, random, los, bridge, home };
}

/** A frame's port, source and destination, many times: stations on two different ports. */
function frames(random: Random, los: Int32Array) {
  const from = Int32Array.from({ length: FRAMES }, () => random.below(STATIONS));
  const to = from.map((station) => (station + 1 + random.below(PORTS - 1)) % STATIONS);
  return {
    port: from.map((station) => station % PORTS),
    src: from.map((station) => los[station]),
    dst: to.map((station) => los[station]),
  };
}

export const benches: readonly Bench[] = [
  {
    name: 'bridge.64',
    ops: OPS,
    prepare() {
      const { context, random, los, bridge, home } = setup();
      const { port, src, dst } = frames(random, los);
      const batch = new Batch();
      let next = 0;
      return () => {
        context.clock.update();
        for (let n = 0; n < OPS; n += BATCH) {
          for (let i = 0; i < BATCH; i++, next = (next + 1) % FRAMES) {
            const p = context.pool.take()!;
            p.end = p.start + FRAME;
            p.port = port[next];
            ethernet.setDst(p.view, p.start, HI, dst[next]);
            ethernet.setSrc(p.view, p.start, HI, src[next]);
            batch.add(p);
          }
          bridge.push(batch);
        }
        return home.packets;
      };
    },
  },
  {
    // One frame to 15 other ports: the cost of a copy.
    name: 'bridge.flood.64',
    ops: OPS * (PORTS - 1),
    prepare() {
      const { context, los, bridge, home } = setup();
      const batch = new Batch();
      return () => {
        for (let n = 0; n < OPS; n++) {
          const p = context.pool.take()!;
          p.end = p.start + FRAME;
          p.port = n % PORTS;
          ethernet.setDst(p.view, p.start, 0xffff, -1);
          ethernet.setSrc(p.view, p.start, HI, los[p.port]);
          batch.add(p);
          if (batch.full) bridge.push(batch);
        }
        return home.packets;
      };
    },
  },
];
