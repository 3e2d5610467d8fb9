/** Checks the bodies of requests: each field has its type, and what has another is refused with its name. What the
 * values mean is checked by whoever uses them. */
import { isIP } from 'node:net';
import { ControlError } from '../control/errors.ts';

interface Kind {
  readonly expected: string;
  readonly holds: (value: unknown) => boolean;
  /** Whether it must be there. */
  readonly required?: true;
}

/** What the system takes as an argument or a variable ends at the first NUL. */
const isArgument = (value: unknown) => typeof value === 'string' && !value.includes('\0');

const TEXT: Kind = { expected: 'a text', holds: (value) => typeof value === 'string' };
const ARGUMENT: Kind = { expected: 'a text without NUL', holds: isArgument };
const BOOLEAN: Kind = { expected: 'true or false', holds: (value) => typeof value === 'boolean' };
const PID: Kind = {
  expected: 'the id of a process',
  holds: (value) => Number.isSafeInteger(value) && Number(value) > 0,
};
const EXIT_CODE: Kind = {
  expected: 'an integer 0..255',
  holds: (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 255,
};
const ADDRESS: Kind = {
  expected: 'an IP address',
  holds: (value) => typeof value === 'string' && isIP(value) !== 0,
};

const listOf = ({ expected, holds }: Kind): Kind => ({
  expected: `a list, each ${expected}`,
  holds: (value) => Array.isArray(value) && value.every(holds),
});
const mapOf = ({ expected, holds }: Kind): Kind => ({
  expected: `an object, each value ${expected}`,
  holds: (value) => isObject(value) && Object.values(value).every(holds),
});
const required = (kind: Kind): Kind => ({ ...kind, required: true });

export type Fields = Readonly<Record<string, Kind>>;

const TEXTS = listOf(TEXT);

/** By what is asked for; a field that is not `required` may be absent. */
export const BODIES = {
  init: { store: TEXT, advertise: TEXT },
  join: { token: required(TEXT), store: required(TEXT) },
  leave: { force: BOOLEAN },
  migrate: { to: required(TEXT) },
  network: {
    name: required(TEXT),
    driver: TEXT,
    attachable: BOOLEAN,
    internal: BOOLEAN,
    ipv6: BOOLEAN,
    subnets: TEXTS,
    ranges: TEXTS,
    gateways: TEXTS,
    auxiliary: TEXTS,
    labels: mapOf(TEXT),
    options: mapOf(TEXT),
  },
  connect: { container: required(TEXT), aliases: TEXTS, ip: TEXT, ip6: TEXT },
  disconnect: { container: required(TEXT) },
  run: {
    name: TEXT,
    networks: TEXTS,
    aliases: TEXTS,
    ip: TEXT,
    ip6: TEXT,
    mac: TEXT,
    hostname: TEXT,
    dns: listOf(ADDRESS),
    publish: TEXTS,
    labels: mapOf(TEXT),
    command: listOf(ARGUMENT),
    environment: mapOf(ARGUMENT),
    directory: ARGUMENT,
    detach: BOOLEAN,
    remove: BOOLEAN,
    pid: PID,
    namespace: ARGUMENT,
    device: TEXT,
    defaultRoute: BOOLEAN,
    portsHeld: BOOLEAN,
  },
  started: { pid: required(PID) },
  exited: { code: required(EXIT_CODE) },
} satisfies Record<string, Fields>;

/** The body of a request as it is described. Where every field may be absent, so may the body. Throws `INVALID`. */
export function checked<T>(body: unknown, fields: Fields): T {
  const given = body ?? {};
  if (!isObject(given)) throw invalid(`the body expected an object, got ${shown(body)}`);
  for (const [name, { expected, holds, required = false }] of Object.entries(fields)) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (value === undefined ? !required : holds(value)) continue;
    throw invalid(`"${name}" expected ${expected}, got ${shown(value)}`);
  }
  return given as T;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The beginning of a value, as JSON has it. */
function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

const invalid = (message: string) => new ControlError('INVALID', message);
