/**
 * Control over a store that all hosts share. It holds together what does the work: the link to the store, the members
 * of the cluster, the networks, this node's endpoints, the views. What is there is followed by watches under `nodes/`,
 * `alive/`, `networks/`, and `endpoints/<network>/` of the networks that this node takes part in; nothing else reaches
 * it. A store that is away, empty, or another's stops changes and withdraws nobody.
 */
import { randomInt } from 'node:crypto';
import { type KeyChannel, type Log, Random, silent } from 'packetweave';
import { Heartbeat } from './alive.ts';
import { removedNode } from './allocate.ts';
import { findCluster } from './cluster.ts';
import type { Control, ControlHealth, NetworkView } from './control.ts';
import { Endpoints } from './endpoints.ts';
import { ControlError } from './errors.ts';
import { Link } from './link.ts';
import { Members } from './members.ts';
import type {
  Endpoint,
  EndpointChange,
  EndpointRequest,
  Network,
  NetworkRequest,
  Node,
  NodeState,
} from './model.ts';
import { Networks } from './networks.ts';
import { removeNode, writeNode } from './node-records.ts';
import { readEndpoint } from './records.ts';
import type { Store } from './store/store.ts';
import { StoreKeys } from './store-keys.ts';
import { Views } from './views.ts';

/** How long things take. */
export interface Timing {
  /** A node that is not heard of for so long is dead, in seconds. Default 10. */
  readonly ttl: number;
  /** How often it lets the others hear, in ms. Default 3000. */
  readonly beat: number;
  /** Before the first attempt to come back to the store, in ms; doubled up to 25 times as much. Default 200. */
  readonly backOff: number;
  /** How long a node goes on taking part in a network after its last endpoint there has gone, in ms: what comes next finds
   * everything ready. Default 0. */
  readonly linger: number;
}

export interface StoreControlOptions {
  readonly store: Store;
  /** Who this node is. */
  readonly identity: Node;
  /** True at init and join: the node is written down. False after: a node that is not there any more was removed. */
  readonly joining?: boolean;
  /** Id of the cluster, where it is known from before: with it control opens though the store is away. */
  readonly cluster?: string | null;
  readonly log?: Log;
  readonly timing?: Partial<Timing>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** For choices among free addresses. */
  readonly random?: Random;
}

export class StoreControl implements Control {
  readonly keys: KeyChannel;
  /** Id of the cluster: to be remembered for the next `open`. */
  readonly cluster: string;
  readonly #identity: Node;
  readonly #link: Link;
  readonly #members: Members;
  readonly #heart: Heartbeat;
  readonly #networks: Networks;
  readonly #endpoints: Endpoints;
  readonly #views: Views;
  readonly #ttl: number;
  #again: NodeJS.Timeout | null = null;

  /** Rejects with `NOT_JOINED` where the store carries no cluster or this node was removed from it, `AWAY` where it
   * cannot be reached and `cluster` is not given. The store stays its owner's: `close` does not close it. */
  static async open(options: StoreControlOptions): Promise<StoreControl> {
    const { store, identity, joining = false, cluster = null } = options;
    let id = cluster;
    try {
      id = (await findCluster(store, cluster)).id;
      await writeNode(store, identity, joining);
    } catch (error) {
      if ((error as ControlError).code !== 'AWAY' || id === null || joining) throw error;
    }
    const control = new StoreControl(options, id!);
    await control.#link.connect().catch((error: ControlError) => {
      if (error.code === 'AWAY' && cluster !== null) return;
      control.close();
      throw error;
    });
    return control;
  }

  private constructor(options: StoreControlOptions, cluster: string) {
    const { store, identity, log = silent, now = Date.now } = options;
    const { ttl = 10, beat = 3000, backOff = 200, linger = 0 } = options.timing ?? {};
    this.cluster = cluster;
    this.#identity = identity;
    this.#ttl = ttl;
    const onChange = () => this.#views.touch(null);
    const onUp = () => this.#up();
    const onDown = () => this.#down();
    const random = options.random ?? new Random(randomInt(2 ** 47));
    const link = new Link({ store, cluster, log, now, random, backOff, onChange, onUp, onDown });
    this.#link = link;
    this.#members = new Members({ host: link, self: identity, ttl, onChange: (id) => this.#refresh(id) });
    this.#views = new Views(link, identity.id, this.#members.states);
    this.#networks = new Networks(link, now, (id) => this.#views.removed(id));
    for (const feed of [this.#members.nodes, this.#members.alive, this.#networks.feed])
      void link.follow(feed);
    const lost = (error: Error) => link.lost(error);
    const seen = () => this.#members.alive.get(identity.id) !== undefined;
    const removed = () => this.#watchSelf();
    this.#heart = new Heartbeat({ node: identity.id, ttl, beat, lost, seen, removed });
    const nodeRevision = () => this.#members.nodes.revision(identity.id);
    const { id: node } = identity;
    const parts = { link, node, nodeRevision, random, log, linger };
    this.#endpoints = new Endpoints({ ...parts, networks: this.#networks, views: this.#views });
    this.keys = new StoreKeys(link, node);
  }

  get node(): NodeState {
    return this.#members.self;
  }
  get health(): ControlHealth {
    return this.#link.health;
  }
  get views(): ReadonlyMap<string, NetworkView> {
    return this.#views.current;
  }
  /** Whether the store was there since this was opened, and the views are as it has them. */
  get loaded(): boolean {
    return this.#endpoints.loaded;
  }
  onChange(listener: () => void): () => void {
    return this.#views.onChange(listener);
  }

  networks(): Promise<readonly Network[]> {
    return this.#networks.list();
  }
  async network(nameOrId: string): Promise<Network> {
    return (await this.#networks.findFresh(nameOrId)).network;
  }
  async createNetwork(request: NetworkRequest): Promise<Network> {
    this.#present();
    return this.#networks.create(request);
  }
  async planNetwork(request: NetworkRequest): Promise<Network> {
    this.#present();
    return this.#networks.plan(request);
  }
  async removeNetwork(nameOrId: string): Promise<Network> {
    this.#present();
    return this.#networks.remove(nameOrId);
  }

  async endpoints(nameOrId: string): Promise<readonly Endpoint[]> {
    const { network } = await this.#networks.findFresh(nameOrId);
    const group = this.#views.group(network.id);
    if (group !== null) return [...group.all()];
    const { entries } = await this.#link.store.list(`endpoints/${network.id}/`);
    const read = readEndpoint(network.id);
    return entries.flatMap(({ key, value }) => {
      try {
        return [read(value, key.slice(key.lastIndexOf('/') + 1))];
      } catch {
        return [];
      }
    });
  }

  async attach(request: EndpointRequest): Promise<Endpoint> {
    this.#present();
    return this.#noticed(() => this.#endpoints.attach(request));
  }
  async update(endpointId: string, change: EndpointChange): Promise<Endpoint> {
    this.#present();
    return this.#noticed(() => this.#endpoints.update(endpointId, change));
  }
  async detach(endpointId: string): Promise<void> {
    await this.#noticed(() => this.#endpoints.detach(endpointId));
  }
  own(): readonly Endpoint[] {
    return this.#endpoints.list();
  }

  async nodes(): Promise<readonly NodeState[]> {
    return [...this.#members.states.values()];
  }
  async removeNode(nodeId: string, force = false): Promise<void> {
    this.#present();
    await removeNode(this.#link.store, nodeId, force);
  }

  /** Goes on with another store that carries the same cluster, with the views as they are. The former stays its
   * owner's to close. Rejects with `CORRUPT` or `AWAY`, and then goes on with the former. */
  async use(store: Store): Promise<void> {
    await this.#link.use(store);
  }

  async leave(): Promise<void> {
    await this.#endpoints.clear();
    await this.#heart.end();
    await removeNode(this.#link.store, this.#identity.id, true);
    await this.close();
  }

  /** Stops following. The lease runs out by itself: a daemon that starts again within its time was never away. */
  async close(): Promise<void> {
    if (this.#again !== null) clearTimeout(this.#again);
    this.#heart.stop();
    this.#members.close();
    this.#views.close();
    this.#link.close();
  }

  async #up(): Promise<void> {
    this.#members.up();
    this.#watchSelf();
    // It may be another than before, and the store was away when it began.
    await writeNode(this.#link.store, this.#identity, false).catch((error: ControlError) => {
      if (error.code !== 'NOT_JOINED') throw error;
    });
    await this.#heart.start(this.#link.store);
    await this.#endpoints.reconcile();
    // What was sent before an absence and answered by nobody can still arrive: it is looked for once more.
    if (this.#again !== null) clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      if (this.#link.up) this.#endpoints.reconcile().catch((error: Error) => this.#link.lost(error));
    }, this.#ttl * 1000).unref();
  }

  #down(): void {
    this.#members.down();
    this.#heart.stop();
  }

  #refresh(id: string): void {
    if (id === this.#identity.id) this.#watchSelf();
    this.#views.refresh(id);
    this.#views.touch(null);
  }

  /** Tells where this node's own record is gone. */
  #watchSelf(): void {
    const there = this.#members.nodes.get(this.#identity.id) !== undefined;
    this.#link.trouble = there ? null : removedNode(this.#identity.id).message;
  }

  /** Does something, and takes notice where the store turns out to be away. */
  async #noticed<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if ((error as ControlError).code === 'AWAY') this.#link.lost(error as Error);
      throw error;
    }
  }

  /** Refuses changes while the store is away. */
  #present(): void {
    if (this.#link.up) return;
    const { store, error } = this.#link.health;
    throw new ControlError(
      'AWAY',
      `the store ${store} is away, nothing can be changed: ${error ?? 'connecting'}`,
    );
  }
}
