/** What a node without a store remembers of its networks and endpoints. */
import { ControlError } from './errors.ts';
import type { Endpoint, Network } from './model.ts';
import { type Read, readEndpoint, readNetwork, SCHEMA } from './records.ts';

/** As it is written down, in JSON. */
export interface Saved {
  readonly schema: number;
  readonly networks: readonly Network[];
  readonly endpoints: readonly Endpoint[];
  /** By network, addresses given last by subnet. */
  readonly cursors: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const NOTHING: Saved = { schema: SCHEMA, networks: [], endpoints: [], cursors: {} };

/** Checks what was read. The endpoints are those of `node`, whatever it was called before. Throws `CORRUPT` or
 * `VERSION`. */
export function readSaved(saved: Saved, node: string): Saved {
  const { schema, networks, endpoints, cursors } = Object(saved) as Partial<Saved>;
  if (schema !== SCHEMA) {
    const advice = 'use the version of the program that wrote it, or remove it';
    const what = typeof schema === 'number' ? 'VERSION' : 'CORRUPT';
    throw new ControlError(what, `the remembered networks are of schema ${schema}, not ${SCHEMA}: ${advice}`);
  }
  if (!Array.isArray(networks) || !Array.isArray(endpoints)) throw corrupt('it has no lists');
  const known = networks.map((one) => read(readNetwork, one, 'network'));
  const ids = new Set(known.map(({ id }) => id));
  const mine = endpoints.map((one) => {
    const network = String(Object(one).network);
    if (!ids.has(network)) throw corrupt(`an endpoint is of network ${network}, which is not there`);
    return { ...read(readEndpoint(network), one, 'endpoint'), node };
  });
  return {
    schema,
    networks: known,
    endpoints: mine,
    cursors: typeof cursors === 'object' ? { ...cursors } : {},
  };
}

function read<T>(reader: Read<T>, value: unknown, what: string): T {
  const id = String(Object(value).id);
  try {
    return reader(JSON.stringify(value) ?? '', id);
  } catch (error) {
    throw corrupt(`${what} ${id}: ${(error as Error).message}`);
  }
}

function corrupt(what: string): ControlError {
  return new ControlError(
    'CORRUPT',
    `the remembered networks are not readable, ${what}: mend or remove them`,
  );
}
