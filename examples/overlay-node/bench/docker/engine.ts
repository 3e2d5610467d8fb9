/** A host with a Docker engine of its own beside its daemon, with an image of busybox alone. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Host } from '../../demo/host.ts';
import { holdMounts } from '../../demo/mounts.ts';

const BUSYBOX = '/bin/busybox';
export const IMAGE = 'box';
/** Milliseconds that an engine may take to start. */
const START = 60_000;

/** Why there can be no engine here; null where there can. */
export function noEngine(): string | null {
  const programs = ['dockerd', 'docker', 'iptables', 'iperf3'];
  const missing = programs.find((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
  if (missing !== undefined) return `"${missing}" is not installed`;
  return existsSync(BUSYBOX) ? null : 'busybox-static is not installed';
}

export class Engine {
  readonly host: Host;
  #holder: ChildProcess | null = null;
  #engine: ChildProcess | null = null;
  #log = '';

  constructor(host: Host) {
    this.host = host;
  }

  /** Starts the daemon with the plugin, and the engine with its image. Throws what the engine said where it fails. */
  async start(): Promise<void> {
    await this.#hold();
    await this.host.up('--docker-plugin', '--docker-engine', this.#path('docker.sock'));
    await this.#startEngine();
    await this.#importImage();
  }

  /** Runs a command of Docker; throws what it said where it failed. */
  async docker(...args: readonly string[]): Promise<string> {
    const { code, text } = await this.attempt(...args);
    if (code !== 0) throw new Error(`docker ${args.join(' ')}: exit ${code}\n${text}`);
    return text.trim();
  }

  attempt(...args: readonly string[]) {
    return this.host.run('docker', '-H', `unix://${this.#path('docker.sock')}`, ...args);
  }

  /** Starts a container that sleeps; answers the id of its process. */
  async sleeper(name: string, network: string): Promise<number> {
    const ends = ['--stop-timeout', '1', IMAGE, 'sleep', '36000'];
    await this.docker('run', '-d', '--name', name, '--network', network, ...ends);
    return Number(await this.docker('inspect', '-f', '{{.State.Pid}}', name));
  }

  addressOf(container: string, network: string): Promise<string> {
    const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
    return this.docker('inspect', '-f', format, container);
  }

  /** Names of the plugin's devices in the host's own namespace. */
  async devices(): Promise<string[]> {
    const { text } = await this.host.run('ip', '-j', 'link', 'show');
    const links = JSON.parse(text) as readonly { readonly ifname: string }[];
    return links.map(({ ifname }) => ifname).filter((name) => name.startsWith('pwd'));
  }

  /** Removes all containers. */
  async clear(): Promise<void> {
    const { text } = await this.attempt('ps', '-aq');
    const ids = text.split('\n').filter((id) => /^[0-9a-f]+$/.test(id));
    for (let i = 0; i < ids.length; i += 20) await this.attempt('rm', '-f', ...ids.slice(i, i + 20));
  }

  /** Ends everything of this host. */
  async stop(): Promise<void> {
    if (this.#engine !== null) {
      await this.clear();
      await this.attempt('swarm', 'leave', '--force');
    }
    await end(this.#engine);
    const pid = this.#path('exec/containerd/containerd.pid');
    if (existsSync(pid)) kill(Number(readFileSync(pid, 'utf8')));
    await this.host.ask('leave', '--force');
    await this.host.down();
    await end(this.#holder);
  }

  #path(name: string): string {
    return this.host.path(name);
  }

  async #hold(): Promise<void> {
    const holder = await holdMounts(36000);
    this.#holder = holder;
    this.host.mounts = `/proc/${holder.pid}/ns/mnt`;
  }

  async #startEngine(): Promise<void> {
    const engine = this.host.start(
      'dockerd',
      ...['--data-root', this.#path('docker'), '--exec-root', this.#path('exec')],
      ...['-p', this.#path('docker.pid'), '-H', `unix://${this.#path('docker.sock')}`],
      ...['--storage-driver', 'vfs', '--shutdown-timeout', '1'],
    );
    this.#engine = engine;
    for (const stream of [engine.stdout, engine.stderr]) {
      stream?.on('data', (text) => {
        this.#log += text;
      });
    }
    for (let waited = 0; waited < START && engine.exitCode === null; waited += 200) {
      if ((await this.attempt('version')).code === 0) return;
      await pause(200);
    }
    const said = this.#log.trim().split('\n').slice(-3).join(' | ');
    throw new Error(`the Docker engine does not start: ${said}`);
  }

  async #importImage(): Promise<void> {
    const folder = this.#path('image');
    mkdirSync(join(folder, 'bin'), { recursive: true });
    copyFileSync(BUSYBOX, join(folder, 'bin/busybox'));
    for (const applet of ['sh', 'sleep', 'true']) symlinkSync('busybox', join(folder, 'bin', applet));
    spawnSync('tar', ['-C', folder, '-cf', `${folder}.tar`, '.']);
    await this.docker('import', `${folder}.tar`, IMAGE);
  }
}

/** Ends a program in its own way, within 15 seconds. */
async function end(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await Promise.race([exited, pause(15_000, undefined, { ref: false })]);
  child.kill('SIGKILL');
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // it has ended already
  }
}
