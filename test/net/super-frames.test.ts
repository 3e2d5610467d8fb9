/**
 * Whole overlays whose ports give and take super-frames: four stations on two hosts, two with offloads and two without,
 * in clear and in ESP, over underlays that can do everything, trains alone, or nothing. Whatever arrives is what the codecs
 * make of the same flow, segment by segment, bit for bit.
 */
import t from 'tap';
import { hex, viewOf } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';
import { Batch } from '../../lib/core/batch.ts';
import { type Packet, segments } from '../../lib/core/packet.ts';
import { DebugPool, JUMBO_SLOT } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { Segment } from '../../lib/elements/segment.ts';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import { CHECKSUM, ETHERNET, GAPS, type Port, TRAIN, TSO4, TSO6, USO } from '../../lib/io/port.ts';
import { type FaultOptions, Faults } from '../../lib/io/wrap/faults.ts';
import { KeyDirectory, Overlay } from '../../lib/overlay.ts';
import { Collector, testContext, testHost } from '../gen/context.ts';
import { seed } from '../gen/seed.ts';
import { type Flow, flowOf, putSuper, randomBytes, segmentsOf, type Wish } from '../gen/super-frames.ts';
import { World } from '../gen/world.ts';

const ALL = CHECKSUM | TSO4 | TSO6 | USO | GAPS;
const UNDERLAYS: Readonly<Record<string, number>> = {
  everything: ALL | TRAIN,
  'trains alone': TRAIN,
  nothing: 0,
};
const HOSTS = ['192.0.2.1', '192.0.2.2'];
const VNI = 42;

const KINDS: readonly Wish[] = [
  { family: 4, protocol: tcp.PROTOCOL },
  { family: 6, protocol: tcp.PROTOCOL },
  { family: 4, protocol: udp.PROTOCOL },
  { family: 6, protocol: udp.PROTOCOL },
];

const hexOf = (frames: readonly Uint8Array[]) => frames.map((bytes) => hex(viewOf(bytes), 0, bytes.length));

/**
 * A frame without the identification of an IPv4 packet with DF, which coalescing counts anew where datagrams overtook
 * one another: it is nobody's business (RFC 6864 section 4.1).
 */
function withoutId(frame: string): string {
  const atomic = frame.slice(24, 28) === '0800' && (Number.parseInt(frame.slice(40, 42), 16) & 0x40) !== 0;
  return atomic ? frame.slice(0, 36) + frame.slice(40, 48) + frame.slice(52) : frame;
}

/** Whoever is at the other end of an overlay's port; the MAC address ends in its number. */
class Station {
  readonly n: number;
  readonly offloads: number;
  readonly inside: Port;
  readonly #outside: Port;
  readonly #pools: Pick<World, 'pool'> & { readonly jumbo: DebugPool };
  readonly #batch = new Batch();

  constructor(n: number, offloads: number, pools: Pick<World, 'pool'> & { readonly jumbo: DebugPool }) {
    this.n = n;
    this.offloads = offloads;
    this.#pools = pools;
    [this.inside, this.#outside] = memoryPair({ name: `station${n}`, offloads, capacity: 4096 });
  }

  get mac(): string {
    return `02:42:00:00:00:0${this.n}`;
  }

  open(): Promise<void> {
    return this.#outside.open(testHost({ pool: this.#pools.pool, jumbo: this.#pools.jumbo }));
  }

  close(): Promise<void> {
    return this.#outside.close();
  }

  /** Sends a flow, as a super-frame where this station makes such; returns the frames that it is. */
  send(to: Station, flow: Flow, gap: number): string[] {
    const all = segmentsOf(flow);
    for (const bytes of all) this.#address(bytes, 0, to);
    const { pool, jumbo } = this.#pools;
    if (this.offloads === 0) {
      for (const bytes of all) this.#put(pool.take()!.set(bytes));
    } else {
      const p = putSuper(jumbo.take()!, flow, gap);
      this.#address(p.bytes, p.start, to);
      this.#put(p);
    }
    this.#outside.send(this.#batch);
    return hexOf(all);
  }

  #put(p: Packet): void {
    if (this.#batch.length === this.#batch.packets.length) this.#outside.send(this.#batch);
    this.#batch.add(p);
  }

  #address(bytes: Uint8Array, at: number, to: Station): void {
    ethernet.write(viewOf(bytes), at, 0x0242, to.n, 0x0242, this.n, ethernet.etherType(viewOf(bytes), at));
  }

  /** The frames that arrived, and how many packets that were. */
  collect(): { frames: string[]; packets: number } {
    const context = testContext({ count: 4096 }, 1);
    const segment = new Segment(context, 'segment', { medium: ETHERNET, mtu: 65536, offloads: 0 });
    const out = new Collector();
    segment.connect('out', out);
    let packets = 0;
    while (this.#outside.receive(this.#batch) > 0) {
      packets += this.#batch.length;
      for (let i = 0; i < this.#batch.length; i++) {
        // Without offloads nothing else may come.
        const p = this.#batch.packets[i];
        if (this.offloads === 0 && (segments(p) > 1 || p.csumStart >= 0))
          throw new Error('it takes no such thing');
      }
      segment.push(this.#batch);
    }
    const frames = out.frames();
    out.release();
    return { frames, packets };
  }
}

interface Options {
  readonly encrypted: boolean;
  /** What the underlay can do. */
  readonly underlay: number;
  readonly faults?: Omit<FaultOptions, 'seed'>;
}

async function setup({ encrypted, underlay, faults }: Options) {
  const jumbo = new DebugPool({ count: 128, slot: JUMBO_SLOT });
  const world = new World(8192, { jumbo });
  const espUnderlay = new MemoryUnderlay();
  const channel = new KeyDirectory();
  const stations = [1, 2, 3, 4].map(
    (n) => new Station(n, n % 2 === 1 ? ALL : 0, { pool: world.pool, jumbo }),
  );
  const wrapped: Faults[] = [];
  const wrap = (port: Port, n: number) => {
    if (faults === undefined) return port;
    wrapped.push(new Faults(port, { ...faults, seed: seed + n }));
    return wrapped.at(-1)!;
  };
  for (const [n, address] of HOSTS.entries()) {
    const own = { offloads: underlay, capacity: 4096 };
    const [plain, sealed] = [world.underlay, espUnderlay].map((net) => wrap(net.port(address, own), n));
    const esp = { secret: 'a secret of both hosts', underlay: sealed, channel, provider: 'node' } as const;
    const mine = stations.slice(2 * n, 2 * n + 2);
    const ports = mine.map(({ inside, mac }) => ({ port: inside, mac }));
    const remote = HOSTS[1 - n];
    const others = stations.filter((s) => !mine.includes(s)).map(({ mac }) => ({ mac, remote }));
    const overlay = new Overlay(
      {
        local: { address, underlay: plain, ...(encrypted && { esp }) },
        networks: [{ vni: VNI, encrypted, remotes: [remote], ports, static: others }],
      },
      { pool: world.pool, jumbo, clock: world.clock, random: new Random(seed) },
    );
    world.overlays.push(overlay);
    await overlay.open();
  }
  for (const station of stations) await station.open();
  const counted = (name: string) =>
    world.overlays.reduce(
      (sum, { context }) => sum + context.counters.get(...(name.split(' ') as [string, string])),
      0,
    );
  return {
    world,
    stations,
    faults: wrapped,
    counted,
    drops: () =>
      Object.assign({}, ...world.overlays.map((overlay) => overlay.drops())) as Record<string, number>,
    /** Everybody says something until there are keys. */
    async settle(): Promise<void> {
      world.run(100);
      for (let i = 0; i < 3; i++) {
        for (const from of stations) {
          const flow = flowOf(new Random(1), {
            ...KINDS[0],
            prefix: new Uint8Array(0),
            tags: [],
            size: 10,
            payload: new Uint8Array(10),
          });
          from.send(stations[(from.n + i) % 4], flow, 0);
          world.run(20);
          await Promise.resolve();
        }
      }
      world.run(1000);
      for (const station of stations) station.collect();
    },
    async end(): Promise<number[]> {
      for (const station of stations) await station.close();
      await world.end();
      return [...world.pool.leaked, ...jumbo.leaked];
    },
  };
}

function randomFlow(r: Random): Flow {
  const size = 1 + r.below(r.chance(0.3) ? 100 : 1300);
  return flowOf(r, {
    ...KINDS[r.below(4)],
    prefix: new Uint8Array(0),
    tags: [],
    size,
    payload: randomBytes(r, 1 + r.below(size * (r.chance(0.3) ? 40 : 4))),
  });
}

t.comment(`seed ${seed}`);

for (const encrypted of [false, true]) {
  const how = encrypted ? 'in ESP' : 'in clear';
  for (const [what, underlay] of Object.entries(UNDERLAYS)) {
    t.test(`${how}, an underlay that can do ${what}`, async (t) => {
      const r = new Random(seed);
      const s = await setup({ encrypted, underlay });
      await s.settle();
      const before = s.drops();
      let wrong = 0;
      let sum = 0;
      let packets = 0;
      for (let i = 0; i < 300; i++) {
        const from = s.stations[r.below(4)];
        const to = s.stations[(from.n + r.below(3)) % 4];
        const sent = from.send(to, randomFlow(r), r.below(2) * r.below(60));
        s.world.run(10);
        for (const station of s.stations) {
          const got = station.collect();
          if (got.frames.join() !== (station === to ? sent.join() : '')) wrong++;
          if (from.offloads > 0 && to.offloads > 0) {
            sum += got.frames.length;
            packets += got.packets;
          }
        }
      }
      t.equal(wrong, 0, 'byte for byte, in order, and nobody else gets any');
      t.same(s.drops(), before, 'nothing is dropped');
      t.ok(sum > 3 * packets, `between stations with offloads ${sum} frames are ${packets} packets`);
      if (encrypted) t.ok(s.counted('esp-seal sealed') > 300);
      t.same(await s.end(), []);
    });
  }

  t.test(`${how}, with faults on the way`, async (t) => {
    const faults = {
      drop: 0.05,
      duplicate: 0.05,
      reorder: { probability: 0.1, depth: 4 },
      // In clear nobody would notice: the checksum is computed afterwards.
      corrupt: encrypted ? 0.1 : 0,
    };
    for (const underlay of Object.values(UNDERLAYS)) {
      const r = new Random(seed);
      const s = await setup({ encrypted, underlay, faults });
      await s.settle();
      const sent = new Map<Station, Set<string>>();
      let offered = 0;
      let foreign = 0;
      let came = 0;
      const take = () => {
        for (const station of s.stations) {
          const known = sent.get(station);
          for (const frame of station.collect().frames) {
            came++;
            if (!known?.has(withoutId(frame))) foreign++;
          }
        }
      };
      for (let i = 0; i < 200; i++) {
        const from = s.stations[r.below(4)];
        // By way of the other host.
        const to = s.stations[(from.n <= 2 ? 2 : 0) + r.below(2)];
        const known = sent.get(to) ?? new Set();
        sent.set(to, known);
        for (const frame of from.send(to, randomFlow(r), r.below(2) * r.below(60))) {
          known.add(withoutId(frame));
          offered++;
        }
        s.world.run(10);
        take();
      }
      s.world.run(1000);
      take();
      const { dropped, duplicated, corrupted } = s.faults.reduce(
        (sum, { counts }) => ({
          dropped: sum.dropped + counts.dropped,
          duplicated: sum.duplicated + counts.duplicated,
          corrupted: sum.corrupted + counts.corrupted,
        }),
        { dropped: 0, duplicated: 0, corrupted: 0 },
      );
      t.equal(foreign, 0, `${came} frames of ${offered} arrived, each as it was sent`);
      t.ok(came > offered * 0.5, 'most of them');
      t.ok(
        dropped > 0 && duplicated > 0 && corrupted > 0 === encrypted,
        `${dropped} ${duplicated} ${corrupted}`,
      );
      const drops = s.drops();
      const told = encrypted
        ? ['bad-icv', 'replayed', 'unknown-spi', 'malformed', 'fault-injected']
        : ['fault-injected'];
      t.same(
        Object.keys(drops).filter((name) => !told.includes(name) && name !== 'no-sa'),
        [],
        JSON.stringify(drops),
      );
      t.same(await s.end(), [], 'books are balanced');
    }
  });
}
