/** Commands in the foreground: with this terminal, inside a container. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import type { Container, RunRequest } from '../api/api.ts';
import { startForeground } from '../attach/command.ts';
import type { Client } from './client.ts';

type Environment = Readonly<Record<string, string | undefined>>;

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

/** Runs a command in a container with this terminal, passes signals on, and answers its exit code. */
export async function execute(
  { namespace, hostname }: Container,
  command: readonly string[],
  options: { readonly env: Environment; readonly cwd: string; readonly started?: (pid: number) => void },
): Promise<number> {
  const { env, cwd } = options;
  const { pid, exited } = await startForeground({ namespace, hostname }, command, { env, cwd });
  options.started?.(pid);
  return exited;
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
    code = await execute(container, request.command, {
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
