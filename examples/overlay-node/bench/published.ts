/**
 * What publishing a port costs a packet: small datagrams between containers on two hosts, in turns to a port of the
 * container's own and to one that is published, through real daemons, TAP devices and sockets. What is compared is the
 * processor time of both daemons for each datagram that arrived. As root on Linux, with iperf3:
 *
 *     npm run build && node examples/overlay-node/dist/bench/published.js [--rounds 9] [--seconds 3] [--json]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cable, Host, whyNot } from '../demo/host.ts';
import { Report } from '../demo/report.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const OWN = 5201;
const PUBLISHED = 15201;
/** Bytes of UDP payload. */
const SIZE = 64;

class Quiet extends Report {
  override say(): void {}
  override typed(): void {}
}

/** Seconds of processor time that a process had. */
function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  // utime and stime, in ticks of 10 ms (proc(5)).
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

interface Round {
  /** Datagrams that arrived a second. */
  readonly rate: number;
  /** Processor time of both daemons for each of them, in µs. */
  readonly cost: number;
}

async function round(hosts: readonly Host[], port: number): Promise<Round> {
  const seconds = Number(values.seconds);
  const time = () => hosts.reduce((sum, { pid }) => sum + processorTime(pid), 0);
  const before = time();
  const args = [
    '-c',
    'server',
    '-p',
    String(port),
    '-u',
    '-b',
    '0',
    '-l',
    String(SIZE),
    '-t',
    String(seconds),
    '-J',
  ];
  const { code, text } = await hosts[1].ask('exec', 'client', 'iperf3', ...args);
  if (code !== 0) throw new Error(text);
  const spent = time() - before;
  const { sum } = (JSON.parse(text) as { end: { sum: { packets: number; lost_packets: number } } }).end;
  const arrived = sum.packets - sum.lost_packets;
  return { rate: arrived / seconds, cost: (spent / arrived) * 1e6 };
}

const median = (all: readonly number[]) => [...all].sort((a, b) => a - b)[all.length >> 1];

async function measure(hosts: readonly Host[]): Promise<Record<string, number>> {
  const [one, two] = hosts;
  await Promise.all(hosts.map((host) => host.up()));
  const { token } = JSON.parse((await one.ask('init', '--json')).text) as { readonly token: string };
  await two.ask('join', token, one.address);
  await one.type('network', 'create', '--attachable', 'demo');
  const ports = ['tcp', 'udp'].flatMap((protocol) => ['-p', `${PUBLISHED}:${OWN}/${protocol}`]);
  await one.type('run', '-d', '--network', 'demo', '--name', 'server', ...ports, '--', 'iperf3', '-s');
  await two.type('run', '-d', '--network', 'demo', '--name', 'client', '--', 'sleep', '900');
  await round(hosts, OWN);
  const own: Round[] = [];
  const published: Round[] = [];
  for (let i = 0; i < Number(values.rounds); i++) {
    own.push(await round(hosts, OWN));
    published.push(await round(hosts, PUBLISHED));
  }
  const costs = [own, published].map((rounds) => median(rounds.map(({ cost }) => cost)));
  const rates = [own, published].map((rounds) => median(rounds.map(({ rate }) => rate)));
  return {
    own: costs[0],
    published: costs[1],
    ratio: costs[1] / costs[0],
    ownRate: rates[0],
    publishedRate: rates[1],
  };
}

const reason = whyNot();
if (reason !== null) throw new Error(reason);
const folder = mkdtempSync(join(tmpdir(), 'packetweave-bench-'));
const hosts = [new Host(1, folder, new Quiet()), new Host(2, folder, new Quiet())];
try {
  cable(hosts[0], hosts[1]);
  const figures = await measure(hosts);
  if (values.json) console.log(JSON.stringify(figures));
  else {
    const line = (name: string, cost: number, rate: number) =>
      console.log(`${name.padEnd(24)}${cost.toFixed(2)} µs a datagram   ${Math.round(rate)} a second`);
    line('a port of its own', figures.own, figures.ownRate);
    line('a published port', figures.published, figures.publishedRate);
    console.log(`publishing adds ${((figures.ratio - 1) * 100).toFixed(1)}%`);
  }
} finally {
  for (const host of hosts) {
    await host.ask('leave', '--force');
    await host.down();
  }
  for (const { namespace } of hosts) execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(folder, { recursive: true, force: true });
}
