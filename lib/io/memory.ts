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
    while (batch.length < BATCH) {
      const p = this.#arrived.get();
      if (p === null) break;
      this.stats.received(p.length);
      batch.add(p);
    }
    return batch.length;
  }

  send(batch: Batch): void {
    if (this.host === null) {
      dropAll(batch, this.stats, CLOSED);
      return;
    }
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      if (!takes(this, p)) this.stats.drop(p, TOO_BIG);
      else this.carry(p);
    }
    batch.clear();
  }

  async close(): Promise<void> {
    this.host = null;
    for (let p = this.#arrived.get(); p !== null; p = this.#arrived.get()) this.stats.drop(p, CLOSED);
  }

  /** Takes a packet to wherever it goes. */
  protected abstract carry(p: Packet): void;

  /** Called by the sender's side: queues a packet here, or has the sender count the loss. */
  accept(p: Packet, from: PortStats): void {
    if (this.host === null) {
      from.drop(p, CLOSED);
      return;
    }
    const bytes = p.length;
    if (!this.#arrived.put(p)) {
      from.drop(p, PORT_FULL);
      return;
    }
    from.sent(bytes);
    if (this.#arrived.length === 1) this.host.wake();
  }
}

class MemoryPort extends MemoryBase {
  other: MemoryPort | null = null;

  constructor(options: MemoryOptions) {
    super(options, options.medium ?? ETHERNET);
  }

  protected override carry(p: Packet): void {
    p.forget();
    this.other!.accept(p, this.stats);
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

  protected override carry(p: Packet): void {
    const way = this.#way(p.peer);
    if (way === null) {
      this.stats.drop(p, UNKNOWN_PEER);
      return;
    }
    if (way.us === NONE) {
      this.stats.sent(p.length);
      way.to.stats.drop(p, UNKNOWN_PEER);
      return;
    }
    p.forget();
    p.peer = way.us;
    way.to.accept(p, this.stats);
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
