/**
 * What runs on a host that is in a cluster: the dataplane, what brings the host in line with control, names, published
 * ports, containers. It outlives no daemon, but what it made does: devices, namespaces and commands are taken up again.
 */
import type { Control } from '../control/control.ts';
import type { Endpoint } from '../control/model.ts';
import { Commands } from './commands.ts';
import { Containers } from './containers.ts';
import type { Dataplane, DataplaneLocal } from './dataplane.ts';
import type { Place } from './desired.ts';
import { GatewayService } from './gateway-service.ts';
import { type Logger, libraryLog } from './log.ts';
import { NameService } from './name-service.ts';
import { ViewNames } from './names.ts';
import type { DaemonOptions } from './options.ts';
import { Plumbing } from './plumbing.ts';
import { PortService } from './port-service.ts';
import { Records } from './records.ts';
import type { StateFolder } from './state.ts';
import { WorkerDataplane } from './worker-dataplane.ts';

export interface RunningParts {
  readonly control: Control;
  /** What all hosts share; null: nothing can be encrypted. */
  readonly secret: string | null;
  /** Nobody tells where addresses are. */
  readonly learning: boolean;
  readonly options: DaemonOptions;
  readonly state: StateFolder;
  readonly log: Logger;
  /** The dataplane's thread died. */
  readonly onError: (error: Error) => void;
}

/** Somebody beside the containers who has endpoints on this node, such as a Docker engine. */
export type Placer = (endpoint: Endpoint) => Place | null;

export class Running {
  readonly control: Control;
  /** What the dataplane was told of this host. */
  readonly local: DataplaneLocal;
  readonly dataplane: Dataplane;
  readonly containers: Containers;
  readonly plumbing: Plumbing;
  readonly names: NameService;
  readonly records: Records;
  readonly commands: Commands;
  readonly #gateways: GatewayService;
  readonly #ports: PortService;
  readonly #viewNames: ViewNames;
  readonly #log: Logger;
  readonly #placers = new Set<Placer>();
  #unlisten = (): void => {};

  static async start(parts: RunningParts): Promise<Running> {
    const { control, secret, options, state, log, onError } = parts;
    const records = await Records.open(state, (message) => log.warn(message));
    const folder = await state.folder('commands');
    const { address, dataPort, espPort, mtu } = control.node;
    const later: { running: Running | null } = { running: null };
    const period = options.keyPeriod === null ? {} : { period: options.keyPeriod * 1000 };
    const esp = secret === null ? null : { secret, port: espPort, keys: control.keys, ...period };
    const local: DataplaneLocal = { address, dataPort, mtu, esp };
    const dataplane = await WorkerDataplane.start(local, {
      log: libraryLog(log.child({ part: 'dataplane' })),
      busyPoll: options.busyPoll,
      onPortBack: () => later.running?.devicesAreBack(),
      onError,
    });
    const running = new Running(parts, local, dataplane, records, folder);
    later.running = running;
    try {
      await running.#begin();
    } catch (error) {
      await running.stop();
      throw error;
    }
    return running;
  }

  private constructor(
    parts: RunningParts,
    local: DataplaneLocal,
    dataplane: Dataplane,
    records: Records,
    folder: string,
  ) {
    const { control, options, learning, log } = parts;
    const { id: node } = control.node;
    this.control = control;
    this.local = local;
    this.dataplane = dataplane;
    this.records = records;
    this.#log = log;
    this.#viewNames = new ViewNames();
    this.#gateways = new GatewayService(node);
    this.#ports = new PortService({
      gateways: this.#gateways,
      route: (endpoint) => this.containers.route(endpoint),
      held: ({ container }) => records.get(container)?.portsHeld === true,
      log,
    });
    this.names = new NameService({
      names: this.#viewNames,
      node,
      upstream: options.dnsUpstream,
      servers: (network, from) => this.#serversOf(network, from),
    });
    this.plumbing = new Plumbing({
      control,
      dataplane,
      place: (endpoint) => this.#place(endpoint),
      networks: [this.#gateways, this.names],
      endpoints: [this.#ports],
      learning,
      log,
    });
    this.commands = new Commands({ records, control, folder, log });
    this.containers = new Containers({
      records,
      control,
      plumbing: this.plumbing,
      commands: this.commands,
      isFree: this.#ports.isFree,
      log,
    });
  }

  async #begin(): Promise<void> {
    await this.#ports.open();
    this.#follow();
    await this.containers.restore();
    await this.#release();
    // What fails is told there, and tried again: it keeps nothing else from going on.
    await this.plumbing.run().catch(() => {});
    const kept = new Set([...this.control.views.values()].map(({ network }) => network.vni));
    if (this.control.health.state === 'connected') {
      await this.#ports.sweep();
      await this.#gateways.sweep(kept);
    }
    this.#unlisten = this.control.onChange(() => {
      this.#follow();
      void this.#release();
    });
    this.commands.watch();
  }

  /** Asks somebody else, too, where endpoints of this node are. How to stop. */
  addPlacer(placer: Placer): () => void {
    this.#placers.add(placer);
    return () => void this.#placers.delete(placer);
  }

  /** Devices were made anew after they had been deleted: they are configured again. */
  devicesAreBack(): void {
    this.plumbing.forgetDevices();
    this.#run();
  }

  /** Ends what this process does; devices, namespaces, rules and commands stay for the next one. */
  async stop(): Promise<void> {
    this.#unlisten();
    this.commands.close();
    await this.plumbing.stop();
    await this.#ports.stop();
    this.names.stop();
    await this.dataplane.stop();
    await this.plumbing.leaveIdle();
  }

  /** Leaves nothing on this host. The containers are gone already. */
  async clear(): Promise<void> {
    this.#unlisten();
    this.commands.close();
    await this.plumbing.clear();
    await this.#ports.close();
    this.names.stop();
    await this.dataplane.stop();
    await this.#gateways.sweep(new Set());
    await this.#gateways.clear();
  }

  #follow(): void {
    this.#viewNames.follow(this.control.views, this.control.node.id);
    this.#run();
  }

  /** The store may have been away when this daemon began. */
  async #release(): Promise<void> {
    if (this.control.health.state === 'connected') await this.containers.release();
  }

  #run(): void {
    this.plumbing.run().catch((error: Error) => this.#log.debug(error.message));
  }

  #place(endpoint: Endpoint): Place | null {
    const place = this.containers.place(endpoint);
    if (place !== null) return place;
    for (const placer of this.#placers) {
      const found = placer(endpoint);
      if (found !== null) return found;
    }
    return null;
  }

  /** Name servers of the container that is at an address of a network, where it has its own. */
  #serversOf(network: string, from: string): readonly string[] | null {
    for (const endpoint of this.control.own()) {
      if (endpoint.network !== network) continue;
      if (!endpoint.addresses.some((address) => address.split('/', 1)[0] === from)) continue;
      const dns = this.records.get(endpoint.container)?.dns ?? [];
      return dns.length > 0 ? dns : null;
    }
    return null;
  }
}
