/** What outlives what: daemons, the store, tokens and keys come and go under traffic. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { type Host, Hosts, httpServer, LIMIT, noScenarios, Pings, until } from './hosts.ts';

const SLEEP = ['sleep', '600'];

async function pair(t: Test, ...options: readonly string[]): Promise<{ hosts: Hosts; pings: Pings }> {
  const hosts = new Hosts(t, 2);
  const [one, two] = hosts.all;
  await hosts.cluster(...options);
  await one.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  const run = ['run', '-d', '--network', 'demo'];
  await one.cli(...run, '--name', 'web', '-p', '8080:80', '--', ...httpServer(80, 'here'));
  await two.cli(...run, '--name', 'client', '--', ...SLEEP);
  const pings = new Pings(t, two, 'client', 'web');
  t.ok(await pings.more(5), 'web is reached');
  return { hosts, pings };
}

const show = async (host: Host) => JSON.parse(await host.cli('ps', '--json'))[0];
const curl = (host: Host, to: string) =>
  host.cli('exec', 'client', 'curl', '-sS', '--max-time', '5', `http://${to}/`);

t.test('a daemon that is killed and comes back', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('curl');
  if (no !== null) return skip(t, no);
  const { hosts, pings } = await pair(t);
  const [one, two] = hosts.all;
  for (const [host, signal] of [
    [one, 'SIGKILL'],
    [two, 'SIGKILL'],
    [one, 'SIGTERM'],
  ] as const) {
    const before = await show(host);
    await host.down(signal);
    await host.up();
    const after = await show(host);
    t.same(after, before, `${host.name} after ${signal}: the same process, addresses and MACs`);
    t.ok(await pings.more(), 'and it is reached');
    t.equal(await curl(two, 'web:8080'), 'here\n');
  }
  t.comment(`${await pings.stop()} of 50 pings a second were lost in three restarts`);
  const { stdout } = await two.exec('curl', '-sS', '--max-time', '5', `http://${one.address}:8080/`);
  t.equal(stdout, 'here\n', 'the port of the host is published again');
  await one.cli('rm', '-f', 'web');
  await two.cli('rm', '-f', 'client');
  await one.down('SIGTERM');
  await two.down('SIGTERM');
  t.same(hosts.namespaces(), [], 'nothing is left, not even what was kept ready');
});

t.test('without the host that carries the store', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 3);
  const [store, one, two] = hosts.all;
  const token = await hosts.cluster();
  await one.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  await one.cli('run', '-d', '--network', 'demo', '--name', 'web', '--', ...SLEEP);
  await two.cli('run', '-d', '--network', 'demo', '--name', 'client', '--', ...SLEEP);
  const pings = new Pings(t, two, 'client', 'web');
  t.ok(await pings.more(5), 'web is reached');

  await store.down('SIGKILL');
  const away = async () =>
    JSON.parse(
      await one.cli('doctor', '--json').catch((error) => error.message.split('\n').slice(1).join('\n')),
    );
  t.ok(await until(async () => !(await away()).find(({ name }: { name: string }) => name === 'store').ok));
  const refused = await one.attempt('network', 'create', 'more');
  t.match(refused, { code: 1, stderr: /nothing can be changed/ });
  t.ok(await pings.more(100), 'traffic goes on');
  await store.up();
  t.ok(
    await until(async () => (await one.attempt('network', 'create', 'later')).code === 0),
    'changes are possible again',
  );
  t.equal(await pings.stop(), 0, 'no ping was lost');

  t.test('tokens', async (t) => {
    await two.cli('rm', '-f', 'client');
    await two.cli('leave');
    await one.cli('token', 'rotate');
    const old = await two.attempt('join', token, store.address);
    t.match(old, { code: 1, stderr: /token/ }, 'one that was replaced');
    const cut = await two.attempt('join', token.slice(0, -3), store.address);
    t.match(cut, { code: 1, stderr: /token/ }, 'one that is not whole');
    const nobody = await two.attempt('join', token, '192.0.2.99');
    t.match(nobody, { code: 1, stderr: /192\.0\.2\.99/ }, 'nobody there');
    t.match(await two.attempt('node', 'ls'), { code: 1, stderr: /in no overlay/ }, 'nothing is half joined');
    const fresh = (await store.cli('token', '--quiet')).trim();
    await two.cli('join', fresh, store.address);
    t.equal(JSON.parse(await two.cli('node', 'ls', '--json')).length, 3);
  });
});

t.test('keys are replaced under traffic', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('tshark');
  if (no !== null) return skip(t, no);
  const { hosts, pings } = await pair(t, '--key-period', '20');
  const [one] = hosts.all;
  const dump = join(one.folder, 'esp.pcap');
  const tcpdump = one.start('tcpdump', '-i', 'eth0', '-s', '96', '-w', dump, '-U', 'udp port 4500');
  t.teardown(() => tcpdump.kill('SIGKILL'));
  await new Promise((resolve) => tcpdump.stderr?.once('data', resolve));
  const spis = async () => {
    const { stdout } = await one.exec('tshark', '-r', dump, '-T', 'fields', '-e', 'esp.spi');
    return new Set(stdout.split('\n').filter(Boolean)).size;
  };
  t.ok(await until(async () => (await spis()) >= 5, 60_000), 'other keys in both directions');
  t.equal(await pings.stop(), 0, 'no ping was lost');
});
