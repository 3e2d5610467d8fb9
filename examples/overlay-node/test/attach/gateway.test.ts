/** Gateways on a host of their own: made and removed as often as one likes, and what passes them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { Gateways, gatewayNamespace, listGateways } from '../../attach/gateway.ts';
import { existing } from '../../attach/namespace.ts';
import { noAttach } from './gen.ts';
import { ANSWER, HOST, HOST6, HostWorld, NEIGHBOUR, NEIGHBOUR6, SILENCE } from './host-world.ts';

/** The longest name that a device of a gateway has. */
const LAST_VNI = 16777215;
const BOTH = { internal: false, ipv6: true };

const why = noAttach('nft', 'ncat', 'nsenter', 'bash');
if (why !== null) skip(t, why);
else test();

/** What is left of a world, but for what belongs to the kernel. */
async function devices(world: HostWorld): Promise<string[]> {
  const shown = JSON.parse(await world.run('host', 'ip', '-j', 'link')) as { ifname: string }[];
  return shown.map(({ ifname }) => ifname).filter((name) => name.startsWith('pwg'));
}

/** Rules of a namespace without counters and handles. */
const rules = (world: HostWorld) => world.run('host', 'nft', '-s', 'list', 'ruleset');

function test(): void {
  t.test('made twice and removed twice, with the longest name', async (t) => {
    const world = new HostWorld(t);
    await world.inside(async () => {
      const gateways = world.gateways();
      const gateway = await gateways.make(LAST_VNI, BOTH);
      t.equal(gateway.link!.device.length, 15, 'as long as the kernel allows');
      t.same(gateway.link!.gateway, ['169.254.223.255', 'fd5e:7061:636b:fff::2']);
      const first = await rules(world);
      t.same(await world.gateways().make(LAST_VNI, BOTH), gateway, 'also by the next daemon');
      t.equal(await rules(world), first, 'no rule twice');
      t.same(listGateways(world.node), [LAST_VNI]);
      await gateways.remove(LAST_VNI);
      await gateways.remove(LAST_VNI);
      t.same([listGateways(world.node), await devices(world)], [[], []]);
      await gateways.close();
      await gateways.close();
      t.equal(await rules(world), '');
    });
  });

  t.test('one that is internal reaches nobody, and back', async (t) => {
    const world = new HostWorld(t);
    const { gateway, name } = await world.network(4097);
    await world.server(t, 'neighbour', 7000);
    const make = (internal: boolean, ipv6: boolean) =>
      world.inside(() => world.gateways().make(4097, { internal, ipv6 }));
    const asks = (...patience: readonly number[]) =>
      Promise.all([NEIGHBOUR, NEIGHBOUR6].map((to, i) => world.ask(name, to, 7000, 'tcp', patience[i])));
    const reached = [`neighbour ${HOST}`, `neighbour ${HOST6}`];
    t.same(await asks(), reached, 'whom it asks sees the host');
    t.same(await make(true, true), { ...gateway, link: null });
    t.same([await asks(SILENCE, SILENCE), await devices(world)], [['', ''], []]);
    t.same(await make(false, true), gateway);
    t.same(await asks(), reached);
    await make(false, false);
    t.same(await asks(ANSWER, SILENCE), [reached[0], ''], 'IPv4 alone');
    await make(false, true);
    t.same(await asks(), reached, 'and both again');
  });

  t.test('two networks with the same subnet', async (t) => {
    const world = new HostWorld(t);
    const all = [await world.network(4097), await world.network(4098)];
    await world.server(t, 'neighbour', 7000);
    await Promise.all(all.map(({ name }, i) => world.server(t, name, 7100 + i)));
    const out = all.flatMap(({ name }) => [
      world.ask(name, NEIGHBOUR, 7000),
      world.ask(name, NEIGHBOUR, 7000, 'udp'),
      world.ask(name, NEIGHBOUR6, 7000),
    ]);
    const seen = [HOST, HOST, HOST6].map((address) => `neighbour ${address}`);
    t.same(await Promise.all(out), [...seen, ...seen]);
    const [one, two] = all;
    const across = [
      ...two.gateway.link!.gateway.map((to) => world.ask(one.name, to, 7101, 'tcp', SILENCE)),
      world.ask(one.name, '10.0.1.2', 7101, 'tcp', SILENCE),
    ];
    t.same(await Promise.all(across), ['', '', ''], 'neither sees the other');
    const [a, b] = all.map(({ gateway }) => gateway.link!.gateway);
    t.notOk(a.some((address) => b.includes(address)));
  });

  t.test('addresses that are taken', async (t) => {
    const world = new HostWorld(t);
    const pair = 4097 % 8064;
    const taken = `169.254.${192 + (pair >> 7)}.${(pair & 127) * 2}`;
    await world.run('host', 'ip', 'address', 'add', `${taken}/24`, 'dev', 'eth0');
    await world.inside(async () => {
      const gateway = await world.gateways().make(4097, BOTH);
      t.notMatch(gateway.link!.host, taken);
      await world.run('host', 'ip', 'address', 'del', `${taken}/24`, 'dev', 'eth0');
      t.same(await world.gateways().make(4097, BOTH), gateway, 'it keeps what it has');
      // What a daemon of a node with another id has left on this host.
      const other = 'f'.repeat(64);
      t.teardown(() => world.inside(() => new Gateways(other).remove(4097)));
      const second = await new Gateways(other).make(4097, BOTH);
      for (const address of second.link!.host) t.notOk(gateway.link!.host.includes(address), address);
    });
  });

  t.test('what an earlier daemon left', async (t) => {
    const world = new HostWorld(t);
    const { gateway, name } = await world.network(4097);
    await world.server(t, name, 7000);
    await world.inside(async () => {
      const [vni] = listGateways(world.node);
      // Its namespace has lost its name, and lives on by what is in it.
      const path = `--net=/run/netns/${gateway.namespace}`;
      const living = spawn('nsenter', [path, 'sh', '-c', 'echo; exec sleep 60'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      t.teardown(() => living.kill('SIGKILL'));
      await once(living.stdout, 'data');
      await world.run('host', 'ip', 'netns', 'del', gateway.namespace);
      t.same([listGateways(world.node), await devices(world)], [[], [gateway.link!.device]]);
      t.same(await world.gateways().make(vni, BOTH), gateway, 'it is made anew');
      t.match(await world.run('host', 'ping', '-c1', '-W1', gateway.link!.gateway[0]), / 0% packet loss/);
      await world.gateways().remove(vni);
      t.notOk(existing().includes(gatewayNamespace(vni, world.node)));
    });
  });
}
