/** An overlay whose store is an etcd: what happens to that happens to changes, never to traffic. */
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { EtcdMembers } from './etcd.ts';
import { Hosts, LIMIT, noScenarios, Pings, until } from './hosts.ts';

const SLEEP = ['sleep', '600'];
const ATTACHED = ['run', '-d', '--network', 'demo'];

t.test('an etcd of three members', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('etcd', 'etcdctl');
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 2);
  const [one, two] = hosts.all;
  const etcd = await EtcdMembers.start(t, hosts, 3);
  await Promise.all(hosts.all.map((host) => host.up()));
  const { token } = JSON.parse(await one.cli('init', '--store', etcd.url, '--json'));
  t.match(await two.attempt('join', `${token.slice(0, -1)}x`, etcd.url), { code: 1, stderr: /token/ });
  await two.cli('join', token, etcd.url);
  t.match(await one.attempt('init'), { code: 1, stderr: /in an overlay already/ });
  await one.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  await one.cli(...ATTACHED, '--name', 'web', '--', ...SLEEP);
  await two.cli(...ATTACHED, '--name', 'client', '--', ...SLEEP);
  const pings = new Pings(t, two, 'client', 'web');
  t.ok(await pings.more(5), 'web is reached');
  /** Whether a change on one host is known on the other. */
  const changes = async (name: string) => {
    await until(
      async () => (await one.attempt(...ATTACHED, '--name', name, '--', ...SLEEP)).code === 0,
      30_000,
    );
    return until(
      async () => (await two.attempt('exec', 'client', 'getent', 'hosts', name)).code === 0,
      30_000,
    );
  };
  t.ok(await changes('a'));

  await etcd.killLeader();
  t.ok(await changes('b'), 'without the member that led');
  await etcd.compact();
  t.ok(await changes('c'), 'after its history was forgotten');

  await etcd.stop();
  const refused = await one.attempt(...ATTACHED, '--name', 'd', '--', ...SLEEP);
  t.match(refused, { code: 125, stderr: /away|cannot be (reached|used)|no answer/i }, 'without etcd');
  t.ok(await pings.more(100), 'traffic goes on');
  await pause(10_000);
  await etcd.begin();
  t.ok(await changes('d'), 'with etcd again');
  t.match(await two.cli('node', 'ls'), /Ready[\s\S]*Ready/);
  t.equal(await pings.stop(), 0, 'no ping was lost');
});

t.test('a cluster moves from the embedded store to an etcd', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('etcd', 'etcdctl');
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 3);
  const [one, two, three] = hosts.all;
  const token = await hosts.cluster();
  const etcd = await EtcdMembers.start(t, hosts, 1);
  await one.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  await two.cli(...ATTACHED, '--name', 'web', '--', ...SLEEP);
  await three.cli(...ATTACHED, '--name', 'client', '--', ...SLEEP);
  const pings = new Pings(t, three, 'client', 'web');
  t.ok(await pings.more(5), 'web is reached');
  t.match(await two.attempt('store', 'migrate', etcd.url), {
    code: 1,
    stderr: /host that carries the store/,
  });
  await three.down('SIGTERM');
  await three.up();
  t.ok(await pings.more(5), 'web is reached again');
  t.comment(`${await pings.stop()} pings were lost while host3 started anew`);
  const moving = new Pings(t, three, 'client', 'web');
  t.ok(await moving.more(5));
  await one.cli('store', 'migrate', etcd.url);
  t.match((await two.attempt('doctor')).stdout, /etcd/);
  await one.down('SIGKILL');
  t.match(await two.attempt('network', 'create', 'later'), { code: 0 }, 'nobody needs host1 any more');
  await one.up();
  t.match(await one.cli('network', 'ls'), /later/, 'which knows where the cluster is');
  await three.cli('network', 'rm', 'later');
  t.ok(await moving.more(5));
  t.match(await one.attempt('join', token, one.address), { code: 1 });
  t.equal(await moving.stop(), 0, 'no ping was lost by the move');
});
