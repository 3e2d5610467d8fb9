/**
 * Hosts for scenarios: network namespaces on one underlay, each with a real daemon of the package as it was built, and
 * the command line. Everything is taken away at the end, whatever happened.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { Namespaces } from '../../../../test/gen/netns.ts';
import { has, noNamespaces, noNative } from '../../../../test/gen/skip.ts';

const BIN = fileURLToPath(new URL('../../bin/packetweave.js', import.meta.url));

/** Why scenarios cannot run here, or null where they can. */
export function noScenarios(...programs: readonly string[]): string | null {
  const missing = ['nft', 'ping', ...programs].find((program) => !has(program));
  if (missing !== undefined) return `${missing} is not installed`;
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  return noNamespaces() ?? noNative();
}

/** Milliseconds that a daemon, and most of what is waited for, has: machines can be busy. */
const PATIENCE = 30_000;
/** Milliseconds that it has to end. */
const END = 60_000;
/** Milliseconds that a whole test with hosts may take: many times what it takes on a machine with nothing else to do. */
export const LIMIT = 400_000;
/** Address of a machine that is no host. */
export const UNDERLAY = '192.0.2.100';

export interface Outcome {
  /** Exit code; null where it took too long. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program in a network namespace. */
export function run(namespace: string, program: string, ...args: readonly string[]): Promise<Outcome> {
  const line = [`--net=/run/netns/${namespace}`, program, ...args];
  const options = { timeout: 60_000, maxBuffer: 64 << 20 };
  return new Promise((resolve) => {
    execFile('nsenter', line, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, stdout, stderr });
    });
  });
}

/** One host: a namespace with a daemon in it. */
export class Host {
  readonly name: string;
  readonly address: string;
  readonly folder: string;
  /** Whether the daemon is told its address. */
  advertises = true;
  readonly #namespace: string;
  /** Path of a mount namespace that everything of this host runs in; null for this process's own. */
  mounts: string | null = null;
  #daemon: ChildProcess | null = null;
  #log = '';

  constructor(name: string, address: string, namespace: string, folder: string) {
    this.name = name;
    this.address = address;
    this.#namespace = namespace;
    this.folder = folder;
  }

  get socket(): string {
    return join(this.folder, 'control.sock');
  }

  /** Name of the namespace, as `ip netns` knows it. */
  get namespace(): string {
    return this.#namespace;
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    return this.#daemon?.pid ?? -1;
  }

  /** Starts the daemon, and waits until it answers. */
  async up(...options: readonly string[]): Promise<void> {
    // What was killed leaves it.
    rmSync(this.socket, { force: true });
    const args = ['up', '--state', join(this.folder, 'state'), '--socket', this.socket];
    this.#daemon = spawn('nsenter', [
      ...this.#inside(),
      process.execPath,
      BIN,
      ...args,
      ...(this.advertises ? ['--advertise', this.address] : []),
      ...options,
    ]);
    for (const stream of [this.#daemon.stdout, this.#daemon.stderr]) {
      stream?.on('data', (text) => {
        this.#log += text;
      });
    }
    const end = Date.now() + PATIENCE;
    while (Date.now() < end) {
      if (this.#daemon.exitCode !== null) throw new Error(`the daemon of ${this.name} ended:\n${this.#log}`);
      if (existsSync(this.socket) && (await this.#answers())) return;
      await pause(25);
    }
    throw new Error(`the daemon of ${this.name} does not answer:\n${this.#log}`);
  }

  async #answers(): Promise<boolean> {
    const { code, stdout } = await this.attempt('version', '--json');
    return code === 0 && JSON.parse(stdout).daemon !== null;
  }

  /** Ends the daemon by a signal and waits until it is gone. */
  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = null;
    if (daemon === null || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const exited = new Promise((resolve) => daemon.once('exit', resolve));
    daemon.kill(signal);
    await Promise.race([exited, pause(END, undefined, { ref: false })]);
    daemon.kill('SIGKILL');
    await exited;
  }

  /** Runs the command line on this host; throws what it said where it failed. */
  async cli(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(...args);
    if (code !== 0) {
      throw new Error(`${this.name}: packetweave ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`);
    }
    return stdout;
  }

  /** The same, where failing is an answer. */
  attempt(...args: readonly string[]): Promise<Outcome> {
    return this.exec(process.execPath, BIN, ...args);
  }

  /** Runs any program in the host's own namespace. */
  exec(program: string, ...args: readonly string[]): Promise<Outcome> {
    const mounts = this.mounts === null ? [] : ['nsenter', `--mount=${this.mounts}`];
    const environment = ['env', `PACKETWEAVE_SOCKET=${this.socket}`, 'NO_COLOR=1'];
    const [first, ...more] = [...mounts, ...environment, program, ...args];
    return run(this.#namespace, first, ...more);
  }

  /** What `nsenter` is told. */
  #inside(): string[] {
    const mounts = this.mounts === null ? [] : [`--mount=${this.mounts}`];
    return [`--net=/run/netns/${this.#namespace}`, ...mounts];
  }

  /** Starts a program that goes on while the test does other things. */
  start(program: string, ...args: readonly string[]): ChildProcess {
    return spawn('nsenter', [...this.#inside(), program, ...args], {
      env: { ...process.env, PACKETWEAVE_SOCKET: this.socket, NO_COLOR: '1' },
    });
  }

  /** Runs `packetweave run` in the background, with the command's output kept. */
  startCli(...args: readonly string[]): ChildProcess {
    return this.start(process.execPath, BIN, ...args);
  }
}

/** Namespaces as daemons call them, those of containers and of gateways: never one that a test made. */
const MADE = /^(pw-[0-9a-f]{12}|pwg-[0-9a-f]{6}-\d+)$/;

export class Hosts {
  readonly all: readonly Host[];
  /** Namespace of what joins the hosts; it has the address {@link UNDERLAY}. */
  readonly underlay: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'packetweave-'));
  readonly #before = netns();

  constructor(t: Test, count: number) {
    // What was registered last is done first.
    t.teardown(() => rmSync(this.#folder, { recursive: true, force: true }));
    const namespaces = new Namespaces(t);
    t.teardown(() => this.#end());
    namespaces.add('underlay');
    namespaces.run('underlay', 'ip link add br0 type bridge');
    namespaces.run('underlay', 'ip link set br0 up');
    namespaces.run('underlay', `ip addr add ${UNDERLAY}/24 dev br0`);
    namespaces.run('underlay', 'ip link set lo up');
    this.underlay = namespaces.real('underlay');
    this.all = Array.from({ length: count }, (_, i) => {
      const name = `host${i + 1}`;
      namespaces.add(name);
      namespaces.cable('underlay', `p${i + 1}`, name, 'eth0');
      namespaces.run('underlay', `ip link set p${i + 1} master br0`);
      namespaces.run(name, `ip addr add 192.0.2.${i + 1}/24 dev eth0`);
      return new Host(name, `192.0.2.${i + 1}`, namespaces.real(name), mkdtempSync(join(this.#folder, name)));
    });
  }

  /** Namespaces that the daemons of these hosts made, and that are there. */
  namespaces(): string[] {
    const made = netns().filter((name) => !this.#before.includes(name) && MADE.test(name));
    return made.filter((name) => this.#owns(name));
  }

  /** A cluster of all hosts: the first carries the store. Answers the line that joins. */
  async cluster(...options: readonly string[]): Promise<string> {
    await Promise.all(this.all.map((host) => host.up(...options)));
    const { token } = JSON.parse(await this.all[0].cli('init', '--json')) as { token: string };
    for (const host of this.all.slice(1)) await host.cli('join', token, this.all[0].address);
    return token;
  }

  async #end(): Promise<void> {
    await Promise.all(this.all.map((host) => host.down('SIGKILL')));
    // What the daemons made outlives them on purpose.
    for (const name of this.namespaces()) {
      const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout ?? '';
      for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
      spawnSync('ip', ['netns', 'del', name]);
      rmSync(`/etc/netns/${name}`, { recursive: true, force: true });
    }
  }

  /** Whether the state of one of these hosts speaks of a namespace: other tests run beside. */
  #owns(name: string): boolean {
    return this.all.some(({ folder }) => {
      if (!existsSync(join(folder, 'state'))) return false;
      const files = readdirSync(join(folder, 'state'), { recursive: true, withFileTypes: true });
      return files
        .filter((file) => file.isFile() && file.name.endsWith('.json'))
        .some((file) => read(join(file.parentPath, file.name)).includes(name.split('-')[1]));
    });
  }
}

/** Text of a record; nothing where it was removed meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function netns(): string[] {
  try {
    return readdirSync('/run/netns');
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended meanwhile
  }
}

/** A ping from a container that goes on until it is stopped. */
export class Pings {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #text = '';

  constructor(t: Test, host: Host, container: string, to: string) {
    this.#child = host.startCli('exec', container, 'ping', '-i', '0.02', '-W', '1', to);
    this.#child.stdout?.on('data', (part) => {
      this.#text += part;
    });
    this.#ended = new Promise((resolve) => this.#child.once('close', resolve));
    t.teardown(() => this.#child.kill('SIGKILL'));
  }

  get answers(): number {
    return this.#text.match(/bytes from/g)?.length ?? 0;
  }

  /** Waits for more answers. */
  more(count = 20): Promise<boolean> {
    const before = this.answers;
    return until(() => this.answers >= before + count);
  }

  /** How many were lost: those without an answer between two that have one. The last may be on its way. */
  async stop(): Promise<number> {
    if (!(await this.more(5))) throw new Error('no ping is answered any more');
    this.#child.kill('SIGINT');
    await this.#ended;
    const answered = new Set(
      [...this.#text.matchAll(/bytes from .* icmp_seq=(\d+) /g)].map(([, n]) => Number(n)),
    );
    return Math.max(...answered) - Math.min(...answered) + 1 - answered.size;
  }
}

/**
 * Waits until a container gets an answer from an address or name. What runs is ready on its own host: the others may
 * hear of it a moment later, and the first packets to them may be lost.
 */
export function reaches(host: Host, container: string, to: string): Promise<boolean> {
  const ping = () => host.attempt('exec', container, 'ping', '-c', '1', '-W', '1', to);
  return until(async () => (await ping()).code === 0);
}

/** A command that serves HTTP and answers everything with a text. */
export function httpServer(port: number, text: string): string[] {
  const script = `require('http').createServer((_, to) => to.end(${JSON.stringify(`${text}\n`)})).listen(${port})`;
  return [process.execPath, '-e', script];
}

/** Milliseconds in which what a host keeps ready for a network is gone after its last endpoint. */
export const LEFT = 30_000;

/** Waits until something is so; false where it is not within `ms`. */
export async function until(condition: () => boolean | Promise<boolean>, ms = PATIENCE): Promise<boolean> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await condition()) return true;
    await pause(25);
  }
  return condition();
}
