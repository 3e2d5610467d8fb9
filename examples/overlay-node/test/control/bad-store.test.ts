/** What a store can hold that nobody of ours wrote, and what it can do that nobody would wish. */
import t from 'tap';
import { StoreControl } from '../../control/store-control.ts';
import { ask, hex, until, World } from './world.ts';

const attachable = { attachable: true };

t.test('a list of a node that names what is not its own harms nobody', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  const one = await a.control.attach(ask('web'));
  const { cluster, node } = b.control;
  await b.control.close();
  const rubbish = {
    [one.id]: id,
    [hex(64)]: id,
    [hex(64)]: 'x'.repeat(1020),
    '': '',
    'a/b': '..',
  };
  for (const [key, value] of Object.entries(rubbish)) await world.store.put(`on/${node.id}/${key}`, value);
  const again = await world.node({ identity: node, joining: false, cluster });
  t.match(again.control.health, { state: 'connected', error: null });
  t.same(again.control.own(), []);
  t.same((await world.store.list(`on/${node.id}/`)).entries, [], 'it is swept');
  t.same(await again.control.endpoints('web'), [one], 'and what is of others stays');
  await world.store.put(`on/${node.id}/${one.id}`, id);
  await a.control.removeNode(node.id, true);
  t.same(await a.control.endpoints('web'), [one]);
});

t.test('records with the right names and impossible values are not readable', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const { control } = await world.node();
  const network = await control.createNetwork({ name: 'web', ...attachable });
  const one = await control.attach(ask('web'));
  const { node } = control;
  const rubbish: [string, object][] = [
    [`networks/${network.id}`, { ...network, vni: 2 ** 24 }],
    [`networks/${network.id}`, { ...network, subnets: [] }],
    [`nodes/${node.id}`, { ...node, dataPort: 0 }],
    [`endpoints/${network.id}/${one.id}`, { ...one, addresses: [] }],
    [`endpoints/${network.id}/${one.id}`, { ...one, ports: [{ protocol: 'x' }] }],
  ];
  for (const [key, value] of rubbish) {
    await world.store.put(key, JSON.stringify(value));
    await until(() => control.health.error?.includes(key) === true);
    t.match(control.health, { state: 'connected', error: /is not as it should be/ }, key);
    const before: Record<string, object> = { [network.id]: network, [node.id]: node, [one.id]: one };
    await world.store.put(key, JSON.stringify(before[key.slice(key.lastIndexOf('/') + 1)]));
    await until(() => control.health.error === null);
  }
  await control.detach(one.id);
  await until(async () => (await world.store.list('endpoints/')).entries.length === 0);
});

t.test('a record of life that somebody deleted is written again', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const key = `alive/${b.control.node.id}`;
  await world.store.delete(key);
  await until(async () => (await world.store.get(key)) !== null);
  t.match(await a.control.nodes(), [{ alive: true }, { alive: true }]);
});

t.test('a node that has become another while the store was away says so when it is back', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { cluster, node } = b.control;
  await b.control.close();
  const store = world.store.client();
  store.away = true;
  const { alive: _, ...identity } = node;
  const moved = { ...identity, address: '198.51.100.7' };
  await world.node({ identity: moved, joining: false, cluster, store });
  store.away = false;
  await until(async () => (await a.control.nodes()).some(({ address }) => address === moved.address));
});

t.test('a store of another schema under way', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const { control } = await world.node();
  const { id } = await control.createNetwork({ name: 'web', ...attachable });
  await control.attach(ask('web'));
  const { value } = (await world.store.get('cluster'))!;
  await world.store.put('cluster', JSON.stringify({ ...JSON.parse(value), schema: 2 }));
  await world.store.delete(`networks/${id}`);
  await until(() => control.health.state === 'away');
  t.match(control.health.error, /^the store has records of schema 2, not 1: use the same version/);
  t.equal(control.views.get(id)!.endpoints.size, 1);
  await t.rejects(
    StoreControl.open({ store: world.store.client(), identity: world.identity(), joining: true }),
    {
      code: 'VERSION',
    },
  );
});

t.test('a network that was made anew under its name an instant ago', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const before = await a.control.createNetwork({ name: 'web', ...attachable });
  await until(async () => (await b.control.network('web')).id === before.id);
  await a.control.removeNetwork('web');
  const after = await a.control.createNetwork({ name: 'web', ...attachable });
  const one = await b.control.attach(ask('web'));
  t.equal(one.network, after.id);
  t.same([...b.control.views.keys()], [after.id]);
});

t.test('keys count in the order of the store, whatever the clocks say', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  let now = 1e12;
  const identity = world.identity();
  const a = await world.node({ identity, now: () => now });
  const b = await world.node();
  const got: number[] = [];
  b.control.keys.watch(identity.address, ([byte]) => got.push(byte!));
  await a.control.keys.publish(identity.address, Uint8Array.of(1));
  now = 0;
  await a.control.keys.publish(identity.address, Uint8Array.of(2));
  await until(() => got.includes(2));
  // Another node on the same host.
  await a.control.leave();
  const c = await world.node({ identity: { ...identity, id: hex(12) } });
  await c.control.keys.publish(identity.address, Uint8Array.of(3));
  await until(() => got.includes(3));
  b.control.keys.watch(identity.address, ([byte]) => t.equal(byte, 3));
});

t.test('what is not readable is forgotten with the network', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const { control } = await world.node();
  const { id } = await control.createNetwork({ name: 'web', ...attachable });
  const one = await control.attach(ask('web'));
  await world.store.put(`endpoints/${id}/${hex(64)}`, '{');
  await until(() => control.health.error !== null);
  await control.detach(one.id);
  t.equal(control.health.error, null);
});
