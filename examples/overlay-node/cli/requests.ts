/** From options of the command line to what the daemon is asked for. */
import type { ConnectRequest, RunRequest } from '../api/api.ts';
import type { NetworkRequest } from '../control/model.ts';
import { UsageError } from './world.ts';

export interface NetworkOptions {
  readonly driver?: string;
  readonly attachable?: boolean;
  readonly internal?: boolean;
  readonly ipv6?: boolean;
  readonly subnet?: readonly string[];
  readonly ipRange?: readonly string[];
  readonly gateway?: readonly string[];
  readonly auxAddress?: readonly string[];
  readonly label?: readonly string[];
  readonly opt?: readonly string[];
}

export interface RunOptions {
  readonly network: readonly string[];
  readonly name?: string;
  readonly networkAlias?: readonly string[];
  readonly ip?: string;
  readonly ip6?: string;
  readonly macAddress?: string;
  readonly hostname?: string;
  readonly dns?: readonly string[];
  readonly publish?: readonly string[];
  readonly label?: readonly string[];
  readonly env?: readonly string[];
  readonly workdir?: string;
  readonly detach?: boolean;
  readonly rm?: boolean;
}

export interface AttachOptions extends Omit<RunOptions, 'env' | 'workdir' | 'detach' | 'rm'> {
  readonly netns: string;
}

/** Who runs a command. */
export interface Runner {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
}

/** An object without what is undefined or an empty list. */
type Said<T> = { [K in keyof T]?: Exclude<T[K], undefined> };
function said<T extends object>(all: T): Said<T> {
  const some = Object.entries(all).filter(([, value]) => {
    return value !== undefined && !(Array.isArray(value) && value.length === 0);
  });
  return Object.fromEntries(some) as Said<T>;
}

/** `KEY=VALUE` or `KEY`, as `--label` and `--opt` take them. */
function pairs(option: string, given: readonly string[] | undefined): Record<string, string> | undefined {
  if (given === undefined || given.length === 0) return undefined;
  const all = given.map((text): [string, string] => {
    const [, key, value] = /^([^=]+)(?:=([\s\S]*))?$/.exec(text) ?? [];
    if (key === undefined) throw new UsageError(`${option} expected KEY or KEY=VALUE, got "${text}"`);
    return [key, value ?? ''];
  });
  return Object.fromEntries(all);
}

/** `KEY=VALUE`; `KEY` alone has the value that it has here, and is nothing where it has none. */
export function environment(
  given: readonly string[] | undefined,
  env: Runner['env'],
): Record<string, string> | undefined {
  const bare = (text: string) => !text.includes('=');
  const known = (given ?? []).filter((text) => !bare(text) || env[text] !== undefined);
  return pairs(
    '--env',
    known.map((text) => (bare(text) ? `${text}=${env[text]}` : text)),
  );
}

export function networkRequest(name: string, options: NetworkOptions): NetworkRequest {
  for (const text of options.auxAddress ?? []) {
    if (/^[^=]+=[^=]+$/.test(text)) continue;
    throw new UsageError(`--aux-address expected NAME=ADDRESS, got "${text}"`);
  }
  return {
    name,
    ...said({
      driver: options.driver,
      attachable: options.attachable,
      internal: options.internal,
      ipv6: options.ipv6,
      subnets: options.subnet,
      ranges: options.ipRange,
      gateways: options.gateway,
      auxiliary: options.auxAddress,
      labels: pairs('--label', options.label),
      options: pairs('--opt', options.opt),
    }),
  };
}

export function connectRequest(
  container: string,
  options: { readonly alias?: readonly string[]; readonly ip?: string; readonly ip6?: string },
): ConnectRequest {
  return { container, ...said({ aliases: options.alias, ip: options.ip, ip6: options.ip6 }) };
}

/** What `run` and `attach` have in common. */
const attachment = (options: Omit<AttachOptions, 'netns'>) =>
  said({
    name: options.name,
    aliases: options.networkAlias,
    ip: options.ip,
    ip6: options.ip6,
    mac: options.macAddress,
    hostname: options.hostname,
    dns: options.dns,
    publish: options.publish,
    labels: pairs('--label', options.label),
  });

/** A detached command has the environment of the daemon, and of this one what `--env` says and where commands are. */
export function runRequest(command: readonly string[], options: RunOptions, runner: Runner): RunRequest {
  const { detach, rm } = options;
  const env = { ...(detach && runner.env.PATH && { PATH: runner.env.PATH }) };
  const all = { ...env, ...environment(options.env, runner.env) };
  return {
    networks: options.network,
    command,
    directory: options.workdir ?? runner.cwd,
    ...attachment(options),
    ...(Object.keys(all).length > 0 && { environment: all }),
    ...(rm && { remove: true }),
    ...(detach ? { detach: true } : { pid: runner.pid }),
  };
}

export function attachRequest(options: AttachOptions): RunRequest {
  return {
    networks: options.network,
    command: [],
    namespace: options.netns,
    ...attachment(options),
  };
}
