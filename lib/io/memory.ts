/**
 * Ports that join dataplanes within one process: the reference that the other ports are held against.
 *
 * `memoryPair` makes a cable: what one end sends, the other receives. Packets are handed over as they are,
 * without a copy, and go home to the pool that they came from.
 *
 * `MemoryUnderlay` is a network of any number of datagram ports with addresses: the underlay of a simulated
 * overlay.
 */
import { format, parse } from '../../codecs/ip.ts';
import { BATCH, type Batch } from '../core/batch.ts';
import { CLOSED, PORT_FULL, TOO_BIG, UNKNOWN_PEER } from '../core/drop.ts';
import { NONE, type Packet } from '../core/packet.ts';
import { Ring } from '../core/ring.ts';
import { VtepTable } from '../tables/vtep.ts';
import {
  DATAGRAM,
  dropAll,
  ETHERNET,
  type Medium,
  type Port,
  PortError,
  type PortHost,
  PortStats,
  takes,
} from './port.ts';

export interface MemoryOptions {
  /** For counters and messages. */
  name?: string;
  /** Default ETHERNET. */
  medium?: Medium;
  /** Largest frame in bytes. Default 1514. */
  mtu?: number;
  /** What passes whole: bits of `offloads`. Default: none. */
  offloads?: number;
  /** Packets that may wait to be received, a power of two. Default 1024. */
  capacity?: number;
}

/** What all memory ports do: a queue of arrivals, and being open or not. */
abstract class MemoryBase implements Port {
  readonly name: string;
  readonly medium: Medium;
  readonly mtu: number;
  readonly offloads: number;
  readonly stats = new PortStats();
  onError: ((error: PortError) => void) | null = null;

  protected host: PortHost | null = null;
  readonly #arrived: Ring;

  constructor(options: MemoryOptions, medium: Medium) {
    this.name = options.name ?? 'memory';
    this.medium = medium;
    this.mtu = options.mtu ?? 1514;
    this.offloads = options.offloads ?? 0;
    this.#arrived = new Ring(options.capacity ?? 1024);
  }

  async open(host: PortHost): Promise<void> {
    if (this.host !== null) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    this.host = host;
    if (this.#arrived.length > 0) host.wake();
  }

  receive(batch: Batch): number {
    const { packets, length } = batch;
    const n = this.#arrived.getAll(packets, length, BATCH - length);
    let bytes = 0;
    for (let i = length; i < length + n; i++) bytes += packets[i].length;
    this.stats.received(bytes, n);
    batch.length += n;
    return batch.length;
  }

  send(batch: Batch): void {
    if (this.host === null) {
      dropAll(batch, this.stats, CLOSED);
      return;
    }
    const { packets, length } = batch;
    let n = 0;
    for (let i = 0; i < length; i++) {
      const p = packets[i];
      if (takes(this, p)) packets[n++] = p;
      else this.stats.drop(p, TOO_BIG);
    }
    this.carry(packets, n);
    batch.clear();
  }

  async close(): Promise<void> {
    this.host = null;
    for (let p = this.#arrived.get(); p !== null; p = this.#arrived.get()) this.stats.drop(p, CLOSED);
  }

  /** Takes the first `n` packets to wherever they go. */
  protected abstract carry(packets: readonly Packet[], n: number): void;

  /**
   * Called by the sender's side: queues the packets `from..to`, which come from `peer` as this side numbers
   * its peers, and has the sender count them and what is lost.
   */
  accept(packets: readonly Packet[], from: number, to: number, peer: number, sender: PortStats): void {
    const waiting = this.#arrived.length;
    const n = this.host === null ? 0 : this.#arrived.putAll(packets, from, to);
    let bytes = 0;
    for (let i = from; i < from + n; i++) {
      const p = packets[i];
      bytes += p.end - p.start;
      p.forget();
      p.peer = peer;
    }
    sender.sent(bytes, n);
    const reason = this.host === null ? CLOSED : PORT_FULL;
    for (let i = from + n; i < to; i++) sender.drop(packets[i], reason);
    if (waiting === 0 && n > 0) this.host!.wake();
  }
}

class MemoryPort extends MemoryBase {
  other: MemoryPort | null = null;

  constructor(options: MemoryOptions) {
    super(options, options.medium ?? ETHERNET);
  }

  protected override carry(packets: readonly Packet[], n: number): void {
    this.other!.accept(packets, 0, n, NONE, this.stats);
  }
}

/** Two ports joined by a cable. */
export function memoryPair(options: MemoryOptions = {}): [Port, Port] {
  const name = options.name ?? 'memory';
  const a = new MemoryPort({ ...options, name: `${name}.a` });
  const b = new MemoryPort({ ...options, name: `${name}.b` });
  a.other = b;
  b.other = a;
  return [a, b];
}

/** A network of datagram ports in memory. */
export class MemoryUnderlay {
  /** The open ports by address. */
  readonly ports = new Map<string, MemoryDatagramPort>();

  /** Makes a port with an IPv4 or IPv6 address of its own. `mtu` is the largest UDP payload; default 1472. */
  port(address: string, options: Omit<MemoryOptions, 'medium'> = {}): MemoryDatagramPort {
    return new MemoryDatagramPort(this, format(parse(address)), options);
  }
}

/** One address on a {@link MemoryUnderlay}. */
export class MemoryDatagramPort extends MemoryBase {
  readonly peers = new VtepTable();
  readonly address: string;
  readonly #underlay: MemoryUnderlay;
  /** Where each peer's datagrams go, found at the first one and again when either side's peers change. */
  readonly #ways: (Way | undefined)[] = [];

  constructor(underlay: MemoryUnderlay, address: string, options: MemoryOptions) {
    super({ name: address, mtu: 1472, ...options }, DATAGRAM);
    this.#underlay = underlay;
    this.address = address;
  }

  override async open(host: PortHost): Promise<void> {
    if (this.host === null && this.#underlay.ports.has(this.address)) {
      throw new PortError(
        'ADDRESS_IN_USE',
        `${this.address} has a port on this underlay: use another address`,
      );
    }
    await super.open(host);
    this.#underlay.ports.set(this.address, this);
  }

  override async close(): Promise<void> {
    if (this.#underlay.ports.get(this.address) === this) this.#underlay.ports.delete(this.address);
    await super.close();
  }

  /** Datagrams to one peer in a row go together. */
  protected override carry(packets: readonly Packet[], n: number): void {
    for (let from = 0, to = 0; from < n; from = to) {
      const { peer } = packets[from];
      for (to = from + 1; to < n && packets[to].peer === peer; to++);
      this.#carryTo(peer, packets, from, to);
    }
  }

  #carryTo(peer: number, packets: readonly Packet[], from: number, to: number): void {
    const way = this.#way(peer);
    if (way !== null && way.us !== NONE) {
      way.to.accept(packets, from, to, way.us, this.stats);
      return;
    }
    for (let i = from; i < to; i++) {
      if (way !== null) this.stats.sent(packets[i].length);
      (way?.to ?? this).stats.drop(packets[i], UNKNOWN_PEER);
    }
  }

  #way(peer: number): Way | null {
    const known = this.#ways[peer];
    if (
      known !== undefined &&
      known.ours === this.peers.version &&
      known.theirs === known.to.peers.version &&
      known.to.host !== null
    ) {
      return known;
    }
    const vtep = this.peers.get(peer);
    const to = vtep && this.#underlay.ports.get(format(vtep.address));
    if (to === undefined) return null;
    const us = to.peers.lookup(...parse(this.address).words);
    const way = { to, us, ours: this.peers.version, theirs: to.peers.version };
    this.#ways[peer] = way;
    return way;
  }
}

interface Way {
  readonly to: MemoryDatagramPort;
  /** Our number in the far port's table of peers, or NONE. */
  readonly us: number;
  /** Versions of both tables of peers when this was found. */
  readonly ours: number;
  readonly theirs: number;
}
