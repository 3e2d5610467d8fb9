/** Names of the endpoints that this node can reach, from what control knows. */
import type { NetworkView } from '../control/control.ts';
import type { Endpoint } from '../control/model.ts';
import type { Named, Names } from '../dns/names.ts';

/** How many digits of a container's id are a name of it. */
const SHORT = 12;

/** The names of one network, put in order when somebody asks first. */
class Index {
  readonly view: NetworkView;
  /** By name, in small letters. */
  #byName: Map<string, Named[]> | null = null;
  #byAddress: Map<string, Named> | null = null;

  constructor(view: NetworkView) {
    this.view = view;
  }

  named(name: string): readonly Named[] {
    this.#make();
    const suffix = `.${this.view.network.name.toLowerCase()}`;
    const inside = name.endsWith(suffix) ? this.#byName!.get(name.slice(0, -suffix.length)) : undefined;
    return [...(this.#byName!.get(name) ?? []), ...(inside ?? [])];
  }

  at(address: string): Named | undefined {
    this.#make();
    return this.#byAddress!.get(address);
  }

  #make(): void {
    if (this.#byName !== null) return;
    this.#byName = new Map();
    this.#byAddress = new Map();
    for (const endpoint of this.view.endpoints.values()) {
      const named = namedOf(endpoint, this.view.network.name);
      for (const address of named.addresses) this.#byAddress.set(address, named);
      for (const name of new Set(named.names.map((name) => name.toLowerCase()))) {
        const same = this.#byName.get(name);
        if (same === undefined) this.#byName.set(name, [named]);
        else same.push(named);
      }
    }
  }
}

export class ViewNames implements Names {
  #indexes = new Map<string, Index>();
  /** Networks of each container that has endpoints on this node, by an address of it in any of them. */
  #networksOf = new Map<string, readonly string[]>();
  #version = 0;

  /** Grows with every change. */
  get version(): number {
    return this.#version;
  }

  /** What is known from now on. An index is made anew only where the view is another. */
  follow(views: ReadonlyMap<string, NetworkView>, node: string): void {
    const indexes = new Map<string, Index>();
    for (const [id, view] of views) {
      const known = this.#indexes.get(id);
      indexes.set(id, known?.view === view ? known : new Index(view));
    }
    this.#indexes = indexes;
    this.#networksOf = networksOf(views, node);
    this.#version++;
  }

  lookup(network: string, from: string, name: string): readonly Named[] {
    const key = name.toLowerCase();
    const found = this.#reachable(network, from).flatMap((id) => this.#indexes.get(id)?.named(key) ?? []);
    return [...new Set(found)];
  }

  reverse(network: string, from: string, address: string): Named | null {
    for (const id of this.#reachable(network, from)) {
      const named = this.#indexes.get(id)?.at(address);
      if (named !== undefined) return named;
    }
    return null;
  }

  /** The network itself first. */
  #reachable(network: string, from: string): readonly string[] {
    const others = this.#networksOf.get(`${network} ${from}`) ?? [];
    return [network, ...others.filter((id) => id !== network)];
  }
}

export function namedOf({ name, aliases, container, hostname, addresses }: Endpoint, network: string): Named {
  const names = [name, ...aliases, container.slice(0, SHORT), hostname].filter((text) => text !== '');
  return { names, network, addresses: addresses.map(withoutLength) };
}

export function withoutLength(address: string): string {
  return address.split('/', 1)[0];
}

function networksOf(views: ReadonlyMap<string, NetworkView>, node: string): Map<string, readonly string[]> {
  const byContainer = new Map<string, Endpoint[]>();
  for (const { endpoints } of views.values()) {
    for (const endpoint of endpoints.values()) {
      if (endpoint.node !== node) continue;
      const all = byContainer.get(endpoint.container);
      if (all === undefined) byContainer.set(endpoint.container, [endpoint]);
      else all.push(endpoint);
    }
  }
  const networks = new Map<string, readonly string[]>();
  for (const endpoints of byContainer.values()) {
    if (endpoints.length < 2) continue;
    const ids = endpoints.map(({ network }) => network);
    for (const { network, addresses } of endpoints) {
      for (const address of addresses) networks.set(`${network} ${withoutLength(address)}`, ids);
    }
  }
  return networks;
}
