/**
 * What a description puts into the tables: numbers for networks, ports and remotes; static addresses;
 * neighbors. What a new description wants is written before the graph changes, what only the old one wanted
 * is taken out afterwards.
 */
import * as ip from '../../codecs/ip.ts';
import type { Mac } from '../../codecs/mac.ts';
import { MAX_PORTS, remote } from '../core/packet.ts';
import type { Port } from '../io/port.ts';
import type { Fdb } from '../tables/fdb.ts';
import type { FlowTable } from '../tables/flow.ts';
import type { NeighborTable } from '../tables/neighbor.ts';
import { Published } from '../tables/publish.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { Wanted, WantedNetwork } from './config.ts';

export class Intent {
  readonly fdb: Fdb;
  readonly neighbors: NeighborTable;
  /** The remotes of plain networks. */
  readonly peers: VtepTable;
  /** The remotes of encrypted networks, with the port of their ESP. */
  readonly espPeers: VtepTable;
  readonly flows: FlowTable;
  readonly #places = new Numbers<Port>(MAX_PORTS);
  readonly #domains = new Numbers<number>(0x10000);
  readonly #names = new Names();
  #known = new Known();

  constructor(fdb: Fdb, neighbors: NeighborTable, peers: VtepTable, espPeers: VtepTable, flows: FlowTable) {
    this.fdb = fdb;
    this.neighbors = neighbors;
    this.peers = peers;
    this.espPeers = espPeers;
    this.flows = flows;
  }

  /** The number of a port, which gets one if it has none. */
  place(port: Port): number {
    return this.#places.of(port);
  }

  /** What a port is called in the graph. Devices in different namespaces can have the same name. */
  name(vni: number, port: Port): string {
    return this.#names.of(this.place(port), `${vni}.`, port.name);
  }

  /** The domain of a VNI, which gets one if it has none. */
  domain(vni: number): number {
    return this.#domains.of(vni);
  }

  /** The table that numbers a network's remotes. */
  peersOf({ encrypted }: WantedNetwork): VtepTable {
    return encrypted ? this.espPeers : this.peers;
  }

  /** Numbers of a network's remotes. */
  remotes(network: WantedNetwork): number[] {
    const peers = this.peersOf(network);
    return network.remotes.map(({ address }) => peers.lookup(...address.words));
  }

  /**
   * Writes what is wanted into the tables, has `change` carry the rest out, and takes out what is wanted no
   * longer. Where either fails, the tables are what they were.
   */
  async change(wanted: Wanted, change: () => Promise<void>): Promise<void> {
    const before = this.#known;
    const next = new Known();
    try {
      this.#learn(wanted, next);
      await change();
    } catch (error) {
      this.#forget(next, before);
      this.#write(before);
      throw error;
    }
    this.#known = next;
    this.#forget(before, next);
  }

  /** Numbers everything that is wanted and writes it into the tables. */
  #learn({ networks }: Wanted, next: Known): void {
    for (const network of networks) {
      const domain = this.domain(network.vni);
      next.domains.set(domain, network.vni);
      const peers = this.peersOf(network);
      const members = network.encrypted ? next.espPeers : next.peers;
      for (const vtep of network.remotes) members.set(peers.set(vtep), domain);
      this.fdb.limitDomain(domain, network.maxMacs ?? Number.POSITIVE_INFINITY);
      for (const { port, macs, addresses, published, maxMacs } of network.ports) {
        const place = this.place(port);
        next.places.set(place, port);
        if (published.length > 0) next.published.set(place, { domain, published: new Published(published) });
        this.fdb.limitPlace(place, maxMacs);
        for (const mac of macs) next.addStatic({ domain, mac, place });
        for (const address of addresses) next.addNeighbor({ domain, address, mac: macs[0] });
      }
      for (const { mac, remote: far, addresses } of network.statics) {
        next.addStatic({ domain, mac, place: remote(peers.lookup(...far.words)) });
        for (const address of addresses) next.addNeighbor({ domain, address, mac });
      }
    }
    this.#write(next);
  }

  #write({ statics, neighbors }: Known): void {
    for (const { domain, mac, place } of statics.values()) this.fdb.set(domain, mac.hi, mac.lo, place);
    for (const { domain, address, mac } of neighbors.values()) this.neighbors.set(domain, address, mac);
  }

  /** Takes out of the tables what `gone` has and `kept` has not. */
  #forget(gone: Known, kept: Known): void {
    for (const [key, { domain, mac }] of gone.statics) {
      if (!kept.statics.has(key)) this.fdb.remove(domain, mac.hi, mac.lo);
    }
    for (const [key, { domain, address }] of gone.neighbors) {
      if (!kept.neighbors.has(key)) this.neighbors.remove(domain, address);
    }
    for (const [place, port] of gone.places) {
      if (kept.places.has(place)) continue;
      this.fdb.flushPlace(place);
      this.flows.flushPlace(place);
      this.#places.release(port);
      this.#names.release(place);
    }
    this.#forgetFlows(gone, kept);
    this.#forgetPeers(this.peers, gone.peers, kept.peers);
    this.#forgetPeers(this.espPeers, gone.espPeers, kept.espPeers);
    for (const [domain, vni] of gone.domains) {
      if (kept.domains.has(domain)) continue;
      this.fdb.flush(domain);
      this.#domains.release(vni);
    }
  }

  /** Forgets flows by ports that are published no longer: another flow of the client could be taken for one of them. */
  #forgetFlows(gone: Known, kept: Known): void {
    for (const [place, { domain, published }] of gone.published) {
      const now = kept.published.get(place);
      if (now?.domain !== domain) this.flows.flushPlace(place);
      else if (!now.published.equals(published)) this.flows.keepPublished(place, now.published);
    }
  }

  #forgetPeers(peers: VtepTable, gone: Memberships, kept: Memberships): void {
    for (const peer of gone.numbers()) {
      for (const domain of gone.domains(peer)) {
        if (!kept.has(peer, domain)) this.fdb.flushPlace(remote(peer), domain);
      }
      if (!kept.known(peer)) peers.remove(peer);
    }
  }
}

/** Small numbers for things, given again when released. */
class Numbers<T> {
  readonly #most: number;
  readonly #numbers = new Map<T, number>();
  readonly #free: number[] = [];
  #next = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** The number of a thing, which gets one if it has none. */
  of(thing: T): number {
    const known = this.#numbers.get(thing);
    if (known !== undefined) return known;
    const number = this.#free.pop() ?? this.#next++;
    if (number >= this.#most) throw new RangeError(`there are more than ${this.#most}`);
    this.#numbers.set(thing, number);
    return number;
  }

  release(thing: T): void {
    const number = this.#numbers.get(thing);
    if (number === undefined) return;
    this.#numbers.delete(thing);
    this.#free.push(number);
  }
}

/** What elements of a network are called, and those of a port. */
const ELEMENTS = /^(bridge|too-big|encap|segment|suppress|meter|nat|guard)$|\.(nat|segment)$/;

/** Names of ports in the graph, which stay the same as long as the ports do, whichever others come and go: under another
 * name a port would be opened once more. */
class Names {
  /** By place, then by what they begin with. */
  readonly #names = new Map<number, Map<string, string>>();
  readonly #taken = new Set<string>();

  /** The name of what is at a place: as it is wished where nobody has that. */
  of(place: number, begin: string, wished: string): string {
    const names = this.#names.get(place) ?? new Map<string, string>();
    const known = names.get(begin);
    if (known !== undefined) return known;
    const whole = `${begin}${wished}`;
    const name = this.#taken.has(whole) || ELEMENTS.test(wished) ? `${whole}#${place}` : whole;
    this.#names.set(place, names.set(begin, name));
    this.#taken.add(name);
    return name;
  }

  release(place: number): void {
    for (const name of this.#names.get(place)?.values() ?? []) this.#taken.delete(name);
    this.#names.delete(place);
  }
}

interface StaticEntry {
  readonly domain: number;
  readonly mac: Mac;
  readonly place: number;
}

interface NeighborEntry {
  readonly domain: number;
  readonly address: ip.Ip;
  readonly mac: Mac;
}

/** What one description put into the tables. */
class Known {
  /** VNI by domain. */
  readonly domains = new Map<number, number>();
  readonly places = new Map<number, Port>();
  /** What is published, by place. */
  readonly published = new Map<number, { readonly domain: number; readonly published: Published }>();
  readonly peers = new Memberships();
  readonly espPeers = new Memberships();
  readonly statics = new Map<string, StaticEntry>();
  readonly neighbors = new Map<string, NeighborEntry>();

  addStatic(entry: StaticEntry): void {
    const key = `${entry.domain} ${entry.mac.hi} ${entry.mac.lo}`;
    const other = this.statics.get(key);
    if (other !== undefined && other.place !== entry.place) {
      throw new RangeError('"networks" expected each MAC address in one place of a network, got one in two');
    }
    this.statics.set(key, entry);
  }

  addNeighbor(entry: NeighborEntry): void {
    this.neighbors.set(`${entry.domain} ${ip.format(entry.address)}`, entry);
  }
}

/** Which peers are in which domains. */
class Memberships {
  readonly #domains = new Map<number, Set<number>>();

  set(peer: number, domain: number): void {
    const domains = this.#domains.get(peer) ?? new Set();
    this.#domains.set(peer, domains.add(domain));
  }

  has(peer: number, domain: number): boolean {
    return this.#domains.get(peer)?.has(domain) ?? false;
  }

  known(peer: number): boolean {
    return this.#domains.has(peer);
  }

  numbers(): Iterable<number> {
    return this.#domains.keys();
  }

  domains(peer: number): Iterable<number> {
    return this.#domains.get(peer) ?? [];
  }
}
