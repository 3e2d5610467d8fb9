/**
 * Tests that meet the real thing skip where a machine cannot run them, and say why. Under CI=true a skip is
 * a failure: the machine is meant to have everything.
 */
import { spawnSync } from 'node:child_process';
import type { Test } from 'tap';
import { libc } from '../../lib/io/native/libc.ts';

/** Skips the rest of a test (return after it), or fails it under CI=true. */
export function skip(t: Test, reason: string): void {
  if (process.env.CI === 'true') t.fail(`cannot run here: ${reason}`);
  else t.pass(`skipped: ${reason}`, { skip: reason });
}

/** Whether a program is on this machine. */
export function has(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

/** Why network namespaces cannot be made here, or null where they can. */
export function noNamespaces(): string | null {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  return has('ip') ? null : 'iproute2 is not installed';
}

/** Why native code cannot be called here, or null where it can. */
export function noNative(): string | null {
  try {
    libc();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
