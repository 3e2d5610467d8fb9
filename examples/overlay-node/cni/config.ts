/** The network's configuration, as the runtime writes it to our standard input. */
import { BAD_CONFIG, CniError, NOT_JSON } from './errors.ts';
import { Fields } from './fields.ts';
import { checkVersion, type Version } from './versions.ts';

export interface Config {
  readonly version: Version;
  /** Name of the network, as the runtime knows it. */
  readonly name: string;
  /** Name or id of the overlay's network. */
  readonly network: string;
  /** Path of the daemon's control socket; null: the usual one. */
  readonly socket: string | null;
  /** Whether the default route leads here; null: where there is none yet. */
  readonly defaultRoute: boolean | null;
  /** Everything, for what one command alone looks at. */
  readonly fields: Fields;
}

/** Reads it. Throws NOT_JSON, INCOMPATIBLE or BAD_CONFIG. */
export function readConfig(text: string): Config {
  const fields = new Fields(parse(text));
  const version = checkVersion(fields.text('cniVersion'));
  const name = fields.text('name') ?? '';
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) {
    throw new CniError(BAD_CONFIG, `"name" expected letters, digits, ".", "_" or "-", got "${name}"`);
  }
  return {
    version,
    name,
    network: fields.text('network') ?? name,
    socket: fields.text('socket') ?? null,
    defaultRoute: fields.flag('isDefaultGateway') ?? null,
    fields,
  };
}

/** The version that somebody asked for, as far as that can be told; for answers to what is wrong otherwise. */
export function askedVersion(text: string): unknown {
  try {
    return (JSON.parse(text) as { cniVersion?: unknown } | null)?.cniVersion;
  } catch {
    return undefined;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const what = text.trim() === '' ? 'there is no configuration' : 'the configuration is not JSON';
    throw new CniError(NOT_JSON, `${what} on standard input`, (error as Error).message);
  }
}
