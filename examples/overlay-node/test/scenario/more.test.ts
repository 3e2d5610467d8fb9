/** An overlay without a store, namespaces of others, and what can be seen of a node. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Namespaces } from '../../../../test/gen/netns.ts';
import { skip } from '../../../../test/gen/skip.ts';
import { Hosts, httpServer, LIMIT, noScenarios, reaches, run, until } from './hosts.ts';

const SLEEP = ['sleep', '600'];

t.test('a static overlay: hosts that are told of each other', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('dig');
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 2);
  const [one, two] = hosts.all;
  for (const host of hosts.all) {
    const secret = join(host.folder, 'secret');
    writeFileSync(secret, 'only an example: never do this\n', { mode: 0o600 });
    const peer = host === one ? two : one;
    const config = join(host.folder, 'config.json');
    writeFileSync(config, JSON.stringify({ peers: [peer.address], secretFile: secret }));
    await host.up('--config', config);
    await host.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
    await host.cli('network', 'create', '--attachable', 'plain');
    const networks = ['--network', 'demo', '--network', 'plain'];
    await host.cli('run', '-d', ...networks, '--name', host.name, '--', ...SLEEP);
  }
  t.match(await one.attempt('token'), { code: 1, stderr: /static overlay/ });
  const [{ endpoints }] = JSON.parse(await two.cli('ps', '--json'));
  for (const { addresses } of endpoints) {
    const to = addresses[0].split('/')[0];
    t.ok(await reaches(one, 'host1', to), to);
  }
  t.match(await one.cli('exec', 'host1', 'dig', '+short', 'host1'), /^10\./, 'names of this host');
  const before = JSON.parse(await one.cli('ps', '--json'));
  await one.down('SIGKILL');
  await one.up('--config', join(one.folder, 'config.json'));
  t.same(JSON.parse(await one.cli('ps', '--json')), before, 'it is remembered');
});

t.test('what can be seen of a node, and namespaces of others', { timeout: LIMIT }, async (t) => {
  const no = noScenarios('curl', 'tshark');
  if (no !== null) return skip(t, no);
  const hosts = new Hosts(t, 2);
  const [one, two] = hosts.all;
  await hosts.cluster('--metrics', '127.0.0.1:9323');
  await one.cli('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  await one.cli('run', '-d', '--network', 'demo', '--name', 'web', '--', ...httpServer(80, 'seen'));
  await two.cli('run', '-d', '--network', 'demo', '--name', 'client', '--', ...SLEEP);

  t.test('a namespace that somebody else made', async (t) => {
    const namespaces = new Namespaces(t);
    namespaces.add('mine');
    const mine = namespaces.real('mine');
    await two.cli('attach', '--netns', mine, '--network', 'demo', '--name', 'guest');
    t.match((await run(mine, 'ip', 'addr')).stdout, /eth0[\s\S]*inet 10\./);
    t.ok(await reaches(one, 'web', 'guest'));
    t.match(await one.cli('exec', 'web', 'ping', '-c', '2', '-W', '2', 'guest'), / 0% packet loss/);
    await two.cli('rm', '-f', 'guest');
    t.notMatch((await run(mine, 'ip', 'addr')).stdout, /eth0/, 'the device is gone');
    t.match(await run(mine, 'true'), { code: 0 }, 'the namespace is not');
  });

  t.test('captures', async (t) => {
    const files = ['demo', 'web', 'underlay', 'underlay --decrypt'].map((what, i) => ({
      what,
      file: join(one.folder, `${i}.pcapng`),
    }));
    const all = files.map(({ what, file }) => {
      const child = one.startCli('capture', ...what.split(' '), '-w', file);
      return { child, ended: new Promise((resolve) => child.once('exit', resolve)) };
    });
    const count = one.startCli('capture', 'demo', '--count', '2');
    let lines = '';
    count.stdout?.on('data', (part) => {
      lines += part;
    });
    let counted = false;
    count.once('close', () => {
      counted = true;
    });
    const asked = async () => {
      await two.attempt('exec', 'client', 'curl', '-sS', '--max-time', '5', 'http://web/');
      const clear = files.filter(({ what }) => what !== 'underlay');
      return counted && clear.every(({ file }) => readFileSync(file, { flag: 'a+' }).includes('seen'));
    };
    t.ok(await until(asked), 'a network, a container, and the underlay that is decrypted');
    t.match(lines, /10\.0\.1\.\d+/, 'as lines');
    for (const { child, ended } of all) {
      child.kill('SIGINT');
      await ended;
    }
    const [, , outer, inner] = files.map(({ file }) => readFileSync(file));
    t.notOk(outer.includes('seen'), 'the underlay is encrypted');
    t.ok(inner.includes('seen'), 'and can be looked into');
    const { stdout } = await one.exec(
      'tshark',
      '-r',
      files[3].file,
      '-Y',
      'http',
      '-T',
      'fields',
      '-e',
      'vxlan.vni',
    );
    t.match(stdout, /^4097$/m, 'by tshark, too');
  });

  t.test('why a frame died', async (t) => {
    const trace = one.startCli('trace', '--json');
    t.teardown(() => trace.kill('SIGKILL'));
    let text = '';
    trace.stdout?.on('data', (part) => {
      text += part;
    });
    const forge = ['ip', 'addr', 'add', '10.0.1.200/32', 'dev', 'eth0'];
    await one.cli('exec', 'web', ...forge);
    const told = async () => {
      await one.attempt('exec', 'web', 'ping', '-c', '1', '-W', '1', '-I', '10.0.1.200', '10.0.1.1');
      return /spoofed-address/.test(text);
    };
    t.ok(await until(told), text);
  });

  t.test('counters', async (t) => {
    const stats = JSON.parse(await one.cli('stats', '--once', '--json'));
    t.ok(stats.drops['spoofed-address'].count > 0);
    t.ok(stats.ports.find(({ name }: { name: string }) => name === 'web').rxPackets > 0);
    const metrics = (await one.exec('curl', '-sS', 'http://127.0.0.1:9323/metrics')).stdout;
    t.match(metrics, /^packetweave_drops_total\{reason="spoofed-address"\} [1-9]/m);
    t.match((await one.exec('curl', '-sS', 'http://127.0.0.1:9323/health')).stdout, /"ok":true/);
    t.match(await two.cli('peers'), /host|vm|192\.0\.2\.1/);
    const measured = /ok\s+mtu: packets of 1500 bytes reach 1 of 1 nodes/;
    let doctor = await one.attempt('doctor');
    // On a busy machine the answer to a ping may come too late.
    await until(async () => {
      doctor = await one.attempt('doctor');
      return measured.test(doctor.stdout);
    });
    t.match(doctor, { code: 0, stdout: measured });
  });
});
