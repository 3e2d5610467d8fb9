/** Published ports of a host: whom they lead to, who sees whom, and what is taken. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { noAttach } from './gen.ts';
import { HOST, HOST6, type HostWorld, NEIGHBOUR, NEIGHBOUR6, SILENCE } from './host-world.ts';
import { C0, C1, PortWorld, port } from './port-world.ts';

/** A process of the host that listens. */
async function listening(t: Test, world: HostWorld, at: number, host: string): Promise<Server> {
  const server = createServer();
  await world.inside(() => once(server.listen({ port: at, host, ipv6Only: true }), 'listening'));
  t.teardown(() => server.close());
  return server;
}

function test(): void {
  t.test('every family and protocol, with the address of the client', async (t) => {
    const world = await PortWorld.make(t);
    const both = [port(8080), port(8080, 7000, { protocol: 'udp' })];
    t.same(await world.publish('a', C0, ...both), []);
    const asked = await world.all(
      ['neighbour', HOST, 8080],
      ['neighbour', HOST, 8080, 'udp'],
      ['neighbour', HOST6, 8080],
      ['neighbour', HOST6, 8080, 'udp'],
      ['host', HOST, 8080],
      ['host', HOST6, 8080],
      ['host', '127.0.0.1', 8080],
      ['host', '127.0.0.1', 8080, 'udp'],
    );
    const [link4] = world.gateway.link!.host;
    t.same(asked, [
      ...[NEIGHBOUR, NEIGHBOUR, NEIGHBOUR6, NEIGHBOUR6].map((address) => `c0 ${address}`),
      ...[HOST, HOST6, link4, link4].map((address) => `c0 ${address}`),
    ]);
    const relayed = await world.inside(() => world.ask('host', '::1', 8080));
    t.equal(relayed, `c0 ${world.gateway.link!.host[1]}`, 'from ::1, by way of the daemon');
    const hairpin = await world.all(
      ['c0', HOST, 8080],
      ['c1', HOST, 8080],
      ['c1', HOST6, 8080],
      ['c0', HOST, 8080, 'udp'],
    );
    t.match(
      hairpin,
      [/^c0 /, /^c0 /, /^c0 /, /^c0 /],
      'containers, itself among them, by the address of the host',
    );
    await world.withdraw('a');
    await world.withdraw('a');
    t.same(
      await world.all(['neighbour', HOST, 8080, 'tcp', SILENCE], ['host', '127.0.0.1', 8080, 'tcp', SILENCE]),
      ['', ''],
    );
    t.ok(await world.inside(() => world.ports.isFree('tcp', null, 8080)), 'and it is free');
  });

  t.test('one address of the host', async (t) => {
    const world = await PortWorld.make(t);
    await world.run('host', 'ip', 'address', 'add', '192.0.2.2/24', 'dev', 'eth0');
    await world.publish('a', C0, port(8080, 7000, { hostAddress: '127.0.0.1' }));
    await world.publish(
      'b',
      C1,
      port(8080, 7001, { hostAddress: '192.0.2.2' }),
      port(8081, 7001, { hostAddress: '2001:DB8:0::1' }),
    );
    t.same(
      await world.all(
        ['host', '127.0.0.1', 8080],
        ['neighbour', '192.0.2.2', 8080],
        ['neighbour', HOST, 8080, 'tcp', SILENCE],
        ['host', HOST, 8080, 'tcp', SILENCE],
        ['neighbour', HOST6, 8081],
        ['neighbour', HOST, 8081, 'tcp', SILENCE],
      ),
      [`c0 ${world.gateway.link!.host[0]}`, `c1 ${NEIGHBOUR}`, '', '', `c1 ${NEIGHBOUR6}`, ''],
    );
    t.same(await world.publish('c', C0.slice(0, 1), port(8082, 7000, { hostAddress: HOST6 })), [
      `port 8082/tcp is not published at ${HOST6}: the network has no IPv6`,
    ]);
  });

  t.test('the loopback addresses of the host are nobody else to reach', async (t) => {
    const world = await PortWorld.make(t);
    await world.publish('a', C0, port(8080, 7000, { hostAddress: '127.0.0.1' }));
    // A neighbour, and a container, for which 127.0.0.1 is behind the host.
    const ways = [
      ['neighbour', HOST, HOST6],
      ['c1', '10.0.1.1', 'fd00:1::1'],
    ] as const;
    for (const [name, via, via6] of ways) {
      await world.run(name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet');
      await world.run(name, 'ip', 'rule', 'add', 'to', '127.0.0.1', 'lookup', '7', 'pref', '1');
      await world.run(name, 'ip', 'rule', 'add', 'lookup', 'local', 'pref', '2');
      await world.run(name, 'ip', 'rule', 'del', 'pref', '0');
      await world.run(name, 'ip', 'route', 'add', '127.0.0.1', 'via', via, 'dev', 'eth0', 'table', '7');
      await world.run(name, 'ip', '-6', 'route', 'add', '::1', 'via', via6, 'dev', 'eth0', 'table', '7');
    }
    const asked = ways.flatMap(([name]) => [
      world.ask(name, '127.0.0.1', 8080, 'tcp', SILENCE),
      world.ask(name, HOST, 8080, 'tcp', SILENCE),
      world.ask(name, HOST6, 8081, 'tcp', SILENCE),
    ]);
    t.same((await Promise.all(asked)).join(''), '');
    t.match(await world.ask('host', '127.0.0.1', 8080), /^c0 /);
  });

  t.test('ports that are taken, and those that cannot be', async (t) => {
    const world = await PortWorld.make(t);
    await listening(t, world, 8080, '0.0.0.0');
    const six = await listening(t, world, 8081, '::');
    await world.publish('a', C0, port(8090), port(8091, 7000, { hostAddress: HOST }));
    const failed = (address: string, at: number, why: string) => ({
      code: why === 'port is already allocated' ? 'CONFLICT' : 'INVALID',
      message: `Bind for ${address}:${at} failed: ${why}`,
    });
    const taken = 'port is already allocated';
    await t.rejects(
      world.publish('b', C1, port(8085), port(8080)),
      failed('0.0.0.0', 8080, taken),
      'by a process',
    );
    await t.rejects(world.publish('b', C1, port(8081)), failed('::', 8081, taken), 'in one family');
    await t.rejects(world.publish('b', C1, port(8090)), failed('0.0.0.0', 8090, taken), 'by a container');
    await t.rejects(world.publish('b', C1, port(8091)), failed('0.0.0.0', 8091, taken), 'at one address');
    await t.rejects(world.publish('b', C1, port(8089, 7000, { count: 2 })), failed('0.0.0.0', 8090, taken));
    const nowhere = port(8080, 7000, { hostAddress: '198.51.100.1' });
    await t.rejects(
      world.publish('b', C1, nowhere),
      failed('198.51.100.1', 8080, 'this host has no such address'),
    );
    const free = (at: number) => world.inside(() => world.ports.isFree('tcp', null, at));
    const all: boolean[] = [];
    for (const at of [8080, 8081, 8090, 8091, 8085, 8089]) all.push(await free(at));
    t.same(all, [false, false, false, false, true, true], 'all or none');
    t.equal(await world.ask('neighbour', HOST, 8085, 'tcp', SILENCE), '');
    t.match(await world.ask('neighbour', HOST, 8090), /^c0 /, 'who has one keeps it');
    six.close();
    await world.publish('b', C1, port(8081, 7000, { protocol: 'udp' }), port(8081));
    t.match(await world.ask('neighbour', HOST6, 8081), /^c1 /);
  });
}

const why = noAttach('nft', 'ncat', 'nsenter', 'bash');
if (why !== null) skip(t, why);
else test();
