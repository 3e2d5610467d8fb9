/** What a host with gateways lets nobody do: reach what is not published, or send in the name of a gateway. */
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { noAttach } from './gen.ts';
import { HOST, HOST6, HostWorld, NEIGHBOUR, SILENCE } from './host-world.ts';

const why = noAttach('nft', 'ncat', 'nsenter', 'bash', 'tcpdump');
if (why !== null) skip(t, why);
else test();

function test(): void {
  t.test('nobody outside comes in', async (t) => {
    const world = new HostWorld(t);
    const { gateway, name } = await world.network(4097);
    await world.server(t, name, 7000);
    const [out4, out6] = gateway.link!.gateway;
    const [in4, in6] = gateway.link!.host;
    // A neighbour that sends the host whatever it likes.
    for (const to of ['10.0.1.0/24', '169.254.0.0/16'])
      await world.run('neighbour', 'ip', 'route', 'add', to, 'via', HOST);
    for (const to of ['fd00:1::/64', 'fd5e:7061:636b::/48'])
      await world.run('neighbour', 'ip', 'route', 'add', to, 'via', HOST6);
    // One that knows the way, too.
    await world.run('host', 'ip', 'route', 'add', '10.0.1.0/24', 'via', out4);
    await world.run('host', 'ip', 'route', 'add', 'fd00:1::/64', 'via', out6);
    const asked = ['10.0.1.2', 'fd00:1::2', out4, out6, in4, in6].flatMap((to) =>
      (['tcp', 'udp'] as const).map((protocol) => world.ask('neighbour', to, 7000, protocol, SILENCE)),
    );
    t.same((await Promise.all(asked)).join(''), '');
    await world.run('host', 'ip', 'route', 'replace', 'default', 'via', NEIGHBOUR);
    await world.server(t, 'neighbour', 7000);
    t.equal(await world.ask(name, NEIGHBOUR, 7000), `neighbour ${HOST}`, 'while it gets out');
  });

  t.test('addresses of links that somebody else sends from', async (t) => {
    const world = new HostWorld(t);
    const { gateway } = await world.network(4097);
    world.spaces.add('beyond');
    world.spaces.cable('host', 'eth1', 'beyond', 'eth0');
    await world.run('host', 'ip', 'address', 'add', '198.51.100.1/24', 'dev', 'eth1');
    await world.run('beyond', 'ip', 'address', 'add', '198.51.100.9/24', 'dev', 'eth0');
    await world.run('beyond', 'ip', 'route', 'add', 'default', 'via', '198.51.100.1');
    await world.server(t, 'host', 7001);
    const dump = (where: string, filter: string) => world.capture(t, where, filter);
    const inGateway = await dump(gateway.namespace, 'udp port 7001');
    const beyond = await dump(world.spaces.real('beyond'), 'udp port 7002');
    for (const from of [gateway.link!.gateway[0], '169.254.250.7']) {
      await world.run('neighbour', 'ip', 'address', 'replace', `${from}/32`, 'dev', 'eth0');
      await world.run('neighbour', 'ip', 'route', 'replace', '198.51.100.0/24', 'via', HOST);
      const send = (to: string, port: number) =>
        world.run('neighbour', 'sh', '-c', `echo hi | ncat -u --send-only -s ${from} ${to} ${port}`);
      await send(HOST, 7001);
      await send('198.51.100.9', 7002);
    }
    // What is sent rightly comes after it.
    await world.run(
      'neighbour',
      'sh',
      '-c',
      `echo hi | ncat -u --send-only -s ${NEIGHBOUR} 198.51.100.9 7002`,
    );
    await world.run('host', 'sh', '-c', `echo hi | ncat -u --send-only ${gateway.link!.gateway[0]} 7001`);
    t.match(await beyond.first(), / IP 192\.0\.2\.9\.\d+ > /, 'this host is no way for them');
    t.match(await inGateway.first(), / > .*\.7001: /, 'nor does it answer to the gateway');
  });
}
