/**
 * Control with a memory: the networks as they were known last are written down, and are what is known until the store was
 * reached for the first time. A daemon that starts while its store is away carries on what the one before it carried.
 */
import type { Control, ControlHealth, NetworkView } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import type {
  Endpoint,
  EndpointChange,
  EndpointRequest,
  Network,
  NetworkRequest,
  NodeState,
} from '../control/model.ts';
import { readEndpoint, readNetwork, readNode } from '../control/records.ts';
import type { StateFolder } from './state.ts';

const NAME = 'views';
/** Milliseconds from a change until it is written down, with all that came meanwhile. */
const SETTLE = 1000;

/** Control that says whether it has heard of everything since it was opened. */
export interface LoadingControl extends Control {
  readonly loaded: boolean;
}

type Views = ReadonlyMap<string, NetworkView>;
/** A view as it is written down. */
interface Saved {
  readonly network: Network;
  readonly endpoints: readonly Endpoint[];
  readonly peers: readonly NodeState[];
}

export class RememberedControl implements Control {
  readonly #control: LoadingControl;
  readonly #state: StateFolder;
  readonly #unlisten: () => void;
  #saved: Views;
  #written: Views | null = null;
  #timer: NodeJS.Timeout | null = null;

  static async open(control: LoadingControl, state: StateFolder): Promise<RememberedControl> {
    const saved = control.loaded ? null : await state.read<Saved[]>(NAME).catch(() => null);
    return new RememberedControl(control, state, readable(saved));
  }

  private constructor(control: LoadingControl, state: StateFolder, saved: Views) {
    this.#control = control;
    this.#state = state;
    this.#saved = saved;
    this.#unlisten = control.onChange(() => this.#note());
    this.#note();
  }

  get node(): NodeState {
    return this.#control.node;
  }
  get health(): ControlHealth {
    return this.#control.health;
  }
  get keys(): Control['keys'] {
    return this.#control.keys;
  }
  get views(): Views {
    return this.#control.loaded ? this.#control.views : this.#saved;
  }
  own(): readonly Endpoint[] {
    if (this.#control.loaded) return this.#control.own();
    const all = [...this.#saved.values()].flatMap(({ endpoints }) => [...endpoints.values()]);
    return all.filter(({ node }) => node === this.node.id);
  }
  onChange(listener: () => void): () => void {
    return this.#control.onChange(listener);
  }

  async networks(): Promise<readonly Network[]> {
    const known = await this.#control.networks();
    return this.#control.loaded ? known : [...this.#saved.values()].map(({ network }) => network);
  }
  async network(nameOrId: string): Promise<Network> {
    try {
      return await this.#control.network(nameOrId);
    } catch (error) {
      if (this.#control.loaded) throw error;
      throw new ControlError(
        'AWAY',
        `the store ${this.health.store} was not there yet: ${this.health.error}`,
      );
    }
  }
  createNetwork(request: NetworkRequest): Promise<Network> {
    return this.#control.createNetwork(request);
  }
  planNetwork(request: NetworkRequest): Promise<Network> {
    return this.#control.planNetwork(request);
  }
  removeNetwork(nameOrId: string): Promise<Network> {
    return this.#control.removeNetwork(nameOrId);
  }
  endpoints(nameOrId: string): Promise<readonly Endpoint[]> {
    return this.#control.endpoints(nameOrId);
  }
  attach(request: EndpointRequest): Promise<Endpoint> {
    return this.#control.attach(request);
  }
  update(endpointId: string, change: EndpointChange): Promise<Endpoint> {
    return this.#control.update(endpointId, change);
  }
  async detach(endpointId: string): Promise<void> {
    if (!this.#control.loaded) this.#saved = without(this.#saved, endpointId);
    await this.#control.detach(endpointId);
  }
  nodes(): Promise<readonly NodeState[]> {
    return this.#control.nodes();
  }
  removeNode(nodeId: string, force?: boolean): Promise<void> {
    return this.#control.removeNode(nodeId, force);
  }
  leave(): Promise<void> {
    this.#end();
    return this.#control.leave();
  }
  async close(): Promise<void> {
    this.#end();
    await this.#control.close();
  }

  #end(): void {
    this.#unlisten();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #note(): void {
    if (!this.#control.loaded || this.#control.views === this.#written) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.#write();
    }, SETTLE).unref();
  }

  async #write(): Promise<void> {
    const { views } = this.#control;
    const saved = [...views.values()].map(({ network, endpoints, peers }) => {
      return { network, endpoints: [...endpoints.values()], peers };
    });
    this.#written = views;
    // On a full disk the memory is an older one.
    await this.#state.write(NAME, saved).catch(() => {});
  }
}

export function forgetViews(state: StateFolder): Promise<void> {
  return state.remove(NAME);
}

/** What was written down, where all of it is as it should be; else nothing. */
function readable(saved: readonly Saved[] | null): Views {
  try {
    const views = (saved ?? []).map(({ network, endpoints, peers }): NetworkView => {
      readNetwork(JSON.stringify(network), network.id);
      for (const endpoint of endpoints) readEndpoint(network.id)(JSON.stringify(endpoint), endpoint.id);
      for (const peer of peers) readNode(JSON.stringify(peer), peer.id);
      return { network, peers, endpoints: new Map(endpoints.map((endpoint) => [endpoint.id, endpoint])) };
    });
    return new Map(views.map((view) => [view.network.id, view]));
  } catch {
    return new Map();
  }
}

function without(views: Views, endpointId: string): Views {
  const left = [...views.values()].map((view): NetworkView => {
    const endpoints = [...view.endpoints].filter(([id]) => id !== endpointId);
    return { ...view, endpoints: new Map(endpoints) };
  });
  return new Map(left.map((view) => [view.network.id, view]));
}
