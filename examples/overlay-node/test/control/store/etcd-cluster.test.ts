/** Members that die, fall silent or stand still. */
import { type Test, test } from 'tap';
import { skip } from '../../../../../test/gen/skip.ts';
import { EtcdClient } from '../../../control/store/etcd-client.ts';
import { Log } from './conformance.ts';
import { EtcdServer, insist, noEtcd, open, Wire } from './etcd-server.ts';

const missing = noEtcd();
const away = { code: 'AWAY' };

test('the leader of three is killed, then a second one', async (t) => {
  if (missing) return skip(t, missing);
  const servers = await EtcdServer.cluster(t);
  const leader = await leaderOf(t, servers);
  const rest = servers.filter((server) => server !== leader);
  // The leader first: everything goes by it.
  const addresses = [leader, ...rest].map(({ address }) => address);
  // Its watch has as long to find another member: elections take longer on a busy machine.
  const store = open(t, addresses, { timeout: 15_000 });
  const log = new Log(store, 'k/', await store.put('start', ''));
  let refused = 0;
  for (let i = 0; i < 60; i++) {
    if (i === 20) await leader.kill();
    refused += await insist(() => store.put(`k/${i}`, ''));
  }
  t.ok(refused < 5, `${refused} calls were refused`);
  await log.until(() => log.lines.includes('k/59='));
  t.strictSame(
    [...new Set(log.lines)],
    Array.from({ length: 60 }, (_, i) => `k/${i}=`),
    'the watch goes on and tells all, in order',
  );
  t.strictSame(log.ends, []);

  const brief = open(t, addresses, { timeout: 4000 });
  const ending = new Log(brief, 'k/', await brief.put('k/last', ''));
  await brief.put('k/last', '');
  await ending.until(() => ending.calls.length > 0);
  await rest[0]!.kill();
  const impatient = open(t, addresses, { timeout: 1000 });
  await t.rejects(impatient.put('k/60', ''), away, 'one of three does not decide');
  await t.rejects(impatient.get('k/0'), away, 'nor is it believed');
  await ending.until(() => ending.ends.length > 0);
  t.strictSame(ending.ends, ['away']);
  await rest[0]!.run();
  await insist(() => store.put('k/61', ''));
  t.equal((await store.get('k/61'))?.value, '');
});

async function leaderOf(t: Test, servers: readonly EtcdServer[]): Promise<EtcdServer> {
  for (;;)
    for (const server of servers) {
      const client = new EtcdClient({ addresses: [server.address] });
      t.teardown(() => client.close());
      const { leader, header } = await client.read('/v3/maintenance/status', {});
      if (leader !== undefined && leader === (header as { member_id: string }).member_id) return server;
    }
}

test('a member that falls silent', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const wires = [await Wire.to(t, server.address), await Wire.to(t, server.address)];
  const both = open(t, [wires[0]!.address, wires[1]!.address], { timeout: 4000 });
  const one = open(t, [wires[0]!.address], { timeout: 4000 });
  const revision = await both.put('start', '');
  const [moves, ends] = [new Log(both, '', revision), new Log(one, '', revision)];
  await one.put('a', '1');
  for (const log of [moves, ends]) await log.until(() => log.calls.length === 1);
  wires[0]!.silence();
  await t.rejects(both.put('a', '2'), away, 'a change is not repeated: it may have been made');
  await both.put('a', '3');
  await moves.until(() => moves.lines.includes('a=3'));
  t.strictSame([moves.lines, moves.ends], [['a=1', 'a=3'], []], 'the other member goes on');
  await ends.until(() => ends.ends.length > 0);
  t.strictSame([ends.lines, ends.ends], [['a=1'], ['away']]);
  t.equal((await both.get('a'))?.value, '3');
  moves.watch.close();
});

test('a process that stands still', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const store = open(t, [server.address], { timeout: 2500 });
  const log = new Log(store, '', await store.put('a', '1'));
  await store.put('a', '2');
  await log.until(() => log.calls.length > 0);
  server.signal('SIGSTOP');
  await log.until(() => log.ends.length > 0);
  t.strictSame(log.ends, ['away']);
  await t.rejects(store.list(''), { ...away, message: /no answer within/ });
  server.signal('SIGCONT');
  await insist(() => store.put('a', '3'));
});
