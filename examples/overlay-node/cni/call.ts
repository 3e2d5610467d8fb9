/** One call of the plugin, and what it speaks to. */
import { Client } from '../cli/client.ts';
import { DEFAULTS } from '../daemon/options.ts';
import type { Config } from './config.ts';
import type { Env, Place } from './place.ts';
import type { Result } from './result.ts';

export interface Call {
  readonly config: Config;
  readonly client: Client;
}

/** A call about one attachment. */
export interface PlacedCall extends Call {
  readonly place: Place;
}

/** What a command does; null: there is nothing to answer. */
export type Work<C extends Call> = (call: C) => Promise<Result | null>;

/** The daemon that a configuration or the environment names. With `patience`, in ms, one that answers later does not. */
export function clientOf({ socket }: Config, env: Env, patience: number | null): Client {
  return new Client(socket ?? env.PACKETWEAVE_SOCKET ?? DEFAULTS.socket, patience);
}
