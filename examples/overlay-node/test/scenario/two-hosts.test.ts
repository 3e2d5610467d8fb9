/** Two hosts, as a user would type it: containers find each other by name, are reached by published ports, and nobody on
 * the way can read what they say. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { type Host, Hosts, httpServer, LEFT, LIMIT, noScenarios, reaches, until } from './hosts.ts';

const PAYLOAD = 'nobody on the way may read this';

/** What `dig` answers inside of a container that is made for it. */
const dig = async (host: Host, network: string, ...args: readonly string[]) =>
  (await host.cli('run', '--network', network, '--', 'dig', '+tries=3', '+time=5', ...args)).trim();

t.test('from nothing to two containers that talk', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('dig', 'curl', 'tcpdump', 'iperf3');
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 2);
  const [one, two] = hosts.all;
  await hosts.cluster();
  t.match(await two.cli('node', 'ls'), /host1.*Ready|Ready/);

  await one.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  const web = ['--network', 'demo', '--name', 'web', '--network-alias', 'www', '-p', '8080:80'];
  await one.cli('run', ...web, '-d', '--', ...httpServer(80, PAYLOAD));
  const dump = join(one.folder, 'underlay.pcap');
  const tcpdump = one.start('tcpdump', '-i', 'eth0', '-w', dump, '--immediate-mode', '-U');
  t.teardown(() => tcpdump.kill('SIGKILL'));
  await new Promise((resolve) => tcpdump.stderr?.once('data', resolve));

  t.test('ping by name', async (t) => {
    await two.cli('run', '-d', '--network', 'demo', '--name', 'client', '--', 'sleep', '600');
    t.ok(await reaches(two, 'client', 'web'));
    const text = await two.cli('exec', 'client', 'ping', '-c', '3', '-i', '0.2', 'web');
    t.match(text, / 0% packet loss/);
  });

  t.test('names', async (t) => {
    const [{ id, endpoints }] = JSON.parse(await one.cli('ps', '--json'));
    const address = endpoints[0].addresses[0].split('/')[0];
    for (const name of ['web', 'www', 'WEB', 'web.demo', id.slice(0, 12)]) {
      t.equal(await dig(two, 'demo', '+short', name), address, name);
    }
    t.equal(await dig(two, 'demo', '+short', '-x', address), 'web.demo.');
    t.match(await dig(two, 'demo', 'web', 'AAAA'), /status: NOERROR[\s\S]*ANSWER: 0/);
    t.equal(await dig(two, 'demo', '+short', '+tcp', 'web'), address);
  });

  t.test('the published port, on the overlay and on the hosts', async (t) => {
    const url = (host: string, port: number) => `http://${host}:${port}/`;
    const curl = ['curl', '-sS', '--max-time', '5'];
    const inside = (to: string) => two.cli('run', '--network', 'demo', '--', ...curl, to);
    t.match(await inside(url('web', 8080)), PAYLOAD, 'port 8080 of web');
    t.match(await inside(url('web', 80)), PAYLOAD, 'and its own port');
    for (const from of [one, two]) {
      const { stdout, stderr } = await from.exec('curl', '-sS', '--max-time', '5', url(one.address, 8080));
      t.match(stdout, PAYLOAD, `${from.name} reaches port 8080 of host1 ${stderr}`);
    }
    const { stdout } = await one.exec('curl', '-sS', '--max-time', '5', url('127.0.0.1', 8080));
    t.match(stdout, PAYLOAD, 'host1 by its own loopback');
  });

  t.test('the underlay has none of the payload', async (t) => {
    const exited = new Promise((resolve) => tcpdump.once('exit', resolve));
    tcpdump.kill('SIGINT');
    await exited;
    const bytes = readFileSync(dump);
    t.ok(bytes.length > 10_000, `${bytes.length} bytes were captured`);
    // The published port of the host is outside of the overlay: it was asked from host2 in clear.
    const inside = spawn('tcpdump', ['-r', dump, '-w', '-', 'udp or esp']);
    const parts: Buffer[] = [];
    inside.stdout.on('data', (part) => parts.push(part));
    await new Promise((resolve) => inside.once('close', resolve));
    const tunnelled = Buffer.concat(parts);
    t.ok(tunnelled.length > 3000, `${tunnelled.length} of them in tunnels`);
    t.notOk(tunnelled.includes(PAYLOAD), 'the payload is not among them');
  });

  t.test('streams', async (t) => {
    await one.cli(
      'run',
      '-d',
      '--network',
      'demo',
      '--name',
      'sink',
      '-p',
      '6201:5201',
      '--',
      'iperf3',
      '-s',
    );
    for (const port of ['5201', '6201']) {
      const iperf = ['iperf3', '-c', 'sink', '-p', port, '-t', '2', '-J'];
      const { end } = JSON.parse(await two.cli('run', '--network', 'demo', '--', ...iperf));
      const { bytes, bits_per_second: rate } = end.sum_received;
      t.ok(bytes > 1e6, `port ${port}: ${(rate / 1e6).toFixed(0)} Mbit/s`);
    }
    await one.cli('rm', '-f', 'sink');
  });

  t.test('what a port that is taken is refused with', async (t) => {
    const { code, stderr } = await one.attempt('run', '--network', 'demo', '-p', '8080:81', '--', 'true');
    t.equal(code, 125);
    t.match(stderr, /Bind for 0\.0\.0\.0:8080 failed: port is already allocated/);
  });

  t.test('what is left when all is removed', async (t) => {
    await one.cli('rm', '--force', 'web');
    await two.cli('rm', '--force', 'client');
    await one.cli('network', 'rm', 'demo');
    t.ok(await until(() => hosts.namespaces().length === 0, LEFT), `${hosts.namespaces()}`);
    await two.cli('leave');
    t.equal(JSON.parse(await one.cli('node', 'ls', '--json')).length, 1);
    await one.cli('leave');
    t.match(await one.attempt('node', 'ls'), { code: 1, stderr: /this host is in no overlay/ });
  });
});
