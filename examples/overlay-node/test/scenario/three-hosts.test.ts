/** Three hosts and several networks: what shares no network does not meet, and what shares one does, wherever it is. */
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { type Host, Hosts, LIMIT, noScenarios, reaches, until } from './hosts.ts';

const SLEEP = ['sleep', '600'];

/** Whether a container reaches an address or name. */
async function pings(host: Host, container: string, to: string): Promise<boolean> {
  const { code } = await host.attempt('exec', container, 'ping', '-c', '3', '-i', '0.2', '-W', '1', to);
  return code === 0;
}

interface Shown {
  readonly name: string;
  readonly endpoints: readonly { readonly addresses: readonly string[] }[];
}

/** First address of a container of a host. */
async function addressOf(host: Host, container: string): Promise<string> {
  const all: Shown[] = JSON.parse(await host.cli('ps', '--json'));
  return all.find(({ name }) => name === container)!.endpoints[0].addresses[0].split('/')[0];
}

t.test('three hosts', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 3);
  const [one, two, three] = hosts.all;
  await hosts.cluster();
  const run = (host: Host, name: string, ...networks: string[]) =>
    host.cli(
      'run',
      '-d',
      '--name',
      name,
      ...networks.flatMap((network) => ['--network', network]),
      '--',
      ...SLEEP,
    );

  t.test('two networks with the same subnet', async (t) => {
    const subnet = ['--attachable', '--subnet', '10.9.0.0/24'];
    await one.cli('network', 'create', ...subnet, 'red');
    const refused = await one.attempt('network', 'create', ...subnet, 'blue');
    t.match(refused, { code: 1, stderr: /Pool overlaps with other one on this address space/ });
    await one.cli('network', 'create', ...subnet, '--opt', 'overlap', 'blue');
    await run(one, 'r1', 'red');
    await run(one, 'b1', 'blue');
    await run(two, 'r2', 'red');
    await run(three, 'b2', 'blue');
    const [r1, b1] = [await addressOf(one, 'r1'), await addressOf(one, 'b1')];
    t.equal(r1, b1, 'one address twice');
    t.ok(await reaches(two, 'r2', 'r1'), 'red');
    t.ok(await reaches(three, 'b2', 'b1'), 'blue');
    t.notOk(await pings(two, 'r2', 'b1'), 'names of the other network are not known');
    t.notOk(await pings(two, 'r2', 'b2'));
    t.match(await one.attempt('network', 'connect', 'blue', 'r1'), { code: 1, stderr: /has, too/ });
  });

  t.test('a container on two networks', async (t) => {
    for (const name of ['front', 'back']) await two.cli('network', 'create', '--attachable', name);
    await run(two, 'middle', 'front', 'back');
    await run(one, 'outer', 'front');
    await run(three, 'inner', 'back');
    t.ok(await reaches(one, 'outer', 'middle'));
    t.ok(await reaches(three, 'inner', 'middle'));
    t.ok(await reaches(two, 'middle', 'inner'), 'names of all of its networks');
    t.notOk(await pings(one, 'outer', 'inner'));
    t.notOk(await pings(one, 'outer', await addressOf(three, 'inner')), 'it is no router');
    await one.cli('network', 'connect', 'back', 'outer');
    t.ok(await reaches(one, 'outer', 'inner'), 'connected');
    await one.cli('network', 'disconnect', 'back', 'outer');
    t.notOk(await pings(one, 'outer', 'inner'), 'disconnected');
  });

  t.test('several containers with one alias', async (t) => {
    for (const [host, name] of [
      [one, 'a1'],
      [two, 'a2'],
      [three, 'a3'],
    ] as const) {
      await host.cli(
        'run',
        '-d',
        '--name',
        name,
        '--network',
        'front',
        '--network-alias',
        'app',
        '--',
        ...SLEEP,
      );
    }
    const addresses = async () => {
      const { stdout } = await one.attempt('exec', 'outer', 'getent', 'ahostsv4', 'app');
      const lines = stdout.split('\n').filter(Boolean);
      return new Set(lines.map((line) => line.split(' ')[0])).size;
    };
    await until(async () => (await addresses()) >= 3);
    t.equal(await addresses(), 3);
  });

  t.test('what is refused', async (t) => {
    await one.cli('network', 'create', 'services');
    const manual = await one.attempt('run', '--network', 'services', '--', 'true');
    t.match(manual, { code: 125, stderr: /network services not manually attachable/ });
    t.match(await one.attempt('network', 'rm', 'back'), { code: 1, stderr: /has active endpoints: / });
    t.match(await one.attempt('run', '--network', 'nope', '--', 'true'), {
      stderr: /network nope not found/,
    });
    t.match(await two.attempt('run', '--network', 'front', '--ip', '10.77.0.2', '--', 'true'), { code: 125 });
    const taken = ['run', '-d', '--name', 'outer', '--network', 'front', '--', ...SLEEP];
    t.match(await one.attempt(...taken), { code: 125, stderr: /name "\/outer" is already in use/ });
  });

  t.test('an internal network has no way out and no port on the host', async (t) => {
    await one.cli('network', 'create', '--attachable', '--internal', 'closed');
    await one.cli('run', '-d', '--name', 'shut', '--network', 'closed', '-p', '8088:80', '--', ...SLEEP);
    t.notMatch(await one.cli('exec', 'shut', 'ip', 'route'), /default/);
    const { code } = await two.exec('ncat', '-z', '-w', '1', one.address, '8088');
    t.not(code, 0);
  });

  t.test('a host that dies is withdrawn, and the others notice nothing', async (t) => {
    t.ok(await reaches(one, 'outer', 'a2'));
    const ping = one.startCli('exec', 'outer', 'ping', '-i', '0.05', '-c', '300', 'a2');
    let text = '';
    ping.stdout?.on('data', (part) => {
      text += part;
    });
    const done = new Promise((resolve) => ping.once('close', resolve));
    await three.down('SIGKILL');
    const began = Date.now();
    const alive = async () =>
      JSON.parse(await one.cli('node', 'ls', '--json')).filter((node: { alive: boolean }) => node.alive);
    t.ok(await until(async () => (await alive()).length === 2, 40_000), 'host3 is dead');
    t.comment(`a dead node was withdrawn after ${((Date.now() - began) / 1000).toFixed(1)} s`);
    t.notOk(await pings(two, 'middle', 'inner'), 'its endpoints are not known');
    await done;
    t.match(text, /300 packets transmitted, 300 received/);
    const id = JSON.parse(await one.cli('node', 'ls', '--json')).find(
      (node: { alive: boolean }) => !node.alive,
    ).id;
    await one.cli('node', 'rm', id);
    t.notMatch(await one.cli('network', 'inspect', 'back'), /"inner"/);
  });
});
