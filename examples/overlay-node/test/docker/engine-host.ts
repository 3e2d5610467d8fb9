/** Hosts with a real Docker engine each, beside a real daemon: several engines on one machine, without a registry. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { has } from '../../../../test/gen/skip.ts';
import { holdMounts } from '../../demo/mounts.ts';
import { type Host, noScenarios, type Outcome } from '../scenario/hosts.ts';

const BUSYBOX = '/bin/busybox';
const APPLETS = ['sh', 'sleep', 'ping', 'cat', 'nslookup', 'ip', 'nc', 'wget', 'httpd', 'true'];

/** Milliseconds that an engine may take to start, and to end with its containerd. */
const START = 90_000;
const END = 60_000;

/** Why there can be no Docker engine here, or null where there can. */
export function noEngines(): string | null {
  const missing = ['dockerd', 'docker', 'tcpdump'].find((program) => !has(program));
  if (missing !== undefined) return `${missing} is not installed`;
  if (!existsSync(BUSYBOX)) return 'busybox-static is not installed';
  if (!existsSync('/sys/fs/cgroup')) return 'there are no control groups for a Docker engine';
  return noScenarios();
}

export class EngineHost {
  readonly host: Host;
  readonly #folder: string;
  /** Where the engine has what runs, and the namespaces of containers. */
  run: string;
  #holder: ChildProcess | null = null;
  #engine: ChildProcess | null = null;
  #log = '';

  constructor(t: Test, host: Host) {
    this.host = host;
    this.#folder = host.folder;
    this.run = join(host.folder, 'exec');
    t.teardown(() => this.#end());
  }

  get socket(): string {
    return join(this.#folder, 'docker.sock');
  }
  get log(): string {
    return this.#log;
  }

  /** Makes the host's mount namespace: before anything runs in it. */
  async begin(): Promise<void> {
    const holder = await holdMounts(3600);
    this.#holder = holder;
    this.host.mounts = `/proc/${holder.pid}/ns/mnt`;
  }

  /** Starts the daemon with the plugin. */
  up(...options: readonly string[]): Promise<void> {
    return this.host.up('--docker-plugin', '--docker-engine', this.socket, ...options);
  }

  /** Starts the engine; null, or why it does not start. */
  async startEngine(): Promise<string | null> {
    const at = (name: string) => join(this.#folder, name);
    const engine = this.host.start(
      'dockerd',
      ...['--data-root', at('docker'), '--exec-root', this.run, '-p', at('docker.pid')],
      ...['-H', `unix://${this.socket}`, '--storage-driver', 'vfs', '--bridge', 'none'],
      ...['--shutdown-timeout', '1'],
    );
    this.#engine = engine;
    for (const stream of [engine.stdout, engine.stderr]) {
      stream?.on('data', (text) => {
        this.#log += text;
      });
    }
    for (const end = Date.now() + START; Date.now() < end; ) {
      if (engine.exitCode !== null) break;
      if ((await this.attempt('version')).code === 0) return null;
      await pause(50);
    }
    return `the Docker engine does not start: ${this.#log.trim().split('\n').slice(-3).join(' | ')}`;
  }

  async stopEngine(): Promise<void> {
    const engine = this.#engine;
    this.#engine = null;
    if (engine === null || engine.exitCode !== null) return;
    const exited = new Promise((resolve) => engine.once('exit', resolve));
    engine.kill('SIGTERM');
    await Promise.race([exited, pause(END, undefined, { ref: false })]);
    if (engine.exitCode === null) engine.kill('SIGKILL');
  }

  /** Ends the engine as a failure of its own would: containers go on. */
  async killEngine(): Promise<void> {
    const engine = this.#engine;
    this.#engine = null;
    if (engine === null) return;
    const exited = new Promise((resolve) => engine.once('exit', resolve));
    engine.kill('SIGKILL');
    await exited;
    // Its containerd dies with it. Where nobody waits for orphans that looks as if it ran.
    rmSync(join(this.#folder, 'docker.pid'), { force: true });
    rmSync(join(this.run, 'containerd/containerd.pid'), { force: true });
  }

  /** Makes an image of busybox alone. */
  async importImage(): Promise<void> {
    const folder = join(this.#folder, 'image');
    mkdirSync(join(folder, 'bin'), { recursive: true });
    copyFileSync(BUSYBOX, join(folder, 'bin/busybox'));
    for (const applet of APPLETS) symlinkSync('busybox', join(folder, 'bin', applet));
    const tar = join(this.#folder, 'image.tar');
    spawnSync('tar', ['-C', folder, '-cf', tar, '.']);
    await this.docker('import', tar, 'box');
  }

  /** Runs a command of Docker; throws what it said where it failed. */
  async docker(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(...args);
    if (code !== 0) throw new Error(`docker ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`);
    return stdout.trim();
  }

  attempt(...args: readonly string[]): Promise<Outcome> {
    return this.host.exec('docker', '-H', `unix://${this.socket}`, ...args);
  }

  /** Devices of the plugin in the host's namespace. */
  async devices(): Promise<string[]> {
    const { stdout } = await this.host.exec('ip', '-j', 'link', 'show');
    const links: { ifname: string }[] = JSON.parse(stdout);
    return links.map(({ ifname }) => ifname).filter((name) => name.startsWith('pwd'));
  }

  async #end(): Promise<void> {
    if (this.#engine !== null) {
      const { stdout } = await this.attempt('ps', '-aq');
      const ids = stdout.split('\n').filter(Boolean);
      if (ids.length > 0) await this.attempt('rm', '-f', ...ids);
    }
    await this.stopEngine();
    const { stdout: pid } = await this.host.exec('cat', join(this.run, 'containerd/containerd.pid'));
    if (pid !== '') kill(Number(pid));
    this.#holder?.kill('SIGKILL');
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // it has ended already
  }
}
