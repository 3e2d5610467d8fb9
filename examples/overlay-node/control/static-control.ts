/**
 * Control without a store: `up --peer ADDRESS`, once for each of the other hosts. Nobody tells anybody anything, so
 *
 * - a network is made by the same command on each host. Its id follows from its name, and so do its VNI (unless
 *   `--opt vni=` says it) and its subnets (unless `--subnet` does); see `derive`.
 * - every host is told of every other: frames are flooded to all of them, and where a MAC is is learned from what comes
 *   (RFC 7348 section 4.1). `views` have the endpoints of this node alone.
 * - an address is given with `--ip`, or chosen from this host's part of the subnet: that is cut into as many parts as
 *   there are hosts, in the order of the hosts' addresses. So no two hosts choose the same one as long as all have the
 *   same list. Who adds a host while endpoints run moves the parts: those that are attached keep their addresses, which
 *   may now lie in another's part.
 * - keys are agreed on in band, and names of endpoints on other hosts are not known.
 *
 * Networks and endpoints are remembered in `state`, and are there before a call resolves.
 */
import { Random } from 'packetweave';
import { newId } from './allocate.ts';
import { type Choice, choose, claimsOf, cursorOf } from './choose.ts';
import { cidr } from './cidr.ts';
import type { Control, ControlHealth, NetworkView } from './control.ts';
import { ControlError } from './errors.ts';
import { fullMessage } from './ipam.ts';
import { Listeners } from './listeners.ts';
import type {
  Endpoint,
  EndpointChange,
  EndpointRequest,
  Network,
  NetworkRequest,
  Node,
  NodeState,
  Subnet,
} from './model.ts';
import { findIn } from './networks.ts';
import { Queue } from './queue.ts';
import type { Claim } from './records.ts';
import { changedEndpoint, checkEndpointRequest, checkNetworkRequest } from './requests.ts';
import { derive, formatPart, inOrder, nodeIdOf, partOf } from './static-place.ts';
import { NOTHING, readSaved, type Saved } from './static-state.ts';

export interface StaticOptions {
  /** Who this node is. The others call it by `nodeIdOf(address)`. */
  readonly identity: Node;
  /** Addresses of the other hosts; this one may be among them. They use the same ports. */
  readonly peers: readonly string[];
  /** What outlives the daemon. */
  readonly state: StaticState;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface StaticState {
  /** What was written last; null where nothing was. */
  read(): Promise<Saved | null>;
  write(saved: Saved): Promise<void>;
}

export class StaticControl implements Control {
  readonly node: NodeState;
  readonly keys = null;
  readonly #peers: readonly NodeState[];
  /** Of this host among all, by address. */
  readonly #rank: number;
  readonly #state: StaticState;
  readonly #now: () => number;
  readonly #listeners = new Listeners();
  readonly #since: number;
  /** Why the state could not be written. */
  #error: string | null = null;
  #saved: Saved;
  #views: ReadonlyMap<string, NetworkView>;
  /** What this host chooses from. */
  readonly #part = (subnet: Subnet) => partOf(subnet, this.#rank, this.#peers.length + 1);
  /** One change after the other. */
  readonly #queue = new Queue();

  /** Rejects with `INVALID` (an address is none), `CORRUPT` or `VERSION` (what was remembered is not readable). */
  static async open(options: StaticOptions): Promise<StaticControl> {
    const saved = await options.state.read();
    return new StaticControl(options, saved === null ? NOTHING : readSaved(saved, options.identity.id));
  }

  private constructor({ identity, peers, state, now = Date.now }: StaticOptions, saved: Saved) {
    const [own] = inOrder([identity.address]);
    const all = inOrder([identity.address, ...peers]);
    this.node = { ...identity, alive: true };
    this.#rank = all.indexOf(own!);
    this.#peers = all.filter((address) => address !== own).map((address) => peerOf(address, identity));
    this.#state = state;
    this.#now = now;
    this.#since = now();
    this.#saved = saved;
    this.#views = this.#look(saved);
  }

  /** Connected always; `error` tells of a state that cannot be written. */
  get health(): ControlHealth {
    return { state: 'connected', since: this.#since, error: this.#error, store: 'none' };
  }
  get views(): ReadonlyMap<string, NetworkView> {
    return this.#views;
  }
  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  async networks(): Promise<readonly Network[]> {
    return this.#saved.networks;
  }
  async network(nameOrId: string): Promise<Network> {
    return findIn(this.#saved.networks, nameOrId);
  }

  createNetwork(request: NetworkRequest): Promise<Network> {
    return this.#queue.run(async () => {
      const network = this.#plan(request);
      await this.#save({ ...this.#saved, networks: [...this.#saved.networks, network] });
      return network;
    });
  }

  planNetwork(request: NetworkRequest): Promise<Network> {
    return this.#queue.run(async () => this.#plan(request));
  }

  #plan(request: NetworkRequest): Network {
    const wanted = checkNetworkRequest(request);
    const { networks } = this.#saved;
    if (networks.some(({ name }) => name === wanted.name)) {
      throw new ControlError('CONFLICT', `network with name ${wanted.name} already exists`);
    }
    return derive(wanted, networks, new Date(this.#now()).toISOString());
  }

  removeNetwork(nameOrId: string): Promise<Network> {
    return this.#queue.run(async () => {
      const network = findIn(this.#saved.networks, nameOrId);
      const names = this.#of(network).map(({ name }) => name);
      if (names.length > 0) {
        const list = names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '');
        throw new ControlError('CONFLICT', `network ${network.name} has active endpoints: ${list}`);
      }
      const networks = this.#saved.networks.filter(({ id }) => id !== network.id);
      const { [network.id]: _, ...cursors } = this.#saved.cursors;
      await this.#save({ ...this.#saved, networks, cursors });
      return network;
    });
  }

  /** Those of this node: of others nobody tells. */
  async endpoints(nameOrId: string): Promise<readonly Endpoint[]> {
    return this.#of(findIn(this.#saved.networks, nameOrId));
  }

  attach(request: EndpointRequest): Promise<Endpoint> {
    return this.#queue.run(async () => {
      const network = findIn(this.#saved.networks, request.network);
      const endpoint = this.#choose(network, request);
      const { endpoints, cursors } = this.#saved;
      const cursor = { ...cursors[network.id], ...cursorOf(endpoint, network, this.#part) };
      await this.#save({
        ...this.#saved,
        endpoints: [...endpoints, endpoint],
        cursors: { ...cursors, [network.id]: cursor },
      });
      return endpoint;
    });
  }

  update(endpointId: string, change: EndpointChange): Promise<Endpoint> {
    return this.#queue.run(async () => {
      const before = this.#saved.endpoints.find(({ id }) => id === endpointId);
      if (before === undefined) throw notHere(endpointId);
      const endpoint = changedEndpoint(before, change);
      const endpoints = this.#saved.endpoints.map((one) => (one === before ? endpoint : one));
      await this.#save({ ...this.#saved, endpoints });
      return endpoint;
    });
  }

  detach(endpointId: string): Promise<void> {
    return this.#queue.run(async () => {
      const endpoints = this.#saved.endpoints.filter(({ id }) => id !== endpointId);
      if (endpoints.length === this.#saved.endpoints.length) {
        throw notHere(endpointId);
      }
      await this.#save({ ...this.#saved, endpoints });
    });
  }

  own(): readonly Endpoint[] {
    return this.#saved.endpoints;
  }

  /** All are held to be alive: nobody tells. */
  async nodes(): Promise<readonly NodeState[]> {
    return [this.node, ...this.#peers];
  }

  /** Rejects: the hosts are those of the command line. */
  async removeNode(nodeId: string): Promise<void> {
    if (!(await this.nodes()).some(({ id }) => id === nodeId)) {
      throw new ControlError('NOT_FOUND', `node ${nodeId} not found`);
    }
    throw new ControlError('CONFLICT', `node ${nodeId} is given with --peer: start the daemon without it`);
  }

  /** Forgets the networks and endpoints of this node. */
  async leave(): Promise<void> {
    await this.#queue.run(() => this.#save(NOTHING));
    await this.close();
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    this.#listeners.close();
  }

  #of({ id }: Network): Endpoint[] {
    return this.#saved.endpoints.filter(({ network }) => network === id);
  }

  #choose(network: Network, request: EndpointRequest): Endpoint {
    const wanted = checkEndpointRequest(request, network);
    const node = this.node.id;
    const part = this.#part;
    // Always the next in turn: nobody else draws at the same time.
    const choice: Choice = { network, wanted, id: newId(), node, random: new Random(0), part };
    const claims = new Map<string, Claim>();
    for (const endpoint of this.#of(network)) {
      for (const address of claimsOf(endpoint)) claims.set(address, { endpoint: endpoint.id, node });
    }
    const endpoint = choose(choice, { cursor: this.#saved.cursors[network.id] ?? {}, claims }, 1);
    if (endpoint !== null) return endpoint;
    const family = wanted.ip === null ? 4 : 6;
    const parts = network.subnets
      .filter((subnet) => cidr(subnet.cidr).family === family)
      .map((subnet) => formatPart(subnet, part(subnet)));
    const advice = `this host chooses from ${parts.join(', ')}: give one with --ip`;
    throw new ControlError('FULL', `${fullMessage(network, family)}; ${advice}`);
  }

  /** Remembers, then lets it be seen. Rejects with `AWAY` with everything as it was. */
  async #save(saved: Saved): Promise<void> {
    try {
      await this.#state.write(saved);
    } catch (error) {
      this.#error = `the state cannot be written: ${(error as Error).message}`;
      this.#listeners.touch();
      throw new ControlError('AWAY', `nothing was changed, ${this.#error}`);
    }
    this.#error = null;
    this.#saved = saved;
    this.#views = this.#look(saved);
    this.#listeners.touch();
  }

  /** Views of the networks that have endpoints here. */
  #look({ networks, endpoints }: Saved): ReadonlyMap<string, NetworkView> {
    const byNetwork = new Map<string, Map<string, Endpoint>>();
    for (const endpoint of endpoints) {
      const there = byNetwork.get(endpoint.network) ?? new Map<string, Endpoint>();
      byNetwork.set(endpoint.network, there.set(endpoint.id, endpoint));
    }
    return new Map(
      networks.flatMap((network) => {
        const own = byNetwork.get(network.id);
        return own === undefined ? [] : [[network.id, { network, endpoints: own, peers: this.#peers }]];
      }),
    );
  }
}

function peerOf(address: string, { dataPort, espPort, mtu, version, joined }: Node): NodeState {
  return {
    id: nodeIdOf(address),
    name: address,
    address,
    dataPort,
    espPort,
    mtu,
    version,
    joined,
    alive: true,
  };
}

function notHere(id: string): ControlError {
  return new ControlError('NOT_FOUND', `endpoint ${id} not found on this node`);
}
