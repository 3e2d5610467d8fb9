/**
 * A CNI plugin (versions 0.3.1 to 1.1.0) over the daemon's control socket. The runtime
 * says in the environment what to do, writes the configuration to standard input, and reads a result or an error from
 * standard output. The program is started anew for every call, so what a command needs is loaded with it.
 */
import { type Call, clientOf, type PlacedCall, type Work } from './call.ts';
import { askedVersion, type Config, readConfig } from './config.ts';
import { CniError, cniError, INCOMPATIBLE, IO_FAILURE } from './errors.ts';
import { type Command, commandOf, type Env, type Place, placeOf } from './place.ts';
import { type Result, written } from './result.ts';
import { atLeast, isVersion, NEWEST, VERSIONS, type Version } from './versions.ts';

/** Milliseconds that STATUS waits for a daemon that hangs. */
const PATIENCE = 5000;

/** Versions that have a command, where not all do. */
const SINCE: Partial<Record<Command, Version>> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' };

/** What is done about one attachment, and about the network. */
const PLACED: Partial<Record<Command, () => Promise<{ work: Work<PlacedCall> }>>> = {
  ADD: () => import('./add.ts'),
  DEL: () => import('./delete.ts'),
  CHECK: () => import('./check.ts'),
};
const GENERAL: Partial<Record<Command, () => Promise<{ work: Work<Call> }>>> = {
  GC: () => import('./collect.ts'),
  STATUS: () => import('./status.ts'),
};

/** Answers one call with its output and its exit code. */
export async function answer(
  env: Env,
  input: () => Promise<string>,
): Promise<{ text: string; code: number }> {
  let asked: unknown;
  try {
    const command = commandOf(env);
    const place = command in PLACED ? placeOf(command, env) : null;
    const text = await read(input);
    asked = askedVersion(text);
    if (command === 'VERSION') return said({ cniVersion: known(asked), supportedVersions: VERSIONS });
    const config = readConfig(text);
    const result = await work(command, config, place, env);
    return result === null ? { text: '', code: 0 } : said(written(result, config.version));
  } catch (error) {
    const { code, message: msg, details } = cniError(error);
    const told = { cniVersion: known(asked), code, msg, ...(details !== '' && { details }) };
    return { ...said(told), code: 1 };
  }
}

async function work(command: Command, config: Config, place: Place | null, env: Env): Promise<Result | null> {
  const since = SINCE[command];
  if (since !== undefined && !atLeast(config.version, since)) {
    throw new CniError(
      INCOMPATIBLE,
      `${command} needs version ${since}, the configuration has ${config.version}`,
    );
  }
  const client = clientOf(config, env, command === 'STATUS' ? PATIENCE : null);
  if (place !== null) return (await PLACED[command]!()).work({ config, client, place });
  return (await GENERAL[command]!()).work({ config, client });
}

async function read(input: () => Promise<string>): Promise<string> {
  try {
    return await input();
  } catch (error) {
    throw new CniError(IO_FAILURE, `standard input cannot be read: ${(error as Error).message}`);
  }
}

function said(value: object): { text: string; code: number } {
  return { text: `${JSON.stringify(value)}\n`, code: 0 };
}

function known(asked: unknown): Version {
  return isVersion(asked) ? asked : NEWEST;
}

/** All of standard input. */
export async function standardInput(): Promise<string> {
  process.stdin.setEncoding('utf8');
  let all = '';
  for await (const part of process.stdin) all += part;
  return all;
}
