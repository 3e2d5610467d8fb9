/** A daemon that starts while its store is away, and one that was removed while it was away itself. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import { left, said, state } from './alone.ts';
import { Hosts, LIMIT, noScenarios, Pings, reaches, until } from './hosts.ts';

const SLEEP = ['sleep', '600'];

t.test('a daemon that starts without its store', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 3);
  const [store, one, two] = hosts.all;
  await hosts.cluster('--log-level', 'debug');
  await one.cli('network', 'create', '--attachable', 'demo');
  const run = ['run', '-d', '--network', 'demo', '--name'];
  await one.cli(...run, 'web', '--', ...SLEEP);
  await two.cli(...run, 'client', '--', ...SLEEP);
  await two.cli(...run, 'other', '--', ...SLEEP);
  const pings = new Pings(t, two, 'client', 'web');
  t.ok(await pings.more(5), 'web is reached');
  const before = JSON.parse(await two.cli('ps', '--json'));
  // What is known is written down a moment later.
  const written = () => {
    const text = readFileSync(state(two, 'views.json'), { encoding: 'utf8', flag: 'a+' });
    return ['web', 'client', 'other'].every((name) => text.includes(`"${name}"`));
  };
  t.ok(await until(written), 'what is known is written down');

  await Promise.all([store, two].map((host) => host.down('SIGKILL')));
  await two.up('--log-level', 'debug');
  t.ok(await pings.more(), 'traffic goes on');
  t.same(JSON.parse(await two.cli('ps', '--json')), before, 'with the same endpoints');
  t.ok(await reaches(two, 'client', 'web'), 'names are known');
  t.match(await two.attempt(...run, 'more', '--', ...SLEEP), { code: 125, stderr: /was not there yet/ });
  await two.cli('rm', '-f', 'other');
  t.equal(JSON.parse(await two.cli('ps', '-a', '--json')).length, 1, 'what is to go goes');

  await store.up();
  const names = async () => {
    const [{ Containers }] = JSON.parse(await one.cli('network', 'inspect', 'demo'));
    const all = Object.values(Containers) as { Name: string }[];
    return all
      .map(({ Name }) => Name)
      .sort()
      .join();
  };
  t.ok(await until(async () => (await names().catch(() => '')) === 'client,web'), 'the store hears of it');
  await two.cli(...run, 'more', '--', ...SLEEP);
  t.ok(await pings.more(), 'and traffic goes on');
  t.comment(`${await pings.stop()} of 50 pings a second were lost`);

  await two.down('SIGKILL');
  const [{ id }] = JSON.parse(await store.cli('node', 'ls', '--json')).filter(
    ({ name, address }: { name: string; address: string }) => [name, address].includes(two.address),
  );
  await store.cli('node', 'rm', '--force', id);
  const answers = two.up('--log-level', 'debug');
  const forgets = async () => /leave --force/.test((await two.attempt('node', 'ls')).stderr);
  t.ok(await until(forgets), 'it was removed, and says what to do');
  await two.cli('leave', '--force');
  await answers;
  t.same(left(two), [], 'nothing is left of its containers');
  t.equal(await said(two, 'nft', 'list', 'ruleset'), '', 'no rule');
  t.notMatch(await said(two, 'ip', '-o', 'link'), /pwg/, 'no device');
  t.match(await two.attempt('node', 'ls'), { code: 1, stderr: /in no overlay/ });
});
