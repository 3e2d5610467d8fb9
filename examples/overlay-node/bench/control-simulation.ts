/**
 * A whole cluster in one process, over one store in memory: every node a `StoreControl` with a client of its own that
 * counts. What it shows is what control itself costs, and who is told of what; a network between is not in it.
 */
import { Random } from 'packetweave';
import { createCluster } from '../control/cluster.ts';
import type { Endpoint, EndpointRequest } from '../control/model.ts';
import { MemoryStore } from '../control/store/memory.ts';
import type { Condition, Lease, Operation, Store, Watch, Watcher } from '../control/store/store.ts';
import { StoreControl } from '../control/store-control.ts';

export interface Size {
  readonly nodes: number;
  readonly networks: number;
  readonly endpoints: number;
  /** Networks that each node hosts. */
  readonly hosted: number;
  /** Endpoints that are started, stopped and moved, of each so many. */
  readonly changes: number;
  readonly seed: number;
}

export interface Spread {
  readonly mean: number;
  readonly max: number;
}

export interface Figures {
  /** Nodes that are open, and all endpoints attached and in force everywhere; in seconds. */
  readonly joinSeconds: number;
  readonly attachSeconds: number;
  /** From the call until the change is in force on all nodes of its network, in ms. */
  readonly startMs: Spread;
  readonly stopMs: Spread;
  readonly moveMs: Spread;
  /** What a node takes in the heap, its share of the store not counted, in KiB; null without `--expose-gc`. */
  readonly nodeKiB: number | null;
  /** Endpoints that a node knows of. */
  readonly known: Spread;
  /** Changes that a node was told of in its whole life; how many nodes were of one endpoint that started. */
  readonly events: Spread;
  readonly toldOfOne: Spread;
  /** Calls to the store of a node in its whole life. */
  readonly calls: Spread;
  /** What is not as it should be. */
  readonly wrong: readonly string[];
}

/** Counts what a node asks of the store, and what it is told. */
class Counted implements Store {
  readonly name: string;
  readonly #store: Store;
  calls = 0;
  events = 0;
  /** Networks of whose endpoints it was told. */
  readonly networks = new Set<string>();

  constructor(store: Store) {
    this.#store = store;
    this.name = store.name;
  }
  get(key: string) {
    this.calls++;
    return this.#store.get(key);
  }
  list(prefix: string) {
    this.calls++;
    return this.#store.list(prefix);
  }
  put(key: string, value: string, lease?: Lease) {
    this.calls++;
    return this.#store.put(key, value, lease);
  }
  delete(key: string) {
    this.calls++;
    return this.#store.delete(key);
  }
  compareAndSet(conditions: readonly Condition[], operations: readonly Operation[]) {
    this.calls++;
    return this.#store.compareAndSet(conditions, operations);
  }
  watch(prefix: string, revision: number, watcher: Watcher): Watch {
    this.calls++;
    const [kind, network] = prefix.split('/');
    return this.#store.watch(prefix, revision, {
      onEvents: (events, at) => {
        this.events += events.length;
        if (kind === 'endpoints') this.networks.add(network!);
        watcher.onEvents(events, at);
      },
      onEnd: (why) => watcher.onEnd(why),
    });
  }
  grant(ttl: number) {
    this.calls++;
    return this.#store.grant(ttl);
  }
  close() {
    return this.#store.close();
  }
}

interface Host {
  readonly control: StoreControl;
  readonly store: Counted;
  /** Ids of the networks that it hosts. */
  readonly networks: readonly string[];
}

export async function simulate(size: Size): Promise<Figures> {
  const random = new Random(size.seed);
  const store = new MemoryStore();
  const { id: cluster } = await createCluster(store);
  const before = heap();
  const hosts: Host[] = [];
  const joinSeconds = await seconds(async () => {
    for (let i = 0; i < size.nodes; i++) hosts.push(await join(store, cluster, size, i));
  });
  const networks = await makeNetworks(hosts[0]!.control, size.networks);
  for (const [i, host] of hosts.entries()) {
    // Spread evenly: any two nodes share few networks or none.
    const own = Array.from({ length: size.hosted }, (_, j) => networks[(i + j * (i + 1)) % networks.length]!);
    (host.networks as string[]).push(...new Set(own));
  }
  const members = new Map(networks.map((id) => [id, hosts.filter((host) => host.networks.includes(id))]));
  const endpoints: Endpoint[] = [];
  const attachSeconds = await seconds(async () => {
    await attachAll(hosts, size.endpoints, endpoints);
    await settled(() => views(hosts, members, endpoints).length === 0);
  });
  const after = heap();
  const changes = await change(hosts, members, endpoints, size.changes, random);
  const wrong = [
    ...changes.wrong,
    ...views(hosts, members, endpoints),
    ...strangers(hosts),
    ...(await twice(store)),
  ];
  const stored = (await store.list('')).entries.reduce(
    (sum, { key, value }) => sum + key.length + value.length,
    0,
  );
  const known = hosts.map(({ control }) =>
    [...control.views.values()].reduce((n, v) => n + v.endpoints.size, 0),
  );
  for (const { control } of hosts) await control.close();
  return {
    joinSeconds,
    attachSeconds,
    startMs: spread(changes.startMs),
    stopMs: spread(changes.stopMs),
    moveMs: spread(changes.moveMs),
    toldOfOne: spread(changes.toldOfOne),
    nodeKiB: after === null ? null : (after - before! - stored) / size.nodes / 1024,
    known: spread(known),
    events: spread(hosts.map((host) => host.store.events)),
    calls: spread(hosts.map((host) => host.store.calls)),
    wrong,
  };
}

async function join(store: MemoryStore, cluster: string, { seed }: Size, i: number): Promise<Host> {
  const counted = new Counted(store.client());
  const address = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
  const control = await StoreControl.open({
    store: counted,
    cluster,
    joining: true,
    identity: {
      id: i.toString(16).padStart(12, '0'),
      name: `host${i}`,
      address,
      dataPort: 4789,
      espPort: 4500,
      mtu: 1500,
      version: '1',
      joined: '2026-01-01T00:00:00.000Z',
    },
    random: new Random(seed + i),
    // One process that works for many cannot answer for all in time.
    timing: { ttl: 3600, beat: 600_000 },
  });
  return { control, store: counted, networks: [] };
}

async function makeNetworks(control: StoreControl, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const base = `10.${16 + (i >> 4)}.${(i & 15) * 16}.0/20`;
    ids.push((await control.createNetwork({ name: `n${i}`, subnets: [base], attachable: true })).id);
  }
  return ids;
}

/** Attaches endpoints evenly, a node after the other for each of its networks: many nodes at once. */
async function attachAll(hosts: readonly Host[], count: number, endpoints: Endpoint[]): Promise<void> {
  for (let n = 0; n < count; ) {
    const round: Promise<Endpoint>[] = [];
    for (const { control, networks } of hosts) {
      if (n === count) break;
      const turn = Math.floor(n / hosts.length);
      round.push(control.attach(request(networks[turn % networks.length]!, n++)));
    }
    endpoints.push(...(await Promise.all(round)));
  }
}

function request(network: string, n: number): EndpointRequest {
  return { network, container: n.toString(16).padStart(64, '0'), name: `c${n}` };
}

type Members = ReadonlyMap<string, readonly Host[]>;

/** What changes took, and what was wrong with them. */
interface Changes {
  readonly startMs: number[];
  readonly stopMs: number[];
  readonly moveMs: number[];
  readonly toldOfOne: number[];
  readonly wrong: string[];
}

/** Starts, moves and stops endpoints, one after the other, each until all nodes of its network have it. */
async function change(
  hosts: readonly Host[],
  members: Members,
  endpoints: Endpoint[],
  count: number,
  random: Random,
): Promise<Changes> {
  const changes: Changes = { startMs: [], stopMs: [], moveMs: [], toldOfOne: [], wrong: [] };
  const some = <T>(list: readonly T[]) => list[random.below(list.length)]!;
  const at = ({ network, node }: Endpoint) =>
    members.get(network)!.find(({ control }) => control.node.id === node)!.control;
  const inForce = (endpoint: Endpoint) => () => members.get(endpoint.network)!.every(sees(endpoint));
  const nowhere = (endpoint: Endpoint) => () => !members.get(endpoint.network)!.some(sees(endpoint));
  for (let i = 0; i < count; i++) {
    const network = some([...members.keys()]);
    const theirs = members.get(network)!;
    const before = told(hosts);
    const start = performance.now();
    const one = await some(theirs).control.attach(request(network, 1e9 + i));
    await settled(inForce(one));
    changes.startMs.push(performance.now() - start);
    changes.toldOfOne.push(told(hosts) - before);
    if (told(hosts) - before !== theirs.length) changes.wrong.push(`who was told of ${one.name}`);

    // The same container on another node, with the addresses that it had.
    const { addresses, name, container, mac } = one;
    const moving = performance.now();
    await at(one).detach(one.id);
    const ip = addresses[0]!.split('/')[0]!;
    const moved = await some(theirs).control.attach({ network, name, container, ip, mac });
    await settled(() => nowhere(one)() && inForce(moved)());
    changes.moveMs.push(performance.now() - moving);
    endpoints.push(moved);

    const gone = endpoints.splice(random.below(endpoints.length), 1)[0]!;
    const stopping = performance.now();
    await at(gone).detach(gone.id);
    await settled(nowhere(gone));
    changes.stopMs.push(performance.now() - stopping);
  }
  return changes;
}

const sees =
  ({ network, id }: Endpoint) =>
  ({ control }: Host) =>
    control.views.get(network)?.endpoints.has(id) === true;

function told(hosts: readonly Host[]): number {
  return hosts.reduce((sum, { store }) => sum + store.events, 0);
}

/** Nodes whose views are not what is attached. */
function views(hosts: readonly Host[], members: Members, endpoints: readonly Endpoint[]): string[] {
  const expected = new Map<string, Set<string>>([...members.keys()].map((id) => [id, new Set()]));
  const taking = new Map<string, Set<string>>([...members.keys()].map((id) => [id, new Set()]));
  for (const { network, id, node } of endpoints) {
    expected.get(network)!.add(id);
    taking.get(network)!.add(node);
  }
  return hosts.flatMap(({ control }) => {
    const part = [...taking].filter(([, nodes]) => nodes.has(control.node.id)).map(([network]) => network);
    const right =
      part.length === control.views.size &&
      part.every((network) => {
        const view = control.views.get(network);
        const ids = expected.get(network)!;
        return (
          view !== undefined &&
          view.endpoints.size === ids.size &&
          view.peers.length === taking.get(network)!.size - 1 &&
          [...view.endpoints.keys()].every((id) => ids.has(id))
        );
      });
    return right ? [] : [`the views of ${control.node.name}`];
  });
}

/** Nodes that were told of networks that they do not host. */
function strangers(hosts: readonly Host[]): string[] {
  return hosts.flatMap(({ control, store, networks }) =>
    [...store.networks].every((id) => networks.includes(id)) ? [] : [`what ${control.node.name} was told`],
  );
}

/** Addresses that two endpoints have. */
async function twice(store: Store): Promise<string[]> {
  const { entries } = await store.list('endpoints/');
  const seen = new Set<string>();
  return entries.flatMap(({ value }) => {
    const { network, addresses, mac }: Endpoint = JSON.parse(value);
    return [...addresses, mac].flatMap((address) => {
      const key = `${network} ${address}`;
      const known = seen.has(key);
      seen.add(key);
      return known ? [`${address} is given twice`] : [];
    });
  });
}

async function settled(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Bytes of the heap that are in use; null where garbage cannot be collected first. */
function heap(): number | null {
  if (globalThis.gc === undefined) return null;
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

function spread(values: readonly number[]): Spread {
  const max = values.reduce((most, value) => Math.max(most, value), 0);
  return { mean: values.reduce((sum, value) => sum + value, 0) / values.length, max };
}
