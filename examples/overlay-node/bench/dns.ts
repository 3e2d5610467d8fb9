/**
 * Questions for local names that the name server answers in a second, beside dnsmasq answering the same from a file of
 * hosts, one after the other in the same run. Each server is a process of its own; `dnsperf` asks both.
 *
 *     npm run build && node examples/overlay-node/dist/bench/dns.js [SECONDS]
 *
 * `dnsperf` must be installed; `dnsmasq` (or the program that DNSMASQ names) is left out where it is not. Processor time
 * is what to compare where other programs run on the machine: `dnsperf` alone takes about as much as a server.
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Forwarder } from '../dns/forwarder.ts';
import type { Named, Names } from '../dns/names.ts';
import { NameServer } from '../dns/server.ts';

const ENDPOINTS = 1000;
/** Ticks of /proc/PID/stat in a second: USER_HZ is 100 on every Linux of today. */
const TICKS = 100;

const endpoints: Named[] = Array.from({ length: ENDPOINTS }, (_, i) => ({
  names: [`web-${i}`],
  network: 'bench',
  addresses: [`10.1.${i >> 8}.${i & 255}`],
}));

async function serve(): Promise<void> {
  const byName = new Map(endpoints.map((named) => [named.names[0], [named]]));
  const names: Names = {
    version: 1,
    lookup: (_network, _from, name) => byName.get(name.toLowerCase()) ?? [],
    reverse: () => null,
  };
  const forwarder = new Forwarder({ servers: () => [], now: () => performance.now() });
  const server = new NameServer({ names, forwarder, random: Math.random });
  const network = { id: 'bench', name: 'bench', internal: true, subnets: ['10.1.0.0/16'] };
  const port = await server.listen({ namespace: null, addresses: ['127.0.0.1'], port: 0, network });
  process.send?.(port);
}

/** Starts dnsmasq with the same names, or says that there is none. */
async function dnsmasq(directory: string): Promise<{ child: ChildProcess; port: number } | null> {
  const hosts = join(directory, 'hosts');
  writeFileSync(hosts, endpoints.map(({ names, addresses }) => `${addresses[0]} ${names[0]}\n`).join(''));
  const port = await freePort();
  const where = ['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${port}`];
  const what = ['--no-resolv', '--no-hosts', `--addn-hosts=${hosts}`, '--conf-file=/dev/null', '--user=root'];
  const child = spawn(process.env.DNSMASQ ?? 'dnsmasq', ['--keep-in-foreground', ...where, ...what], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const failed = once(child, 'spawn').then(
    () => false,
    () => true,
  );
  if (await failed) return null;
  return { child, port };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  return port;
}

/** Asks one server and prints a line. */
async function measure(name: string, child: ChildProcess, port: number, file: string, seconds: string) {
  const before = processorTime(child.pid!);
  const args = ['-s', '127.0.0.1', '-p', String(port), '-d', file, '-l', seconds];
  const { stdout } = await promisify(execFile)('dnsperf', args);
  const spent = processorTime(child.pid!) - before;
  const number = (what: RegExp) => Number(what.exec(stdout)?.[1]);
  const done = number(/Queries completed:\s+(\d+)/);
  const lost = number(/Queries lost:\s+(\d+)/);
  const rate = Math.round(number(/Queries per second:\s+([\d.]+)/));
  const each = ((spent / done) * 1e6).toFixed(1);
  console.log(`${name.padEnd(12)} ${rate} queries a second, ${each} us of processor time each, ${lost} lost`);
}

/** Seconds that a process has used. */
function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function run(seconds: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'packetweave-dns-'));
  const children: ChildProcess[] = [];
  try {
    const file = join(directory, 'questions');
    writeFileSync(file, endpoints.map(({ names }) => `${names[0]} A\n`).join(''));
    const own = fork(fileURLToPath(import.meta.url), ['serve']);
    children.push(own);
    const [port] = (await once(own, 'message')) as [number];
    await measure('packetweave', own, port, file, seconds);
    const peer = await dnsmasq(directory);
    if (peer === null) return console.log('dnsmasq is not installed');
    children.push(peer.child);
    await measure('dnsmasq', peer.child, peer.port, file, seconds);
  } finally {
    for (const child of children) child.kill();
    rmSync(directory, { recursive: true });
  }
}

if (process.argv[2] === 'serve') await serve();
else await run(process.argv[2] ?? '5');
