/** A daemon that is killed at any moment leaves nothing behind. */
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { Random } from '../../../../lib/core/random.ts';
import { skip } from '../../../../test/gen/skip.ts';
import { alone, left, said, stored } from './alone.ts';
import { LIMIT, noScenarios, until } from './hosts.ts';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
const ROUNDS = Number(process.env.ROUNDS ?? 4);

t.test('a daemon that is killed at any moment', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  t.comment(`SEED=${SEED}`);
  const random = new Random(SEED);
  const { host, client, start, rm, all, up } = await alone(t);
  await client.post(['networks'], { name: 'more', attachable: true });
  for (let round = 0; round < ROUNDS; round++) {
    const cli = host.startCli('run', '--network', 'demo', '--', 'sleep', '0.2');
    const ended = new Promise((resolve) => cli.once('exit', resolve));
    const port = `80${round}0:80`;
    const work = async (name: string) => {
      await start(name, { publish: name === 'a' ? [port] : [] });
      await client.post(['networks', 'more', 'connect'], { container: name });
      await client.post(['networks', 'demo', 'disconnect'], { container: name });
      await rm(name);
    };
    const working = ['a', 'b', 'c'].map((name) => work(name).catch(() => {}));
    await pause(random.below(1200));
    await host.down('SIGKILL');
    await Promise.all(working);
    await ended;
    await up();
    for (const { name, state, detached } of await all()) {
      if (!detached) continue;
      t.not(state, 'created', `${name} is whole or gone`);
      await rm(name);
    }
  }
  t.ok(await until(async () => (await all()).length === 0), 'what was in the foreground is gone by itself');
  await start('last', { publish: ['8000:80', '8010:80', '8050:80'] });
  await rm('last');
  t.same(left(host), [], 'nothing is left of any container');
  t.equal(await said(host, 'sh', '-c', 'ss -Hltnu | grep -E ":80[0-9]0 " || true'), '', 'no socket');
  t.notMatch(await said(host, 'nft', 'list', 'ruleset'), /elements = /, 'no port is redirected');
  await host.down();
  t.same(await stored(host), [], 'no endpoint and no address is in the store');
  await up();
  await host.cli('leave');
  t.equal(await said(host, 'nft', 'list', 'ruleset'), '', 'no rule');
  t.notMatch(await said(host, 'ip', '-o', 'link'), /pwg/, 'no device');
});
