/** Commands in the foreground: with this terminal, inside a container. */
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { constants as os } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import type { Container, RunRequest } from '../api/api.ts';
import type { Client } from './client.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What to run so that `command` runs inside the container. */
export function inContainer(container: Container, command: readonly string[]): string[] {
  const { namespace } = container;
  const enter = namespace.startsWith('/')
    ? ['nsenter', `--net=${namespace}`]
    : ['ip', 'netns', 'exec', namespace];
  return [...enter, ...command];
}

/** Why a command would not start, with the exit code that a shell and Docker have for that; null where it would. */
export function refusal(
  command: string,
  env: Environment,
  cwd: string,
): { readonly code: 126 | 127; readonly text: string } | null {
  if (!isDirectory(cwd)) return { code: 126, text: `there is no folder ${cwd} to run "${command}" in` };
  const places = command.includes('/') ? [''] : (env.PATH ?? '').split(delimiter);
  const paths = places.map((place) => resolve(cwd, join(place, command)));
  const found = paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  if (found.length === 0) {
    const where = command.includes('/') ? '' : ' in PATH';
    return { code: 127, text: `"${command}" is not found${where}` };
  }
  return found.some(isExecutable) ? null : { code: 126, text: `"${found[0]}" is not executable` };
}

const isDirectory = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The exit code of what ended: 128 and more for a signal. */
const exitCode = (code: number | null, signal: NodeJS.Signals | null) =>
  code ?? 128 + (signal === null ? 0 : os.signals[signal]);

const PASSED_ON: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGINT', 'SIGQUIT'];
/** A terminal sends these to the command by itself: passed on, they would come twice. */
const FROM_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/** Runs a program with this terminal, passes signals on, and answers its exit code. */
export function execute(
  [program, ...args]: readonly string[],
  options: { readonly env: Environment; readonly cwd: string; readonly started?: (pid: number) => void },
): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit', env: options.env, cwd: options.cwd });
  const listeners = PASSED_ON.map((signal) => {
    const listener = () => {
      if (!(process.stdin.isTTY && FROM_TERMINAL.includes(signal))) child.kill(signal);
    };
    process.on(signal, listener);
    return () => void process.off(signal, listener);
  });
  return new Promise<number>((done, fail) => {
    child.on('error', fail);
    child.on('exit', (code, signal) => done(exitCode(code, signal)));
    if (child.pid !== undefined) options.started?.(child.pid);
  }).finally(() => {
    for (const off of listeners) off();
  });
}

/** Asks for a container, runs the command in it, and tells how it ended. */
export async function foreground(client: Client, request: RunRequest, env: Environment): Promise<number> {
  const container = await client.post<Container>(['containers'], request);
  const tell = (what: string, body: object) =>
    // The daemon sees by itself when this process is gone: what it misses here changes nothing.
    client.post(['containers', container.id, what], body).catch(() => {});
  let started: Promise<unknown> = Promise.resolve();
  let code = 125;
  try {
    code = await execute(inContainer(container, request.command), {
      env: { ...env, ...request.environment },
      cwd: request.directory ?? process.cwd(),
      started: (pid) => {
        started = tell('started', { pid });
      },
    });
  } finally {
    await started;
    await tell('exited', { code });
  }
  return code;
}
