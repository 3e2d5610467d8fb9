/** Names of the endpoints that this node can reach, from what control knows. */
import type { NetworkView } from '../control/control.ts';
import type { Endpoint } from '../control/model.ts';
import type { Named, Names } from '../dns/names.ts';

/** How many digits of a container's id are a name of it. */
const SHORT = 12;

/** What is in an index for an endpoint. */
interface Entry {
  readonly endpoint: Endpoint;
  readonly named: Named;
}

/** The names of one network. It is brought up to date when somebody asks, at the cost of a look at each endpoint and of
 * what has changed; views share one map of endpoints, which is altered in place. */
class Index {
  #view: NetworkView;
  #fresh = false;
  readonly #entries = new Map<string, Entry>();
  /** By name, in small letters. */
  readonly #byName = new Map<string, Named[]>();
  readonly #byAddress = new Map<string, Named[]>();

  constructor(view: NetworkView) {
    this.#view = view;
  }

  /** Name of the network. */
  get name(): string {
    return this.#view.network.name;
  }

  follow(view: NetworkView): void {
    if (view === this.#view) return;
    this.#view = view;
    this.#fresh = false;
  }

  named(name: string): readonly Named[] {
    this.#refresh();
    const suffix = `.${this.name.toLowerCase()}`;
    const inside = name.endsWith(suffix) ? this.#byName.get(name.slice(0, -suffix.length)) : undefined;
    return [...(this.#byName.get(name) ?? []), ...(inside ?? [])];
  }

  /** Who came last, where two have it. */
  at(address: string): Named | undefined {
    this.#refresh();
    return this.#byAddress.get(address)?.at(-1);
  }

  #refresh(): void {
    if (this.#fresh) return;
    this.#fresh = true;
    const { endpoints } = this.#view;
    for (const [id, entry] of this.#entries)
      if (endpoints.get(id) !== entry.endpoint) this.#remove(id, entry);
    for (const [id, endpoint] of endpoints) if (!this.#entries.has(id)) this.#add(id, endpoint);
  }

  #add(id: string, endpoint: Endpoint): void {
    const named = namedOf(endpoint, this.name);
    this.#entries.set(id, { endpoint, named });
    for (const address of named.addresses) add(this.#byAddress, address, named);
    for (const name of keysOf(named)) add(this.#byName, name, named);
  }

  #remove(id: string, { named }: Entry): void {
    this.#entries.delete(id);
    for (const address of named.addresses) remove(this.#byAddress, address, named);
    for (const name of keysOf(named)) remove(this.#byName, name, named);
  }
}

function keysOf({ names }: Named): Set<string> {
  return new Set(names.map((name) => name.toLowerCase()));
}

function add(map: Map<string, Named[]>, key: string, named: Named): void {
  const same = map.get(key);
  if (same === undefined) map.set(key, [named]);
  else same.push(named);
}

function remove(map: Map<string, Named[]>, key: string, named: Named): void {
  const left = (map.get(key) ?? []).filter((other) => other !== named);
  if (left.length > 0) map.set(key, left);
  else map.delete(key);
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

  /** What is known from now on. An index changes only where the view is another. */
  follow(views: ReadonlyMap<string, NetworkView>, node: string): void {
    const indexes = new Map<string, Index>();
    for (const [id, view] of views) {
      const known = this.#indexes.get(id);
      const index = known?.name === view.network.name ? known : new Index(view);
      index.follow(view);
      indexes.set(id, index);
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
