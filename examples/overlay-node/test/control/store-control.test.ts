import t from 'tap';
import { createCluster } from '../../control/cluster.ts';
import { MemoryStore } from '../../control/store/memory.ts';
import { StoreControl } from '../../control/store-control.ts';
import { ask, LASTING, until, World } from './world.ts';

const attachable = { attachable: true };

t.test('what one node attaches the others see, if they take part', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b, c] = [await world.node(), await world.node(), await world.node()];
  const network = await a.control.createNetwork({ name: 'web', ...attachable });
  t.match(network, { vni: 4097, subnets: [{ cidr: '10.0.1.0/24' }], attachable: true });
  t.match(await b.control.network('web'), { id: network.id });
  t.match(await b.control.network(network.id.slice(0, 8)), { id: network.id });
  const one = await a.control.attach(ask('web', { name: 'one' }));
  t.match(one, { addresses: ['10.0.1.2/24'], mac: '02:42:0a:00:01:02', node: a.control.node.id });
  t.same([...a.control.views.get(network.id)!.endpoints.keys()], [one.id], 'in the view at once');
  t.equal(b.control.views.size, 0, 'b takes no part');
  const two = await b.control.attach(ask('web', { name: 'two' }));
  t.same(two.addresses, ['10.0.1.3/24']);
  const view = b.control.views.get(network.id)!;
  t.same([...view.endpoints.keys()].sort(), [one.id, two.id].sort());
  t.same(
    view.peers.map(({ id }) => id),
    [a.control.node.id],
  );
  await until(() => a.control.views.get(network.id)!.peers.length === 1);
  t.equal(a.control.views, a.control.views, 'the same map until something changes');
  t.equal(c.control.views.size, 0);
  t.equal((await c.control.endpoints('web')).length, 2, 'who takes no part can ask');
  t.same(a.control.own(), [one]);

  await t.rejects(a.control.removeNetwork('web'), {
    code: 'CONFLICT',
    message: /^network web has active endpoints: (one|two) on node /,
  });
  await b.control.detach(two.id);
  t.equal(b.control.views.size, 0, 'with its last endpoint a node takes no part');
  await until(() => a.control.views.get(network.id)!.peers.length === 0);
  await t.rejects(b.control.detach(two.id), { code: 'NOT_FOUND' });
  await a.control.detach(one.id);
  const three = await a.control.attach(ask('web'));
  t.same(three.addresses, ['10.0.1.4/24'], 'what was released is not given again at once');
  await a.control.detach(three.id);
  await c.control.removeNetwork('web');
  await t.rejects(a.control.network('web'), { code: 'NOT_FOUND', message: 'network web not found' });
  await t.rejects(a.control.attach(ask('web')), { code: 'NOT_FOUND' });
  t.same((await world.store.list('addresses/')).entries, [], 'nothing is left');
  t.same((await world.store.list('on/')).entries, []);
});

t.test('a node can go on taking part for a while', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const linger = 300;
  const short = { ttl: 0.5, beat: 100, backOff: 10 };
  const { control } = await world.node({ timing: { ...short, linger } });
  const other = await world.node();
  const { id } = await control.createNetwork({ name: 'web', ...attachable });
  const one = await control.attach(ask('web'));
  await control.detach(one.id);
  t.equal(control.views.get(id)?.endpoints.size, 0, 'there, and empty');
  const two = await control.attach(ask('web'));
  await new Promise((resolve) => setTimeout(resolve, 2 * linger));
  t.same([...control.views.get(id)!.endpoints.keys()], [two.id], 'it stays with what came meanwhile');
  await control.detach(two.id);
  await until(() => !control.views.has(id));
  t.equal(control.views.size, 0, 'or is left when nothing came');

  const patient = await world.node({ timing: { ...short, linger: 3_600_000 } });
  const three = await patient.control.attach(ask('web'));
  await patient.control.detach(three.id);
  t.ok(patient.control.views.has(id));
  await other.control.removeNetwork('web');
  await until(() => !patient.control.views.has(id));
  t.equal(patient.control.views.size, 0, 'one that was removed is left at once');
});

t.test(
  'of two networks made at the same instant one has the name, and none another VNI or subnet twice',
  async (t) => {
    const world = await World.make();
    t.teardown(() => world.close());
    const nodes = await Promise.all([1, 2, 3, 4].map(() => world.node()));
    const same = await Promise.allSettled(nodes.map(({ control }) => control.createNetwork({ name: 'web' })));
    t.equal(same.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const result of same) {
      if (result.status === 'fulfilled') continue;
      t.match(result.reason, { code: 'CONFLICT', message: 'network with name web already exists' });
    }
    const many = await Promise.all(
      [...Array(40).keys()].map((i) => nodes[i % 4]!.control.createNetwork({ name: `n${i}` })),
    );
    t.equal(new Set(many.map(({ vni }) => vni)).size, 40);
    t.equal(new Set(many.map(({ subnets }) => subnets[0]!.cidr)).size, 40);
    await t.rejects(nodes[0]!.control.network('n'), { code: 'NOT_FOUND' });
  },
);

t.test('what cannot be attached', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const { control } = await world.node();
  await control.createNetwork({ name: 'own' });
  await t.rejects(control.attach(ask('own')), { code: 'FORBIDDEN', message: /not manually attachable/ });
  t.ok(await control.attach(ask('own', { service: true })));
  await control.createNetwork({ name: 'tiny', subnets: ['10.9.0.0/29'], ...attachable });
  const first = await control.attach(ask('tiny', { ip: '10.9.0.4', mac: '02:00:00:00:00:01' }));
  await t.rejects(control.attach(ask('tiny', { ip: '10.9.0.4' })), {
    code: 'CONFLICT',
    message: /Address already in use/,
  });
  await t.rejects(control.attach(ask('tiny', { mac: '02:00:00:00:00:01' })), { code: 'CONFLICT' });
  await t.rejects(control.attach(ask('nope')), { code: 'NOT_FOUND', message: 'network nope not found' });
  const rest = await Promise.all([1, 2, 3, 4].map(() => control.attach(ask('tiny'))));
  t.equal(new Set([first, ...rest].map(({ addresses }) => addresses[0])).size, 5);
  await t.rejects(control.attach(ask('tiny')), {
    code: 'FULL',
    message: "no available IPv4 addresses on this network's address pools: tiny (10.9.0.0/29)",
  });
  await control.detach(rest[0]!.id);
  t.same((await control.attach(ask('tiny'))).addresses, rest[0]!.addresses, 'the only one that is free');
  // An address whose endpoint is not there is free when nothing else is.
  const { network } = first;
  await world.store.delete(`endpoints/${network}/${rest[1]!.id}`);
  t.same((await control.attach(ask('tiny'))).addresses, rest[1]!.addresses, 'a leftover is collected');
});

t.test('both families', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const { control } = await world.node();
  await control.createNetwork({
    name: 'six',
    subnets: ['10.9.0.0/24', 'fd00:9::/64', '10.8.0.0/29'],
    ...attachable,
  });
  t.same((await control.attach(ask('six'))).addresses, ['10.9.0.2/24', 'fd00:9::2/64']);
  const asked = await control.attach(ask('six', { ip: '10.8.0.3', ip6: 'fd00:9::9' }));
  t.same(asked.addresses, ['10.8.0.3/29', 'fd00:9::9/64']);
});

t.test('a node that is not heard of is withdrawn, and is there again at once', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  await a.control.attach(ask('web'));
  await b.control.attach(ask('web'));
  const seen = () => [a.control.views.get(id)!.endpoints.size, a.control.views.get(id)!.peers.length];
  await until(() => seen()[0] === 2);
  await t.rejects(a.control.removeNode(b.control.node.id), { code: 'CONFLICT', message: /is not down/ });
  b.store.away = true;
  await until(() => b.control.health.state === 'away');
  await until(() => seen()[0] === 1);
  t.equal(seen()[1], 0);
  t.equal((await a.control.endpoints('web')).length, 2, 'withdrawn, not forgotten');
  t.match(await a.control.nodes(), [{ alive: true }, { alive: false }]);
  t.equal(b.control.views.get(id)!.endpoints.size, 2, 'b goes on with what it knows');
  t.equal((await b.control.networks()).length, 1);
  await t.rejects(b.control.attach(ask('web')), { code: 'AWAY', message: /nothing can be changed/ });
  b.store.away = false;
  await until(() => seen()[0] === 2 && seen()[1] === 1);
  t.equal(b.control.health.state, 'connected');
});

t.test('a removed node is told so', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  await a.control.attach(ask('web'));
  await b.control.attach(ask('web'));
  const identity = b.control.node;
  b.store.away = true;
  await until(() => a.control.views.get(id)!.peers.length === 0);
  await a.control.removeNode(identity.id);
  await t.rejects(a.control.removeNode(identity.id), { code: 'NOT_FOUND' });
  t.equal((await world.store.list(`addresses/${id}/`)).entries.length, 2, 'address and MAC of the other');
  b.store.away = false;
  await until(() => b.control.health.state === 'connected' && b.control.health.error !== null);
  t.match(b.control.health.error, /was removed from the cluster: say "packetweave leave"/);
  await t.rejects(b.control.attach(ask('web')), { code: 'NOT_JOINED' });
  t.equal((await a.control.endpoints('web')).length, 1, 'it does not put itself back');
  const options = { store: world.store.client(), identity };
  await t.rejects(StoreControl.open(options), { code: 'NOT_JOINED', message: /join again/ });
});

t.test('leave', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  await a.control.attach(ask('web'));
  await b.control.attach(ask('web'));
  await b.control.leave();
  await until(() => a.control.views.get(id)!.endpoints.size === 1);
  await until(async () => (await a.control.nodes()).length === 1);
  const keys = (await world.store.list('')).entries.map(({ key }) => key);
  t.notOk(
    keys.some((key) => key.includes(b.control.node.id)),
    'nothing of it is left',
  );
});

t.test('a node that starts again has its endpoints', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const a = await world.node();
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  const one = await a.control.attach(ask('web', { name: 'one' }));
  await a.control.close();
  const { cluster, node } = a.control;
  const again = await world.node({ identity: node, joining: false, cluster });
  t.same(again.control.own(), [one]);
  t.same([...again.control.views.get(id)!.endpoints.values()], [one]);
  await again.control.close();

  const store = world.store.client();
  store.away = true;
  await t.rejects(StoreControl.open({ store, identity: node }), { code: 'AWAY' }, 'the cluster is not known');
  const patient = await world.node({ identity: node, joining: false, cluster, store });
  t.match(patient.control.health, { state: 'away', store: 'memory' });
  t.same(patient.control.own(), []);
  let changes = 0;
  patient.control.onChange(() => changes++);
  store.away = false;
  await until(() => patient.control.own().length === 1);
  t.ok(changes > 0);
  t.equal(patient.control.views.get(id)!.endpoints.size, 1);
});

t.test('an emptied store withdraws nobody', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  await a.control.attach(ask('web'));
  await b.control.attach(ask('web'));
  await until(() => a.control.views.get(id)!.endpoints.size === 2);
  const before = (await world.store.list('')).entries;
  const intact = () => [a, b].every(({ control }) => control.views.get(id)?.endpoints.size === 2);
  for (const { key } of before) await world.store.delete(key);
  await until(() => [a, b].every(({ control }) => control.health.state === 'away'));
  t.ok(intact());
  t.match(a.control.health.error, /carries no cluster: nothing is withdrawn/);
  await world.store.put('cluster', 'rubbish');
  await until(() => /no JSON/.test(a.control.health.error ?? ''));
  t.ok(intact());
  await world.store.delete('cluster');
  await createCluster(world.store);
  await until(() => /another cluster/.test(a.control.health.error ?? ''));
  t.ok(intact());
  // Its backup comes back, without the endpoints: each node puts its own back.
  for (const { key, value } of before) {
    if (/^(endpoints|on|addresses|alive)\//.test(key)) continue;
    if (key !== 'cluster') await world.store.put(key, value);
  }
  await world.store.put('cluster', before.find(({ key }) => key === 'cluster')!.value);
  await until(() => [a, b].every(({ control }) => control.health.state === 'connected'));
  await until(async () => (await world.store.list(`endpoints/${id}/`)).entries.length === 2);
  await until(intact);
  t.match(world.said.lines.filter((line) => line.includes('is put back')).length, 2);
});

/** Milliseconds after which a node would be withdrawn. */
const SETTLED = LASTING.ttl * 1000 + 1000;

/** Two nodes of a world. */
const lasting = (world: World) => Promise.all([1, 2].map(() => world.node({ timing: LASTING })));

t.test('leases that ran out with the store kill nobody', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = await lasting(world);
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  await a.control.attach(ask('web'));
  await b.control.attach(ask('web'));
  await until(() => a.control.views.get(id)!.endpoints.size === 2);
  let withdrawn = false;
  a.control.onChange(() => {
    withdrawn ||= a.control.views.get(id)!.endpoints.size < 2;
  });
  for (const { store } of [a, b]) store.away = true;
  await until(async () => (await world.store.list('alive/')).entries.length === 0);
  a.store.away = false;
  await until(() => a.control.health.state === 'connected');
  b.store.away = false;
  await until(async () => (await world.store.list('alive/')).entries.length === 2);
  await new Promise((resolve) => setTimeout(resolve, SETTLED));
  t.notOk(withdrawn);
});

t.test('rubbish under our keys is passed over and named', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  const one = await a.control.attach(ask('web'));
  await b.control.attach(ask('web'));
  const key = `endpoints/${id}/${one.id}`;
  const { value } = (await world.store.get(key))!;
  for (const rubbish of [
    '',
    '{',
    'null',
    '[]',
    '{"id":1}',
    value.replace(one.node, 'x').replace(id, 'y'),
    '\u0000',
  ])
    await world.store.put(key, rubbish);
  await world.store.put('nodes/zzz', 'what?');
  await world.store.put('networks/', '7');
  await world.store.put(`endpoints/${id}/more/deep`, value);
  await until(() => /nodes\/zzz \(it is no JSON\)/.test(b.control.health.error ?? ''));
  t.match(b.control.health, { state: 'connected', error: /^4 records are not readable and left out/ });
  t.equal(b.control.views.get(id)!.endpoints.size, 2, 'what was there before stays');
  t.equal((await b.control.networks()).length, 1);
  await world.store.put(key, value);
  for (const key of ['nodes/zzz', 'networks/', `endpoints/${id}/more/deep`]) await world.store.delete(key);
  await until(() => b.control.health.error === null);
  const said = world.said.lines.filter((line) => line.includes('nodes/zzz'));
  t.equal(said.length, 2, 'each node says it once');
});

t.test('another store under way', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = await lasting(world);
  const { id } = await a.control.createNetwork({ name: 'web', ...attachable });
  await a.control.attach(ask('web'));
  await b.control.attach(ask('web'));
  await until(() => a.control.views.get(id)!.endpoints.size === 2);
  const next = new MemoryStore();
  await t.rejects(a.control.use(next.client()), { code: 'CORRUPT' }, 'it carries nothing');
  for (const { key, value } of (await world.store.list('')).entries)
    if (!key.startsWith('alive/')) await next.put(key, value);
  let withdrawn = false;
  a.control.onChange(() => {
    withdrawn ||= a.control.views.get(id)!.endpoints.size < 2;
  });
  await a.control.use(next.client());
  await b.control.use(next.client());
  const three = await b.control.attach(ask('web'));
  await until(() => a.control.views.get(id)!.endpoints.has(three.id));
  t.same(three.addresses, ['10.0.1.4/24']);
  await new Promise((resolve) => setTimeout(resolve, SETTLED));
  t.notOk(withdrawn);
  t.equal(a.control.views.get(id)!.endpoints.size, 3);
});

t.test('keys travel through the store', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const { address } = a.control.node;
  const got: number[][] = [];
  await a.control.keys.publish(address, Uint8Array.of(1, 2, 3));
  const stop = b.control.keys.watch(address, (record) => got.push([...record]));
  await until(() => got.length === 1);
  await a.control.keys.publish(address, Uint8Array.of(4));
  await until(() => got.length === 2);
  t.same(got, [[1, 2, 3], [4]]);
  b.control.keys.watch(address, (record) => t.same([...record], [4], 'who comes later hears it at once'));
  stop();
  a.store.away = true;
  await t.rejects(async () => a.control.keys.publish(address, Uint8Array.of(5)), { code: 'AWAY' });
});

t.test('a store without a cluster', async (t) => {
  const world = new World();
  await t.rejects(world.node(), { code: 'NOT_JOINED', message: 'the store at memory carries no cluster' });
  await createCluster(world.store);
  await t.rejects(createCluster(world.store), { code: 'CONFLICT' });
  await world.store.put('cluster', '{"id":"x","schema":2,"created":""}');
  await t.rejects(world.node(), { code: 'VERSION', message: /schema 2, not 1/ });
});

t.test('who an endpoint is can change while it is attached', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const [a, b] = [await world.node(), await world.node()];
  const network = await a.control.createNetwork({ name: 'web', ...attachable });
  const one = await a.control.attach(ask('web', { name: 'one', labels: { kept: 'yes' } }));
  await b.control.attach(ask('web', { name: 'two' }));
  const seen = () => b.control.views.get(network.id)?.endpoints.get(one.id);
  const ports = [{ protocol: 'tcp' as const, published: 8080, port: 80, count: 1, hostAddress: null }];
  const changed = await a.control.update(one.id, { name: 'other', aliases: ['x', 'x', 'y'], ports });
  t.same(changed, { ...one, name: 'other', aliases: ['x', 'y'], ports });
  t.same(a.control.own(), [changed]);
  t.same(a.control.views.get(network.id)!.endpoints.get(one.id), changed);
  await until(() => seen()?.name === 'other');
  t.same(seen(), changed, 'the others see it');
  t.same(await a.control.update(one.id, {}), changed, 'nothing changes');
  await t.rejects(a.control.update(one.id, { name: 'no name' }), { code: 'INVALID' });
  await t.rejects(a.control.update('nope', { name: 'x' }), { code: 'NOT_FOUND' });
  await t.rejects(b.control.update(one.id, { name: 'x' }), { code: 'NOT_FOUND' }, "it is another node's");
  a.store.away = true;
  await t.rejects(a.control.update(one.id, { name: 'away' }), { code: 'AWAY' });
  t.same(a.control.own(), [changed]);
});

t.test('a network that is planned is not there', async (t) => {
  const world = await World.make();
  t.teardown(() => world.close());
  const { control } = await world.node();
  const planned = await control.planNetwork({ name: 'web', ipv6: true });
  t.match(planned, { name: 'web', vni: 4097, subnets: [{ cidr: '10.0.1.0/24' }, { cidr: /^fd/ }] });
  t.same(await control.networks(), []);
  const made = await control.createNetwork({ name: 'web' });
  t.equal(made.subnets[0]!.cidr, planned.subnets[0]!.cidr);
  await t.rejects(control.planNetwork({ name: 'web' }), { code: 'CONFLICT' });
  await t.rejects(control.planNetwork({ name: '' }), { code: 'INVALID' });
});
