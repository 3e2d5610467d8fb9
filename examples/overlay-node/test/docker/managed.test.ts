/** The managed plugin in two real engines, first each by itself, then as a swarm. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { Hosts, LIMIT, noScenarios, until } from '../scenario/hosts.ts';
import { EngineHost, noEngines } from './engine-host.ts';

const BUILD = fileURLToPath(new URL('../../dist/docker/managed/build.js', import.meta.url));
const BIN = fileURLToPath(new URL('../../bin/packetweave.js', import.meta.url));
const PLUGIN = 'packetweave:latest';
const SLEEP = ['box', 'sleep', '600'];
/** Milliseconds for what the plugin or the swarm does by itself: waits between their attempts double. */
const PATIENCE = 60_000;
const IPAM = (network: string) => ['--ipam-driver', PLUGIN, '--ipam-opt', `network=${network}`];

/** Folder of the host that the plugin has its state in. */
const state = ({ host }: EngineHost) => join(host.folder, 'plugin-state');

/** The command line of the host, through the control socket of the plugin. */
async function cli(on: EngineHost, ...args: readonly string[]): Promise<string> {
  const socket = join(state(on), 'control.sock');
  const { code, stdout, stderr } = await on.host.exec(process.execPath, BIN, '--host', socket, ...args);
  if (code !== 0) throw new Error(`packetweave ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`);
  return stdout;
}

/** Installs the plugin, without enabling it. */
async function install(on: EngineHost, folder: string): Promise<void> {
  mkdirSync(state(on));
  await on.docker('plugin', 'create', 'packetweave', folder);
  const mounts = [`state.source=${state(on)}`, `engine.source=${on.socket}`];
  const options = `PACKETWEAVE_OPTIONS=--advertise ${on.host.address}`;
  await on.docker('plugin', 'set', 'packetweave', ...mounts, options);
}

/** Runs a program of the plugin's root file system in there. */
const inside = (root: string, ...command: readonly string[]) =>
  execFileSync('env', ['-i', 'PATH=/usr/bin:/usr/sbin', 'chroot', root, ...command], { encoding: 'utf8' });

t.test('what is built lacks nothing', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('ldd', 'chroot');
  if (no !== null) return skip(t, no);
  const folder = join(t.testdir(), 'plugin');
  execFileSync(process.execPath, [BUILD, folder]);
  const root = join(folder, 'rootfs');
  const { entrypoint, interface: interfaces } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  t.match(interfaces, {
    types: ['docker.networkdriver/1.0', 'docker.ipamdriver/1.0'],
    socket: 'packetweave.sock',
  });
  for (const path of entrypoint) t.ok(existsSync(join(root, path)), path);
  for (const program of ['ip', 'nft', 'nsenter', 'unshare', 'ping', 'mount']) {
    t.ok(inside(root, program, '-V'), program);
  }
  const app = '/usr/lib/packetweave-node';
  t.match(inside(root, 'node', `${app}/bin/packetweave.js`, 'version'), /^packetweave \d/);
  const all = ['daemon/daemon.js', 'docker/plugin.js'].map((name) => `await import('${app}/dist/${name}');`);
  inside(root, 'node', '--input-type=module', '-e', `${all.join('')} process.exit()`);
  const again = spawnSync(process.execPath, [BUILD, folder], { encoding: 'utf8' });
  t.match(again, { status: 1, stderr: /is there already: remove it, or name another folder/ });
});

/** Two engines, the plugin installed in each; a text says why that cannot be. */
async function engines(t: Test): Promise<EngineHost[] | string> {
  const all = new Hosts(t, 2).all.map((host) => new EngineHost(t, host));
  for (const each of all) {
    // Where an engine has it; each host has a folder of its own there.
    each.run = '/var/run/docker';
    await each.begin();
    await each.host.exec('mount', '--make-shared', '/run/docker');
    const failure = await each.startEngine();
    if (failure !== null) return failure;
    await each.importImage();
  }
  const folder = join(all[0].host.folder, 'plugin');
  execFileSync(process.execPath, [BUILD, folder]);
  await Promise.all(all.map((each) => install(each, folder)));
  return all;
}

/** Waits until a container reaches an address: the other host, or a plugin that starts again, may need a while. */
const reaches = (from: EngineHost, container: string, to: string): Promise<boolean> =>
  until(
    async () => (await from.attempt('exec', container, 'ping', '-c', '1', '-W', '2', to)).code === 0,
    PATIENCE,
  );

t.test('managed plugins', { timeout: LIMIT }, async (t) => {
  const no = noEngines();
  if (no !== null) return skip(t, no);
  const all = await engines(t);
  if (typeof all === 'string') return t.pass('skipped', { skip: all });
  const [one, two] = all;

  t.test('one makes the overlay by the command line, the other joins by its variables', async (t) => {
    await one.docker('plugin', 'enable', 'packetweave');
    const { token, line } = JSON.parse(await cli(one, 'init', '--json'));
    const store = line.split(' ').at(-1);
    t.equal(store, `${one.host.address}:2378`, 'beside the port of a swarm');
    await two.docker(
      ...['plugin', 'set', 'packetweave', `PACKETWEAVE_TOKEN=${token}`, `PACKETWEAVE_STORE=${store}`],
    );
    await two.docker('plugin', 'enable', 'packetweave');
    t.ok(await until(async () => JSON.parse(await cli(one, 'node', 'ls', '--json')).length === 2, PATIENCE));
  });

  t.test('containers reach each other', async (t) => {
    const create = ['network', 'create', '-d', PLUGIN, ...IPAM('demo'), '--opt', 'encrypted', 'demo'];
    for (const each of all) {
      await each.docker(...create);
      await each.docker('run', '-d', '--name', each.host.name, '--network', 'demo', ...SLEEP);
    }
    t.ok(await reaches(two, 'host2', '10.0.1.1'), 'the gateway');
    t.ok(await reaches(two, 'host2', '10.0.1.2'), 'the container of the other host');
    t.ok(await reaches(one, 'host1', '10.0.1.3'), 'and the other way');
  });

  t.test('the plugin starts again', async (t) => {
    t.match(await two.attempt('plugin', 'disable', 'packetweave'), { code: 1, stderr: /is in use/ });
    await two.docker('plugin', 'disable', '-f', 'packetweave');
    await two.docker('plugin', 'enable', 'packetweave');
    t.ok(await reaches(two, 'host2', '10.0.1.2'));
    for (const each of all) {
      await each.docker('rm', '-f', each.host.name);
      await each.docker('network', 'rm', 'demo');
    }
  });

  t.test('a service with a replica on each node of a swarm', async (t) => {
    const at = ({ host }: EngineHost) => ['--advertise-addr', host.address, '--listen-addr', host.address];
    await one.docker('swarm', 'init', ...at(one));
    const token = await one.docker('swarm', 'join-token', '-q', 'worker');
    await two.docker('swarm', 'join', '--token', token, ...at(two), `${one.host.address}:2377`);
    for (const each of all)
      await each.docker('network', 'create', '--config-only', ...IPAM('app'), 'app-here');
    const scope = ['--scope', 'swarm', '--config-from', 'app-here', '--attachable'];
    await one.docker('network', 'create', '-d', PLUGIN, ...scope, 'app');
    const quick = ['--detach', '--no-resolve-image', '--stop-grace-period', '0s'];
    await one.docker(
      ...['service', 'create', ...quick, '--name', 'web', '--replicas', '2'],
      ...['--replicas-max-per-node', '1', '--network', 'app', ...SLEEP],
    );
    const containers = async () =>
      (await Promise.all(all.map((each) => each.docker('ps', '-q', '-f', 'name=web')))).filter(Boolean);
    t.ok(await until(async () => (await containers()).length === 2, PATIENCE), 'each has one');
    const [a, b] = await containers();
    // Which addresses they have depends on whether a first attempt was given one: the nodes begin in the same instant.
    const addressOf = (each: EngineHost, id: string) =>
      each.docker('inspect', '-f', '{{.NetworkSettings.Networks.app.IPAddress}}', id);
    const addresses = [await addressOf(one, a), await addressOf(two, b)];
    t.equal(new Set(addresses).size, 2, `two addresses: ${addresses}`);
    t.ok(await reaches(one, a, addresses[1]));
    t.ok(await reaches(two, b, addresses[0]));
    for (const [each, id] of [[one, a] as const, [two, b] as const]) {
      const known = async () => {
        const { stdout } = await each.attempt('exec', id, 'nslookup', 'tasks.web');
        return addresses.every((address) => stdout.includes(address));
      };
      t.ok(await until(known, PATIENCE), `${each.host.name} knows both by the name of the service`);
    }
    await two.docker('run', '-d', '--name', 'alone', '--network', 'app', ...SLEEP);
    t.ok(await reaches(two, 'alone', addresses[0]), 'a container by itself on the network of the swarm');
    await two.docker('rm', '-f', 'alone');
    await one.docker('service', 'rm', 'web');
    const left = async () => JSON.parse(await cli(one, 'network', 'ls', '--json'));
    t.ok(
      await until(async () => (await left()).length === 0, PATIENCE),
      'nothing is left of it in the overlay',
    );
    await one.docker('network', 'rm', 'app');
  });
});
