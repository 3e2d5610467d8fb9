/**
 * How long a change takes: from asking one host for an endpoint until a container on another host has its first answer
 * from it, and from asking for its end until it is no longer known there; `packetweave run` until its first ping; and a
 * restart of a daemon under a ping. Two hosts in network namespaces, their real daemons, as root on Linux:
 *
 *     npm run build && node examples/overlay-node/dist/bench/propagation.js [--store etcd] [--rounds 20] [--json]
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { cable, Host, whyNot } from '../demo/host.ts';
import { Report } from '../demo/report.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'embedded' },
    rounds: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
  },
});
const ROUNDS = Number(values.rounds);
/** Address that comes and goes. */
const ADDRESS = '10.0.1.77';

class Quiet extends Report {
  override say(): void {}
  override typed(): void {}
}

/** Asks a daemon without a process for it: what is measured is the daemon. */
function ask(host: Host, method: string, path: string, body?: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: host.path('socket'), method, path }, (answer) => {
      let text = '';
      answer.on('data', (part) => {
        text += part;
      });
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(text));
      });
    });
    asked.on('error', reject);
    if (body !== undefined) {
      asked.setHeader('content-type', 'application/json');
      asked.write(JSON.stringify(body));
    }
    asked.end();
  });
}

/** Pings that say when each answer came. */
class Answers {
  readonly times: number[] = [];
  readonly #child: ChildProcess;

  constructor(namespace: string, to: string, seconds: number) {
    const line = ['netns', 'exec', namespace, 'ping', '-D', '-i', String(seconds), '-W', '1', to];
    this.#child = spawn('ip', line);
    this.#child.stdout?.on('data', (text: Buffer) => {
      for (const [, at] of text.toString().matchAll(/^\[(\d+\.\d+)\] \d+ bytes from/gm)) {
        this.times.push(Number(at) * 1000);
      }
    });
  }

  /** When the first answer came after a moment; null where none does within ten seconds. */
  async after(moment: number): Promise<number | null> {
    for (let i = 0; i < 2000; i++) {
      const found = this.times.find((at) => at >= moment);
      if (found !== undefined) return found;
      await pause(5);
    }
    return null;
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

const median = (all: readonly number[]) => [...all].sort((a, b) => a - b)[all.length >> 1];

interface Container {
  readonly name: string;
  readonly namespace: string;
}

async function containersOf(host: Host): Promise<Container[]> {
  return (await ask(host, 'GET', '/v1/containers')) as Container[];
}

/** Endpoints that come and go on one host, as a container on the other sees them. */
async function changes(one: Host, two: Host): Promise<Record<string, number>> {
  const [{ namespace }] = await containersOf(two);
  const answers = new Answers(namespace, ADDRESS, 0.005);
  const started: number[] = [];
  const stopped: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const begin = Date.now();
    await ask(one, 'POST', '/v1/networks/demo/connect', { container: 'other', ip: ADDRESS });
    const first = await answers.after(begin);
    if (first === null) throw new Error(`${ADDRESS} was not reached within 10 s`);
    started.push(first - begin);
    const end = Date.now();
    await ask(one, 'POST', '/v1/networks/demo/disconnect', { container: 'other' });
    while (await known(two, ADDRESS)) await pause(2);
    stopped.push(Date.now() - end);
  }
  answers.stop();
  return { started: median(started), stopped: median(stopped) };
}

async function known(host: Host, address: string): Promise<boolean> {
  const { endpoints } = (await ask(host, 'GET', '/v1/networks/demo')) as {
    readonly endpoints: readonly { readonly addresses: readonly string[] }[];
  };
  return endpoints.some(({ addresses }) => addresses.some((one) => one.startsWith(`${address}/`)));
}

/** From typing `packetweave run` until its command's first ping is answered. */
async function run(host: Host): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < Math.min(ROUNDS, 10); i++) {
    const begin = performance.now();
    const { code, text } = await host.ask(
      'run',
      '--network',
      'demo',
      '--',
      'ping',
      '-c',
      '1',
      '-W',
      '2',
      'web',
    );
    if (code !== 0) throw new Error(text);
    times.push(performance.now() - begin);
  }
  return median(times);
}

/** How long a container is not reached while its host's daemon starts anew. */
async function restart(one: Host, two: Host): Promise<number> {
  const gaps: number[] = [];
  const [{ namespace }] = await containersOf(two);
  const answers = new Answers(namespace, 'web', 0.01);
  await pause(500);
  for (let i = 0; i < 3; i++) {
    const from = answers.times.length - 1;
    await one.down();
    await one.up();
    await answers.after(Date.now() + 200);
    const times = answers.times.slice(from);
    gaps.push(Math.max(...times.slice(1).map((at, k) => at - times[k])));
  }
  answers.stop();
  return median(gaps);
}

/** An etcd in a host's namespace. */
async function etcd(host: Host, folder: string): Promise<ChildProcess> {
  const at = `http://${host.address}:2379`;
  const args = ['--data-dir', join(folder, 'etcd'), '--log-level', 'error'];
  const urls = ['--listen-client-urls', at, '--advertise-client-urls', at];
  const child = spawn('ip', ['netns', 'exec', host.namespace, 'etcd', ...args, ...urls], { stdio: 'ignore' });
  for (let i = 0; i < 100; i++) {
    const line = ['netns', 'exec', host.namespace, 'env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${at}`];
    if (spawnSync('ip', [...line, 'endpoint', 'health']).status === 0) return child;
    await pause(100);
  }
  throw new Error('etcd does not answer');
}

async function measure(folder: string, one: Host, two: Host): Promise<Record<string, number>> {
  let server: ChildProcess | null = null;
  try {
    await Promise.all([one.up(), two.up()]);
    let where = one.address;
    if (values.store === 'etcd') {
      server = await etcd(one, folder);
      where = `etcd://${one.address}:2379`;
    }
    const init = values.store === 'etcd' ? { store: where } : {};
    const { token } = (await ask(one, 'POST', '/v1/init', init)) as { readonly token: string };
    await ask(two, 'POST', '/v1/join', { token, store: where });
    const network = { name: 'demo', attachable: true, subnets: ['10.0.1.0/24'] };
    await ask(one, 'POST', '/v1/networks', network);
    await ask(one, 'POST', '/v1/networks', { name: 'else', attachable: true });
    const sleep = ['--', 'sleep', '600'];
    await one.type('run', '-d', '--network', 'demo', '--name', 'web', ...sleep);
    await one.type('run', '-d', '--network', 'else', '--name', 'other', ...sleep);
    await two.type('run', '-d', '--network', 'demo', '--name', 'client', ...sleep);
    const figures = await changes(one, two);
    return { ...figures, run: await run(two), restart: await restart(one, two) };
  } finally {
    for (const host of [one, two]) {
      await host.ask('leave', '--force');
      await host.down();
    }
    server?.kill('SIGKILL');
  }
}

const reason = whyNot();
if (reason !== null) throw new Error(reason);
const folder = mkdtempSync(join(tmpdir(), 'packetweave-bench-'));
const report = new Quiet();
const hosts = [new Host(1, folder, report), new Host(2, folder, report)];
try {
  cable(hosts[0], hosts[1]);
  const figures = await measure(folder, hosts[0], hosts[1]);
  if (values.json) console.log(JSON.stringify({ store: values.store, ...figures }));
  else {
    console.log(`store: ${values.store}; medians in ms`);
    console.log(
      `an endpoint is asked for on one host, until it answers another's ping  ${figures.started.toFixed(0)}`,
    );
    console.log(
      `its end is asked for, until another host does not know it any more     ${figures.stopped.toFixed(0)}`,
    );
    console.log(
      `packetweave run, until its first ping is answered and it has ended     ${figures.run.toFixed(0)}`,
    );
    console.log(
      `not reached while the daemon of its host starts anew                   ${figures.restart.toFixed(0)}`,
    );
  }
} finally {
  for (const { namespace } of hosts) execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(folder, { recursive: true, force: true });
}
