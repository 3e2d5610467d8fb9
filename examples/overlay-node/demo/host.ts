/** A host as a network namespace, with a real daemon, and the command line as somebody would type it. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Report } from './report.ts';

const BIN = fileURLToPath(new URL('../../bin/packetweave.js', import.meta.url));

/** Why it cannot be done here; null where it can. */
export function whyNot(): string | null {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  const missing = ['ip', 'nft', 'ping', 'nsenter'].find((program) => !has(program));
  return missing === undefined ? null : `"${missing}" is not installed`;
}

function has(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

/** How a program ended, and all that it printed. */
export interface Answer {
  readonly code: number;
  readonly text: string;
}

export class Host {
  readonly name: string;
  readonly address: string;
  readonly #namespace: string;
  readonly #folder: string;
  readonly #report: Report;
  /** Path of a mount namespace that everything of this host runs in; null for this process's own. */
  mounts: string | null = null;
  #daemon: ChildProcess | null = null;
  #said = '';

  constructor(n: number, folder: string, report: Report) {
    this.name = `host${n}`;
    this.address = `192.0.2.${n}`;
    this.#namespace = `pwdemo-${process.pid}-${n}`;
    this.#folder = mkdtempSync(join(folder, this.name));
    this.#report = report;
  }

  get namespace(): string {
    return this.#namespace;
  }

  /** Process id of the daemon; -1 where there is none. */
  get pid(): number {
    return this.#daemon?.pid ?? -1;
  }

  path(file: string): string {
    return join(this.#folder, file);
  }

  async up(...more: readonly string[]): Promise<void> {
    this.#report.typed(this.name, 'packetweave up &');
    const options = ['--state', this.path('state'), '--socket', this.path('socket'), '--log-level', 'warn'];
    this.#daemon = this.#spawn(['up', ...options, '--advertise', this.address, ...more]);
    for (const stream of [this.#daemon.stdout, this.#daemon.stderr]) {
      stream?.on('data', (text) => {
        this.#said += text;
      });
    }
    for (let i = 0; i < 200 && this.#daemon.exitCode === null; i++) {
      if (existsSync(this.path('socket'))) return;
      await pause(50);
    }
    throw new Error(`the daemon of ${this.name} did not start: ${this.#said}`);
  }

  /** Types a command, shows what it answers, and returns that. */
  async type(...args: readonly string[]): Promise<string> {
    this.#report.typed(this.name, `packetweave ${args.map(quoted).join(' ')}`);
    const { code, text } = await this.ask(...args);
    if (text !== '') this.#report.say(text.trimEnd());
    if (code !== 0) throw new Error(`packetweave ${args[0]} ended with exit code ${code}: ${text.trim()}`);
    return text;
  }

  ask(...args: readonly string[]): Promise<Answer> {
    return this.run(process.execPath, BIN, ...args);
  }

  /** Runs any program on this host, for a minute at the most. */
  run(...command: readonly string[]): Promise<Answer> {
    const options = { env: this.#environment(), timeout: 60_000, maxBuffer: 16 << 20 };
    return new Promise((resolve) => {
      execFile('nsenter', [...this.#inside(), ...command], options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, text: stdout + stderr });
      });
    });
  }

  /** Starts any program on this host that goes on. */
  start(...command: readonly string[]): ChildProcess {
    return spawn('nsenter', [...this.#inside(), ...command], { env: this.#environment() });
  }

  /** Starts a command line that goes on. */
  background(...args: readonly string[]): ChildProcess {
    this.#report.typed(this.name, `packetweave ${args.map(quoted).join(' ')} &`);
    return this.#spawn(args);
  }

  async down(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === null || daemon.exitCode !== null) return;
    const exited = new Promise((resolve) => daemon.once('exit', resolve));
    daemon.kill('SIGTERM');
    await Promise.race([exited, pause(10_000, undefined, { ref: false })]);
    daemon.kill('SIGKILL');
  }

  #spawn(args: readonly string[]): ChildProcess {
    return this.start(process.execPath, BIN, ...args);
  }

  #inside(): string[] {
    const mounts = this.mounts === null ? [] : [`--mount=${this.mounts}`];
    return [`--net=/run/netns/${this.#namespace}`, ...mounts];
  }

  #environment(): NodeJS.ProcessEnv {
    return { ...process.env, PACKETWEAVE_SOCKET: this.path('socket') };
  }
}

const quoted = (word: string) =>
  /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

function ip(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`);
}

/** Two namespaces and a cable between them. */
export function cable(a: Host, b: Host): void {
  for (const { namespace } of [a, b]) {
    ip('netns', 'add', namespace);
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
  }
  ip('-n', a.namespace, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', b.namespace);
  for (const { namespace, address } of [a, b]) {
    ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
  }
}
