/**
 * Processes as the kernel tells of them (proc(5)). One is known by its id and by when it started, because ids are used
 * again.
 */
import { readFileSync } from 'node:fs';

/** Fields 5 and 22 of /proc/PID/stat, counted from the third. */
const GROUP = 2;
const STARTED = 19;
/** Milliseconds of a clock tick as /proc counts them (USER_HZ). */
const TICK = 10;

/** Whether that very process is there, and not merely waited for. */
export function isRunning(pid: number, startTime: number): boolean {
  return startTimeOf(pid) === startTime;
}

/** When a process started, in clock ticks since the host did; null where it is gone or a zombie. */
export function startTimeOf(pid: number): number | null {
  return field(pid, STARTED);
}

/** The process group of a process; null where it is gone or a zombie. */
export function groupOf(pid: number): number | null {
  return field(pid, GROUP);
}

/** Milliseconds since a process started. */
export function ageOf(startTime: number): number {
  return Number(readFileSync('/proc/uptime', 'latin1').split(' ', 1)[0]) * 1000 - startTime * TICK;
}

/** The command line of a process; empty where it is gone. */
export function argumentsOf(pid: number): string[] {
  return (read(`/proc/${pid}/cmdline`) ?? '').split('\0');
}

/** A number of /proc/PID/stat, counted from the state on. */
function field(pid: number, index: number): number | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The program's name comes before, in parentheses, and may have any character in it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : Number(fields[index]);
}

/** Text of a file in /proc; null where there is none any more. */
function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
