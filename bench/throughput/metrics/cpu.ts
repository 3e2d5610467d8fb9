/**
 * Processor time, of the whole machine from /proc/stat and of some processes from /proc/PID/stat. Both ends,
 * the kernel's work for them and iperf3 itself are in the machine's.
 */
import { readFileSync } from 'node:fs';
import { sleep } from '../programs.ts';

/** The kernel counts in hundredths of a second (USER_HZ) on everything that Node runs on. */
const HZ = 100;

/** Seconds that all processors together were busy since the start, from the text of /proc/stat. */
export function busySeconds(text: string): number {
  const ticks = /^cpu +(.*)$/m.exec(text)?.[1].split(' ').map(Number) ?? [];
  // What a guest used is in `user` already; what the host took (`steal`) nobody here used.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = ticks;
  return (user + nice + system + irq + softirq) / HZ;
}

/** Seconds that a process and its threads used, from the text of /proc/PID/stat. */
export function processSeconds(text: string): number {
  // The name in brackets may hold anything; utime and stime are fields 14 and 15, of which 3 comes after it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / HZ;
}

/** A moment, to measure from. */
export class CpuMeter {
  readonly #at = performance.now();
  readonly #busy = machine();
  readonly #used: ReadonlyMap<number, number>;

  constructor(pids: readonly number[] = []) {
    this.#used = new Map(pids.map((pid) => [pid, ofProcess(pid)]));
  }

  /** Seconds since then: on the clock, of all processors, and of the processes. */
  read(): { elapsed: number; busy: number; daemons: number } {
    let daemons = 0;
    for (const [pid, before] of this.#used) daemons += ofProcess(pid) - before;
    return { elapsed: (performance.now() - this.#at) / 1000, busy: machine() - this.#busy, daemons };
  }
}

/** How many processors are busy on average while nothing of ours runs. */
export async function idleProcessors(ms = 1_000): Promise<number> {
  const meter = new CpuMeter();
  await sleep(ms);
  const { busy, elapsed } = meter.read();
  return busy / elapsed;
}

function machine(): number {
  return busySeconds(readFileSync('/proc/stat', 'utf8'));
}

function ofProcess(pid: number): number {
  return processSeconds(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}
