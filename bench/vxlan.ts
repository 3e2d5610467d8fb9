/**
 * VXLAN: 64-byte frames with UDP over IPv4 into the tunnel, out of it, and the whole way between two hosts.
 *
 * `vxlan.way.64` is all that a frame meets from one host's port to the other's: memory port, bridge, too-big,
 * encapsulation, underlay port, decapsulation, bridge, dispatch, memory port, and what drives them in place
 * of the engine. 1,024 stations on each side are known to both bridges. The underlay hides the outer headers
 * (DATAGRAM), or shows them: `.ip` and `.ip6` write, check and take off IP and UDP, over IPv6 with checksums.
 * Taking a packet from the pool, writing its addresses and giving it back is part of what is measured.
 */
import * as ethernet from '../codecs/ethernet.ts';
import { format, type Ip, parse } from '../codecs/ip.ts';
import * as ipv4 from '../codecs/ipv4.ts';
import * as udp from '../codecs/udp.ts';
import { BATCH, Batch } from '../lib/core/batch.ts';
import { type Context, createContext, portHost } from '../lib/core/context.ts';
import type { Sink } from '../lib/core/element.ts';
import { HEADROOM, remote } from '../lib/core/packet.ts';
import { Pool } from '../lib/core/pool.ts';
import { Random } from '../lib/core/random.ts';
import { Bridge } from '../lib/elements/bridge.ts';
import { Dispatch } from '../lib/elements/dispatch.ts';
import { TooBig } from '../lib/elements/too-big.ts';
import { VxlanDecap } from '../lib/elements/vxlan-decap.ts';
import { VxlanEncap } from '../lib/elements/vxlan-encap.ts';
import { MemoryUnderlay, memoryPair } from '../lib/io/memory.ts';
import { DATAGRAM, IP, type Port } from '../lib/io/port.ts';
import { Fdb } from '../lib/tables/fdb.ts';
import { VtepTable } from '../lib/tables/vtep.ts';
import type { Bench } from './bench.ts';

const OPS = 1 << 14;
const FRAME = 64;
/** A power of two. */
const STATIONS = 1024;
const HI = 0x0242;
const VNI = 4097;
const PLACE = 0;

const addresses = {
  4: [parse('192.0.2.1'), parse('192.0.2.2')],
  6: [parse('2001:db8::1'), parse('2001:db8::2')],
} as const;

/** A port that sends into a sink. */
const into = (port: Port): Sink => ({ push: (batch) => port.send(batch) });

/** A pool whose slots hold UDP over IPv4; addresses are written when a packet is taken. */
function filledPool(): Pool {
  const pool = new Pool({ count: 256 });
  for (let i = 0; i < pool.count; i++) {
    const v = pool.at(i).view;
    const at = HEADROOM + ethernet.SIZE;
    ethernet.setEtherType(v, HEADROOM, ethernet.TYPE_IPV4);
    ipv4.write(v, at, 0, FRAME - ethernet.SIZE, 0, 0, 64, udp.PROTOCOL, 0x0a000001, 0x0a000002);
    udp.write(v, at + ipv4.SIZE, 1000 + i, 53, FRAME - ethernet.SIZE - ipv4.SIZE, 0);
  }
  return pool;
}

/** Fills batches with frames from stations of one host to stations of the other. */
function filler(pool: Pool): (batch: Batch, from: Int32Array, to: Int32Array) => void {
  let next = 0;
  return (batch, from, to) => {
    for (let i = 0; i < BATCH; i++, next++) {
      const p = pool.take()!;
      p.end = p.start + FRAME;
      ethernet.setDst(p.view, p.start, HI, to[next & (STATIONS - 1)]);
      ethernet.setSrc(p.view, p.start, HI, from[(next * 7) & (STATIONS - 1)]);
      batch.add(p);
    }
  };
}

/** Half of an overlay: everything of a network on one host. */
class Host {
  readonly stations: Int32Array;
  readonly station: Port;
  readonly #port: Port;
  readonly #underlay: Port;
  readonly #bridge: Bridge;
  readonly #decap: VxlanDecap;

  constructor(
    context: Context,
    i: number,
    stations: readonly Int32Array[],
    underlay: Port,
    ends: readonly Ip[],
  ) {
    const vteps = underlay.peers ?? new VtepTable();
    const peer = vteps.set({ address: ends[1 - i], port: 4789 });
    const local = { address: ends[i], port: 4789 };
    const medium = underlay.medium;
    const fdb = new Fdb({ capacity: 4096, seed: i });
    for (const mac of stations[i]) fdb.set(0, HI, mac, PLACE);
    for (const mac of stations[1 - i]) fdb.set(0, HI, mac, remote(peer));
    [this.station, this.#port] = memoryPair();
    this.stations = stations[i];
    this.#underlay = underlay;

    this.#bridge = new Bridge(context, `${i}.bridge`, { domain: 0, vni: VNI, fdb, ports: [PLACE] });
    const tooBig = new TooBig(context, `${i}.too-big`, { mtu: 1450 });
    const encap = new VxlanEncap(context, `${i}.encap`, {
      vni: VNI,
      medium,
      vteps,
      remotes: [peer],
      local,
      seed: i,
    });
    const dispatch = new Dispatch(context, `${i}.dispatch`);
    this.#decap = new VxlanDecap(context, `${i}.decap`, {
      medium,
      vteps,
      local,
      networks: [{ vni: VNI, peers: [peer] }],
    });
    this.#bridge.connect('local', dispatch);
    this.#bridge.connect('remote', tooBig);
    tooBig.connect('out', encap);
    encap.connect('out', into(underlay));
    this.#decap.connect(String(VNI), this.#bridge);
    dispatch.connect(String(PLACE), into(this.#port));
  }

  async open(context: Context): Promise<void> {
    const host = portHost(context);
    for (const port of [this.station, this.#port, this.#underlay]) await port.open(host);
  }

  /** What the station has sent goes as far as the underlay. */
  out(batch: Batch): void {
    this.#port.receive(batch);
    for (let i = 0; i < batch.length; i++) batch.packets[i].port = PLACE;
    this.#bridge.push(batch);
  }

  /** What the underlay has got goes to the station. */
  in(batch: Batch): void {
    this.#underlay.receive(batch);
    this.#decap.push(batch);
  }
}

function underlays(medium: typeof DATAGRAM | typeof IP, ends: readonly Ip[]): readonly Port[] {
  if (medium === IP) return memoryPair({ medium });
  const underlay = new MemoryUnderlay();
  return ends.map((end) => underlay.port(format(end)));
}

function macs(): Int32Array[] {
  const random = new Random(1);
  return [0, 1].map(() => Int32Array.from({ length: STATIONS }, () => random.int32()));
}

function way(name: string, medium: typeof DATAGRAM | typeof IP, family: 4 | 6): Bench {
  return {
    name,
    ops: OPS,
    async prepare() {
      const pool = filledPool();
      const context = createContext({ pool });
      const ends = addresses[family];
      const stations = macs();
      const hosts = underlays(medium, ends).map((port, i) => new Host(context, i, stations, port, ends));
      for (const host of hosts) await host.open(context);
      const fill = filler(pool);
      const batch = new Batch();
      const [one, two] = hosts;
      return () => {
        let arrived = 0;
        for (let n = 0; n < OPS; n += BATCH) {
          const from = n & BATCH ? two : one;
          const to = n & BATCH ? one : two;
          // As often as the engine asks under load.
          if (n % (4 * BATCH) === 0) context.clock.update();
          fill(batch, from.stations, to.stations);
          from.station.send(batch);
          from.out(batch);
          to.in(batch);
          arrived += to.station.receive(batch);
          batch.release();
        }
        if (arrived !== OPS) throw new Error(`${arrived} of ${OPS} frames arrived`);
        return arrived;
      };
    },
  };
}

/** Counts packets and gives them back. */
class Home implements Sink {
  packets = 0;

  push(batch: Batch): void {
    this.packets += batch.length;
    batch.release();
  }
}

function setup(medium: typeof DATAGRAM | typeof IP) {
  const pool = filledPool();
  const context = createContext({ pool });
  const vteps = new VtepTable();
  const [local, far] = addresses[4].map((address) => ({ address, port: 4789 }));
  const remotes = [vteps.set(far)];
  vteps.set(local);
  const encap = new VxlanEncap(context, 'encap', { vni: VNI, medium, vteps, remotes, local, seed: 1 });
  const networks = [{ vni: VNI, peers: 'any-known' as const }];
  const decap = new VxlanDecap(context, 'decap', { medium, vteps, local: far, networks });
  const home = new Home();
  decap.connect(String(VNI), home);
  return { context, pool, encap, decap, home, peer: remotes[0] };
}

function encap(name: string, medium: typeof DATAGRAM | typeof IP): Bench {
  return {
    name,
    ops: OPS,
    prepare() {
      const { pool, encap, home, peer } = setup(medium);
      encap.connect('out', home);
      const fill = filler(pool);
      const [from, to] = macs();
      const batch = new Batch();
      return () => {
        for (let n = 0; n < OPS; n += BATCH) {
          fill(batch, from, to);
          for (let i = 0; i < BATCH; i++) batch.packets[i].out = remote(peer);
          encap.push(batch);
        }
        return home.packets;
      };
    },
  };
}

/** The packets were encapsulated before; where their frames start is all that decapsulation changes. */
function decap(name: string, medium: typeof DATAGRAM | typeof IP): Bench {
  return {
    name,
    ops: OPS,
    prepare() {
      const { pool, encap, decap, home, peer } = setup(medium);
      const kept = new Batch();
      const [from, to] = macs();
      filler(pool)(kept, from, to);
      for (let i = 0; i < BATCH; i++) kept.packets[i].out = remote(peer);
      encap.connect('out', { push: (batch) => batch.clear() });
      const packets = kept.packets.slice(0, BATCH);
      encap.push(kept);
      const { start, end } = packets[0];
      const batch = new Batch();
      decap.connect(String(VNI), {
        push: (out) => {
          home.packets += out.length;
          out.clear();
        },
      });
      return () => {
        for (let n = 0; n < OPS; n += BATCH) {
          for (let i = 0; i < BATCH; i++) {
            const p = packets[i];
            p.start = start;
            p.end = end;
            p.peer = peer;
            batch.add(p);
          }
          decap.push(batch);
        }
        return home.packets;
      };
    },
  };
}

export const benches: readonly Bench[] = [
  encap('vxlan.encap.64', DATAGRAM),
  encap('vxlan.encap.64.ip', IP),
  decap('vxlan.decap.64', DATAGRAM),
  decap('vxlan.decap.64.ip', IP),
  way('vxlan.way.64', DATAGRAM, 4),
  way('vxlan.way.64.ip', IP, 4),
  way('vxlan.way.64.ip6', IP, 6),
];
