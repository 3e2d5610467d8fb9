/**
 * Brings this host in line with what control knows and where containers are: gateways, devices and what is in their
 * namespaces, name servers, ports of the host. One call does everything, and only where something has changed; what
 * fails does not keep the rest from being done, and is told to whoever asked.
 */
import { configure, existing } from '../attach/namespace.ts';
import type { Control, NetworkView } from '../control/control.ts';
import type { Endpoint, Network } from '../control/model.ts';
import type { Dataplane, DataplaneNetwork } from './dataplane.ts';
import { desiredNetwork, gatewayInterface, gatewayPort, interfaceOf, type Place } from './desired.ts';
import type { Logger } from './log.ts';
import { Turns } from './turns.ts';

/** What is done for a network as a whole on this host: its gateway, its name server. */
export interface NetworkService {
  /** Makes what must be there before the devices are. */
  prepare(network: Network): Promise<void>;
  /** Called when the devices are there and configured. */
  open(network: Network): Promise<void>;
  /** Called when the devices are gone, with the network as it was. */
  close(network: Network): Promise<void>;
}

/** What is done for an endpoint of this node beside its device: ports of the host. */
export interface EndpointService {
  publish(endpoint: Endpoint, network: Network): Promise<void>;
  withdraw(endpointId: string): Promise<void>;
}

export interface PlumbingParts {
  readonly control: Control;
  readonly dataplane: Dataplane;
  readonly place: (endpoint: Endpoint) => Place | null;
  readonly networks: readonly NetworkService[];
  readonly endpoints: readonly EndpointService[];
  /** Whether nobody tells where addresses are, so that they are learned. */
  readonly learning: boolean;
  readonly log: Logger;
}

export class Plumbing {
  readonly #parts: PlumbingParts;
  readonly #turns = new Turns(() => this.#work());
  readonly #open = new Map<string, Network>();
  /** What each device was configured to. */
  readonly #configured = new Map<string, string>();
  readonly #published = new Map<string, string>();
  /** What the dataplane carries. */
  #carried: readonly DataplaneNetwork[] = [];
  #carriedOf = new Map<string, { readonly view: NetworkView; readonly network: DataplaneNetwork }>();

  constructor(parts: PlumbingParts) {
    this.#parts = parts;
  }

  /** Resolves when everything is as it should be. Rejects with the first thing that failed, after the rest was done. */
  run(): Promise<void> {
    return this.#turns.run();
  }

  /** Devices were made anew: they are configured again at the next run. */
  forgetDevices(): void {
    this.#configured.clear();
  }

  /** Nothing is left of what was opened, but for devices. */
  async close(): Promise<void> {
    await this.#turns.idle();
    for (const id of [...this.#published.keys()]) await this.#attempt(() => this.#withdraw(id));
    for (const network of [...this.#open.values()]) await this.#attempt(() => this.#close(network));
  }

  async #work(): Promise<void> {
    const failures: Error[] = [];
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      const error = await this.#attempt(work);
      if (error !== null) failures.push(error);
    };
    const views = this.#parts.control.views;
    for (const { network } of views.values()) {
      if (this.#open.has(network.id)) continue;
      for (const service of this.#parts.networks) await attempt(() => service.prepare(network));
    }
    const gone = [...this.#open.values()].filter(({ id }) => !views.has(id));
    for (const { id } of this.#goneEndpoints(views)) await attempt(() => this.#withdraw(id));
    await attempt(() => this.#carry(views));
    for (const network of gone) await attempt(() => this.#close(network));
    for (const view of views.values()) {
      await attempt(() => this.#configureNetwork(view));
      if (!this.#open.has(view.network.id)) await attempt(() => this.#openNetwork(view.network));
      for (const endpoint of view.endpoints.values()) {
        if (this.#place(endpoint) !== null) await attempt(() => this.#publish(endpoint, view.network));
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  async #attempt(work: () => Promise<void>): Promise<Error | null> {
    try {
      await work();
      return null;
    } catch (error) {
      this.#parts.log.error((error as Error).message);
      return error as Error;
    }
  }

  /** Where an endpoint is, if it is here and its namespace still there. */
  #place(endpoint: Endpoint): Place | null {
    if (endpoint.node !== this.#parts.control.node.id) return null;
    const place = this.#parts.place(endpoint);
    if (place === null || place.namespace.includes('/')) return place;
    return existing().includes(place.namespace) ? place : null;
  }

  async #carry(views: ReadonlyMap<string, NetworkView>): Promise<void> {
    const { control, dataplane, learning } = this.#parts;
    const next = new Map<string, { readonly view: NetworkView; readonly network: DataplaneNetwork }>();
    for (const [id, view] of views) {
      const place = (endpoint: Endpoint) => this.#place(endpoint);
      next.set(id, { view, network: desiredNetwork(view, control.node.id, place, learning) });
    }
    const networks = [...next.values()].map(({ network }) => network);
    if (JSON.stringify(networks) === JSON.stringify(this.#carried)) return;
    await dataplane.apply(networks);
    this.#carried = networks;
    this.#carriedOf = next;
  }

  async #configureNetwork({ network, endpoints }: NetworkView): Promise<void> {
    if (!this.#carriedOf.has(network.id)) return;
    const mtu = this.#parts.dataplane.mtu(network.vni);
    const gateway = gatewayPort(network, this.#parts.control.node.id);
    await this.#configure(gateway.id, gateway.namespace, gatewayInterface(network, gateway, mtu));
    for (const endpoint of endpoints.values()) {
      const place = this.#place(endpoint);
      if (place === null) continue;
      await this.#configure(endpoint.id, place.namespace, interfaceOf(endpoint, network, place, mtu));
    }
  }

  async #configure(id: string, namespace: string, wanted: Parameters<typeof configure>[1]): Promise<void> {
    const text = JSON.stringify([namespace, wanted]);
    if (this.#configured.get(id) === text) return;
    await configure(namespace, wanted);
    this.#configured.set(id, text);
  }

  async #openNetwork(network: Network): Promise<void> {
    for (const service of this.#parts.networks) await service.open(network);
    this.#open.set(network.id, network);
  }

  async #close(network: Network): Promise<void> {
    this.#open.delete(network.id);
    this.#configured.delete(gatewayPort(network, this.#parts.control.node.id).id);
    for (const service of [...this.#parts.networks].reverse()) await service.close(network);
  }

  async #publish(endpoint: Endpoint, network: Network): Promise<void> {
    const text = JSON.stringify([endpoint.addresses, endpoint.ports]);
    if (this.#published.get(endpoint.id) === text) return;
    for (const service of this.#parts.endpoints) await service.publish(endpoint, network);
    this.#published.set(endpoint.id, text);
  }

  async #withdraw(id: string): Promise<void> {
    this.#published.delete(id);
    this.#configured.delete(id);
    for (const service of this.#parts.endpoints) await service.withdraw(id);
  }

  #goneEndpoints(views: ReadonlyMap<string, NetworkView>): { readonly id: string }[] {
    const known = new Set([...views.values()].flatMap(({ endpoints }) => [...endpoints.keys()]));
    return [...this.#published.keys()].filter((id) => !known.has(id)).map((id) => ({ id }));
  }
}
