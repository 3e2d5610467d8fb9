/** The throughput bench: what it reads of other programs, what it says, and that it leaves nothing behind. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { busySeconds, processSeconds } from '../../bench/throughput/metrics/cpu.ts';
import { parse, processors } from '../../bench/throughput/metrics/iperf.ts';
import { residentMegabytes } from '../../bench/throughput/metrics/memory.ts';
import { UNITS } from '../../bench/throughput/metrics/metric.ts';
import { roundTrips } from '../../bench/throughput/metrics/ping.ts';
import { parseOptions } from '../../bench/throughput/options.ts';
import { median, type Result, Samples } from '../../bench/throughput/results.ts';
import { svg } from '../../bench/throughput/svg.ts';
import { table } from '../../bench/throughput/table.ts';
import { has, noNamespaces, skip } from '../gen/skip.ts';

const PROGRAM = new URL('../../dist/bench/throughput/run.js', import.meta.url).pathname;
/** Devices of the bench, were they to stay in our own namespace. */
const DEVICES = /^(vx0|tap0|nebula0|inner0|outer0|pw\w+)$/;

function recorded(name: string): string {
  return readFileSync(new URL(`recorded/${name}`, import.meta.url), 'utf8');
}

t.test('iperf3: what the server received', async (t) => {
  t.same(parse(recorded('iperf3-server-tcp.json')), { bytes: 2686189568, seconds: 2.001796 });
  const udp = parse(recorded('iperf3-server-udp.json'));
  t.equal(udp.bytes / 64, 269247 - 140618, 'packets seen by their numbers, without the lost ones');
  const client = { end: { cpu_utilization_percent: { host_total: 52, host_user: 2, remote_total: 48 } } };
  t.equal(processors(JSON.stringify(client)), 1);
  t.throws(() => parse('{"error":"unable to connect"}'), { message: 'iperf3: unable to connect' });
  t.throws(() => parse('{"end":{"sum_received":{"bytes":0,"seconds":2}}}'), /nothing was received/);
  t.throws(() => parse('iperf3: not JSON'), /said nothing that can be read/);
});

t.test('ping and /proc', async (t) => {
  const text = '64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.204 ms\n64 bytes: time=12.5 ms\nrtt min/avg';
  t.same(roundTrips(text), [204, 12500]);
  t.equal(
    busySeconds('cpu  100 20 300 4000 50 6 7 80 9 0\ncpu0 1 2 3'),
    4.33,
    'without idle, iowait, steal, guest',
  );
  const fields = Array.from({ length: 50 }, (_, i) => i + 3);
  t.equal(processSeconds(`12 (a name) with) ${fields.join(' ')}`), 0.29, 'fields 14 and 15');
  t.equal(residentMegabytes('VmHWM:\t 9 kB\nVmRSS:\t   125000 kB\n'), 128);
});

t.test('medians and ratios', async (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  const samples = new Samples();
  for (const value of [10, 30, 20]) samples.add('kernel-vxlan', 'tcp1', { value });
  samples.add('plain', 'tcp1', { value: 8.0004 });
  samples.add('plain', 'cpu-per-gb', { value: 2, daemons: 1.5 });
  samples.add('kernel-vxlan', 'rss', { value: null });
  const results = samples.results(
    ['plain', 'kernel-vxlan', 'ovs'],
    new Set(['tcp1', 'cpu-per-gb', 'rss']),
    'kernel-vxlan',
  );
  const none = { value: null, ratio: null };
  t.same(results, [
    { path: 'plain', metric: 'tcp1', value: 8, unit: 'Gbit/s', ratio: 0.4 },
    { path: 'plain', metric: 'cpu-per-gb', value: 2, unit: 's/GB', ratio: null, daemons: 1.5 },
    { path: 'plain', metric: 'rss', unit: 'MB', ...none },
    { path: 'kernel-vxlan', metric: 'tcp1', value: 20, unit: 'Gbit/s', ratio: 1 },
    { path: 'kernel-vxlan', metric: 'cpu-per-gb', unit: 's/GB', ...none },
    { path: 'kernel-vxlan', metric: 'rss', unit: 'MB', ...none },
  ]);
  t.match(table(results), /^plain +8 \(0\.40\) +2 +-$/m);
  const picture = svg(results);
  t.match(picture, /^<svg [\s\S]*>kernel-vxlan<[\s\S]*<\/svg>\n$/);
  t.notMatch(picture, /NaN|undefined|Infinity/);
});

t.test('options', async (t) => {
  t.match(parseOptions([]), {
    rounds: 3,
    seconds: 5,
    only: null,
    json: null,
    svg: null,
    own: { busyPoll: 0, nodeArgs: [] },
  });
  t.equal(parseOptions([]).metrics.size, Object.keys(UNITS).length);
  t.match(
    parseOptions([
      '--json',
      '--svg',
      '--only',
      'veth,ovs',
      '--busy-poll',
      '50',
      '--node-args',
      '--cpu-prof --x',
    ]),
    {
      json: '-',
      svg: 'bench/results/throughput.svg',
      only: ['veth', 'ovs'],
      own: { busyPoll: 50, nodeArgs: ['--cpu-prof', '--x'] },
    },
  );
  t.match(parseOptions(['--json', 'a.json', '--svg', 'b.svg']), { json: 'a.json', svg: 'b.svg' });
  t.throws(() => parseOptions(['--rounds', '0']), /"rounds" expected an integer 1\.\.1000, got 0/);
  t.throws(() => parseOptions(['--metrics', 'tcp2']), /"metrics" expected some of tcp1,.*got tcp2/);
  t.throws(() => parseOptions(['--onyl', 'veth']), TypeError);
});

/** Why the bench cannot run here, or null. */
function cannot(): string | null {
  const missing = ['iperf3', 'ping', 'ethtool'].filter((program) => !has(program));
  if (missing.length > 0) return `${missing.join(', ')} not installed`;
  if (!existsSync(PROGRAM)) return 'the bench is not built: npm run build';
  return noNamespaces();
}

/** Starts the bench with a folder of its own for temporary files. */
function start(t: Test, args: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', TMPDIR: folder },
  });
  t.teardown(() => {
    child.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (text) => (said.stdout += text));
  child.stderr.on('data', (text) => (said.stderr += text));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, folder, said, ended };
}

/** Namespaces and devices that a bench left. */
function leftBehind({ pid }: ChildProcess): string[] {
  const run = (command: string) => spawnSync('sh', ['-c', command], { encoding: 'utf8' }).stdout.split('\n');
  const namespaces = run('ip netns list').filter((line) => line.startsWith(`pw-${pid}-`));
  const devices = run('ip -o link').map((line) => line.split(': ')[1]?.split('@')[0] ?? '');
  return [...namespaces, ...devices.filter((name) => DEVICES.test(name))];
}

t.test('a short run', async (t) => {
  const reason = cannot();
  if (reason !== null) return skip(t, reason);
  const only = ['--only', 'veth,kernel-vxlan', '--metrics', 'tcp1,rtt'];
  const { child, said, ended } = start(t, [...only, '--rounds', '1', '--seconds', '1', '--json']);
  t.equal(await ended, 0, said.stderr);
  const results = JSON.parse(said.stdout) as Result[];
  t.same(
    results.map(({ path, metric, unit }) => `${path} ${metric} ${unit}`),
    ['veth tcp1 Gbit/s', 'veth rtt µs', 'kernel-vxlan tcp1 Gbit/s', 'kernel-vxlan rtt µs'],
  );
  for (const { path, metric, value, ratio } of results) {
    t.ok(value! > 0 && ratio! > 0, `${path} ${metric}: ${value} (${ratio})`);
    if (path === 'kernel-vxlan') t.equal(ratio, 1);
  }
  t.same(leftBehind(child), []);
});

t.test('a signal in the middle', async (t) => {
  const reason = cannot();
  if (reason !== null) return skip(t, reason);
  const only = ['--only', 'kernel-vxlan-no-offload', '--metrics', 'tcp1,rtt'];
  const { child, folder, said, ended } = start(t, [...only, '--rounds', '1', '--seconds', '60']);
  for (let i = 0; i < 600 && leftBehind(child).length < 2; i++) await new Promise((r) => setTimeout(r, 50));
  t.equal(leftBehind(child).length, 2, 'its two namespaces stand');
  child.kill('SIGTERM');
  t.equal(await ended, 143, said.stderr);
  t.same(leftBehind(child), []);
  t.same(spawnSync('ls', [folder], { encoding: 'utf8' }).stdout, '', 'no temporary files');
});

t.test('what it is told wrongly', async (t) => {
  const reason = cannot();
  if (reason !== null) return skip(t, reason);
  const { said, ended } = start(t, ['--only', 'kernel-vlxan']);
  t.equal(await ended, 2);
  t.match(said.stderr, /"only" expected some of veth,kernel-vxlan,.*got kernel-vlxan/);
});
