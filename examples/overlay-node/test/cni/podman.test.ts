/** A real podman whose networks are CNI's: its containers and the overlay's reach each other by name. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { type Host, Hosts, LIMIT, noScenarios, type Outcome, reaches } from '../scenario/hosts.ts';
import { PLUGIN } from './runtime.ts';

const IMAGE = 'packetweave.test/busybox:1';
const APPLETS = ['sh', 'httpd', 'ping', 'sleep', 'wget', 'ip', 'cat'];
/** What podman sets is more than a process without CAP_SYS_RESOURCE may. */
const LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'];

t.test('containers of podman on the overlay', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('podman', 'busybox', 'curl', 'tar');
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 2);
  const [one, two] = hosts.all;
  await hosts.cluster();
  const podman = new Podman(t, one);
  await podman.import();
  const bare = await podman.attempt('run', '--rm', '--network', 'none', ...LIMITS, IMAGE, '/bin/sleep', '0');
  // Neither a missing program nor ours: a kernel that lets nobody make containers.
  if (bare.code !== 0) return t.pass('skipped', { skip: `podman cannot run: ${bare.stderr}` });
  await one.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  await two.cli('run', '-d', '--network', 'demo', '--name', 'far', '--', 'sleep', '1000');

  const web = ['--name', 'web', '--network', 'demo', '--network-alias', 'www', '-p', '8080:80'];
  await podman.run('run', '-d', ...web, ...LIMITS, IMAGE, '/bin/httpd', '-f', '-p', '80', '-h', '/bin');

  t.test('the overlay reaches it, by its name and its aliases', async (t) => {
    for (const name of ['web', 'www', 'web.demo']) {
      t.ok(await reaches(two, 'far', name));
      const ping = ['ping', '-c', '2', '-i', '0.2', '-W', '2', name];
      t.match(await two.cli('exec', 'far', ...ping), / 0% packet loss/, name);
    }
    const { stdout, stderr } = await two.exec(
      'curl',
      '-sSI',
      '--max-time',
      '5',
      `http://${one.address}:8080/sh`,
    );
    t.match(stdout, /^HTTP\/1\.1 200 OK/, `its published port ${stderr}`);
  });

  t.test('it reaches the overlay by name', async (t) => {
    t.match(await podman.run('exec', 'web', '/bin/ping', '-c', '2', '-W', '2', 'far'), / 0% packet loss/);
    const [{ endpoints }] = JSON.parse(await one.cli('ps', '--json'));
    const shown = await podman.run('inspect', '--format', '{{json .NetworkSettings.Networks.demo}}', 'web');
    t.equal(JSON.parse(shown).IPAddress, endpoints[0].addresses[0].split('/')[0]);
    t.equal(JSON.parse(shown).MacAddress, endpoints[0].mac);
  });

  t.test('a container with an address that it asks for', async (t) => {
    const [{ endpoints }] = JSON.parse(await one.cli('ps', '--json'));
    const address = endpoints[0].addresses[0].replace(/\.\d+\/.*/, '.77');
    const args = ['run', '--rm', '--network', 'demo', '--ip', address, ...LIMITS, IMAGE];
    t.match(await podman.run(...args, '/bin/ip', 'address', 'show', 'dev', 'eth0'), `inet ${address}/24`);
  });

  t.test('nothing is left of it', async (t) => {
    await podman.run('rm', '--force', '--time', '0', 'web');
    t.same(JSON.parse(await one.cli('ps', '--json')), []);
  });
});

/** A podman with a storage and with networks of its own, on one host. */
class Podman {
  readonly #host: Host;
  readonly #folder = mkdtempSync(join(tmpdir(), 'packetweave-podman-'));

  constructor(t: Test, host: Host) {
    this.#host = host;
    t.teardown(async () => {
      await this.attempt('rm', '--all', '--force', '--time', '0');
      rmSync(this.#folder, { recursive: true, force: true });
    });
    const [plugins, networks] = ['plugins', 'networks'].map((name) => join(this.#folder, name));
    for (const folder of [plugins, networks]) mkdirSync(folder);
    symlinkSync(PLUGIN, join(plugins, 'packetweave'));
    const capabilities = { portMappings: true, aliases: true, ips: true, mac: true };
    const plugin = { type: 'packetweave', socket: host.socket, capabilities };
    const list = { cniVersion: '1.0.0', name: 'demo', plugins: [plugin] };
    writeFileSync(join(networks, 'demo.conflist'), JSON.stringify(list));
    const settings = { network_backend: 'cni', cni_plugin_dirs: [plugins], network_config_dir: networks };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    writeFileSync(join(this.#folder, 'containers.conf'), `[network]\n${lines.join('\n')}\n`);
  }

  /** Makes the image. */
  async import(): Promise<void> {
    const [root, tar] = [join(this.#folder, 'image'), join(this.#folder, 'image.tar')];
    mkdirSync(join(root, 'bin'), { recursive: true });
    const { stdout } = await this.#host.exec('sh', '-c', 'command -v busybox');
    copyFileSync(stdout.trim(), join(root, 'bin', 'busybox'));
    for (const name of APPLETS) symlinkSync('busybox', join(root, 'bin', name));
    await this.#host.exec('tar', '-C', root, '-cf', tar, '.');
    await this.run('import', tar, IMAGE);
  }

  async run(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(...args);
    if (code !== 0)
      throw new Error(`podman ${args.join(' ')}: exit ${code}\n${stdout}${stderr}${this.#host.log}`);
    return stdout;
  }

  attempt(...args: readonly string[]): Promise<Outcome> {
    const folders = ['root', 'runroot', 'tmpdir'].map((name) => `--${name}=${join(this.#folder, name)}`);
    const settings = ['--storage-driver=vfs', '--cgroup-manager=cgroupfs', '--events-backend=none'];
    const env = `CONTAINERS_CONF=${join(this.#folder, 'containers.conf')}`;
    return this.#host.exec('env', env, 'podman', ...folders, ...settings, ...args);
  }
}
