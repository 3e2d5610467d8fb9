/**
 * 10,000 endpoints on one host in one network. Every one resolves 100 random others, which neighbor
 * suppression answers from what was declared, and reaches each of them; then 100 of them broadcast.
 */
import t from 'tap';
import * as arp from '../../codecs/arp.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as mac from '../../codecs/mac.ts';
import { Batch } from '../../lib/core/batch.ts';
import { VirtualClock } from '../../lib/core/clock.ts';
import { settle } from '../../lib/core/engine.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { DebugPool, JUMBO_SLOT } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import type { Port } from '../../lib/io/port.ts';
import { Overlay } from '../../lib/overlay.ts';
import { testHost } from '../gen/context.ts';
import { seed } from '../gen/seed.ts';
import { identity } from '../gen/world.ts';

const COUNT = 10_000;
const OTHERS = 100;
const TEST_TYPE = 0x88b5; // IEEE local experimental

t.test(`${COUNT} endpoints, seed ${seed}`, async (t) => {
  const started = process.hrtime.bigint();
  const pool = new DebugPool({ count: 32_768, slot: 512 });
  const jumbo = new DebugPool({ count: 1, slot: JUMBO_SLOT });
  const clock = new VirtualClock();
  const random = new Random(seed);
  const macs = Array.from({ length: COUNT }, (_, i) => mac.parse(identity(i + 1).mac));
  const address = (i: number) => 0x0a000000 + i + 1;

  const fars: Port[] = [];
  const awake: number[] = [];
  const ports = await Promise.all(
    macs.map(async (_, i) => {
      const [near, far] = memoryPair({ name: `p${i}`, capacity: 128 });
      await far.open(testHost({ pool, jumbo, clock }, () => awake.push(i)));
      fars.push(far);
      return { port: near, ...identity(i + 1) };
    }),
  );
  const overlay = new Overlay(
    {
      local: { address: '192.0.2.1', underlay: new MemoryUnderlay().port('192.0.2.1') },
      networks: [{ vni: 1, ports }],
    },
    { pool, jumbo, clock, random },
  );
  await overlay.open();

  const batch = new Batch();
  const send = (i: number, build: (p: Packet) => void) => {
    const p = pool.take()!;
    build(p);
    batch.add(p);
    fars[i].send(batch);
  };
  /** Hands every packet that has arrived at an endpoint to `handle`. */
  const arrivals = (handle: (i: number, p: Packet) => void) => {
    settle([overlay]);
    for (const i of awake.splice(0)) {
      while (fars[i].receive(batch) > 0) {
        for (let k = 0; k < batch.length; k++) handle(i, batch.packets[k]);
        batch.release();
      }
    }
  };

  let resolved = 0;
  let reached = 0;
  let wrong = 0;
  const target = new Int32Array(COUNT);
  for (let round = 0; round < OTHERS; round++) {
    for (let i = 0; i < COUNT; i++) {
      target[i] = (i + 1 + random.below(COUNT - 1)) % COUNT;
      send(i, (p) => {
        ethernet.write(p.view, p.start, 0xffff, 0xffffffff, macs[i].hi, macs[i].lo, ethernet.TYPE_ARP);
        const at = p.start + ethernet.SIZE;
        arp.write(p.view, at, arp.REQUEST, macs[i].hi, macs[i].lo, address(i), 0, 0, address(target[i]));
        p.end = at + arp.SIZE;
      });
    }
    const hi = new Uint16Array(COUNT);
    const lo = new Uint32Array(COUNT);
    arrivals((i, p) => {
      const at = p.start + ethernet.SIZE;
      const right = arp.op(p.view, at) === arp.REPLY && arp.spa(p.view, at) === address(target[i]);
      if (!right) wrong++;
      else resolved++;
      hi[i] = arp.shaHi(p.view, at);
      lo[i] = arp.shaLo(p.view, at);
    });
    for (let i = 0; i < COUNT; i++) {
      send(i, (p) => {
        ethernet.write(p.view, p.start, hi[i], lo[i], macs[i].hi, macs[i].lo, TEST_TYPE);
        p.view.setUint32(p.start + ethernet.SIZE, i);
        p.end = p.start + 60;
      });
    }
    arrivals((i, p) => {
      const from = p.view.getUint32(p.start + ethernet.SIZE);
      if (ethernet.etherType(p.view, p.start) === TEST_TYPE && target[from] === i) reached++;
      else wrong++;
    });
  }
  t.equal(resolved, COUNT * OTHERS, 'every address was resolved');
  t.equal(reached, COUNT * OTHERS, 'every frame arrived where it was meant to');
  t.equal(wrong, 0, 'nothing else arrived');
  t.equal(overlay.counters()['1.bridge']?.flooded ?? 0, 0, 'nothing was flooded for it');

  let heard = 0;
  for (let n = 0; n < 100; n++) {
    const i = random.below(COUNT);
    send(i, (p) => {
      ethernet.write(p.view, p.start, 0xffff, 0xffffffff, macs[i].hi, macs[i].lo, TEST_TYPE);
      p.end = p.start + 60;
    });
    arrivals((to) => {
      if (to === i) wrong++;
      else heard++;
    });
  }
  t.equal(heard, 100 * (COUNT - 1), 'every broadcast reached everybody else');
  t.equal(wrong, 0);
  t.same(overlay.drops(), {}, 'nothing was lost');

  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const { rss, heapUsed } = process.memoryUsage();
  const mb = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  t.comment(`${COUNT} endpoints took ${seconds.toFixed(1)} s, ${mb(rss)} resident, ${mb(heapUsed)} of heap`);
  await overlay.stop();
  await Promise.all(fars.map((far) => far.close()));
  t.equal(pool.used, 0, 'every packet came home');
});
