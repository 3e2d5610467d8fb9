/**
 * The example `tap-overlay` as a user runs it: one process in each of two namespaces that a veth joins, over IPv4 and
 * IPv6 and with underlays of several MTUs. Through the devices go ping, iperf3 and files over HTTP, over IPv4 and IPv6.
 * Files have 64 MiB, or as many bytes as BYTES says: `BYTES=1073741824 npx tap --timeout 3600 test/interop/tap-overlay*`.
 * Each way of encryption has a test file of its own, and takes half a minute to a minute on a quiet machine.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Program, Programs, sleep } from '../../bench/throughput/programs.ts';
import { type PortSpec, SpecPorts } from '../../lib/worker/ports.ts';
import { Namespaces } from '../gen/netns.ts';
import { has, noNamespaces, noNative, skip } from '../gen/skip.ts';
import { Station } from '../gen/station.ts';
import type { Download } from './station-process.ts';

const BYTES = Number(process.env.BYTES ?? 64 << 20);
const EXAMPLE = new URL('../../dist/examples/tap-overlay.js', import.meta.url).pathname;
const VNI = '42';
const PORT = 8080;
/** With the family inside added. */
const IPERF = 5200;
/** Milliseconds that keys have to be agreed upon, and programs to start and end, on a busy machine. */
const PATIENCE = 30_000;
const LIMIT = 1_800_000;

const HOSTS = ['a', 'b'] as const;
type Host = (typeof HOSTS)[number];
const other = (host: Host): Host => (host === 'a' ? 'b' : 'a');

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];
const UNDERLAY = {
  4: { a: '192.0.2.1', b: '192.0.2.2' },
  6: { a: '2001:db8::1', b: '2001:db8::2' },
} as const;
const INSIDE = { 4: { a: '10.0.0.1', b: '10.0.0.2' }, 6: { a: 'fd00::1', b: 'fd00::2' } } as const;

const MTUS = [1400, 1500, 9000];

/** How packets travel: what is said on the command line, and the kind of port that it needs. */
export interface Way {
  readonly name: string;
  readonly encrypted: boolean;
  readonly options: readonly string[];
  readonly kind: string;
}
/** Why a way cannot be gone, or null: the worker has to know the port by its description. */
async function missing({ kind }: Way, family: Family): Promise<string | null> {
  const spec = { kind, address: UNDERLAY[family].a, name: 'esp' } as PortSpec;
  return new SpecPorts().port('port', spec).then(
    () => null,
    (error: Error) => error.message,
  );
}

/** What iperf3 says of its end. */
interface Iperf {
  readonly sum_received: { readonly bytes: number };
  readonly sum_received_bidir_reverse: { readonly bytes: number };
}

/** Two hosts with a wire between them, and a user of the network on each. */
export class Pair {
  readonly #namespaces: Namespaces;
  readonly #programs = new Programs();
  readonly #stations: Record<Host, Station>;
  readonly #secret: string;

  constructor(t: Test) {
    const folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    this.#secret = join(folder, 'secret');
    writeFileSync(this.#secret, `${randomBytes(16).toString('hex')}\n`);
    this.#namespaces = new Namespaces(t);
    t.teardown(() => this.#programs.kill());
    for (const host of HOSTS) this.#namespaces.add(host);
    this.#namespaces.cable('a', 'eth0', 'b', 'eth0');
    for (const host of HOSTS) this.#address(host, UNDERLAY, 'eth0');
    this.#stations = { a: new Station(this.#namespaces, 'a'), b: new Station(this.#namespaces, 'b') };
  }

  /** Has everybody serve files who is asked later. */
  async serve(): Promise<void> {
    await Promise.all(HOSTS.map((host) => this.#stations[host].serve(PORT)));
  }

  #address(host: Host, addresses: typeof UNDERLAY | typeof INSIDE, device: string): void {
    this.#namespaces.run(host, `ip addr add ${addresses[4][host]}/24 dev ${device}`);
    this.#namespaces.run(host, `ip addr add ${addresses[6][host]}/64 dev ${device} nodad`);
  }

  /** Starts a program in a host's namespace. */
  #start(host: Host, argv: readonly string[]): Program {
    const name = `${argv[0]} in ${host}`;
    return this.#programs.start(name, ['ip', 'netns', 'exec', this.#namespaces.real(host), ...argv]);
  }

  /** Starts the example on both hosts, and returns the programs and the MTU that each of them tells. */
  async overlay(way: Way, family: Family, mtu: number): Promise<{ daemons: Program[]; mtus: number[] }> {
    for (const host of HOSTS) this.#namespaces.run(host, `ip link set eth0 mtu ${mtu}`);
    const daemons = HOSTS.map((host) => {
      const ends = ['--local', UNDERLAY[family][host], '--remote', UNDERLAY[family][other(host)]];
      const options = [...ends, '--mtu', `${mtu}`, ...(way.encrypted ? ['--secret-file', this.#secret] : [])];
      return this.#start(host, [process.execPath, EXAMPLE, '--vni', VNI, ...options, ...way.options]);
    });
    const ready = await Promise.all(daemons.map((daemon) => daemon.line(/^ready/, PATIENCE)));
    for (const host of HOSTS) this.#address(host, INSIDE, 'tap0');
    return { daemons, mtus: ready.map((line) => Number(line.split(' ').at(-1))) };
  }

  /** Waits until one host reaches the other: over ESP there have to be keys first. */
  async reach(): Promise<boolean> {
    for (const end = performance.now() + PATIENCE; performance.now() < end; await sleep(50)) {
      const { ok } = await this.#namespaces.attempt('a', `ping -n -c 1 -W 1 ${INSIDE[4].b}`);
      if (ok) return true;
    }
    return false;
  }

  /** Pings both ways, small and as large as the MTU; returns what failed. */
  async pings(family: Family, mtu: number): Promise<string[]> {
    const largest = mtu - (family === 4 ? 28 : 48);
    const pings = HOSTS.flatMap((host) =>
      [56, largest].map(async (size) => {
        // By a deadline: what is late on a busy machine is not lost.
        const command = `ping -n -c 3 -i 0.1 -w 10 -M do -s ${size} ${INSIDE[family][other(host)]}`;
        const { ok, text } = await this.#namespaces.attempt(host, command);
        return ok ? '' : `${host}: ${command}: ${text}`;
      }),
    );
    return (await Promise.all(pings)).filter(Boolean);
  }

  /** Bytes that arrived in a second of iperf3. */
  async iperf(family: Family, ...options: string[]): Promise<number> {
    const end = await this.#iperf3(family, 1, ['-C', 'cubic', ...options]);
    return end.sum_received.bytes;
  }

  /** Has as much as can go both ways in several flows for so many seconds; returns the bytes that arrived. */
  async load(seconds: number): Promise<number> {
    const end = await this.#iperf3(4, seconds, ['--bidir', '-P', '4']);
    return end.sum_received.bytes + end.sum_received_bidir_reverse.bytes;
  }

  /** Runs iperf3 from a to b, with a server of its own: one that still ends its last run refuses the next. */
  async #iperf3(family: Family, seconds: number, options: readonly string[]): Promise<Iperf> {
    const port = `${IPERF + family}`;
    const server = this.#start('b', ['iperf3', '-s', '-1', '-p', port, '--forceflush']);
    await server.line(/listening/, PATIENCE);
    const to = ['-c', INSIDE[family].b, '-p', port, '-t', `${seconds}`, '-J'];
    const client = this.#start('a', ['iperf3', ...to, ...options]);
    const { stdout, stderr } = await this.#programs.finish(client, seconds * 1000 + PATIENCE);
    const { error, end } = JSON.parse(stdout || '{}');
    if (end?.sum_received === undefined) throw new Error(`iperf3: ${error ?? stderr}`);
    await this.#programs.finish(server, PATIENCE);
    return end;
  }

  /** Fetches a file, `host` from the other. */
  download(host: Host, family: Family): Promise<Download> {
    return this.#stations[host].download(INSIDE[family][other(host)], PORT, BYTES);
  }

  /** Ends the daemons as Ctrl-C would, and returns their exit codes and why packets died. */
  async stop(daemons: readonly Program[]): Promise<{ codes: (number | null)[]; drops: string[] }> {
    for (const daemon of daemons) daemon.signal('SIGTERM');
    const outcomes = await Promise.all(daemons.map((daemon) => this.#programs.finish(daemon, PATIENCE)));
    return {
      codes: outcomes.map(({ code }) => code),
      drops: outcomes.flatMap(({ stdout }) => stdout.match(/drop\.[\w-]+': \d+/g) ?? []),
    };
  }
}

/** What one daemon may lose: before there are keys, what came before, and what nobody could take fast enough. */
const ORDINARY = /^drop\.(no-sa|unknown-spi|port-full|pool-dry|port-error)/;

async function traffic(t: Test, pair: Pair, family: Family, mtu: number): Promise<void> {
  const inside = `IPv${family} inside`;
  t.same(await pair.pings(family, mtu), [], `${inside}: pings, small and as large as the MTU`);
  t.ok((await pair.iperf(family)) > 0, `${inside}: iperf3 there`);
  t.ok((await pair.iperf(family, '-R')) > 0, `${inside}: and back`);
  for (const host of HOSTS) {
    const { bytes, got, sent } = await pair.download(host, family);
    t.equal(bytes, BYTES, `${inside}: a file for ${host}`);
    t.equal(got, sent, 'with the hash that it was sent with');
  }
}

async function combination(t: Test, pair: Pair, way: Way, family: Family, mtu: number): Promise<void> {
  const { daemons, mtus } = await pair.overlay(way, family, mtu);
  t.equal(mtus[0], mtus[1], `both have an MTU of ${mtus[0]} inside`);
  t.ok(await pair.reach(), 'they reach each other');
  await Promise.all(FAMILIES.map((inside) => traffic(t, pair, inside, mtus[0])));
  const { codes, drops } = await pair.stop(daemons);
  t.same(codes, [0, 0], 'they end when they are told to');
  t.same(
    drops.filter((drop) => !ORDINARY.test(drop)),
    [],
    `nothing was damaged; ${drops}`,
  );
}

/** Why the example cannot run here, or null. */
export function noExample(): string | null {
  return (
    noNamespaces() ??
    noNative() ??
    (existsSync('/dev/net/tun') ? null : 'there is no /dev/net/tun') ??
    (has('iperf3') && has('ping') ? null : 'iperf3 or ping is not installed') ??
    (existsSync(EXAMPLE) ? null : `${EXAMPLE} is not there: npm run build`)
  );
}

/** All combinations of one way. */
export function combinations(t: Test, way: Way): void {
  const reason = noExample();
  if (reason !== null) {
    skip(t, reason);
    return;
  }
  // The file's own limit too, which a test in it cannot lengthen.
  t.setTimeout(LIMIT);
  t.test(`two hosts, ${way.name}`, { timeout: LIMIT }, async (t) => {
    const pair = new Pair(t);
    await pair.serve();
    for (const family of FAMILIES) {
      for (const mtu of MTUS) {
        await t.test(`${way.name}, IPv${family} underlay, MTU ${mtu}`, async (t) => {
          const gap = await missing(way, family);
          if (gap !== null) skip(t, gap);
          else await combination(t, pair, way, family, mtu);
        });
      }
    }
  });
}
