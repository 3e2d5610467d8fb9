/**
 * Network namespaces for one test, or for one stage of the throughput bench: made with names of their own,
 * taken away at its end whatever happened, with every process in them.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { CLONE_NEWNET, O_CLOEXEC, O_RDONLY } from '../../lib/io/native/constants.ts';
import { libc } from '../../lib/io/native/libc.ts';
import { inNamespace } from '../../lib/io/native/link.ts';

/** Who calls back at the end: a test, for one. */
export interface Owner {
  teardown(end: () => void): void;
}

let made = 0;

export class Namespaces {
  readonly #names = new Map<string, string>();

  constructor(owner: Owner) {
    owner.teardown(() => this.remove());
  }

  /** Makes a namespace with its loopback up. `name` is how the test calls it. */
  add(name: string): void {
    const real = `pw-${process.pid}-${made++}-${name}`;
    this.#names.set(name, real);
    sh(`ip netns add ${real}`);
    this.run(name, 'ip link set lo up');
  }

  /** Makes a namespace whose devices say nothing by themselves, as IPv6 would, and returns its real name. */
  addQuiet(name: string): string {
    this.add(name);
    this.run(name, 'sh -c "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"');
    return this.real(name);
  }

  /** The system's name of a namespace. */
  real(name: string): string {
    const real = this.#names.get(name);
    if (real === undefined) throw new Error(`there is no namespace "${name}"`);
    return real;
  }

  /** Joins two namespaces by a veth pair, up, without duplicate address detection. */
  cable(a: string, deviceA: string, b: string, deviceB: string): void {
    sh(`ip link add ${deviceA} netns ${this.real(a)} type veth peer name ${deviceB} netns ${this.real(b)}`);
    for (const [name, device] of [
      [a, deviceA],
      [b, deviceB],
    ]) {
      const silent = `echo 0 > /proc/sys/net/ipv6/conf/${device}/accept_dad`;
      this.run(name, `sh -c "${silent} && ip link set ${device} up"`);
    }
  }

  /** Runs a shell command in a namespace and returns what it printed. Throws where it fails. */
  run(name: string, command: string): string {
    return sh(`ip netns exec ${this.real(name)} ${command}`);
  }

  /** Runs a shell command that may fail, or takes more than `ms`, beside whatever else runs. */
  attempt(name: string, command: string, ms = 60_000): Promise<{ ok: boolean; text: string }> {
    const args = ['netns', 'exec', this.real(name), 'sh', '-c', command];
    return new Promise((resolve) => {
      execFile('ip', args, { timeout: ms }, (error, stdout, stderr) => {
        resolve({ ok: error === null, text: stdout + stderr });
      });
    });
  }

  /** Starts a TypeScript program of the tests in a namespace, with a channel for messages. */
  start(name: string, script: URL, args: readonly string[] = []): ChildProcess {
    const command = [
      'netns',
      'exec',
      this.real(name),
      process.execPath,
      ...process.execArgv,
      script.pathname,
      ...args,
    ];
    return spawn('ip', command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  }

  /** Ends what runs in the namespaces and takes them away. */
  remove(): void {
    for (const real of this.#names.values()) {
      const pids = spawnSync('ip', ['netns', 'pids', real], { encoding: 'utf8' }).stdout ?? '';
      for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
      spawnSync('ip', ['netns', 'del', real]);
    }
    this.#names.clear();
  }
}

/** Runs what opens sockets in a namespace: it may wait for promises, but for nothing else that takes its time. */
export async function within<T>(namespace: string, work: () => Promise<T>): Promise<T> {
  const native = libc();
  const enter = (path: string) => {
    const fd = native.open(path, O_RDONLY | O_CLOEXEC);
    return () => void [native.setns(fd, CLONE_NEWNET), native.close(fd)];
  };
  const leave = enter('/proc/thread-self/ns/net');
  enter(`/run/netns/${namespace}`)();
  try {
    return await work();
  } finally {
    leave();
  }
}

/** Counters of a device in a namespace, by their names in /proc/net/dev: `rx.packets` or `tx.drop`. */
export function deviceCounters(namespace: string, device: string): Record<string, number> {
  const text = inNamespace(namespace, () => readFileSync('/proc/thread-self/net/dev', 'latin1'));
  const line = text.split('\n').find((line) => line.trim().startsWith(`${device}:`));
  const numbers = (line ?? '').split(':')[1]?.trim().split(/\s+/).map(Number) ?? [];
  const names = text.split('\n')[1].split('|').slice(1);
  const [rx, tx] = names.map((half) => half.trim().split(/\s+/));
  return Object.fromEntries([
    ...rx.map((name, i) => [`rx.${name}`, numbers[i] ?? 0]),
    ...tx.map((name, i) => [`tx.${name}`, numbers[rx.length + i] ?? 0]),
  ]);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended meanwhile
  }
}

function sh(command: string): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8', timeout: 60_000 });
  if (status !== 0) throw new Error(`${command}: ${stderr || stdout || `exit code ${status}`}`);
  return stdout;
}

/** Runs what asks the system as a user without privileges, until its promise is there. */
export async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  process.seteuid!(65534);
  try {
    return await work();
  } finally {
    process.seteuid!(0);
  }
}
