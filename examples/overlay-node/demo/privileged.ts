/** Two hosts as network namespaces, two real daemons, and the command line as somebody would type it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cable, Host } from './host.ts';
import type { Report } from './report.ts';

const PAYLOAD = 'nobody on the way may read this';
const SERVER = `require('http').createServer((_, to) => to.end('${PAYLOAD}\\n')).listen(80, '0.0.0.0')`;
const CLIENT = "fetch('http://web:8080/').then((r) => r.text()).then((text) => process.stdout.write(text))";

export async function privileged(report: Report): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'packetweave-demo-'));
  const hosts = [new Host(1, folder, report), new Host(2, folder, report)];
  const end = () => {
    for (const { namespace } of hosts) spawnSync('ip', ['netns', 'del', namespace]);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    cable(hosts[0], hosts[1]);
    await show(report, hosts[0], hosts[1]);
  } finally {
    for (const host of hosts) {
      await host.ask('rm', '--force', host === hosts[0] ? 'web' : 'client');
      await host.ask('leave', '--force');
      await host.down();
    }
    end();
  }
}

async function show(report: Report, one: Host, two: Host): Promise<void> {
  await Promise.all([one.up(), two.up()]);
  const { token } = JSON.parse((await one.ask('init', '--json')).text) as { token: string };
  report.typed(one.name, 'packetweave init');
  report.say(`packetweave join ${token.slice(0, 16)}... ${one.address}`);
  report.typed(two.name, `packetweave join ${token.slice(0, 16)}... ${one.address}`);
  const joined = await two.ask('join', token, one.address);
  report.expect(joined.code === 0, `host2 has joined: ${joined.text.trim()}`);
  await two.type('node', 'ls');
  await one.type('network', 'create', '--attachable', '--opt', 'encrypted', 'demo');
  const web = ['--network', 'demo', '--name', 'web', '-p', '8080:80', '-d'];
  await one.type('run', ...web, '--', process.execPath, '-e', SERVER);
  const capture = one.background('capture', 'underlay', '-w', one.path('underlay.pcapng'));
  const inside = one.background('capture', 'demo', '-w', one.path('inside.pcapng'));
  await pause(500);
  await two.type('run', '--network', 'demo', '--name', 'client', '-d', '--', 'sleep', '60');
  const ping = await two.type('exec', 'client', 'ping', '-c', '3', '-i', '0.2', 'web');
  report.expect(/ 0% packet loss/.test(ping), 'host2 pings web on host1 by name');
  const page = await two.type('exec', 'client', process.execPath, '-e', CLIENT);
  report.expect(page.includes(PAYLOAD), 'port 8080 of web is its port 80');
  await one.type('ps');
  await one.type('peers');
  await pause(500);
  for (const child of [capture, inside]) {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    await Promise.race([exited, pause(5000, undefined, { ref: false })]);
  }
  const [outer, inner] = ['underlay.pcapng', 'inside.pcapng'].map((file) => readFileSync(one.path(file)));
  report.expect(inner.includes(PAYLOAD), 'a capture of the network has the payload');
  report.expect(outer.length > 1000 && !outer.includes(PAYLOAD), 'a capture of the underlay has not');
}
