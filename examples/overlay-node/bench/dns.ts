/**
 * Questions for local names that the name server answers in a second, beside a socket of Node.js that sends every
 * datagram back as it came, and dnsmasq answering the same from a file of hosts; one after the other in the same run.
 * Each server is a process of its own; `dnsperf` asks them.
 *
 *     npm run build && node examples/overlay-node/dist/bench/dns.js [SECONDS]
 *
 * `dnsperf` must be installed; `dnsmasq` (or the program that DNSMASQ names) is left out where it is not. Where `dnsperf`
 * takes nearly a whole processor it is the limit: what it could ask then is its own limit, one second divided by its
 * time for each question. Processor time is what to compare where other programs run on the machine.
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { NetworkView } from '../control/control.ts';
import type { Endpoint, Network } from '../control/model.ts';
import { ViewNames } from '../daemon/names.ts';
import { Forwarder } from '../dns/forwarder.ts';
import { NameServer } from '../dns/server.ts';

const ENDPOINTS = 1000;
/** Names of each; those of all are more than are kept encoded. */
const ALIASES = 50;
/** Changes of the network in a second, where it changes. */
const CHANGES = 20;
/** Ticks of /proc/PID/stat in a second: USER_HZ is 100 on every Linux of today. */
const TICKS = 100;

const network: Network = {
  id: 'bench',
  name: 'bench',
  created: '2026-01-01T00:00:00Z',
  vni: 4097,
  subnets: [{ cidr: '10.1.0.0/16', range: null, gateway: '10.1.0.1', auxiliary: {} }],
  ipv6: false,
  internal: true,
  attachable: true,
  encrypted: false,
  mtu: null,
  labels: {},
  options: {},
};

const endpoints: Endpoint[] = Array.from({ length: ENDPOINTS }, (_, i) => ({
  id: `e${i}`,
  network: 'bench',
  node: 'n1',
  container: `${i}`.padStart(64, '0'),
  name: `web-${i}`,
  aliases: Array.from({ length: ALIASES }, (_, k) => `web-${i}-${k}`),
  hostname: '',
  mac: '02:42:0a:01:00:02',
  addresses: [`10.1.${i >> 8}.${i & 255}/16`],
  ports: [],
  labels: {},
}));

const view = (): NetworkView => ({
  network,
  endpoints: new Map(endpoints.map((endpoint) => [endpoint.id, endpoint])),
  peers: [],
});

/** The name server as the daemon has it. */
async function serve(changes: number): Promise<void> {
  const names = new ViewNames();
  names.follow(new Map([['bench', view()]]), 'n1');
  if (changes > 0) setInterval(() => names.follow(new Map([['bench', view()]]), 'n1'), 1000 / changes);
  const forwarder = new Forwarder({ servers: () => [], now: () => performance.now() });
  const server = new NameServer({ names, forwarder, random: Math.random });
  const served = { id: 'bench', name: 'bench', internal: true, subnets: ['10.1.0.0/16'] };
  process.send?.(
    await server.listen({ namespace: null, addresses: ['127.0.0.1'], port: 0, network: served }),
  );
}

/** Sends everything back, marked as an answer. */
async function echo(): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (bytes, { port, address }) => {
    bytes[2] |= 0x80;
    socket.send(bytes, port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  process.send?.(socket.address().port);
}

/** Starts dnsmasq with the same names, or says that there is none. */
async function dnsmasq(directory: string): Promise<Served | null> {
  const hosts = join(directory, 'hosts');
  const line = ({ name, aliases, addresses }: Endpoint) =>
    `${addresses[0].split('/')[0]} ${[name, ...aliases].join(' ')}\n`;
  writeFileSync(hosts, endpoints.map(line).join(''));
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

interface Served {
  readonly child: ChildProcess;
  readonly port: number;
}

async function start(...args: string[]): Promise<Served> {
  const child = fork(fileURLToPath(import.meta.url), args);
  const [port] = (await once(child, 'message')) as [number];
  return { child, port };
}

/** Asks one server and prints a line. */
async function measure(name: string, { child, port }: Served, args: readonly string[]): Promise<void> {
  const before = processorTime(child.pid!, 11);
  const clientBefore = processorTime(process.pid, 13);
  const { stdout } = await promisify(execFile)('dnsperf', ['-s', '127.0.0.1', '-p', String(port), ...args]);
  const number = (what: RegExp) => Number(what.exec(stdout)?.[1] ?? 0);
  const done = number(/Queries completed:\s+(\d+)/);
  const each = (seconds: number) => ((seconds / done) * 1e6).toFixed(1);
  const rate = Math.round(number(/Queries per second:\s+([\d.]+)/));
  const good = number(/NOERROR (\d+)/) === done ? '' : ', NOT ALL OF THEM GOOD';
  const spent = each(processorTime(child.pid!, 11) - before);
  const client = each(processorTime(process.pid, 13) - clientBefore);
  const lost = number(/Queries lost:\s+(\d+)/);
  console.log(
    `${name.padEnd(36)} ${rate} a second, ${lost} lost${good}; us each: server ${spent}, client ${client}`,
  );
}

/** Seconds that a process has used (from field 11 of those behind its name), or its children that have ended (13). */
function processorTime(pid: number, from: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[from]) + Number(fields[from + 1])) / TICKS;
}

async function run(seconds: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'packetweave-dns-'));
  const children: ChildProcess[] = [];
  const begin = async (...args: string[]) => {
    const served = await start(...args);
    children.push(served.child);
    return served;
  };
  try {
    const list = (name: string, names: readonly string[]) => {
      writeFileSync(join(directory, name), names.map((name) => `${name} A\n`).join(''));
      return ['-d', join(directory, name), '-l', seconds];
    };
    const few = list(
      'few',
      endpoints.map(({ name }) => name),
    );
    const all = list(
      'all',
      endpoints.flatMap(({ aliases }) => aliases),
    );
    const own = await begin('serve');
    await measure('names that were asked before', own, few);
    await measure('names that were not', own, all);
    await measure('by TCP', own, [...few, '-m', 'tcp', '-c', '10']);
    await measure(`${CHANGES} changes a second`, await begin('serve', String(CHANGES)), few);
    await measure('a socket that sends all back', await begin('echo'), few);
    const peer = await dnsmasq(directory);
    if (peer === null) return console.log('dnsmasq is not installed');
    children.push(peer.child);
    await measure('dnsmasq: names asked before', peer, few);
    await measure('dnsmasq: others', peer, all);
  } finally {
    for (const child of children) child.kill();
    rmSync(directory, { recursive: true });
  }
}

const [, , what = '5', changes = '0'] = process.argv;
if (what === 'serve') await serve(Number(changes));
else if (what === 'echo') await echo();
else await run(what);
