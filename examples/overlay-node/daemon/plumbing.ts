/**
 * Brings this host in line with what control knows and where containers are: gateways, devices and what is in their
 * namespaces, name servers, ports of the host. One call does everything, and only where something has changed; what
 * fails does not keep the rest from being done, is told to whoever asked for it, and is tried again.
 */
import { configure, existing } from '../attach/namespace.ts';
import { isNamespace } from '../attach/nsfs.ts';
import type { Control, NetworkView } from '../control/control.ts';
import type { Endpoint, Network } from '../control/model.ts';
import type { Dataplane } from './dataplane.ts';
import { desiredNetwork, gatewayInterface, gatewayPort, interfaceOf, type Place } from './desired.ts';
import type { Logger } from './log.ts';
import { Turns } from './turns.ts';

/** Milliseconds until what failed is tried again. */
const AGAIN = 2000;
/** In place of an id: what the dataplane carries, which concerns all. */
const ALL = '';

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
  /** What the dataplane carries, as JSON. */
  #carried = '[]';
  /** What failed at the last turn, by id of the endpoint or network. */
  #failures = new Map<string, Error>();
  /** What failed at the turn before: the same is not told again. */
  #before: ReadonlyMap<string, Error> = new Map();
  /** Names of `ip netns` as this turn began. */
  #namespaces: ReadonlySet<string> = new Set();
  #again: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(parts: PlumbingParts) {
    this.#parts = parts;
  }

  /** Resolves when everything is as it should be now. Rejects with what failed of these endpoints, of their networks, or
   * of the dataplane as a whole, after the rest was done. */
  async run(of: readonly Endpoint[] = []): Promise<void> {
    await this.#turns.run();
    for (const id of [ALL, ...of.flatMap(({ id, network }) => [network, id])]) {
      const failure = this.#failures.get(id);
      if (failure !== undefined) throw failure;
    }
  }

  /** Devices were made anew: they are configured again at the next run. */
  forgetDevices(): void {
    this.#configured.clear();
  }

  /** Ends what is under way, and leaves everything as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#again !== null) clearTimeout(this.#again);
    await this.#turns.idle();
  }

  /** Takes away what is only kept ready: networks without an endpoint here. The devices are gone already. */
  async leaveIdle(): Promise<void> {
    const { control } = this.#parts;
    const here = ({ node }: Endpoint) => node === control.node.id;
    for (const network of [...this.#open.values()]) {
      const endpoints = [...(control.views.get(network.id)?.endpoints.values() ?? [])];
      if (!endpoints.some(here)) await this.#attempt(network.id, () => this.#close(network));
    }
  }

  /** Takes away all that was opened, but for devices. */
  async clear(): Promise<void> {
    await this.stop();
    for (const id of [...this.#published.keys()]) await this.#attempt(id, () => this.#withdraw(id));
    for (const network of [...this.#open.values()]) {
      await this.#attempt(network.id, () => this.#close(network));
    }
  }

  async #work(): Promise<void> {
    if (this.#stopped) return;
    this.#before = this.#failures;
    this.#failures = new Map();
    this.#namespaces = new Set(existing());
    const lost = this.#lost();
    const all = this.#parts.control.views;
    const views = new Map([...all].filter(([id]) => !lost.has(id)));
    for (const { network } of views.values()) {
      if (this.#open.has(network.id)) continue;
      for (const service of this.#parts.networks) {
        await this.#attempt(network.id, () => service.prepare(network));
      }
    }
    const gone = [...this.#open.values()].filter(({ id }) => !views.has(id));
    for (const id of this.#goneEndpoints(views)) await this.#attempt(id, () => this.#withdraw(id));
    const carried = await this.#attempt(ALL, () => this.#carry(views));
    for (const network of gone) await this.#attempt(network.id, () => this.#close(network));
    if (carried) for (const view of views.values()) await this.#follow(view);
    if (this.#failures.size > 0) this.#tryAgain();
    if (lost.size > 0) void this.#turns.run();
  }

  /** Networks whose gateway somebody deleted: they are closed in this turn, and opened anew in the next. */
  #lost(): ReadonlySet<string> {
    const { id: node } = this.#parts.control.node;
    const there = (network: Network) => this.#namespaces.has(gatewayPort(network, node).namespace);
    return new Set([...this.#open.values()].filter((network) => !there(network)).map(({ id }) => id));
  }

  /** What is done for a network when its devices are there. */
  async #follow({ network, endpoints }: NetworkView): Promise<void> {
    const mtu = this.#parts.dataplane.mtu(network.vni);
    const gateway = gatewayPort(network, this.#parts.control.node.id);
    await this.#attempt(network.id, async () => {
      await this.#configure(gateway.id, gateway.namespace, gatewayInterface(network, gateway, mtu));
      if (!this.#open.has(network.id)) await this.#openNetwork(network);
    });
    for (const endpoint of endpoints.values()) {
      const place = this.#place(endpoint);
      if (place === null) continue;
      await this.#attempt(endpoint.id, async () => {
        const { namespace, managed = false } = place;
        if (namespace !== null && !managed) {
          await this.#configure(endpoint.id, namespace, interfaceOf(endpoint, network, place, mtu));
        }
        await this.#publish(endpoint, network);
      });
    }
  }

  /** Whether it was done. */
  async #attempt(id: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      const { message } = error as Error;
      this.#parts.log[this.#before.get(id)?.message === message ? 'debug' : 'error'](message);
      if (!this.#failures.has(id)) this.#failures.set(id, error as Error);
      return false;
    }
  }

  #tryAgain(): void {
    this.#again ??= setTimeout(() => {
      this.#again = null;
      void this.#turns.run();
    }, AGAIN).unref();
  }

  /** Where an endpoint is, if it is here and its namespace still there. */
  #place(endpoint: Endpoint): Place | null {
    if (endpoint.node !== this.#parts.control.node.id) return null;
    const place = this.#parts.place(endpoint);
    if (place === null) return null;
    const { namespace } = place;
    if (namespace === null) return place;
    return (namespace.includes('/') ? isNamespace(namespace) : this.#namespaces.has(namespace))
      ? place
      : null;
  }

  async #carry(views: ReadonlyMap<string, NetworkView>): Promise<void> {
    const { control, dataplane, learning } = this.#parts;
    const place = (endpoint: Endpoint) => this.#place(endpoint);
    const networks = [...views.values()].map((view) =>
      desiredNetwork(view, control.node.id, place, learning),
    );
    const text = JSON.stringify(networks);
    if (text === this.#carried) return;
    await dataplane.apply(networks);
    this.#carried = text;
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

  #goneEndpoints(views: ReadonlyMap<string, NetworkView>): string[] {
    const { id: node } = this.#parts.control.node;
    const gateways = [...this.#open.values()].map((network) => gatewayPort(network, node).id);
    const endpoints = [...views.values()].flatMap((view) => [...view.endpoints.keys()]);
    const known = new Set([...gateways, ...endpoints]);
    const done = new Set([...this.#published.keys(), ...this.#configured.keys()]);
    return [...done].filter((id) => !known.has(id));
  }
}
