/** Where a command line reads and writes: the process, or a test. */
import type { Writable } from 'node:stream';

export interface World {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** What the process answers when it ends. */
  exitCode: number;
  /** The command that runs. */
  command: string;
}

export const processWorld = (): World => ({
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  now: Date.now,
  exitCode: 0,
  command: '',
});

/** What was typed makes no sense. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
