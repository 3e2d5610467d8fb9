/** Many containers on each of two engines: started, all pinged from one of them, and removed. */
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Engine } from './engine.ts';

/** Containers that an engine starts at a time. */
const AT_ONCE = 4;

export interface Crowd {
  /** On each engine. */
  readonly containers: number;
  /** Seconds until all run, on both engines at once. */
  readonly start: number;
  /** How many answer one of them, of all. */
  readonly reached: number;
  /** Resident memory of the daemons before and with all, in MB: the larger of the two. */
  readonly memory: { readonly before: number; readonly all: number };
  /** Seconds until all are removed. */
  readonly remove: number;
  /** Devices and endpoints that are left. */
  readonly left: number;
}

export async function measureCrowd(engines: readonly Engine[], containers: number): Promise<Crowd> {
  const before = memory(engines);
  const start = await seconds(() => Promise.all(engines.map((engine) => fill(engine, containers))));
  const reached = await reach(engines);
  const all = memory(engines);
  const remove = await seconds(() => Promise.all(engines.map((engine) => engine.clear())));
  const left = await leftBehind(engines);
  return { containers, start, reached, memory: { before, all }, remove, left };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

async function fill(engine: Engine, containers: number): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let n = next++; n < containers; n = next++) await engine.sleeper(`crowd${n}`, 'plain');
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** How many containers of the network answer a ping of the first one. */
async function reach(engines: readonly Engine[]): Promise<number> {
  const lists = await Promise.all(engines.map(addresses));
  const pid = await engines[0].docker('inspect', '-f', '{{.State.Pid}}', 'crowd0');
  const ping = 'ping -n -q -c 1 -W 5 $1 >/dev/null && echo answers';
  const list = lists.flat().join('\\n');
  const script = `printf '${list}\\n' | xargs -P 32 -n 1 sh -c '${ping}' ping`;
  const { text } = await engines[0].host.run('nsenter', '-t', pid, '--net', 'sh', '-c', script);
  return text.match(/answers/g)?.length ?? 0;
}

async function addresses(engine: Engine): Promise<string[]> {
  const ids = (await engine.docker('ps', '-q', '--filter', 'name=crowd')).split('\n');
  const format = '{{.NetworkSettings.Networks.plain.IPAddress}}';
  return (await engine.docker('inspect', '-f', format, ...ids)).split('\n');
}

/** Devices on the hosts, and endpoints that the overlay knows; they have ten seconds to go. */
async function leftBehind(engines: readonly Engine[]): Promise<number> {
  let left = 0;
  for (let i = 0; i < 20; i++) {
    const devices = await Promise.all(engines.map((engine) => engine.devices()));
    const { text } = await engines[0].host.ask('network', 'inspect', 'plain');
    const [{ Containers }] = JSON.parse(text) as readonly { readonly Containers: object }[];
    left = devices.flat().length + Object.keys(Containers).length;
    if (left === 0) return 0;
    await pause(500);
  }
  return left;
}

/** Megabytes that a daemon with its children holds: the larger of all. */
function memory(engines: readonly Engine[]): number {
  return Math.max(...engines.map(({ host }) => resident(host.pid) / 1024));
}

/** Kilobytes of a process and its children. */
function resident(pid: number): number {
  const [, own = '0'] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return Number(own) + children.reduce((sum, child) => sum + resident(Number(child)), 0);
}
