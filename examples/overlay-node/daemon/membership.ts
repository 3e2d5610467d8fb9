/** What a node remembers of the cluster that it is in, in the state folder. */
import { ControlError } from '../control/errors.ts';
import type { StateFolder } from './state.ts';

/** Where the store is. */
export type StorePlace =
  /** This node carries it. */
  | { readonly kind: 'embedded' }
  /** Another node carries it. */
  | { readonly kind: 'served'; readonly host: string; readonly port: number; readonly key: string }
  | { readonly kind: 'etcd'; readonly url: string };

export interface Membership {
  /** Id of this node, 12 hexadecimal digits. */
  readonly node: string;
  /** Id of the cluster. */
  readonly cluster: string;
  /** What all nodes share, in base64: what is encrypted is encrypted by it. It never leaves them. */
  readonly secret: string;
  readonly store: StorePlace;
  /** What the keys of the other nodes are made of, in base64, where this node carries the embedded store or did before
   * the cluster moved: others still ask it where to. */
  readonly master: string | null;
  /** Address or interface that `init` was told to advertise, if it was. */
  readonly advertise?: string;
  /** ISO 8601. */
  readonly joined: string;
}

const NAME = 'node';

/** Null before init or join. Rejects with `CORRUPT` where the file is not what was written. */
export async function readMembership(state: StateFolder): Promise<Membership | null> {
  const record = await state.read<Membership>(NAME);
  if (record === null && !(await state.has(`${NAME}.json`))) return null;
  const { node, cluster, secret, store } = record ?? {};
  if ([node, cluster, secret].every(isText) && isPlace(store)) return record;
  throw new ControlError(
    'CORRUPT',
    `${state.path}/${NAME}.json is not what this program wrote: mend it, or remove it and join again`,
  );
}

export function writeMembership(state: StateFolder, record: Membership): Promise<void> {
  return state.write(NAME, record);
}

export function forgetMembership(state: StateFolder): Promise<void> {
  return state.remove(NAME);
}

const isText = (value: unknown) => typeof value === 'string' && value !== '';

function isPlace(store: StorePlace | undefined): boolean {
  switch (store?.kind) {
    case 'embedded':
      return true;
    case 'etcd':
      return isText(store.url);
    case 'served':
      return isText(store.host) && isText(store.key) && Number.isInteger(store.port);
    default:
      return false;
  }
}
