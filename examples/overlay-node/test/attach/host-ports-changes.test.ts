/** Published ports that change: other ones, many of them, under gateways made anew, and under the next daemon. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { within } from '../../../../test/gen/netns.ts';
import { skip } from '../../../../test/gen/skip.ts';
import { run } from '../../attach/system.ts';
import { noAttach } from './gen.ts';
import { HOST, HOST6, type HostWorld, NEIGHBOUR, NEIGHBOUR6, SILENCE, target } from './host-world.ts';
import { C0, C1, PortWorld, port, VNI } from './port-world.ts';

/** A connection from a namespace to a server, which has said who it is. */
async function connection(t: Test, world: HostWorld, from: string, to: string, at: number): Promise<Socket> {
  const socket = await within(world.spaces.real(from), async () => {
    const socket = connect(at, to);
    await once(socket, 'connect');
    return socket;
  });
  t.teardown(() => socket.destroy());
  await once(socket, 'data');
  return socket;
}

/** Whether what is sent on a connection comes back. */
async function echoes(socket: Socket, text: string): Promise<boolean> {
  socket.write(text);
  const [data] = await once(socket, 'data');
  return String(data) === text;
}

function test(): void {
  t.test('republished at other ports, and several containers', async (t) => {
    const world = await PortWorld.make(t);
    await world.publish('a', C0, port(8080), port(8081, 7001));
    await world.publish('b', C1, port(8090));
    await world.publish('a', C0, port(8081, 7000), port(8082));
    t.same(
      await world.all(
        ['neighbour', HOST, 8080, 'tcp', SILENCE],
        ['neighbour', HOST, 8081],
        ['neighbour', HOST, 8082],
        ['neighbour', HOST, 8090],
      ),
      ['', 'c0 192.0.2.9', 'c0 192.0.2.9', 'c1 192.0.2.9'],
    );
    await world.publish('a', C1, port(8081), port(8080));
    t.same(await world.all(['neighbour', HOST, 8080], ['neighbour', HOST, 8081]), [
      'c1 192.0.2.9',
      'c1 192.0.2.9',
    ]);
    await world.publish('a', C1);
    t.equal(await world.ask('neighbour', HOST, 8080, 'tcp', SILENCE), '', 'none any more');
    t.match(await world.ask('host', HOST, 8090), /^c1 /, 'the other one still');
  });

  t.test('a thousand ports, with no process each', async (t) => {
    const world = await PortWorld.make(t);
    for (const protocol of ['tcp', 'udp'] as const) {
      await world.publish(protocol, C0, port(20000, 6001, { count: 1000, protocol }));
      t.same(await world.all(['neighbour', HOST, 20999, protocol], ['neighbour', HOST6, 20999, protocol]), [
        `c0 ${NEIGHBOUR}`,
        `c0 ${NEIGHBOUR6}`,
      ]);
      t.equal(await world.ask('neighbour', HOST, 20998, protocol, SILENCE), '', 'where nobody serves');
    }
    t.equal(await run('ip', ['netns', 'pids', world.spaces.real('host')]), '');
    const many = { count: 1000, hostAddress: '127.0.0.1' };
    await world.publish('more', C1, port(30000, 6001, { ...many }), port(31000, 6001, many));
    t.match(await world.ask('host', '127.0.0.1', 31999), /^c1 /);
    for (const id of ['tcp', 'udp', 'more']) await world.withdraw(id);
    t.notMatch(await world.run('host', 'nft', 'list', 'table', 'inet', 'packetweave'), /elements/);
  });

  t.test('a thousand containers, published at the same time', async (t) => {
    const world = await PortWorld.make(t);
    const ids = Array.from({ length: 1000 }, (_, i) => `n${i}`);
    await world.inside(async () => {
      const publish = (id: string, i: number) =>
        world.ports.publish(id, target(world.gateway, i % 2 === 0 ? C0[0] : C1[0]), [port(20000 + i)]);
      await Promise.all(ids.map(publish));
      await Promise.all(ids.slice(2).map((id) => world.ports.withdraw(id)));
    });
    t.same(
      await world.all(
        ['neighbour', HOST, 20000],
        ['neighbour', HOST, 20001],
        ['neighbour', HOST, 20998, 'tcp', SILENCE],
      ),
      [`c0 ${NEIGHBOUR}`, `c1 ${NEIGHBOUR}`, ''],
    );
    const left = await world.run('host', 'nft', 'list', 'map', 'inet', 'packetweave', 'any4');
    t.equal(left.match(/tcp \. \d+ :/g)?.length, 2);
  });

  t.test('a gateway that is made anew, and rules that somebody has flushed', async (t) => {
    const world = await PortWorld.make(t);
    await world.publish('a', C0, port(8080));
    await world.run('host', 'ip', 'netns', 'del', world.gateway.namespace);
    await world.publish('b', C1, port(8081));
    await world.withdraw('b');
    t.pass('nothing to be done there is no error');
    world.gateway = await world.inside(() => world.gateways().make(VNI, { internal: false, ipv6: true }));
    await world.serve(VNI, '10.0.1.1/24');
    const name = await world.container(world.gateway, ['10.0.1.2/24'], ['10.0.1.1']);
    await world.server(t, name, 7000);
    await world.publish('b', C1, port(8081));
    t.equal(
      await world.ask('neighbour', HOST, 8080),
      `${name} ${NEIGHBOUR}`,
      'what was published before, too',
    );
    await world.run('host', 'nft', 'flush', 'map', 'inet', 'packetweave', 'any4');
    await world.withdraw('b');
    t.equal(await world.ask('neighbour', HOST, 8080), `${name} ${NEIGHBOUR}`);
  });

  t.test('the next daemon', async (t) => {
    const world = await PortWorld.make(t);
    await world.publish('a', C0, port(8080), port(8081, 7000, { hostAddress: HOST }));
    await world.publish('b', C1, port(8090), port(8091, 7000, { protocol: 'udp' }));
    const old = await connection(t, world, 'neighbour', HOST, 8080);
    const going = await connection(t, world, 'neighbour', HOST, 8090);
    await world.nextDaemon();
    const [again, published] = [await world.ask('neighbour', HOST, 8080), world.publish('a', C0, port(8080))];
    t.match(again, /^c0 /, 'new connections are made before anything is published again');
    await published;
    t.ok(await echoes(old, 'still here'));
    await world.inside(() => world.ports.sweep([world.gateway]));
    t.same(
      await world.all(
        ['neighbour', HOST, 8080],
        ['neighbour', HOST, 8081, 'tcp', SILENCE],
        ['neighbour', HOST, 8090, 'tcp', SILENCE],
        ['neighbour', HOST, 8091, 'udp', SILENCE],
      ),
      ['c0 192.0.2.9', '', '', ''],
      'what nobody has published again is gone',
    );
    t.ok(await echoes(going, 'me too'), 'but for who was there');
    await world.publish('b', C1, port(8081));
    await world.nextDaemon();
    await world.publish('c', C1, port(8080, 7001));
    t.equal(await world.ask('neighbour', HOST, 8080), `c1 ${NEIGHBOUR}`, 'a port that leads elsewhere now');
  });
}

const why = noAttach('nft', 'ncat', 'nsenter', 'bash');
if (why !== null) skip(t, why);
else test();
