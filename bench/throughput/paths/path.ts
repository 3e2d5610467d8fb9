/** What a file of paths exports. */
import { has } from '../../../test/gen/skip.ts';
import type { Stage } from '../stage.ts';

/** A way from 10.0.0.1 in `a` to 10.0.0.2 in `b`. */
export interface Path {
  readonly name: string;
  /** What this machine lacks for it, with the command that installs it; null where nothing. */
  missing(): string | null;
  /** Lays it. What it made goes with the stage. Rejects where it cannot. */
  lay(stage: Stage): void | Promise<void>;
}

/** What is missing of `programs`, which `command` installs. */
export function needs(programs: readonly string[], command: string): string | null {
  const absent = programs.filter((program) => !has(program));
  return absent.length === 0 ? null : `${absent.join(', ')} not found: ${command}`;
}

export const APT = 'apt-get install --no-install-recommends';
