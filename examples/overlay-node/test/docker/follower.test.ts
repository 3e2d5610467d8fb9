/** Who the containers of endpoints are, as a stand-in for an engine tells it: also late, wrongly, or not at all. */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import type { MemoryStore } from '../../control/store/memory.ts';
import type { StoreControl } from '../../control/store-control.ts';
import { makeLogger } from '../../daemon/log.ts';
import type { Running } from '../../daemon/running.ts';
import { StateFolder } from '../../daemon/state.ts';
import { type EndpointRecord, Endpoints } from '../../docker/endpoints.ts';
import { Engine } from '../../docker/engine.ts';
import { Follower } from '../../docker/follower.ts';
import { type NetworkRecord, Networks } from '../../docker/networks.ts';
import { Shelf } from '../../docker/shelf.ts';
import { until, World } from '../control/world.ts';

const id = (n: number) => n.toString(16).padStart(4, '0').repeat(16);

/** Answers what a real engine does, of what it is told. */
class StandIn {
  readonly socket: string;
  engine = 'A';
  networks: string[] = [];
  /** By id of the container: its name, aliases, and endpoint. */
  readonly containers = new Map<string, { name: string; aliases: string[] | null; endpoint: string }>();
  #server: Server | null = null;
  #events: ServerResponse[] = [];

  constructor(t: Test) {
    // A path of a socket has at most 107 bytes.
    const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
    this.socket = join(folder, 'docker.sock');
    // Something may be written there yet.
    t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
    t.teardown(() => this.close());
  }

  async open(): Promise<void> {
    const server = createServer(({ url = '' }, to) => {
      const [, path] = /^\/v1\.25(\/[^?]*)/.exec(url) ?? [];
      if (path === '/events') {
        to.flushHeaders();
        this.#events.push(to);
        return;
      }
      const answer = this.#answer(path ?? '');
      to.statusCode = answer === null ? 404 : 200;
      to.end(JSON.stringify(answer ?? { message: 'No such container' }));
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.socket, resolve));
  }

  #answer(path: string): unknown {
    if (path === '/info') return { ID: this.engine };
    if (path === '/networks') return this.networks.map((Id) => ({ Id }));
    if (path === '/containers/json') return [...this.containers.keys()].map((one) => this.#shown(one));
    const [, container] = /^\/containers\/([^/]+)\/json$/.exec(path) ?? [];
    return this.containers.has(container) ? this.#shown(container) : null;
  }

  #shown(container: string): unknown {
    const { name, aliases, endpoint } = this.containers.get(container)!;
    const Networks = { any: { EndpointID: endpoint, Aliases: aliases } };
    return { Id: container, Name: `/${name}`, Config: { Hostname: 'host' }, NetworkSettings: { Networks } };
  }

  tell(Type: string, Action: string, ID: string, Attributes: Record<string, string> = {}): void {
    for (const to of this.#events)
      to.write(`${JSON.stringify({ Type, Action, Actor: { ID, Attributes } })}\n`);
  }

  get listening(): boolean {
    return this.#events.length > 0;
  }

  async close(): Promise<void> {
    this.#events = [];
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
}

interface Scene {
  readonly world: World;
  readonly control: StoreControl;
  readonly store: MemoryStore;
  readonly standIn: StandIn;
  readonly networks: Networks;
  readonly endpoints: Endpoints;
  readonly follower: Follower;
  readonly clock: { now: number };
  /** Makes an endpoint as an engine does. */
  attach(n: number): Promise<void>;
  /** Name and aliases in the overlay. */
  known(): string[];
}

async function scene(t: Test): Promise<Scene> {
  const world = await World.make();
  t.teardown(() => world.close());
  const { control, store } = await world.node();
  const standIn = new StandIn(t);
  const state = await StateFolder.open(join(dirname(standIn.socket), 'state'));
  const log = makeLogger('silent');
  const clock = { now: 0 };
  const now = () => clock.now;
  const plumbing = { run: async () => {} };
  const here = () => ({ control, plumbing }) as unknown as Running;
  const shelves = {
    networks: await Shelf.open<NetworkRecord>(state, 'docker-networks', t.fail),
    endpoints: await Shelf.open<EndpointRecord>(state, 'docker-endpoints', t.fail),
  };
  const networks = new Networks({ shelf: shelves.networks, control: () => control, log, now });
  const endpoints = new Endpoints({ shelf: shelves.endpoints, networks, here, log, now });
  const pool = await networks.requestPool({ name: 'web', family: 4, pool: '', range: '' });
  const subnet = { space: 'packetweave', cidr: pool.subnet.cidr, gateway: '', auxiliary: {} };
  await networks.create({ id: id(1), options: {}, internal: false, subnets: [subnet] });
  standIn.networks = [id(1)];
  await standIn.open();
  const engine = new Engine(standIn.socket);
  const follower = new Follower({ engine, networks, endpoints, state, log, now });
  t.teardown(() => follower.close());
  await until(() => standIn.listening);
  return {
    ...{ world, control, store, standIn, networks, endpoints, follower, clock },
    attach: async (n) => {
      const address = await endpoints.addresses.request(networks.get(id(1)), 4, '', '');
      await endpoints.create({ id: id(n), network: id(1), address, mac: '', ports: [] });
    },
    known: () => control.own().flatMap(({ name, aliases }) => [name, ...aliases]),
  };
}

t.test('names come with events', async (t) => {
  const { standIn, attach, known, control } = await scene(t);
  await attach(2);
  t.match(known(), [/^docker-[0-9a-f]{8}$/], 'until the engine tells another');
  standIn.containers.set(id(9), {
    name: 'one',
    aliases: ['x', id(9).slice(0, 12), 'no name', 'x'],
    endpoint: id(2),
  });
  standIn.tell('network', 'connect', id(1), { container: id(9), type: 'packetweave' });
  await until(() => known().includes('one'));
  t.strictSame(known(), ['one', 'x'], 'what is no name is left out');
  t.match(control.own(), [{ container: id(9), hostname: 'host' }]);
  standIn.containers.set(id(9), { name: 'other', aliases: null, endpoint: id(2) });
  standIn.tell('container', 'rename', id(9));
  await until(() => known().includes('other'));
  t.strictSame(known(), ['other']);
  standIn.tell('network', 'connect', id(1), { container: id(99) });
  standIn.tell('container', 'start', id(9));
});

t.test('what is missed while one of them is away is made good', async (t) => {
  const { standIn, attach, known, store, control } = await scene(t);
  await attach(2);
  await standIn.close();
  standIn.containers.set(id(9), { name: 'one', aliases: [], endpoint: id(2) });
  await standIn.open();
  await until(() => known().includes('one'));
  store.away = true;
  await until(() => control.health.state === 'away');
  standIn.containers.set(id(9), { name: 'other', aliases: [], endpoint: id(2) });
  standIn.tell('container', 'rename', id(9));
  store.away = false;
  await until(() => known().includes('other'));
  t.strictSame(known(), ['other']);
});

t.test('what the engine has no more is released', async (t) => {
  const { standIn, attach, endpoints, networks, follower, clock, control } = await scene(t);
  await attach(2);
  await attach(3);
  standIn.containers.set(id(9), { name: 'one', aliases: [], endpoint: id(2) });
  await follower.look();
  t.equal(endpoints.all().length, 2, 'not what is young: it may be in the making');
  clock.now = 100_000;
  standIn.engine = 'B';
  standIn.networks = [];
  await follower.look();
  t.equal(endpoints.all().length, 2, 'another engine knows nothing of ours');
  standIn.engine = 'A';
  standIn.networks = [id(1)];
  await follower.look();
  t.strictSame(
    endpoints.all().map((one) => one.id),
    [id(2)],
  );
  t.equal(control.own().length, 1);
  standIn.containers.clear();
  standIn.networks = [];
  await follower.look();
  t.strictSame([endpoints.all(), networks.all(), control.own()], [[], [], []]);
  t.strictSame(await control.networks(), []);
});

t.test('an address that no endpoint was made of is taken back', async (t) => {
  const { networks, endpoints, follower, clock, control } = await scene(t);
  await endpoints.addresses.request(networks.get(id(1)), 4, '', 'named');
  t.match(control.own(), [{ name: 'named' }], 'as newer engines call it');
  await follower.look();
  t.equal(control.own().length, 1);
  clock.now = 61_000;
  await follower.look();
  t.equal(control.own().length, 0);
});
