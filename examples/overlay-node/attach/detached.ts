/**
 * Commands in the background that outlive the daemon. Each has a session of its own and a shell over it that waits for
 * it and writes its exit code to a file; a state file says which process that is. A daemon that starts again reads it.
 *
 * Signals go to the whole group. Until the command is in it, they would end the shell, or be taken by it: a file with
 * `.exit.new` at its end, where the exit code is put later, is there from when they end the command.
 */
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { ControlError } from '../control/errors.ts';
import { commandLine, type Place, spawnOptions, started } from './command.ts';
import { ageOf, argumentsOf, groupOf, isRunning, startTimeOf } from './processes.ts';

export interface DetachedOptions extends Place {
  /** Id of the container. */
  readonly id: string;
  readonly command: readonly string[];
  /** The whole environment; without PATH it has the system's usual one. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** What the command prints is appended here. */
  readonly logFile: string;
  /** Beside it, with `.exit` at its end, is the exit code. */
  readonly stateFile: string;
}

/** The shell over a command. */
export interface Supervisor {
  /** First of its session and group. */
  readonly pid: number;
  /** When it started, in clock ticks since the host did (proc(5)). */
  readonly startTime: number;
  readonly stateFile: string;
}

/** A command in the background, as its state file has it. */
export interface CommandState extends Place, Supervisor {
  readonly id: string;
  readonly command: readonly string[];
  readonly logFile: string;
  /** ISO 8601. */
  readonly started: string;
}

/** Whether a command runs, and with which exit code it ended. */
export interface Outcome {
  readonly running: boolean;
  /** Null while it runs. 137 where whoever would have noted it was killed as well. */
  readonly exitCode: number | null;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Milliseconds between looks at a process of somebody else. */
const LOOK = 100;
/** Milliseconds from SIGTERM to SIGKILL, as in Docker. */
const GRACE = 10_000;
const KILLED = 137;
/** Milliseconds after which a command that does not say so counts as begun: it may have had no disk to say it. */
const BEGUN = 10_000;

/** Which of the shell's arguments is the file of the exit code: it says whose shell that is. */
const EXIT_FILE = 4;

/** Signals to the whole group end the command, and leave the shell over it to write how: traps are not inherited. What
 * the shell itself says of that is not the command's log. */
const SUPERVISOR = `trap : HUP INT QUIT TERM
exec 3>&2 2>/dev/null
exit=$1; shift
(true > "$exit.new"; exec "$@" 2>&3 3>&-)
echo $? > "$exit.new" && mv "$exit.new" "$exit"`;

/** Starts a command in the background. Rejects with a ControlError, or with what the system says. */
export async function startDetached(options: DetachedOptions): Promise<CommandState> {
  const { id, namespace, hostname, command, cwd, logFile, stateFile } = options;
  const line = commandLine(options, command);
  const checked = spawnOptions({ cwd, env: { PATH, ...options.env } });
  for (const file of [exitFile(stateFile), begunFile(stateFile)]) rmSync(file, { force: true });
  const log = openSync(logFile, 'a', 0o600);
  let pid: number;
  try {
    const args = ['-c', SUPERVISOR, 'sh', exitFile(stateFile), ...line];
    const child = spawn('/bin/sh', args, { detached: true, stdio: ['ignore', log, log], ...checked });
    await started(child);
    child.unref();
    pid = child.pid!;
  } finally {
    closeSync(log);
  }
  const startTime = startTimeOf(pid) ?? 0;
  const began = new Date().toISOString();
  const state = { id, namespace, hostname, command, logFile, stateFile, pid, startTime, started: began };
  writeFileSync(`${stateFile}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${stateFile}.new`, stateFile);
  return state;
}

/** Reads a state file; null where there is none. */
export function readState(stateFile: string): CommandState | null {
  if (!existsSync(stateFile)) return null;
  try {
    return JSON.parse(readFileSync(stateFile, 'utf8')) as CommandState;
  } catch {
    throw new ControlError('CORRUPT', `${stateFile} is not a command's state: remove it`);
  }
}

/** Looks for the shell over a command, of which nothing else is known; null where there is none. */
export function findSupervisor(stateFile: string): Supervisor | null {
  for (const pid of readdirSync('/proc').map(Number)) {
    if (argumentsOf(pid)[EXIT_FILE] !== exitFile(stateFile)) continue;
    const startTime = startTimeOf(pid);
    // Before it becomes the command, the shell's child looks the same.
    if (startTime !== null && groupOf(pid) === pid) return { pid, startTime, stateFile };
  }
  return null;
}

/** Removes a command's state file and its exit code; its log stays. */
export function removeState(stateFile: string): void {
  const files = [stateFile, exitFile(stateFile)];
  for (const file of [...files, ...files.map((one) => `${one}.new`)]) rmSync(file, { force: true });
}

/** How a command fares now. */
export function outcome({ pid, startTime, stateFile }: Supervisor): Outcome {
  if (isRunning(pid, startTime)) return { running: true, exitCode: null };
  const file = exitFile(stateFile);
  return { running: false, exitCode: existsSync(file) ? Number(readFileSync(file, 'utf8')) : KILLED };
}

/** The exit code of a command, when it has ended. Rejects when the signal says so. */
export async function waitExit(state: Supervisor, signal?: AbortSignal): Promise<number> {
  while (isRunning(state.pid, state.startTime)) {
    await pause(LOOK, undefined, signal && { signal });
  }
  return outcome(state).exitCode!;
}

/** Ends a command's process group: SIGTERM when it has begun, and SIGKILL after `grace` ms. Resolves when it is gone. */
export async function stop(supervisor: Supervisor, grace = GRACE): Promise<void> {
  const { pid, startTime, stateFile } = supervisor;
  while (isRunning(pid, startTime) && !existsSync(begunFile(stateFile)) && ageOf(startTime) < BEGUN) {
    await pause(LOOK);
  }
  if (!isRunning(pid, startTime)) return;
  signalGroup(pid, 'SIGTERM');
  for (let waited = 0; waited < grace; waited += LOOK) {
    if (!isRunning(pid, startTime)) return;
    await pause(LOOK);
  }
  await kill(supervisor);
}

/** Kills a command's process group, the shell over it as well: it notes nothing. Resolves when it is gone. */
export async function kill({ pid, startTime }: Supervisor): Promise<void> {
  while (isRunning(pid, startTime)) {
    signalGroup(pid, 'SIGKILL');
    await pause(LOOK);
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // it has ended meanwhile
  }
}

function exitFile(stateFile: string): string {
  return `${stateFile}.exit`;
}

function begunFile(stateFile: string): string {
  return `${exitFile(stateFile)}.new`;
}
