/**
 * Hosts of an overlay, joined by an underlay of one kind, with hands on every end: what is put in goes through
 * a door, what comes out is seen at an exit. Nobody answers, so nothing moves but what was put in.
 */
import * as ip from '../../codecs/ip.ts';
import * as mac from '../../codecs/mac.ts';
import { Batch } from '../../lib/core/batch.ts';
import type { VirtualClock } from '../../lib/core/clock.ts';
import { Counters } from '../../lib/core/counters.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { DebugPool } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import { DATAGRAM, ETHERNET, IP, type Medium, type Port } from '../../lib/io/port.ts';
import { type NetworkConfig, Overlay, type PortConfig } from '../../lib/overlay.ts';
import { identity } from '../gen/world.ts';
import { vtep } from '../lib/elements/tunnel.ts';
import { type Station, station } from './corpus.ts';
import { MOST } from './mutate.ts';

/** Hosts 1, 2 and 3 have the stations 1, 2, 3, and 11, 12, 13 behind second ports. */
const SECOND = 10;
/** A host of the fuzzer's own that is a remote of most networks. */
export const STRANGER = 9;
/** A station behind it that all know of and that never speaks. */
export const SILENT = 20;
/** One that nobody knows. */
export const OUTSIDER = 8;

// Networks, all of them with the same stations.

/** Guarded, metered, suppressed. */
export const GUARDED = 1;
/** Learns from everybody; two ports a host; small packets only. */
const OPEN = 2;
/** Knows its stations and keeps VLAN tags; the stranger is no remote of it. */
export const STATIC = 0xfffffe;
export const VNIS: readonly number[] = [GUARDED, OPEN, STATIC];

/** Turns of the engines in which what was put in has come out. */
const TURNS = 100;

export interface Kind {
  readonly name: string;
  readonly medium: Medium;
  readonly family: 4 | 6;
}

export const KINDS: readonly Kind[] = [
  { name: 'datagrams over IPv4', medium: DATAGRAM, family: 4 },
  { name: 'datagrams over IPv6', medium: DATAGRAM, family: 6 },
  { name: 'IPv4', medium: IP, family: 4 },
  { name: 'IPv6', medium: IP, family: 6 },
  { name: 'IPv4 over Ethernet', medium: ETHERNET, family: 4 },
  { name: 'IPv6 over Ethernet', medium: ETHERNET, family: 6 },
];

/** Where frames are put in. */
export interface Door {
  readonly name: string;
  /** The network of a local port; null on the underlay. */
  readonly vni: number | null;
  /** Who speaks behind a local port; nobody in particular on the underlay. */
  readonly station: Station | null;
  /** The host to which it leads. */
  readonly host: number;
  /** The host that speaks on a network of datagrams; null where the frames themselves say it. */
  readonly from: number | null;
  put(batch: Batch): void;
}

/** Where frames come out. */
export interface Exit {
  /** Place in the list of exits. */
  readonly number: number;
  readonly name: string;
  /** The host whose cable it ends, null where several hosts send here. */
  readonly host: number | null;
  /** The door of the same local port; null on the underlay. */
  readonly door: Door | null;
  readonly port: Port;
  /** Where what comes out goes on to, besides being seen. */
  readonly onward: Port | null;
}

/** Counts copies, without which the books do not balance. */
class CopyPool extends DebugPool {
  copies = 0;

  override clone(from: Packet): Packet | null {
    const p = super.clone(from);
    if (p !== null) this.copies++;
    return p;
  }
}

export class Fabric {
  readonly pool: CopyPool;
  readonly overlays: Overlay[] = [];
  readonly doors: Door[] = [];
  readonly exits: Exit[] = [];
  readonly #kind: Kind;
  readonly #clock: VirtualClock;
  readonly #batch = new Batch();
  /** Its datagrams are dropped before a host counts them as received. */
  #outsider: Port | null = null;

  /** `poison` fills the free slots of the pool. */
  constructor(kind: Kind, clock: VirtualClock, poison: number) {
    this.#kind = kind;
    this.#clock = clock;
    this.pool = new CopyPool({ count: 1024 }, poison);
  }

  /** Makes and opens everything. */
  async open(seed: number): Promise<void> {
    const { medium, family } = this.#kind;
    const hosts = medium === DATAGRAM ? [1, 2, 3] : [1, 2];
    const underlays = medium === DATAGRAM ? await this.#datagrams(hosts) : await this.#cables(hosts);
    for (const [i, host] of hosts.entries()) {
      const { address, mac } = remote(host, family);
      const zeroChecksum6 = medium === ETHERNET;
      const local = { address, underlay: underlays[i], strictReserved: host === 2, zeroChecksum6 };
      const overlay = new Overlay(
        {
          local: medium === ETHERNET ? { ...local, mac } : local,
          networks: await this.#networks(host, hosts),
        },
        {
          pool: this.pool,
          clock: this.#clock,
          random: new Random(seed + host),
          counters: new Counters(new SharedArrayBuffer(1 << 16)),
          macs: 1024,
          ageing: 10_000,
        },
      );
      await overlay.open();
      this.overlays.push(overlay);
    }
  }

  /** Runs until nothing moves and shows each packet that comes out. Throws an Error where it does not end. */
  drain(see: (p: Packet, exit: Exit) => void): void {
    for (let turn = 0; turn < TURNS; turn++) {
      let moved = 0;
      for (const overlay of this.overlays) moved += overlay.step();
      for (const exit of this.exits) moved += this.#drain(exit, see);
      if (moved === 0) return;
    }
    throw new Error(`packets still move after ${TURNS} turns`);
  }

  #drain(exit: Exit, see: (p: Packet, exit: Exit) => void): number {
    const batch = this.#batch;
    let moved = 0;
    while (exit.port.receive(batch) > 0) {
      moved += batch.length;
      for (let i = 0; i < batch.length; i++) see(batch.packets[i], exit);
      if (exit.onward === null) batch.release();
      else exit.onward.send(batch);
    }
    return moved;
  }

  /**
   * What the overlays cannot account for: packets that came in, and copies, less packets that went out or were
   * dropped. A packet that is answered for its size counts as dropped and goes out as the answer.
   */
  unexplained(): number {
    let n = this.pool.copies + (this.#outsider?.stats.txPackets ?? 0);
    for (const overlay of this.overlays) {
      for (const { rxPackets, txPackets } of overlay.ports()) n += rxPackets - txPackets;
      for (const dropped of Object.values(overlay.drops())) n -= dropped;
      for (const { answered4 = 0, answered6 = 0 } of this.#tooBig(overlay)) n += answered4 + answered6;
    }
    return n;
  }

  /** All counters, to be compared. */
  counters(): string {
    return JSON.stringify(this.overlays.map((overlay) => overlay.counters()));
  }

  /** Closes everything. */
  async close(): Promise<void> {
    for (const overlay of this.overlays) await overlay.stop();
    for (const { port } of this.exits) await port.close();
  }

  #tooBig(overlay: Overlay): Record<string, number>[] {
    const counters = overlay.counters();
    return VNIS.map((vni) => counters[`${vni}.too-big`] ?? {});
  }

  /** A network of datagrams, with doors for those who are heard and for one who is not. */
  async #datagrams(hosts: readonly number[]): Promise<Port[]> {
    const { family } = this.#kind;
    const network = new MemoryUnderlay();
    for (const who of [STRANGER, OUTSIDER]) {
      const port = network.port(remote(who, family).address);
      await this.#open(port);
      if (who === OUTSIDER) this.#outsider = port;
      for (const host of who === STRANGER ? hosts : [1]) {
        const peer = port.peers.set(vtep(host, family));
        const put = (batch: Batch) => {
          for (let i = 0; i < batch.length; i++) batch.packets[i].peer = peer;
          port.send(batch);
        };
        const name = `host ${host} from host ${who}`;
        this.doors.push({ name, vni: null, station: null, host, from: who, put });
      }
      this.#exit({ name: `host ${who}`, host: null, door: null, port, onward: null });
    }
    return hosts.map((host) => network.port(remote(host, family).address));
  }

  /** A cable between two hosts that is cut, so that everything passes through our hands. */
  async #cables(hosts: readonly number[]): Promise<Port[]> {
    const { medium } = this.#kind;
    const mtu = medium === ETHERNET ? 1514 : 1500;
    const pairs = hosts.map((host) => memoryPair({ name: `host ${host}`, medium, mtu }));
    for (const [i, [, far]] of pairs.entries()) {
      await this.#open(far);
      const put = (batch: Batch) => far.send(batch);
      const name = `underlay of host ${hosts[i]}`;
      this.doors.push({ name, vni: null, station: null, host: hosts[i], from: null, put });
      this.#exit({ name: far.name, host: hosts[i], door: null, port: far, onward: pairs[1 - i][1] });
    }
    return pairs.map(([near]) => near);
  }

  async #networks(host: number, hosts: readonly number[]): Promise<NetworkConfig[]> {
    const others = hosts.filter((other) => other !== host);
    const near = others.map((other) => this.#remote(other));
    const remotes = [...near, this.#remote(STRANGER)];
    const far = [STRANGER, SILENT].map((n) => ({ ...identity(n), remote: this.#remote(STRANGER).address }));
    const known = others.map((other, i) => ({ mac: identity(other).mac, remote: near[i].address }));
    const limits = { floodPerSecond: 4000, burst: 200, macs: 4 };
    return [
      {
        vni: GUARDED,
        remotes,
        ports: [{ port: await this.#port(host, GUARDED), ...identity(host), limits }],
        static: far,
      },
      {
        vni: OPEN,
        mtu: 600,
        remotes,
        ports: [
          { port: await this.#port(host, OPEN) },
          { port: await this.#port(host + SECOND, OPEN), limits: { floodPerSecond: 1000, burst: 32 } },
        ],
        static: far.slice(1),
        limits: { macs: 300 },
      },
      {
        vni: STATIC,
        vlan: 'keep',
        remotes: near,
        ports: [{ port: await this.#port(host, STATIC), mac: [identity(host).mac] } satisfies PortConfig],
        static: known,
        learning: false,
        floodUnknown: false,
      },
    ];
  }

  /** A local port, and its far end as a door and an exit. */
  async #port(n: number, vni: number): Promise<Port> {
    const [near, far] = memoryPair({ name: `${vni}.${n}`, mtu: MOST });
    await this.#open(far);
    const put = (batch: Batch) => far.send(batch);
    const name = `port ${near.name}`;
    const door = { name, vni, station: station(n), host: n % SECOND, from: null, put };
    this.doors.push(door);
    this.#exit({ name: door.name, host: door.host, door, port: far, onward: null });
    return near;
  }

  #exit(exit: Omit<Exit, 'number'>): void {
    this.exits.push({ number: this.exits.length, ...exit });
  }

  #open(port: Port): Promise<void> {
    return port.open({ pool: this.pool, clock: this.#clock, wake: () => {} });
  }

  /** How a host is named among remotes. */
  #remote(host: number): { address: string; mac?: string } {
    const { address, mac } = remote(host, this.#kind.family);
    return this.#kind.medium === ETHERNET ? { address, mac } : { address };
  }
}

/** A host's addresses on the underlay. */
function remote(host: number, family: 4 | 6): { address: string; mac: string } {
  const { address, mac: own } = vtep(host, family);
  return { address: ip.format(address), mac: mac.format(own.hi, own.lo) };
}
