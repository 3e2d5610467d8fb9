/**
 * An overlay network on this host, from a description:
 *
 *     const overlay = new Overlay({
 *       local: '192.0.2.1',
 *       networks: [{
 *         vni: 42,
 *         remotes: ['192.0.2.2'],
 *         ports: [{ port: tap, mac: '02:42:0a:00:00:02', addresses: ['10.0.0.2'] }],
 *       }],
 *     });
 *     await overlay.start();
 *     await overlay.apply(changed);    // changes only the difference
 *     await overlay.stop();
 *
 * Each network is a bridge that learns (RFC 7348 section 4.1) between its local ports and its remote hosts.
 * What is declared is known from the start: a port's MAC and IP addresses are guarded against spoofing and
 * answered for in ARP and neighbor discovery. Unknown, broadcast and multicast frames go to every local port
 * and, one copy each, to every remote; a frame from one remote is never sent to another. Frames come in only
 * from the remotes that a network names.
 */
import * as ip from '../codecs/ip.ts';
import { chooseProvider } from '../crypto/choose.ts';
import { INBOUND_PER_PEER } from '../crypto/keyring.ts';
import { Sad } from '../crypto/sad.ts';
import { type Context, createContext } from './core/context.ts';
import { Engine, type RunOptions, type Steppable } from './core/engine.ts';
import type { Port } from './io/port.ts';
import { type UdpOptions, UdpPort } from './io/udp.ts';
import {
  type CaptureRequest,
  checkCapture,
  type OnBytes,
  portsOf,
  type RunningCapture,
} from './overlay/capture.ts';
import { compile, type EspParts } from './overlay/compile.ts';
import { check, type OverlayConfig, type Wanted, type WantedLocal } from './overlay/config.ts';
import { type DropTraceOptions, describer, type OnDrops, type RunningTrace } from './overlay/drop-trace.ts';
import { Intent } from './overlay/intent.ts';
import { Keys } from './overlay/keys.ts';
import { Watching } from './overlay/watching.ts';
import { Fdb } from './tables/fdb.ts';
import { FlowTable } from './tables/flow.ts';
import { NeighborTable } from './tables/neighbor.ts';
import { VtepTable } from './tables/vtep.ts';

export type {
  CaptureCounts,
  CaptureEnd,
  CaptureRequest,
  OnBytes,
  RunningCapture,
} from './overlay/capture.ts';
export type {
  EspConfig,
  LocalConfig,
  NetworkConfig,
  OverlayConfig,
  PortConfig,
  PublishedConfig,
  RemoteConfig,
  StaticConfig,
} from './overlay/config.ts';
export type { DropSeen, DropTraceOptions, OnDrops, RunningTrace } from './overlay/drop-trace.ts';
export { type KeyChannel, KeyDirectory } from './overlay/key-channel.ts';

/** Sizes and parts that are fixed when an overlay is made. */
export interface OverlayParts extends Partial<Context> {
  /** MAC addresses that can be known at once, in all networks. Default 65536. */
  readonly macs?: number;
  /** IP addresses that can be answered for. Default 65536. */
  readonly neighbors?: number;
  /** Flows to and from endpoints that publish ports that can be told apart. Default 65536. */
  readonly flows?: number;
  /** Makes the sockets that the description does not give ports for. Default: {@link UdpPort}. */
  readonly socket?: (options: UdpOptions) => Port;
  /** Milliseconds after which a MAC address that is not seen is forgotten, 10,000..1,000,000,000. Default 300,000. */
  readonly ageing?: number;
}

/** A remote of encrypted networks. */
export interface EncryptedPeer {
  readonly address: string;
  /** Whether there are keys to send with. Until then what goes to it is dropped as `no-sa`. */
  readonly ready: boolean;
}

/** What one port has carried. */
export interface PortCounts {
  /** What the description calls it: in a worker its `id` or name, else its name. */
  readonly name: string;
  /** The network's VNI, or null for the underlay. */
  readonly vni: number | null;
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly dropped: number;
}

export class Overlay implements Steppable {
  readonly context: Context;
  readonly engine: Engine;
  readonly fdb: Fdb;
  readonly neighbors: NeighborTable;
  /** Flows to and from the endpoints that publish ports. */
  readonly flows: FlowTable;
  /** The tunnel endpoints: every remote of every network. */
  readonly peers: VtepTable;
  /** Those of encrypted networks. */
  readonly espPeers: VtepTable;

  #wanted: Wanted;
  #open = false;
  readonly #underlay: Port;
  readonly #espUnderlay: Port | null;
  readonly #espControl: Port | null;
  #esp: EspParts | null = null;
  readonly #seed: number;
  readonly #intent: Intent;
  readonly #watching: Watching;
  #queue: Promise<void> = Promise.resolve();

  /** Checks the description; opens nothing. Throws a TypeError or RangeError that names the field. */
  constructor(config: OverlayConfig, parts: OverlayParts = {}) {
    this.#wanted = check(config);
    this.context = createContext(parts);
    this.engine = new Engine(this.context);
    this.#seed = this.context.random.int32();
    this.fdb = new Fdb({
      capacity: parts.macs ?? 65536,
      seed: this.#seed,
      ...(parts.ageing === undefined ? {} : { ageing: parts.ageing }),
    });
    this.neighbors = new NeighborTable({ capacity: parts.neighbors ?? 65536, seed: this.#seed });
    this.flows = new FlowTable({ capacity: parts.flows ?? 65536, seed: this.#seed });
    const { local } = this.#wanted;
    const make = parts.socket ?? ((options) => new UdpPort(options));
    const socket = (port: number, name: string) => make(socketOptions(local, port, name));
    this.#underlay = local.underlay ?? socket(local.port, 'udp');
    this.peers = this.#underlay.peers ?? new VtepTable();
    this.#espUnderlay = local.esp && (local.esp.underlay ?? socket(local.esp.port, 'esp'));
    this.#espControl = local.esp?.apart ? (local.esp.control ?? socket(local.esp.port, 'esp-control')) : null;
    // A port that shows addresses has no table of its own: it takes that of the port which does not.
    this.espPeers = (this.#espControl ?? this.#espUnderlay)?.peers ?? new VtepTable();
    this.#intent = new Intent(this.fdb, this.neighbors, this.peers, this.espPeers, this.flows);
    this.#watching = new Watching(this.context, this.espPeers, () => {
      // What fails here leaves the graph as it was; whoever applies next is told.
      this.#rewatch().catch(() => {});
    });
  }

  /** The port that carries the tunnels. */
  get underlay(): Port {
    return this.#underlay;
  }

  /** Largest IP packet inside a network, in bytes. Throws a RangeError for a VNI that is not there. */
  mtu(vni: number): number {
    const network = this.#wanted.networks.find((n) => n.vni === vni);
    if (network === undefined) throw new RangeError(`no network has the VNI ${vni}`);
    return network.mtu;
  }

  /** Opens the ports without running: for a simulation that calls `step`. Rejects with a PortError. */
  async open(): Promise<void> {
    await this.#enqueue(async () => {
      this.#esp ??= await this.#makeEsp();
      await this.#apply(this.#wanted);
    });
    this.#open = true;
  }

  /** Opens the ports and runs on this thread. Rejects with a PortError. */
  async start(options: RunOptions = {}): Promise<void> {
    await this.open();
    this.engine.start(options);
  }

  /** One breath; see {@link Engine.step}. */
  step(): number {
    return this.engine.step();
  }

  /**
   * Changes the overlay to another description. Only the difference is touched: ports, learned addresses and
   * packets of what stays are kept. Throws or rejects, with everything as it was, where the description is
   * wrong or a port cannot be opened. `local` cannot change.
   */
  async apply(config: OverlayConfig): Promise<void> {
    const wanted = check(config);
    checkSameLocal(this.#wanted, wanted);
    if (!this.#open) this.#wanted = wanted;
    else await this.#enqueue(() => this.#apply(wanted));
  }

  /**
   * Hands out what comes by somewhere as the bytes of a pcapng file, from now on until it is stopped, its limit is
   * reached or the overlay stops. Nothing else changes; a network's ports that come later are in it, too. Super-frames are
   * shown as they are, checksums as the ports left them. Throws a TypeError or RangeError for a request that makes no
   * sense. `nameOf` says what ports are called, where that is not their name.
   */
  async capture(
    request: CaptureRequest,
    onBytes: OnBytes,
    nameOf: (port: Port) => string = (port) => port.name,
  ): Promise<RunningCapture> {
    checkCapture(request);
    this.#checkThere(request, nameOf);
    const capture = this.#watching.capture(request, { local: this.#wanted.local, nameOf, onBytes });
    try {
      await this.#rewatch();
    } catch (error) {
      await capture.stop();
      throw error;
    }
    return capture;
  }

  /** Tells every packet that is dropped, in words, from now on until it is stopped or the overlay stops. Throws a
   * RangeError for a limit that is none. */
  async trace(onDrops: OnDrops, options?: DropTraceOptions): Promise<RunningTrace> {
    const { espPeers } = this;
    const describe = describer({ underlay: this.#underlay, esp: this.#espUnderlay, espPeers });
    const end = this.#watching.trace(describe, onDrops, options);
    await this.#rewatch();
    return { stop: async () => end() };
  }

  #checkThere({ what }: CaptureRequest, nameOf: (port: Port) => string): void {
    if (what === 'underlay') return;
    if ('network' in what) this.mtu(what.network);
    else {
      const known = this.#wanted.networks.flatMap(({ ports }) => ports.map(({ port }) => nameOf(port)));
      const unknown = portsOf(what).find((name) => !known.includes(name));
      if (unknown !== undefined) throw new RangeError(`no port is called "${unknown}"`);
    }
  }

  /** Makes the graph one in which those see something who watch now. */
  async #rewatch(): Promise<void> {
    if (this.#open) await this.#enqueue(() => this.#apply(this.#wanted));
  }

  /**
   * Closes all ports. What waits in them is dropped and counted; what the operating system still holds for native ports
   * goes with their sockets and devices, unless `engine.drain()` has carried it first.
   */
  async stop(): Promise<void> {
    this.engine.stop();
    await this.#enqueue(() => this.engine.graph.close());
    this.#watching.close();
    this.#esp?.keys.close();
    this.#esp = null;
    this.#open = false;
  }

  /** Everybody's counters that are not zero, by name of element or port. */
  counters(): Record<string, Record<string, number>> {
    return this.context.counters.snapshot();
  }

  /** How many packets died, by reason, everywhere in this overlay. */
  drops(): Record<string, number> {
    return this.context.counters.drops();
  }

  /** The remotes of encrypted networks, and whether packets can go to them. */
  encryptedPeers(): EncryptedPeer[] {
    return [...this.espPeers.entries()].map(([peer, { address }]) => ({
      address: ip.format(address),
      ready: this.#esp?.keys.ready(peer) ?? false,
    }));
  }

  /** What every port has carried, the underlays first. `nameOf` says what ports are called, where that is not their name. */
  ports(nameOf: (port: Port) => string = (port) => port.name): PortCounts[] {
    const row = (name: string, vni: number | null, { stats }: Port): PortCounts => ({
      name,
      vni,
      rxPackets: stats.rxPackets,
      txPackets: stats.txPackets,
      rxBytes: stats.rxBytes,
      txBytes: stats.txBytes,
      dropped: stats.dropped,
    });
    const local = this.#wanted.networks.flatMap(({ vni, ports }) =>
      ports.map(({ port }) => row(nameOf(port), vni, port)),
    );
    const esp = [
      ...(this.#espUnderlay === null ? [] : [row('esp-underlay', null, this.#espUnderlay)]),
      ...(this.#espControl === null ? [] : [row('esp-control', null, this.#espControl)]),
    ];
    return [row('underlay', null, this.#underlay), ...esp, ...local];
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  /** Keys, their database and the port of encrypted networks; null where the description has no secret. */
  async #makeEsp(): Promise<EspParts | null> {
    const { local } = this.#wanted;
    if (local.esp === null || this.#espUnderlay === null) return null;
    const force = local.esp.provider;
    const { provider, refused } = await chooseProvider(force === null ? {} : { force });
    const { clock, log } = this.context;
    for (const { name, reason } of refused) log.info(`ESP without ${name}: ${reason}`);
    log.info(`ESP by ${provider.name}`);
    const sad = new Sad(this.espPeers.capacity * INBOUND_PER_PEER);
    const networksOf = (node: string) =>
      this.#wanted.networks
        .filter(({ encrypted, remotes }) => encrypted && remotes.some((r) => ip.format(r.address) === node))
        .map(({ vni }) => vni);
    const keys = new Keys({ local, provider, peers: this.espPeers, networksOf, sad, clock, log });
    const onRekey = () => keys.rekey();
    return { underlay: this.#espUnderlay, control: this.#espControl, sad, keys, onRekey };
  }

  async #apply(wanted: Wanted): Promise<void> {
    await this.#intent.change(wanted, () =>
      this.engine.apply(
        compile(wanted, {
          underlay: this.#underlay,
          intent: this.#intent,
          seed: this.#seed,
          esp: this.#esp,
          watching: this.#watching.any ? this.#watching : null,
        }),
      ),
    );
    this.#wanted = wanted;
  }
}

/** The UDP socket of this host on a port. */
function socketOptions({ address, mtu }: WantedLocal, port: number, name: string): UdpOptions {
  return { address: ip.format(address), port, name, mtu: mtu - (address.family === 4 ? 28 : 48) };
}

function checkSameLocal(now: Wanted, wanted: Wanted): void {
  const key = ({ local }: Wanted) => [
    ip.format(local.address),
    local.port,
    local.mtu,
    local.underlay,
    local.esp?.port,
    local.esp?.underlay,
    local.esp?.carrier,
    local.esp?.apart,
    local.esp?.control,
    local.esp?.secret.join(),
  ];
  const theirs = key(wanted);
  if (key(now).some((part, i) => part !== theirs[i])) {
    throw new RangeError('"local" cannot change while the overlay exists: stop it and make another');
  }
}
