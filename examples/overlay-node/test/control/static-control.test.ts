import t, { type Test } from 'tap';
import type { NetworkRequest, Node } from '../../control/model.ts';
import { StaticControl } from '../../control/static-control.ts';
import { nodeIdOf } from '../../control/static-place.ts';
import type { Saved } from '../../control/static-state.ts';
import { ask } from './world.ts';

const ADDRESSES = ['192.0.2.9', '192.0.2.10', '2001:db8::1'];
const attachable = { attachable: true };

/** What a disk would keep. */
class Kept {
  text: string | null = null;
  full = false;
  async read(): Promise<Saved | null> {
    return this.text === null ? null : JSON.parse(this.text);
  }
  async write(saved: Saved): Promise<void> {
    if (this.full) throw new Error('ENOSPC');
    this.text = JSON.stringify(saved);
  }
}

function identity(address: string): Node {
  const ports = { dataPort: 4789, espPort: 4500, mtu: 1500 };
  const id = nodeIdOf(address);
  return { id, name: `at-${address}`, address, ...ports, version: '1', joined: '2026-01-01T00:00:00.000Z' };
}

const open = (address: string, peers: readonly string[] = ADDRESSES, state = new Kept()) =>
  StaticControl.open({ identity: identity(address), peers, state, now: () => 5 });

async function hosts(t: Test): Promise<StaticControl[]> {
  const all = await Promise.all(ADDRESSES.map((address) => open(address)));
  t.teardown(() => Promise.all(all.map((control) => control.close())));
  return all;
}

t.test('the same command makes the same network on every host', async (t) => {
  const all = await hosts(t);
  const requests: NetworkRequest[] = [
    { name: 'web' },
    { name: 'db', ipv6: true, options: { encrypted: '' } },
    { name: 'given', subnets: ['172.20.0.0/16'], options: { vni: '7' } },
    { name: 'six', subnets: ['fd00:6::/64'] },
  ];
  for (const request of requests) {
    const made = await Promise.all(all.map((control) => control.createNetwork(request)));
    for (const network of made) t.same(network, made[0]);
  }
  const networks = new Map((await all[0]!.networks()).map((network) => [network.name, network]));
  t.match(networks.get('web'), {
    id: /^[0-9a-f]{64}$/,
    created: '1970-01-01T00:00:00.005Z',
    subnets: [{ cidr: /^10\.\d+\.\d+\.0\/24$/, gateway: /^10\.\d+\.\d+\.1$/ }],
  });
  t.ok(networks.get('web')!.vni > 4096);
  t.match(networks.get('db'), {
    encrypted: true,
    subnets: [{ cidr: /^10\./ }, { cidr: /^fd[0-9a-f:]+::\/64$/ }],
  });
  t.match(networks.get('given'), { vni: 7, subnets: [{ cidr: '172.20.0.0/16' }] });
  t.match(networks.get('six'), { subnets: [{ cidr: /^10\./ }, { cidr: 'fd00:6::/64' }] });
  const [a] = all as [StaticControl];
  await t.rejects(a.createNetwork({ name: 'web' }), { code: 'CONFLICT', message: /already exists/ });
  const clash = { name: 'clash', subnets: ['172.20.1.0/24'] };
  await t.rejects(a.createNetwork(clash), {
    code: 'CONFLICT',
    message: /network given: [^;]*; without a store/,
  });
  await t.rejects(a.createNetwork({ name: 'b', options: { vni: '7' } }), { code: 'CONFLICT' });
  await t.rejects(a.createNetwork({ name: '' }), { code: 'INVALID' });
  t.match(await a.network(networks.get('six')!.id.slice(0, 8)), { name: 'six' });
});

t.test('each host chooses addresses from a part of its own', async (t) => {
  const all = await hosts(t);
  const given = new Set<string>();
  // 14 addresses, in parts of 4, 5 and 5; the gateway's is in the first.
  const request = { name: 'web', subnets: ['10.9.0.0/28', 'fd00:9::/64'], ...attachable };
  for (const control of all) {
    await control.createNetwork(request);
    for (let i = 0; i < 3; i++) {
      const { addresses, mac, node } = await control.attach(ask('web'));
      t.equal(node, control.node.id);
      for (const what of [...addresses, mac]) given.add(what);
    }
  }
  t.equal(given.size, 3 * 3 * 3, 'two addresses and a MAC each, none twice');
  const [a, b] = all as [StaticControl, StaticControl];
  t.same(
    a.own().map(({ addresses }) => addresses[0]),
    ['10.9.0.2/28', '10.9.0.3/28', '10.9.0.4/28'],
  );
  await t.rejects(a.attach(ask('web')), {
    code: 'FULL',
    message:
      /^no available IPv4 .* chooses from 10\.9\.0\.1 to 10\.9\.0\.4 of 10\.9\.0\.0\/28: give one with --ip/,
  });
  t.match(await a.attach(ask('web', { ip: '10.9.0.14' })), { mac: '02:42:0a:09:00:0e' });
  await t.rejects(a.attach(ask('web', { ip: '10.9.0.14' })), { code: 'CONFLICT', message: /already in use/ });
  t.equal(b.own()[0]!.addresses[0], '10.9.0.5/28');
  await b.detach(b.own()[0]!.id);
  await b.attach(ask('web', { ip: '10.9.0.13' }));
  t.equal((await b.attach(ask('web'))).addresses[0], '10.9.0.8/28', 'not what was released just now');
  await t.rejects(a.attach(ask('nope')), { code: 'NOT_FOUND' });
  await a.createNetwork({ name: 'own' });
  await t.rejects(a.attach(ask('own')), { code: 'FORBIDDEN' });
});

t.test('more hosts than addresses', async (t) => {
  const peers = [...Array(8).keys()].map((i) => `192.0.2.${i + 1}`);
  const all = await Promise.all(peers.map((address) => open(address, peers)));
  const given = [];
  for (const control of all) {
    await control.createNetwork({ name: 'tiny', subnets: ['10.9.0.0/29'], ...attachable });
    const result = await control.attach(ask('tiny')).catch(({ code }) => code);
    given.push(typeof result === 'string' ? result : result.addresses[0]);
  }
  const six = [2, 3, 4, 5, 6].map((i) => `10.9.0.${i}/29`);
  t.same(given.toSorted(), [...six, 'FULL', 'FULL', 'FULL']);
});

t.test('views, nodes, and who is told', async (t) => {
  const [a] = (await hosts(t)) as [StaticControl];
  const [, peer] = await a.nodes();
  t.match(a.health, { state: 'connected', since: 5, error: null, store: 'none' });
  t.equal(a.keys, null);
  t.match(peer, { id: nodeIdOf(ADDRESSES[1]!), address: ADDRESSES[1], dataPort: 4789, alive: true });
  t.equal((await a.nodes()).length, 3);
  let told = 0;
  const stop = a.onChange(() => told++);
  const network = await a.createNetwork({ name: 'web', ...attachable });
  t.equal(a.views.size, 0, 'no part in a network without an endpoint here');
  const [one, two] = await Promise.all([a.attach(ask('web')), a.attach(ask('web'))]);
  t.not(one.addresses[0], two.addresses[0]);
  const view = a.views.get(network.id)!;
  t.same([...view.endpoints.values()], [one, two]);
  t.same(view.peers, (await a.nodes()).slice(1));
  t.equal(a.views, a.views);
  t.same(await a.endpoints('web'), [one, two]);
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(told > 0);
  stop();
  await t.rejects(a.removeNetwork('web'), { code: 'CONFLICT', message: `active endpoints: ${one.name}` });
  await a.detach(one.id);
  await t.rejects(a.detach(one.id), { code: 'NOT_FOUND' });
  await a.detach(two.id);
  t.equal(a.views.size, 0);
  await a.removeNetwork('web');
  t.same(await a.networks(), []);
  await t.rejects(a.removeNode('nobody'), { code: 'NOT_FOUND' });
  await t.rejects(a.removeNode(peer!.id), { code: 'CONFLICT', message: /--peer/ });
});

t.test('what is remembered', async (t) => {
  const state = new Kept();
  const [own, other] = ADDRESSES as [string, string];
  const before = await open(own, [other], state);
  const network = await before.createNetwork({ name: 'web', ...attachable });
  const one = await before.attach(ask('web'));
  const two = await before.attach(ask('web'));
  await before.detach(two.id);
  // No `close`: it is killed.
  const after = await open(own, [other], state);
  t.same(after.own(), [one]);
  t.same(await after.networks(), [network]);
  t.same([...after.views.get(network.id)!.endpoints.values()], [one]);
  const three = await after.attach(ask('web'));
  t.not(three.addresses[0], two.addresses[0], 'what was released is not given again at once');

  state.full = true;
  await t.rejects(after.attach(ask('web')), { code: 'AWAY', message: /nothing was changed.*ENOSPC/ });
  await t.rejects(after.detach(one.id), { code: 'AWAY' });
  t.same(after.own(), [one, three]);
  t.match(after.health, { state: 'connected', error: /ENOSPC/ });
  state.full = false;
  await after.detach(three.id);
  t.equal(after.health.error, null);
  const moved = await StaticControl.open({ identity: { ...identity(own), id: 'f00' }, peers: [], state });
  t.equal(moved.own()[0]!.node, 'f00', 'what is here is here whatever the node is called');
  await after.leave();
  t.same((await open(own, [], state)).own(), []);
});

t.test('what cannot be opened', async (t) => {
  const saved = async (change: (saved: Record<string, unknown>) => void) => {
    const state = new Kept();
    const control = await open('192.0.2.1', [], state);
    await control.createNetwork({ name: 'web', ...attachable });
    await control.attach(ask('web'));
    const value = JSON.parse(state.text!);
    change(value);
    state.text = JSON.stringify(value);
    return open('192.0.2.1', [], state);
  };
  await t.resolves(saved(() => {}));
  await t.rejects(open('192.0.2.1', ['hostname']), {
    code: 'INVALID',
    message: '"hostname" is no address of a host',
  });
  const version = saved((value) => Object.assign(value, { schema: 2 }));
  await t.rejects(version, { code: 'VERSION', message: /schema 2, not 1/ });
  for (const rubbish of [
    { schema: null },
    { networks: 7 },
    { networks: [] },
    { networks: [null] },
    { endpoints: [{}] },
  ]) {
    const broken = saved((value) => Object.assign(value, rubbish));
    await t.rejects(
      broken,
      { code: 'CORRUPT', message: /mend or remove|remove it/ },
      JSON.stringify(rubbish),
    );
  }
  const cursors = await saved((value) => Object.assign(value, { cursors: 'x' }));
  t.ok(await cursors.attach(ask('web')), 'without its cursors it goes on');
});

t.test('who an endpoint is can change, and a network can be planned', async (t) => {
  const state = new Kept();
  const control = await open(ADDRESSES[0]!, ADDRESSES, state);
  t.teardown(() => control.close());
  const planned = await control.planNetwork({ name: 'web', ...attachable });
  t.same(await control.networks(), []);
  t.same(await control.createNetwork({ name: 'web', ...attachable }), planned);
  const one = await control.attach(ask('web'));
  const changed = await control.update(one.id, { name: 'other', aliases: ['x'] });
  t.same(changed, { ...one, name: 'other', aliases: ['x'] });
  t.same(control.own(), [changed]);
  t.match(JSON.parse(state.text!), { endpoints: [{ name: 'other' }] }, 'it is remembered');
  await t.rejects(control.update(one.id, { hostname: '-' }), { code: 'INVALID' });
  await t.rejects(control.update('nope', {}), { code: 'NOT_FOUND' });
});
