/**
 * The ends of a fuzzed overlay: local ports and underlays that somebody else holds the far end of. What is
 * put in goes through a door, what comes out is seen at an exit. Nobody answers by himself.
 */
import * as ip from '../../codecs/ip.ts';
import * as mac from '../../codecs/mac.ts';
import type { Batch } from '../../lib/core/batch.ts';
import type { Clock } from '../../lib/core/clock.ts';
import type { Pool } from '../../lib/core/pool.ts';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import { DATAGRAM, ETHERNET, IP, type Medium, type Port } from '../../lib/io/port.ts';
import { testHost } from '../gen/context.ts';
import { vtep } from '../lib/elements/tunnel.ts';
import { type Station, station } from './corpus.ts';
import { MOST } from './mutate.ts';

/** A host of the fuzzer's own that is a remote of most networks. */
export const STRANGER = 9;
/** One that nobody knows. */
export const OUTSIDER = 8;
/** Host n has the station n, and n + SECOND behind a second port. */
export const SECOND = 10;

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
  /** The network of a local port; null on an underlay. */
  readonly vni: number | null;
  /** Whether it leads to the underlay of encrypted networks. */
  readonly esp: boolean;
  /** Who speaks behind a local port; nobody in particular on an underlay. */
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
  /** Whether it is the underlay of encrypted networks. */
  readonly esp: boolean;
  /** The host whose end it is, null where several hosts send here. */
  readonly host: number | null;
  /** The door of the same local port; null on an underlay. */
  readonly door: Door | null;
  readonly port: Port;
  /** Where what comes out goes on to, besides being seen. */
  readonly onward: Port | null;
}

/** How a host is named on an underlay. */
export function addressOf(host: number, { family, medium }: Kind): { address: string; mac?: string } {
  const { address, mac: own } = vtep(host, family);
  const named = { address: ip.format(address) };
  return medium === ETHERNET ? { ...named, mac: mac.format(own.hi, own.lo) } : named;
}

export class Ends {
  readonly doors: Door[] = [];
  readonly exits: Exit[] = [];
  readonly #kind: Kind;
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #outsiders: Port[] = [];

  constructor(kind: Kind, pool: Pool, clock: Clock) {
    this.#kind = kind;
    this.#pool = pool;
    this.#clock = clock;
  }

  /** Datagrams of hosts that nobody knows: they are dropped before a host counts them as received. */
  get uninvited(): number {
    return this.#outsiders.reduce((sum, { stats }) => sum + stats.txPackets, 0);
  }

  /** Makes a port of each host on an underlay: `esp` for the one of encrypted networks. */
  underlays(hosts: readonly number[], esp: boolean): Promise<Port[]> {
    return this.#kind.medium === DATAGRAM ? this.#datagrams(hosts, esp) : this.#cables(hosts, esp);
  }

  /** Makes the local port of a station. */
  async port(n: number, vni: number): Promise<Port> {
    const [near, far] = memoryPair({ name: `${vni}.${n}`, mtu: MOST });
    await this.#open(far);
    const host = n % SECOND;
    const put = (batch: Batch) => far.send(batch);
    const door = { name: `port ${near.name}`, vni, esp: false, station: station(n), host, from: null, put };
    this.doors.push(door);
    this.#exit({ name: door.name, esp: false, host, door, port: far, onward: null });
    return near;
  }

  /** A network of datagrams, with doors for those who are heard and for one who is not. */
  async #datagrams(hosts: readonly number[], esp: boolean): Promise<Port[]> {
    const network = new MemoryUnderlay();
    for (const from of [STRANGER, OUTSIDER]) {
      const port = network.port(addressOf(from, this.#kind).address);
      await this.#open(port);
      if (from === OUTSIDER) this.#outsiders.push(port);
      for (const host of from === STRANGER ? hosts : [1]) {
        const peer = port.peers.set(vtep(host, this.#kind.family));
        const put = (batch: Batch) => {
          for (let i = 0; i < batch.length; i++) batch.packets[i].peer = peer;
          port.send(batch);
        };
        const name = `${esp ? 'ESP ' : ''}underlay of host ${host} as host ${from}`;
        this.doors.push({ name, vni: null, esp, station: null, host, from, put });
      }
      this.#exit({ name: `host ${from}`, esp, host: null, door: null, port, onward: null });
    }
    return hosts.map((host) => network.port(addressOf(host, this.#kind).address));
  }

  /** A cable between two hosts that is cut, so that everything passes through our hands. */
  async #cables(hosts: readonly number[], esp: boolean): Promise<Port[]> {
    const { medium } = this.#kind;
    const mtu = medium === ETHERNET ? 1514 : 1500;
    const pairs = hosts.map((host) => memoryPair({ name: `host ${host}`, medium, mtu }));
    for (const [i, [, far]] of pairs.entries()) {
      await this.#open(far);
      const host = hosts[i];
      const put = (batch: Batch) => far.send(batch);
      const name = `${esp ? 'ESP ' : ''}underlay of host ${host}`;
      this.doors.push({ name, vni: null, esp, station: null, host, from: null, put });
      this.#exit({ name, esp, host, door: null, port: far, onward: pairs[1 - i][1] });
    }
    return pairs.map(([near]) => near);
  }

  #exit(exit: Omit<Exit, 'number'>): void {
    this.exits.push({ number: this.exits.length, ...exit });
  }

  #open(port: Port): Promise<void> {
    return port.open(testHost({ pool: this.#pool, clock: this.#clock }));
  }
}
