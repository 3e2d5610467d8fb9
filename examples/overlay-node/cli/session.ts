/** One command as it runs: whom it asks, and how it prints. */
import type { Command } from 'commander';
import { DEFAULTS } from '../daemon/options.ts';
import { Client, socketPath } from './client.ts';
import { type Paint, painter } from './format.ts';
import { UsageError, type World } from './world.ts';

/** Options that every command has. */
export interface Common {
  readonly host?: string;
  readonly json?: boolean;
}

/** The socket that a command line or the environment names. */
export function socketOf(host: string | undefined, env: World['env']): string {
  return socketPath(host ?? env.PACKETWEAVE_SOCKET ?? DEFAULTS.socket);
}

export class Session {
  readonly world: World;
  readonly json: boolean;
  readonly paint: Paint;
  readonly #host: string | undefined;

  constructor(world: World, options: Common) {
    this.world = world;
    this.json = options.json === true;
    this.#host = options.host;
    this.paint = painter(world.stdout.isTTY === true && !world.env.NO_COLOR);
  }

  get client(): Client {
    return this.impatient(null);
  }

  /** A client that does not wait longer, in ms. */
  impatient(patience: number | null): Client {
    return new Client(socketOf(this.#host, this.world.env), patience);
  }

  print(text: string): void {
    if (text !== '') this.world.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Prints something as JSON or for people. */
  show(value: unknown, text: () => string): void {
    this.print(this.json ? JSON.stringify(value, null, 2) : text());
  }

  complain(error: unknown): void {
    this.world.stderr.write(`packetweave: ${oneLine((error as Error).message ?? String(error))}\n`);
  }

  /** Does something with each, goes on after a failure, and answers the exit code of all. */
  async each(names: readonly string[], work: (name: string) => Promise<void>): Promise<number> {
    let code = 0;
    for (const name of names) {
      try {
        await work(name);
      } catch (error) {
        this.complain(error);
        code = 1;
      }
    }
    return code;
  }
}

/** Errors are one line each. */
export const oneLine = (text: string) => text.trim().replace(/\s*\n\s*/g, ' ');

type Work<Args extends unknown[], Options> = (
  session: Session,
  args: Args,
  options: Options & Common,
) => Promise<number | undefined>;

/** Makes a command, with the options that all have. */
export function leaf(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('-H, --host <socket>', 'unix://PATH of the daemon')
    .option('--json', 'print JSON');
}

/** What a command does; it answers the exit code, or nothing for 0. */
export function act<Args extends unknown[], Options = object>(
  command: Command,
  world: World,
  work: Work<Args, Options>,
): Command {
  return command.action(async (...all: unknown[]) => {
    const options = command.optsWithGlobals() as Options & Common;
    // The last two are the options and the command.
    const args = all.slice(0, -2) as Args;
    world.exitCode = (await work(new Session(world, options), args, options)) ?? 0;
  });
}

/** For options that can be given again. */
export const collect = (value: string, before: readonly string[] = []) => [...before, value];

/** A number where it is one; else what it is, for whoever checks it. */
export const number = (value: string): number | string => (/^\d+$/.test(value) ? Number(value) : value);

/** A number of at least `least`, or a UsageError that names the option. */
export function atLeast(option: string, least: number): (value: string) => number {
  return (value) => {
    const parsed = Number(value);
    if (value.trim() !== '' && Number.isFinite(parsed) && parsed >= least) return parsed;
    throw new UsageError(`${option} expected a number of at least ${least}, got "${value}"`);
  };
}
