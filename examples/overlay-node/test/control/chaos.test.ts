/**
 * Several nodes over one store that fails them, and that are killed and started again at random points. What the store
 * holds must make sense at every instant; when all is quiet nothing may be left over, and all must see the same.
 */
import { Random } from 'packetweave';
import t, { type Test } from 'tap';
import { seed } from '../../../../test/gen/seed.ts';
import { claimsOf } from '../../control/choose.ts';
import { cidr, overlap } from '../../control/cidr.ts';
import { createCluster } from '../../control/cluster.ts';
import type { ControlError } from '../../control/errors.ts';
import type { Endpoint, Network, Node } from '../../control/model.ts';
import { MemoryStore } from '../../control/store/memory.ts';
import { StoreControl } from '../../control/store-control.ts';
import { Flaky } from './flaky.ts';
import { ask, hex, until } from './world.ts';

const HOSTS = 5;
const STEPS = 600;
/** Errors that a request can end with here; any other is a fault. */
const EXPECTED = ['AWAY', 'CONFLICT', 'FULL', 'NOT_FOUND', 'NOT_JOINED'];
const REQUESTS = [
  { name: 'wide', subnets: ['10.1.0.0/16'] },
  { name: 'both', subnets: ['10.2.0.0/16', 'fd00:2::/64'] },
  { name: 'tiny', subnets: ['10.3.0.0/29'] },
  { name: 'any' },
].map((request) => ({ ...request, attachable: true }));

interface Host {
  identity: Node;
  store: Flaky;
  /** Null while it is killed. */
  control: StoreControl | null;
  /** It is being started. */
  starting: boolean;
}

class Chaos {
  readonly store = new MemoryStore();
  readonly random: Random;
  readonly hosts: Host[] = [];
  /** What has happened that should not. */
  readonly wrong: string[] = [];
  /** Steps that did what they were to do. */
  done = 0;
  readonly #all: StoreControl[] = [];
  #cluster = '';
  /** Probability that a call to the store fails. */
  #failing = 0;
  #count = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  async begin(): Promise<void> {
    this.#cluster = (await createCluster(this.store)).id;
    for (let i = 0; i < HOSTS; i++) {
      const host = { identity: this.#identity(), store: this.#client(), control: null, starting: false };
      this.hosts.push(host);
      await this.#open(host, true);
    }
    this.fail(0.05);
  }

  fail(probability: number): void {
    this.#failing = probability;
    for (const { store } of this.hosts) store.failing = probability;
  }

  /** Does something somewhere; resolves when that is over, whatever came of it. */
  async step(): Promise<void> {
    const host = this.hosts[this.random.below(HOSTS)]!;
    try {
      // Time passes, so that who lost the store finds it again.
      for (let n = this.random.below(8); n > 0; n--) await new Promise((resolve) => setImmediate(resolve));
      await Promise.race([
        host.control === null ? this.#restart(host) : this.#act(host, host.control),
        host.store.killed,
      ]);
      this.done++;
    } catch (error) {
      if (!EXPECTED.includes((error as ControlError).code)) this.wrong.push(String((error as Error).stack));
    }
  }

  async #act(host: Host, control: StoreControl): Promise<void> {
    const dice = this.random.below(100);
    if (dice < 45) await this.#attach(control);
    else if (dice < 70) await this.#detach(control);
    else if (dice < 80) await control.createNetwork(this.#some(REQUESTS));
    else if (dice < 86) await control.removeNetwork(this.#some(REQUESTS).name);
    else if (dice < 95) host.store.cut();
    else this.#kill(host);
  }

  /** What must hold at every instant. */
  async check(): Promise<void> {
    const { networks, endpoints, claims, on } = await this.read();
    const names = networks.map(({ name }) => name);
    if (new Set(names).size < names.length) this.wrong.push(`names: ${names}`);
    const vnis = networks.map(({ vni }) => vni);
    if (new Set(vnis).size < vnis.length) this.wrong.push(`VNIs: ${vnis}`);
    const pools = networks.flatMap(({ subnets }) => subnets.map((subnet) => cidr(subnet.cidr)));
    if (pools.some((a, i) => pools.some((b, j) => i < j && overlap(a, b))))
      this.wrong.push('subnets overlap');
    const whose = new Map<string, string>();
    for (const endpoint of endpoints) {
      const { id, network, node } = endpoint;
      if (!networks.some((one) => one.id === network)) this.wrong.push(`${id} is in no network`);
      if (on.get(`on/${node}/${id}`) !== network) this.wrong.push(`${id} is not on its node's list`);
      for (const address of claimsOf(endpoint)) {
        const key = `addresses/${network}/${address}`;
        if (whose.has(key)) this.wrong.push(`${address} is given twice`);
        whose.set(key, id);
        if (claims.get(key) !== id) this.wrong.push(`${address} is not kept for ${id}`);
      }
    }
  }

  async read() {
    const entries = (await this.store.list('')).entries.map(({ key, value }) => [key, value] as const);
    const under = (prefix: string) => entries.filter(([key]) => key.startsWith(prefix));
    const parsed = <T>(prefix: string) => under(prefix).map(([, value]): T => JSON.parse(value));
    return {
      networks: parsed<Network>('networks/'),
      endpoints: parsed<Endpoint>('endpoints/'),
      claims: new Map(under('addresses/').map(([key, value]) => [key, JSON.parse(value).endpoint])),
      on: new Map(under('on/')),
      cursors: under('cursors/').map(([key]) => key.slice('cursors/'.length)),
      nodes: parsed<Node>('nodes/'),
    };
  }

  /** All are there, and the store works. */
  async calm(): Promise<StoreControl[]> {
    this.fail(0);
    for (const host of this.hosts)
      if (host.control === null) await this.#open(host, false).catch(() => this.#open(host, true));
    // What was sent by those that were killed arrives.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const connected = ({ control }: Host) => control!.health.state === 'connected';
    await until(() => this.hosts.every(connected));
    for (const host of this.hosts) {
      // Somebody removed it, and was killed or cut off before that was known.
      if (!/was removed/.test(host.control!.health.error ?? '')) continue;
      await host.control!.close();
      await this.#open(host, true);
    }
    await until(() => this.hosts.every(connected));
    return this.hosts.map(({ control }) => control!);
  }

  async close(): Promise<void> {
    for (const control of this.#all) await control.close();
  }

  #attach(control: StoreControl): Promise<Endpoint> {
    const { name } = this.#some(REQUESTS);
    const ip = this.random.chance(0.1) ? { ip: `10.1.0.${2 + this.random.below(20)}` } : {};
    return control.attach(ask(name, name === 'wide' ? ip : {}));
  }

  async #detach(control: StoreControl): Promise<void> {
    const own = control.own();
    if (own.length > 0) await control.detach(this.#some(own).id);
  }

  #kill(host: Host): void {
    host.store.kill();
    host.control = null;
    host.store = this.#client();
  }

  /** Starts a node again, or removes it for ever and lets another take its place. */
  async #restart(host: Host): Promise<void> {
    if (host.starting) return;
    host.starting = true;
    try {
      const other = this.hosts.find(({ control }) => control !== null);
      const anew = other !== undefined && this.random.chance(0.3);
      if (anew) {
        await Promise.race([other.control!.removeNode(host.identity.id, true), other.store.killed]);
        if (other.control === null) return;
        host.identity = this.#identity();
      }
      await this.#open(host, anew);
    } finally {
      host.starting = false;
    }
  }

  async #open(host: Host, joining: boolean): Promise<void> {
    const { store, identity } = host;
    store.failing = this.#failing;
    const control = await StoreControl.open({
      store,
      identity,
      joining,
      cluster: this.#cluster,
      timing: { ttl: 0.3, beat: 50, backOff: 5 },
      random: this.random,
    });
    this.#all.push(control);
    host.control = control;
  }

  #client(): Flaky {
    return new Flaky(this.store.client(), this.random);
  }

  #identity(): Node {
    const address = `192.0.2.${++this.#count}`;
    const ports = { dataPort: 4789, espPort: 4500, mtu: 1500 };
    return {
      id: hex(12),
      name: address,
      address,
      ...ports,
      version: '1',
      joined: '2026-01-01T00:00:00.000Z',
    };
  }

  #some<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)]!;
  }
}

async function run(t: Test, number: number): Promise<void> {
  const chaos = new Chaos(number);
  t.teardown(() => chaos.close());
  await chaos.begin();
  const running = new Set<Promise<void>>();
  for (let i = 0; i < STEPS; i++) {
    const step = chaos.step().finally(() => running.delete(step));
    running.add(step);
    // Some things at once, as on hosts that know nothing of each other.
    while (running.size >= 6) await Promise.race(running);
    await chaos.check();
  }
  await Promise.all(running);
  const controls = await chaos.calm();
  let left: string[] = [];
  // Ten seconds and more: then what is left is told.
  for (let i = 0; i < 2000; i++) {
    left = await disputed(chaos, controls);
    if (left.length === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.same(left, [], 'all see the same');
  await chaos.check();
  const { networks, endpoints, claims, on, cursors } = await chaos.read();
  t.same([...new Set(chaos.wrong)], [], 'at every instant');
  t.equal(on.size, endpoints.length, 'lists of nodes');
  t.same(
    [...claims.keys()].sort(),
    endpoints.flatMap((one) => claimsOf(one).map((address) => `addresses/${one.network}/${address}`)).sort(),
  );
  t.ok(cursors.every((id) => networks.some((network) => network.id === id)));
  t.comment(
    `seed ${number}: ${chaos.done} of ${STEPS} steps were done, ${networks.length} networks, ${endpoints.length} endpoints are left`,
  );
}

/** On what a node and the store do not agree: what the node has, and what it sees of its networks. */
async function disputed(chaos: Chaos, controls: readonly StoreControl[]): Promise<string[]> {
  const { endpoints, nodes } = await chaos.read();
  const ids = (some: Iterable<Endpoint>) =>
    [...some]
      .map(({ id }) => id.slice(0, 6))
      .sort()
      .join();
  const wrong = nodes.length === controls.length ? [] : [`${nodes.length} nodes`];
  for (const control of controls) {
    const { name, id } = control.node;
    const expect = (what: string, found: string | number, expected: string | number) => {
      if (found !== expected) wrong.push(`${what} of ${name}: ${found}, the store has ${expected}`);
    };
    const own = endpoints.filter(({ node }) => node === id);
    expect('endpoints', ids(control.own()), ids(own));
    const hosted = new Set(own.map(({ network }) => network));
    expect('networks', [...control.views.keys()].sort().join(), [...hosted].sort().join());
    for (const network of hosted) {
      const there = endpoints.filter((one) => one.network === network);
      const view = control.views.get(network);
      expect('view', ids(view?.endpoints.values() ?? []), ids(there));
      expect('peers', view?.peers.length ?? 0, new Set(there.map(({ node }) => node)).size - 1);
    }
  }
  return wrong;
}

for (let i = 0; i < 3; i++) t.test(`seed ${seed + i}`, (t) => run(t, seed + i));

t.test('what was released is not given again at once, whoever asks', async (t) => {
  const chaos = new Chaos(seed);
  t.teardown(() => chaos.close());
  await chaos.begin();
  const [a, b] = (await chaos.calm()) as [StoreControl, StoreControl];
  await a.createNetwork(REQUESTS[0]!);
  chaos.fail(0.1);
  const patiently = async <T>(work: () => Promise<T>): Promise<T | null> => {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if ((error as ControlError).code === 'NOT_FOUND') return null;
        if ((error as ControlError).code !== 'AWAY') throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  };
  const given = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const [control] = chaos.random.chance(0.5) ? [a] : [b];
    const one = (await patiently(() => control!.attach(ask('wide'))))!;
    t.notOk(given.has(one.addresses[0]!), one.addresses[0]!);
    given.add(one.addresses[0]!);
    await patiently(() => control!.detach(one.id));
  }
});
