/** Two real Docker engines on two hosts, as a user would type it: their containers are on one network. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { Hosts, LIMIT, until } from '../scenario/hosts.ts';
import { EngineHost, noEngines } from './engine-host.ts';

const PAYLOAD = 'nobody on the way may read this';
/** A shell would hear of signals; this ends at once when it is stopped. */
const SLEEP = ['--stop-timeout', '1', 'box', 'sleep', '600'];

/** `docker network create` of a network of the overlay. */
const create = (name: string, ...more: readonly string[]) => [
  ...['network', 'create', '-d', 'packetweave', '--ipam-driver', 'packetweave'],
  ...['--ipam-opt', `network=${name}`, ...more, name],
];

async function pings(from: EngineHost, container: string, to: string): Promise<boolean> {
  const { code } = await from.attempt('exec', container, 'ping', '-c', '2', '-i', '0.2', '-W', '2', to);
  return code === 0;
}

/** Waits until it does: the other host may hear of a container a moment after its own engine is done. */
const reaches = (from: EngineHost, container: string, to: string) => until(() => pings(from, container, to));

/** Address of a container in a network, as its engine says. */
function addressOf(of: EngineHost, container: string, network = 'demo'): Promise<string> {
  const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
  return of.docker('inspect', '-f', format, container);
}

/** Containers of a network, as the overlay has them: address by name. */
async function known(on: EngineHost, network: string): Promise<Record<string, string>> {
  const [{ Containers }] = JSON.parse(await on.host.cli('network', 'inspect', network));
  const all = Object.values(Containers) as { Name: string; IPv4Address: string }[];
  return Object.fromEntries(all.map(({ Name, IPv4Address }) => [Name, IPv4Address.split('/')[0]]));
}

/** Waits until a host knows a name. */
const knows = (on: EngineHost, network: string, name: string) =>
  until(async () => name in (await known(on, network)));

/** Waits until a host knows these containers of a network, and no other. */
const has = (on: EngineHost, network: string, ...names: readonly string[]) =>
  until(
    async () =>
      Object.keys(await known(on, network))
        .sort()
        .join() === names.join(),
  );

/** Whether no device of the plugin is left on a host: they go soon after their containers. */
const clean = (on: EngineHost) => until(async () => (await on.devices()).length === 0);

/** Two hosts in one overlay, each with an engine; a text says why that cannot be. */
async function engines(t: Test): Promise<EngineHost[] | string> {
  const hosts = new Hosts(t, 2);
  const all = hosts.all.map((host) => new EngineHost(t, host));
  await Promise.all(all.map((each) => each.begin()));
  await Promise.all(all.map((each) => each.up()));
  const { token } = JSON.parse(await all[0].host.cli('init', '--json')) as { token: string };
  await all[1].host.cli('join', token, all[0].host.address);
  const failures = await Promise.all(all.map((each) => each.startEngine()));
  const failure = failures.find((text) => text !== null);
  if (failure !== undefined) return failure!;
  await Promise.all(all.map((each) => each.importImage()));
  return all;
}

t.test('two engines', { timeout: LIMIT }, async (t) => {
  const no = noEngines();
  if (no !== null) return skip(t, no);
  const all = await engines(t);
  // Whether the kernel lets an engine run is for the machine to say, not for its packages.
  if (typeof all === 'string') return t.pass('skipped', { skip: all });
  const [one, two] = all;

  t.test('what is said where the command lacks something', async (t) => {
    const bare = ['network', 'create', '-d', 'packetweave'];
    t.match(await one.attempt(...bare, 'demo'), { code: 1, stderr: /add --ipam-driver packetweave/ });
    const without = await one.attempt(...bare, '--ipam-driver', 'packetweave', 'demo');
    t.match(without, { code: 1, stderr: /add --ipam-opt network=NAME, with the same NAME on every host/ });
    t.match(await one.attempt(...create('bad', '--opt', 'colour=red')), { code: 1, stderr: /colour/ });
    t.equal(await one.docker('network', 'ls', '-q', '-f', 'driver=packetweave'), '');
    t.equal(JSON.parse(await one.host.cli('network', 'ls', '--json')).length, 0);
  });

  t.test('one network on both, and containers that reach each other', async (t) => {
    await one.docker(...create('demo', '--opt', 'encrypted'));
    await two.docker(...create('demo'));
    t.match(await one.attempt(...create('demo')), { code: 1, stderr: /already exists/ });
    const again = [...create('demo').slice(0, -1), 'other'];
    t.match(await one.attempt(...again), {
      code: 1,
      stderr: /is Docker network [0-9a-f]{12} of this engine/,
    });
    const gateway = '10.0.1.1';
    await one.docker('run', '-d', '--name', 'aa', '--network', 'demo', '--network-alias', 'alias', ...SLEEP);
    await two.docker('run', '-d', '--name', 'bb', '--network', 'demo', '--dns', gateway, ...SLEEP);
    const [a, b] = [await addressOf(one, 'aa'), await addressOf(two, 'bb')];
    t.not(a, b);
    t.ok(await reaches(one, 'aa', b), `${a} reaches ${b}`);
    t.ok(await reaches(two, 'bb', a), `${b} reaches ${a}`);
    t.ok(await knows(two, 'demo', 'aa'), 'its name is known on the other host');
    t.ok(await reaches(two, 'bb', 'aa'), 'by name');
    t.ok(await reaches(two, 'bb', 'alias'), 'by alias');
    const run = ['run', '--network', 'demo', '--', 'ping', '-c', '3', '-i', '0.2', '-W', '2', 'bb'];
    t.ok(await until(async () => (await one.host.attempt(...run)).code === 0), 'from a command of this host');
    await one.host.cli('run', '-d', '--network', 'demo', '--name', 'native', '--', 'sleep', '600');
    t.ok(await reaches(two, 'bb', 'native'), 'and the other way');
    await one.host.cli('rm', '-f', 'native');
  });

  t.test('inspect', async (t) => {
    const [shown] = JSON.parse(await one.docker('network', 'inspect', 'demo'));
    t.match(shown, {
      Driver: 'packetweave',
      IPAM: { Driver: 'packetweave', Options: { network: 'demo' } },
      Containers: { [await one.docker('inspect', '-f', '{{.Id}}', 'aa')]: { Name: 'aa' } },
    });
    t.match(await one.docker('exec', 'aa', 'ip', 'route'), /default via 172\.\d+\.0\.1 dev eth1/);
    const link = await one.docker('exec', 'aa', 'ip', 'link', 'show', 'eth0');
    t.match(link, /mtu 1[34]\d\d /);
  });

  t.test('the underlay has none of the payload', async (t) => {
    const dump = join(one.host.folder, 'underlay.pcap');
    const tcpdump = one.host.start('tcpdump', '-i', 'eth0', '-w', dump, '--immediate-mode', '-U');
    t.teardown(() => tcpdump.kill('SIGKILL'));
    await new Promise((resolve) => tcpdump.stderr?.once('data', resolve));
    await one.docker('exec', '-d', 'aa', 'sh', '-c', `while true; do echo ${PAYLOAD} | nc -l -p 90; done`);
    const a = await addressOf(one, 'aa');
    const ask = () => two.attempt('exec', 'bb', 'nc', '-w', '2', a, '90');
    let stdout = '';
    await until(async () => ({ stdout } = await ask()).stdout.includes(PAYLOAD));
    t.match(stdout, PAYLOAD, 'it arrived');
    const exited = new Promise((resolve) => tcpdump.once('exit', resolve));
    tcpdump.kill('SIGINT');
    await exited;
    const bytes = readFileSync(dump);
    t.ok(bytes.length > 500, `${bytes.length} bytes were captured`);
    t.notOk(bytes.includes(PAYLOAD));
    const udp = spawn('tcpdump', ['-r', dump, '-nn', 'udp port 4500']);
    let text = '';
    udp.stdout.on('data', (part) => {
      text += part;
    });
    await new Promise((resolve) => udp.once('close', resolve));
    t.match(text, /UDP-encap: ESP/, 'it went in ESP');
  });

  t.test('published ports: on the host by Docker, on the overlay by us', async (t) => {
    const serve = ['sh', '-c', 'echo hello > index.html && httpd -f -p 80'];
    await one.docker('run', '-d', '--name', 'web', '--network', 'demo', '-p', '8080:80', 'box', ...serve);
    t.ok(await knows(two, 'demo', 'web'));
    const address = await addressOf(one, 'web');
    for (const port of [8080, 80]) {
      const get = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${address} ${port}`;
      t.match(await two.docker('exec', 'bb', 'sh', '-c', get), /hello$/, `on the overlay, port ${port}`);
    }
    const { stdout } = await two.host.exec('curl', '-sS', '-m', '5', `http://${one.host.address}:8080/`);
    t.equal(stdout.trim(), 'hello');
    await one.docker('rm', '-f', 'web');
  });

  t.test('connect and disconnect', async (t) => {
    for (const each of all) await each.docker(...create('second', '--subnet', '10.99.0.0/24'));
    await one.docker('network', 'connect', '--alias', 'left', 'second', 'aa');
    await two.docker('network', 'connect', 'second', 'bb');
    const a = await addressOf(one, 'aa', 'second');
    t.match(a, /^10\.99\.0\./);
    t.ok(await reaches(two, 'bb', a));
    t.ok(await reaches(two, 'bb', 'left'), 'by alias');
    await one.docker('network', 'disconnect', 'second', 'aa');
    t.notOk(await pings(two, 'bb', a));
    t.ok(await pings(two, 'bb', 'aa'), 'the other network is as it was');
    await two.docker('network', 'disconnect', 'second', 'bb');
    for (const each of all) await each.docker('network', 'rm', 'second');
    t.strictSame(JSON.parse(await one.host.cli('network', 'ls', '--json')).length, 1);
  });

  t.test("docker restart, rename, and an address of one's own", async (t) => {
    await one.docker('restart', '-t', '0', 'aa');
    const a = await addressOf(one, 'aa');
    t.ok(await reaches(two, 'bb', 'aa'), `aa is ${a} now`);
    t.ok(await clean(one), 'devices are in containers');
    await one.docker('rename', 'aa', 'renamed');
    t.ok(await knows(two, 'demo', 'renamed'));
    await one.docker('rename', 'renamed', 'aa');
    // An engine allows an address of one's own where the subnet was given.
    const subnets = ['--subnet', '10.98.0.0/24', '--ipv6', '--subnet', 'fd00:98::/64'];
    for (const each of all) await each.docker(...create('third', ...subnets));
    const own = ['--ip', '10.98.0.77'];
    await one.docker('run', '-d', '--name', 'cc', '--network', 'third', ...own, ...SLEEP);
    t.equal(await addressOf(one, 'cc', 'third'), '10.98.0.77');
    const taken = await two.attempt(
      'run',
      '--name',
      'dd',
      '--network',
      'third',
      '--ip',
      '10.98.0.77',
      'box',
      'true',
    );
    t.match(taken, { code: 125, stderr: /Address already in use: 10\.98\.0\.77 in network third/ });
    await two.docker('rm', 'dd');
    await two.docker('run', '-d', '--name', 'dd', '--network', 'third', ...SLEEP);
    t.ok(await reaches(two, 'dd', '10.98.0.77'));
    const format = '{{.NetworkSettings.Networks.third.GlobalIPv6Address}}';
    const six = await one.docker('inspect', '-f', format, 'cc');
    t.match(six, /^fd00:98::/);
    t.ok(await reaches(two, 'dd', six), `${six} is reached`);
    await one.docker('rm', '-f', 'cc');
    await two.docker('rm', '-f', 'dd');
    for (const each of all) await each.docker('network', 'rm', 'third');
  });

  t.test('the daemon starts again', async (t) => {
    const a = await addressOf(one, 'aa');
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await one.host.down(signal);
      await one.up();
      t.ok(await reaches(two, 'bb', a), `after ${signal} ${a} is reached`);
    }
    t.ok(await reaches(two, 'bb', 'aa'), 'and has its name');
    await one.docker('rm', '-f', 'aa');
    t.ok(await clean(one), 'no device is left');
    t.ok(await until(async () => !('aa' in (await known(two, 'demo')))));
  });

  t.test('the engine starts again', async (t) => {
    await one.docker('run', '-d', '--name', 'aa', '--restart', 'always', '--network', 'demo', ...SLEEP);
    await one.docker('run', '-d', '--name', 'cc', '--network', 'demo', ...SLEEP);
    await one.stopEngine();
    t.equal(await one.startEngine(), null);
    const running = () => one.attempt('inspect', '-f', '{{.State.Running}}', 'aa');
    t.ok(await until(async () => (await running()).stdout.trim() === 'true', 60_000));
    t.ok(await reaches(two, 'bb', await addressOf(one, 'aa')), 'a container that is started again');
    t.ok(await reaches(two, 'bb', 'aa'), 'by name');
    t.ok(await has(two, 'demo', 'aa', 'bb'));
    const before = await addressOf(one, 'aa');
    await one.killEngine();
    t.ok(await pings(two, 'bb', before), 'a container goes on without its engine');
    t.equal(await one.startEngine(), null);
    const again = async () =>
      (await running()).stdout.trim() === 'true' && (await addressOf(one, 'aa')) !== before;
    t.ok(await until(again, 60_000), 'an engine that was killed starts its containers anew');
    t.ok(await reaches(two, 'bb', 'aa'));
    t.ok(await has(two, 'demo', 'aa', 'bb'), 'nothing of before is left');
    t.ok(await clean(one), 'no device is left');
    await one.docker('start', 'cc');
    t.ok(await reaches(two, 'bb', 'cc'), 'one that is started by hand');
    await one.docker('rm', '-f', 'cc');
  });

  t.test('the store is away', async (t) => {
    const run = async () => {
      const began = performance.now();
      const outcome = await two.attempt('run', '--rm', '--network', 'demo', 'box', 'true');
      return { ...outcome, took: performance.now() - began };
    };
    const usual = await run();
    t.equal(usual.code, 0);
    const refused = async (how: string) => {
      const { code, stderr, took } = await run();
      t.equal(code, 125);
      t.match(stderr, /store .*away|may be away/, how);
      t.comment(`${how}: ${stderr.trim()}`);
      // What the engine itself takes is for the machine to say.
      t.ok(took - usual.took < 10_000, 'within ten seconds');
    };
    process.kill(one.host.pid, 'SIGSTOP');
    await refused('it hangs');
    process.kill(one.host.pid, 'SIGCONT');
    await one.host.down('SIGKILL');
    await refused('it is gone');
    await one.up();
    t.ok(await until(async () => (await run()).code === 0), 'and there again');
  });

  t.test('nothing is left', async (t) => {
    await one.docker('rm', '-f', 'aa');
    await two.docker('rm', '-f', 'bb');
    const empty = async () => Object.keys(await known(one, 'demo')).length === 0;
    t.ok(await until(empty));
    await one.docker('network', 'rm', 'demo');
    await two.docker('run', '--rm', '--network', 'demo', 'box', 'true');
    t.pass('a host that has the network still makes it again');
    await two.docker('network', 'rm', 'demo');
    t.equal(JSON.parse(await one.host.cli('network', 'ls', '--json')).length, 0);
    for (const each of all) t.ok(await clean(each), 'no device is left');
  });
});
