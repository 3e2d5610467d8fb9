/** Hosts of one overlay, joined by underlays of one kind, with hands on every end, and their books. */
import { Batch } from '../../lib/core/batch.ts';
import type { VirtualClock } from '../../lib/core/clock.ts';
import { Counters } from '../../lib/core/counters.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { DebugPool } from '../../lib/core/pool.ts';
import { Random } from '../../lib/core/random.ts';
import { DATAGRAM, ETHERNET, IP } from '../../lib/io/port.ts';
import { KeyDirectory, type NetworkConfig, Overlay, type PortConfig } from '../../lib/overlay.ts';
import { identity } from '../gen/world.ts';
import { addressOf, Ends, type Exit, type Kind, SECOND, STRANGER } from './ends.ts';

/** A station behind the stranger that all know of and that never speaks. */
export const SILENT = 20;

// Networks, all of them with the same stations.

/** Guarded, metered, suppressed. */
export const GUARDED = 1;
/** Learns from everybody; two ports a host; small packets only. */
const OPEN = 2;
/** Knows its stations and keeps VLAN tags; the stranger is no remote of it. */
export const STATIC = 0xfffffe;
/** Encrypted and guarded. The stranger is a remote of it that has no keys. */
export const SECRET = 7;
export const VNIS: readonly number[] = [GUARDED, OPEN, STATIC, SECRET];

/** Turns of the engines in which what was put in has come out. */
const TURNS = 100;
/** Encrypted packets of each kind that are kept, to be sent again. */
const RECORDED = 64;
/** One in so many of them is withheld. */
const WITHHELD = 8;

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
  readonly ends: Ends;
  /** The last packets on the cables of encrypted networks that went their way. */
  readonly recorded: Uint8Array[] = [];
  /** The last ones that did not: their receiver has not seen them. */
  readonly withheld: Uint8Array[] = [];
  /** Whether some are withheld. */
  withholds = true;
  #encrypted = 0;
  readonly #kind: Kind;
  readonly #clock: VirtualClock;
  readonly #channel = new KeyDirectory();
  readonly #batch = new Batch();

  /** `poison` fills the free slots of the pool. */
  constructor(kind: Kind, clock: VirtualClock, poison: number) {
    this.#kind = kind;
    this.#clock = clock;
    this.pool = new CopyPool({ count: 1024 }, poison);
    this.ends = new Ends(kind, this.pool, clock);
  }

  /** Makes and opens everything. */
  async open(seed: number): Promise<void> {
    const { medium } = this.#kind;
    const hosts = medium === DATAGRAM ? [1, 2, 3] : [1, 2];
    const plain = await this.ends.underlays(hosts, false);
    const encrypted = await this.ends.underlays(hosts, true);
    const carrier = medium === IP ? 'ip' : 'udp';
    for (const [i, host] of hosts.entries()) {
      const local = {
        ...addressOf(host, this.#kind),
        underlay: plain[i],
        strictReserved: host === 2,
        zeroChecksum6: medium === ETHERNET,
        esp: {
          ...({ secret: 'not a secret at all', provider: 'node', carrier } as const),
          ...{ underlay: encrypted[i], channel: this.#channel },
        },
      };
      const overlay = new Overlay(
        { local, networks: await this.#networks(host, hosts) },
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

  /** Whether every host has keys for every other. */
  get ready(): boolean {
    const { address: stranger } = addressOf(STRANGER, this.#kind);
    const peers = this.overlays.flatMap((overlay) => overlay.encryptedPeers());
    return peers.every(({ ready, address }) => ready || address === stranger);
  }

  /** Runs until nothing moves and shows each packet that comes out. Throws an Error where it does not end. */
  drain(see: (p: Packet, exit: Exit) => void): void {
    for (let turn = 0; turn < TURNS; turn++) {
      let moved = 0;
      for (const overlay of this.overlays) moved += overlay.step();
      for (const exit of this.ends.exits) moved += this.#drain(exit, see);
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
      else {
        if (exit.esp) this.#record(batch);
        exit.onward.send(batch);
      }
    }
    return moved;
  }

  /** Keeps copies of encrypted packets, and some of them to itself. */
  #record(batch: Batch): void {
    let n = 0;
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      const withheld = this.withholds && this.#encrypted++ % WITHHELD === 0;
      const list = withheld ? this.withheld : this.recorded;
      list.push(p.frame().slice());
      if (list.length > RECORDED) list.shift();
      if (withheld) p.pool.give(p);
      else batch.packets[n++] = p;
    }
    batch.length = n;
  }

  /**
   * What the overlays cannot account for: packets that came in, were copied or made, less packets that went
   * out, were dropped, or were meant to end here. A packet that is answered for its size counts as dropped and
   * goes out as the answer.
   */
  unexplained(): number {
    let n = this.pool.copies + this.ends.uninvited;
    for (const overlay of this.overlays) {
      for (const { rxPackets, txPackets } of overlay.ports()) n += rxPackets - txPackets;
      for (const dropped of Object.values(overlay.drops())) n -= dropped;
      const counters = overlay.counters();
      for (const vni of VNIS) {
        const { answered4 = 0, answered6 = 0 } = counters[`${vni}.too-big`] ?? {};
        n += answered4 + answered6;
      }
      const { keepalives = 0, dummies = 0 } = counters['esp-open'] ?? {};
      const { sent = 0, learned = 0, answered = 0, ignored = 0 } = counters['esp-keys'] ?? {};
      const { keepalives: made = 0 } = counters['esp-seal'] ?? {};
      n += made + sent - learned - answered - ignored - keepalives - dummies;
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
    for (const { port } of this.ends.exits) await port.close();
  }

  async #networks(host: number, hosts: readonly number[]): Promise<NetworkConfig[]> {
    const others = hosts.filter((other) => other !== host);
    const near = others.map((other) => addressOf(other, this.#kind));
    const stranger = addressOf(STRANGER, this.#kind);
    const remotes = [...near, stranger];
    const far = [STRANGER, SILENT].map((n) => ({ ...identity(n), remote: stranger.address }));
    const known = others.map((other, i) => ({ mac: identity(other).mac, remote: near[i].address }));
    const limits = { floodPerSecond: 4000, burst: 200, macs: 4 };
    const port = async (n: number, vni: number): Promise<PortConfig> => ({
      port: await this.ends.port(n, vni),
    });
    return [
      {
        vni: GUARDED,
        remotes,
        ports: [{ ...(await port(host, GUARDED)), ...identity(host), limits }],
        static: far,
      },
      {
        vni: OPEN,
        mtu: 600,
        remotes,
        ports: [
          await port(host, OPEN),
          { ...(await port(host + SECOND, OPEN)), limits: { floodPerSecond: 1000, burst: 32 } },
        ],
        static: far.slice(1),
        limits: { macs: 300 },
      },
      {
        vni: STATIC,
        vlan: 'keep',
        remotes: near,
        ports: [{ ...(await port(host, STATIC)), mac: identity(host).mac }],
        static: known,
        learning: false,
        floodUnknown: false,
      },
      {
        vni: SECRET,
        encrypted: true,
        remotes,
        ports: [{ ...(await port(host, SECRET)), ...identity(host) }],
      },
    ];
  }
}
