/** How a command is run in a container's namespace: its own hostname and /etc, its caller's directory and environment. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { ControlError } from '../control/errors.ts';

/** Where a command runs. */
export interface Place {
  /** Name of `ip netns`, or a path. */
  readonly namespace: string;
  /** Null for the host's. */
  readonly hostname: string | null;
}

export interface CommandOptions {
  /** Default: this process's. */
  readonly cwd?: string;
  /** The whole environment. Default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A command in the foreground. */
export interface Foreground {
  readonly pid: number;
  /** Its exit code, as a shell counts: 128 and the signal's number for one that was killed. */
  readonly exited: Promise<number>;
}

/** Signals that a command gets from whoever runs it. */
const PASSED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];
/** Of these, those that a terminal sends to the command itself. */
const TYPED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/** Sets the hostname of its own UTS namespace, its first argument, and becomes the command. */
const NAMED = 'printf %s "$1" > /proc/sys/kernel/hostname && shift && exec "$@"';

/**
 * The whole command line. Each program in it becomes the next one, so that the process that is started is the command
 * in the end: its signals and its exit code are the command's own.
 */
export function commandLine({ namespace, hostname }: Place, command: readonly string[]): string[] {
  if (command.length === 0) throw new ControlError('INVALID', 'no command specified');
  const enter = namespace.includes('/')
    ? ['nsenter', `--net=${namespace}`]
    : ['ip', 'netns', 'exec', namespace];
  // Without a hostname, `env` says why a command cannot be found as the shell does: 127.
  const become = hostname === null ? ['env', '--'] : ['unshare', '--uts', 'sh', '-c', NAMED, 'sh', hostname];
  return [...enter, ...become, ...command];
}

/** Starts a command in the foreground, with this process's terminal and signals. */
export async function startForeground(
  place: Place,
  command: readonly string[],
  options: CommandOptions = {},
): Promise<Foreground> {
  const [program, ...args] = commandLine(place, command);
  const child = spawn(program, args, { stdio: 'inherit', ...spawnOptions(options) });
  const pass = (signal: NodeJS.Signals) => {
    if (!(process.stdin.isTTY && TYPED.includes(signal))) child.kill(signal);
  };
  for (const signal of PASSED) process.on(signal, pass);
  const exited = new Promise<number>((resolve) => {
    child.once('close', (code, signal) => {
      for (const passed of PASSED) process.off(passed, pass);
      resolve(exitCode(code, signal));
    });
  });
  await started(child);
  return { pid: child.pid!, exited };
}

/** Checked options of spawn: it would blame the program for a directory that is not there. */
export function spawnOptions({ cwd, env }: CommandOptions): CommandOptions {
  if (cwd !== undefined && !existsSync(cwd)) {
    throw new ControlError('INVALID', `the working directory ${cwd} does not exist`);
  }
  return { ...(cwd !== undefined && { cwd }), ...(env !== undefined && { env }) };
}

/** Resolves when a process has started, or rejects with why it could not. */
export function started(child: ReturnType<typeof spawn>): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
}

function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + constants.signals[signal!];
}
