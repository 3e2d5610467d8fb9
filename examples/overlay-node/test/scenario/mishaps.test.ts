/** Rubbish, full disks, what is deleted by hand, and others who are in the way. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { skip } from '../../../../test/gen/skip.ts';
import type { Container } from '../../api/api.ts';
import { alone, left, said, state, stored } from './alone.ts';
import { Hosts, LIMIT, noScenarios, run, until } from './hosts.ts';

const BIN = new URL('../../bin/packetweave.js', import.meta.url).pathname;
const address = ({ endpoints }: Container) => endpoints[0].addresses[0].split('/')[0];
const pings = (from: Container, to: string) =>
  until(async () => (await run(from.namespace, 'ping', '-c', '1', '-W', '1', to)).code === 0, 15_000);

t.test('one host', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const { host, client, start, rm, all, up } = await alone(t);
  const web = await start('web', { publish: ['8080:80'] });
  const other = await start('other');

  t.test('a second daemon', async (t) => {
    const second = (...options: string[]) =>
      host.exec('timeout', '20', process.execPath, BIN, 'up', '--advertise', host.address, ...options);
    const same = ['--state', state(host), '--socket', join(host.folder, 'b.sock')];
    t.match(await second(...same), { code: 1, stderr: /process \d+ has the state folder .*: stop/ });
    const socket = ['--state', join(host.folder, 'other'), '--socket', host.socket];
    t.match(await second(...socket), { code: 1, stderr: /another daemon answers on/ });
    const long = ['--state', join(host.folder, 'other'), '--socket', `/tmp/${'x'.repeat(110)}`];
    t.match(await second(...long), { code: 1, stderr: /at most 107 bytes/ });
    t.match(await said(host, 'nft', 'list', 'ruleset'), /8080/, 'the first one has its ports');
  });

  t.test('a device that is deleted', async (t) => {
    spawnSync('ip', ['-n', other.namespace, 'link', 'del', 'eth0']);
    t.ok(await pings(other, address(web)), 'it is made again');
  });

  t.test("a gateway's namespace that is deleted", async (t) => {
    const [name] = (await said(host, 'sh', '-c', 'ip -o link | grep -o "pwg[0-9a-f]*"')).split('\n');
    const gateway = `pwg-${name.slice(3, 9)}-${Number.parseInt(name.slice(9), 16)}`;
    t.equal(spawnSync('ip', ['netns', 'del', gateway]).status, 0, gateway);
    await rm((await start('third')).id);
    t.ok(await pings(other, '192.0.2.100'), 'it is made again');
    const rules = async () => (await run(gateway, 'nft', 'list', 'ruleset')).stdout;
    t.ok(await until(async () => /dnat/.test(await rules())), 'with its published ports');
    const named = () => host.attempt('exec', 'other', 'ping', '-c', '1', '-W', '1', 'web');
    t.ok(await until(async () => (await named()).code === 0), 'and names');
  });

  t.test("a container's namespace that is deleted", async (t) => {
    const third = await start('third');
    spawnSync('ip', ['netns', 'del', third.namespace]);
    await client.post(['networks'], { name: 'more', attachable: true });
    await client.post(['networks', 'more', 'connect'], { container: 'other' });
    t.ok(await pings(other, address(web)), 'the others go on');
    await rm('third');
    t.equal((await all()).length, 2);
    await client.post(['networks', 'more', 'disconnect'], { container: 'other' });
  });

  t.test('namespaces that are not there', async (t) => {
    for (const namespace of ['nobody', '/proc/1/nobody', '4194304']) {
      const request = { networks: ['demo'], command: [], namespace };
      await t.rejects(client.post(['containers'], request), { code: 'INVALID', message: /namespace/ });
    }
    t.equal((await all()).length, 2);
  });

  t.test('at once', async (t) => {
    const some = await Promise.allSettled([start('x'), start('x'), rm('x'), start('x')]);
    t.ok(some.filter(({ status }) => status === 'fulfilled').length <= 2);
    await rm('x').catch(() => {});
    await start('y');
    const connect = () => client.post(['networks', 'more', 'connect'], { container: 'y' });
    const disconnect = () => client.post(['networks', 'more', 'disconnect'], { container: 'y' });
    await Promise.allSettled([connect(), connect(), disconnect(), connect(), rm('y'), connect()]);
    t.equal((await all()).length, 2);
    const detail = await client.get<{ endpoints: unknown[] }>(['networks', 'more']);
    t.same(detail.endpoints, [], 'no endpoint is left');
  });

  t.test('a command in the foreground while the daemon is away', async (t) => {
    const runs = ['run', '--network', 'demo', '--name'];
    const stays = host.startCli(...runs, 'stays', '--', 'sh', '-c', 'read x; exit 7');
    const goes = host.startCli(...runs, 'goes', '--', 'sh', '-c', 'read x; exit 8');
    const codes = [stays, goes].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    t.ok(await until(async () => (await all()).filter(({ pid }) => pid !== null).length === 4));
    t.ok(await until(async () => (await all()).every((one) => one.state === 'running')));
    await host.down('SIGKILL');
    goes.stdin?.end('\n');
    t.equal(await codes[1], 8);
    await up();
    t.ok(await until(async () => (await all()).length === 3), 'what ended meanwhile is gone');
    const wait = client.get<{ code: number }>(['containers', 'stays', 'wait']);
    await all(); // asked later, answered: the daemon has that request
    stays.stdin?.end('\n');
    t.equal(await codes[0], 7);
    t.same(await wait, { code: 7 });
    t.ok(await until(async () => (await all()).length === 2));
  });

  t.test('rubbish, and a port that is taken', async (t) => {
    const third = await start('third');
    await host.down();
    writeFileSync(state(host, 'containers', `${third.id}.json`), '{');
    writeFileSync(state(host, 'commands', `${other.id}.command`), '{');
    writeFileSync(state(host, 'commands', `${'0'.repeat(64)}.log`), 'of nobody');
    const taken = host.start('nc', '-l', '-p', '8080');
    t.teardown(() => taken.kill('SIGKILL'));
    await up();
    const found = new Map((await all()).map((one) => [one.id, one]));
    t.match(found.get(third.id), { state: 'exited', endpoints: [] });
    t.match(found.get(web.id), { state: 'running' });
    await rm(third.id);
    taken.kill('SIGKILL');
    t.ok(await until(async () => /8080/.test(await said(host, 'nft', 'list', 'ruleset'))), 'it is published');
    await rm('web');
    await rm('other');
    t.same(left(host), []);
    await host.down();
    t.same(await stored(host), []);
  });

  t.test('a membership that is rubbish', async (t) => {
    writeFileSync(state(host, 'node.json'), 'null');
    await t.rejects(up(), { message: /node\.json is not what this program wrote: mend it, or remove it/ });
  });
});

t.test('what init was told to advertise is remembered', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const [host] = new Hosts(t, 1).all;
  await host.exec('ip', 'addr', 'add', '198.51.100.7/24', 'dev', 'eth0');
  host.advertises = false;
  await host.up();
  t.match(await host.attempt('init'), { code: 1, stderr: /several addresses .*--advertise/ });
  await host.cli('init', '--advertise', '198.51.100.7');
  await host.down();
  await host.up();
  t.match(await host.cli('node', 'ls'), /198\.51\.100\.7/);
});

t.test('a full disk', { timeout: LIMIT }, async (t) => {
  const no = noScenarios();
  if (no !== null) return skip(t, no);
  const { host, start, rm, all } = await alone(t, (host) => {
    mkdirSync(state(host));
    t.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', state(host)]).status, 0);
    t.teardown(() => spawnSync('umount', ['-l', state(host)]));
  });
  await start('before');
  spawnSync('dd', ['if=/dev/zero', `of=${state(host, 'full')}`, 'bs=64k']);
  spawnSync('dd', ['if=/dev/zero', `of=${state(host, 'fuller')}`, 'bs=512']);
  await t.rejects(start('during'), { message: /ENOSPC|space/ });
  t.match(await all(), [{ name: 'before', state: 'running' }], 'nothing is half-made');
  await rm('before');
  t.same(left(host), [], 'what there is can be removed');
  for (const name of ['full', 'fuller']) rmSync(state(host, name));
  t.ok(
    await until(() =>
      start('after').then(
        () => true,
        () => false,
      ),
    ),
    'with room it goes on',
  );
  await rm('after');
  t.same(left(host), []);
  await host.down();
  t.same(await stored(host), []);
});
