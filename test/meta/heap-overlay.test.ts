/**
 * A packet's whole way allocates nothing: memory port, guard, meter, suppression, bridge, too-big,
 * encapsulation, underlay, decapsulation, bridge, memory port, driven by the engines of two hosts. The clock is
 * a virtual one: asking the machine for the time makes a number of 16 bytes, once a breath.
 */
import t from 'tap';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ip from '../../codecs/ip.ts';
import * as mac from '../../codecs/mac.ts';
import { BATCH, Batch } from '../../lib/core/batch.ts';
import { VirtualClock } from '../../lib/core/clock.ts';
import { Pool } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import { DATAGRAM, type Medium, type Port } from '../../lib/io/port.ts';
import { Overlay } from '../../lib/overlay.ts';
import { testHost } from '../gen/context.ts';
import { bytesPerPacket, MOST } from '../gen/heap.ts';
import { identity } from '../gen/world.ts';
import { FAMILIES, type Family, MEDIA, NAMES, udpFrame, vtep } from '../lib/elements/tunnel.ts';

const pool = new Pool({ count: 512 });
const clock = new VirtualClock();
const batch = new Batch();
const parts: { name: string; run: (n: number) => void; arrived: () => number; end: () => Promise<void> }[] =
  [];

/** The underlay ports of two hosts. */
function underlays(medium: Medium, family: Family): Port[] {
  if (medium !== DATAGRAM) return memoryPair({ medium });
  const network = new MemoryUnderlay();
  return [1, 2].map((host) => network.port(ip.format(vtep(host, family).address)));
}

/** Two hosts with a guarded and metered port each. Returns the overlays and the far ends of the ports. */
async function hosts(medium: Medium, family: Family): Promise<[Overlay[], Port[]]> {
  const names = [1, 2].map((host) => {
    const { address, mac: own } = vtep(host, family);
    return { address: ip.format(address), mac: mac.format(own.hi, own.lo) };
  });
  const fars: Port[] = [];
  const overlays = underlays(medium, family).map((underlay, i) => {
    const [near, far] = memoryPair();
    fars.push(far);
    const limits = { floodPerSecond: 2 ** 30 };
    const networks = [
      { vni: 42, remotes: [names[1 - i]], ports: [{ port: near, ...identity(i + 1), limits }] },
    ];
    return new Overlay(
      { local: { ...names[i], underlay }, networks },
      { pool, clock, random: new Random(1) },
    );
  });
  for (const far of fars) await far.open(testHost({ pool, clock }));
  for (const overlay of overlays) await overlay.open();
  return [overlays, fars];
}

async function way(medium: Medium, family: Family, broadcast: boolean): Promise<void> {
  const [[one, other], [from, to]] = await hosts(medium, family);
  const template = pool.take()!.set(udpFrame(family));
  const [src, dst] = [1, 2].map((n) => mac.parse(identity(n).mac));
  const target = broadcast ? mac.BROADCAST : dst;
  ethernet.setSrc(template.view, template.start, src.hi, src.lo);
  ethernet.setDst(template.view, template.start, target.hi, target.lo);
  const run = (n: number) => {
    clock.advance(0.7);
    for (let i = 0; i < n; i += BATCH) {
      while (!batch.full) batch.add(pool.clone(template)!);
      from.send(batch);
      while (one.step() + other.step() > 0);
      while (to.receive(batch) > 0) batch.release();
    }
  };
  const end = async () => {
    for (const closing of [one, other]) await closing.stop();
    for (const far of [from, to]) await far.close();
    pool.give(template);
  };
  const name = `${NAMES[medium]}, IPv${family}, ${broadcast ? 'broadcast' : 'to one'}`;
  parts.push({ name, run, arrived: () => to.stats.rxPackets, end });
}

for (const medium of MEDIA) {
  for (const family of FAMILIES) {
    await way(medium, family, false);
    await way(medium, family, true);
  }
}

for (const { name, run, arrived } of parts) {
  t.test(name, async (t) => {
    run(BATCH);
    t.equal(arrived(), BATCH, 'all of them arrive');
    const bytes = bytesPerPacket(run, 1024);
    t.ok(bytes < MOST, `${bytes.toFixed(2)} bytes a packet`);
  });
}

t.test('everything has come home', async (t) => {
  for (const { end } of parts) await end();
  t.equal(pool.used, 0);
});
