/**
 * What a daemon is told: by the command line, a file of JSON with the same names in camelCase, or neither. Whatever is
 * wrong is refused with the option's name, what was expected and what came.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { ControlError } from '../control/errors.ts';

export interface DaemonOptions {
  /** Address or interface that the other hosts reach this one by; null: found. */
  readonly advertise: string | null;
  /** UDP port of VXLAN. */
  readonly dataPort: number;
  /** UDP port of ESP. */
  readonly espPort: number;
  /** TCP port of the embedded store. */
  readonly storePort: number;
  /** Folder of what outlives the daemon. */
  readonly state: string;
  /** Path of the control socket. */
  readonly socket: string;
  /** `ADDRESS:PORT` of the metrics; null: none. */
  readonly metrics: string | null;
  readonly logLevel: string;
  /** Largest IP packet that the underlay carries, in bytes; null: that of its interface. */
  readonly mtu: number | null;
  /** Microseconds for which the dataplane polls busily while packets come at shorter intervals than that; 0: never. */
  readonly busyPoll: number;
  /** Seconds after which the keys of encrypted networks are replaced; null: 12 hours. */
  readonly keyPeriod: number | null;
  /** Addresses of the other hosts where no store tells them. */
  readonly peers: readonly string[];
  /** File with the secret that `peers` are encrypted by. */
  readonly secretFile: string | null;
  /** `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT` of the name servers for other names; none: the host's. */
  readonly dnsUpstream: readonly string[];
  /** Socket where a Docker engine finds the plugin; null: there is no plugin. */
  readonly dockerPlugin: string | null;
  /** Socket of that engine's API. */
  readonly dockerEngine: string;
}

/** Some of the options. */
export type SomeOptions = { readonly [K in keyof DaemonOptions]?: DaemonOptions[K] | undefined };

export const DEFAULTS: DaemonOptions = {
  advertise: null,
  dataPort: 4789,
  espPort: 4500,
  storePort: 2377,
  state: '/var/lib/packetweave',
  socket: '/run/packetweave.sock',
  metrics: null,
  logLevel: 'info',
  mtu: null,
  busyPoll: 0,
  keyPeriod: null,
  peers: [],
  secretFile: null,
  dnsUpstream: [],
  dockerPlugin: null,
  dockerEngine: '/var/run/docker.sock',
};

/** Where an engine looks for a driver called `packetweave`. */
export const DOCKER_PLUGIN = '/run/docker/plugins/packetweave.sock';

/** Bytes. */
const LEAST_SECRET = 16;

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

interface Rule {
  readonly expected: string;
  readonly holds: (value: unknown) => boolean;
}

const integer = (least: number, most: number): Rule => ({
  expected: `an integer ${least}..${most}`,
  holds: (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most,
});
const text = (expected: string, holds: (value: string) => boolean): Rule => ({
  expected,
  holds: (value) => typeof value === 'string' && holds(value),
});
const listOf = (rule: Rule): Rule => ({
  expected: `a list, each ${rule.expected}`,
  holds: (value) => Array.isArray(value) && value.every(rule.holds),
});
const PATH = text('an absolute path', isAbsolute);

/** Whether it is an address and a port, with IPv6 in brackets. */
function isSocket(value: string): boolean {
  const [, six, four, port] = /^(?:\[(.+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value) ?? [];
  return (isIP(six ?? '') === 6 || isIP(four ?? '') === 4) && Number(port) <= 65535;
}

const RULES: { readonly [K in keyof DaemonOptions]: Rule } = {
  // A device has at most 15 characters (IFNAMSIZ).
  advertise: text(
    'an address or the name of an interface',
    (v) => isIP(v) !== 0 || /^[^\s/:]{1,15}$/.test(v),
  ),
  dataPort: integer(1, 65535),
  espPort: integer(1, 65535),
  storePort: integer(1, 65535),
  state: PATH,
  socket: PATH,
  metrics: text('ADDRESS:PORT', isSocket),
  logLevel: text(`one of ${LOG_LEVELS.join(', ')}`, (v) => LOG_LEVELS.includes(v)),
  mtu: integer(576, 65535),
  busyPoll: integer(0, 1_000_000),
  // Keys are in use for at least as long as they take to be known everywhere.
  keyPeriod: integer(20, 30 * 24 * 3600),
  peers: listOf(text('an address', (v) => isIP(v) !== 0)),
  secretFile: PATH,
  dnsUpstream: listOf(text('an ADDRESS or ADDRESS:PORT', (v) => isIP(v) !== 0 || isSocket(v))),
  dockerPlugin: PATH,
  dockerEngine: PATH,
};

const invalid = (message: string) => new ControlError('INVALID', message);

/** How an option is called on the command line: `dataPort` is `--data-port`. */
export function flagOf(name: string): string {
  const flag = name === 'peers' ? 'peer' : name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${flag}`;
}

/** Refuses what is not allowed; `call` says how an option is called where it came from. */
function check(given: SomeOptions, call: (name: string) => string): void {
  for (const [name, value] of Object.entries(given)) {
    const rule = RULES[name as keyof DaemonOptions];
    const none = value === undefined || (value === null && DEFAULTS[name as keyof DaemonOptions] === null);
    if (none || rule.holds(value)) continue;
    throw invalid(`${call(name)} expected ${rule.expected}, got ${JSON.stringify(value)}`);
  }
}

/** Reads a config file. Throws a ControlError `INVALID` that names the file and what is wrong in it. */
export function readConfig(file: string): SomeOptions {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw invalid(`config file ${file}: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`config file ${file}: expected an object, got ${JSON.stringify(value)}`);
  }
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(RULES, name)) continue;
    throw invalid(`config file ${file}: unknown field "${name}"; known are ${Object.keys(RULES).join(', ')}`);
  }
  check(value as SomeOptions, (name) => `config file ${file}: "${name}"`);
  return value as SomeOptions;
}

/** The secret of a file, without white space around it. Throws a ControlError `INVALID`. */
export function readSecret(file: string): string {
  let secret: string;
  try {
    secret = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw invalid(`--secret-file ${file}: ${(error as Error).message}`);
  }
  if (Buffer.byteLength(secret) >= LEAST_SECRET) return secret;
  throw invalid(
    `--secret-file ${file}: expected at least ${LEAST_SECRET} bytes, such as "openssl rand -base64 32" prints`,
  );
}

/** Puts together the command line, the config file (see {@link readConfig}) and the defaults; the first that says
 * something wins. Throws a ControlError `INVALID`. */
export function daemonOptions(flags: SomeOptions, config: SomeOptions = {}): DaemonOptions {
  check(flags, flagOf);
  const said = [config, flags].map((from) => Object.entries(from).filter(([, value]) => value !== undefined));
  const options: DaemonOptions = Object.assign({}, DEFAULTS, ...said.map((some) => Object.fromEntries(some)));
  const { dataPort, espPort, peers, secretFile } = options;
  if (dataPort === espPort) {
    throw invalid(`--data-port and --esp-port expected two ports, got ${dataPort} for both`);
  }
  if (secretFile !== null && peers.length === 0) {
    throw invalid(`--secret-file encrypts what goes to --peer, and no --peer is given`);
  }
  return options;
}
