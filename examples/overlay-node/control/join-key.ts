/** What lets a host into the cluster: a key in the store, which every member can show and change. */
import { randomBytes } from 'node:crypto';
import { ControlError } from './errors.ts';
import type { Store } from './store/store.ts';

export const TOKEN = 'token';

export interface JoinKey {
  /** 8 hexadecimal digits: another after each change. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Buffer;
}

export function readJoinKey(value: string): JoinKey {
  const { id, key } = JSON.parse(value) as { id: string; key: string };
  const bytes = Buffer.from(key, 'base64');
  if (typeof id === 'string' && /^[0-9a-f]{8}$/.test(id) && bytes.byteLength === 32)
    return { id, key: bytes };
  throw new ControlError('CORRUPT', `the store has a record that is not readable, ${TOKEN}`);
}

/** Rejects with `CORRUPT` where there is none that is readable. */
export async function currentJoinKey(store: Store): Promise<JoinKey> {
  const entry = await store.get(TOKEN);
  if (entry === null) throw new ControlError('CORRUPT', `the store at ${store.name} has no key to join with`);
  return readJoinKey(entry.value);
}

/** Makes another key; the former lets nobody in any more. */
export async function newJoinKey(store: Store): Promise<JoinKey> {
  const joinKey = { id: randomBytes(4).toString('hex'), key: randomBytes(32) };
  await store.put(TOKEN, JSON.stringify({ id: joinKey.id, key: joinKey.key.toString('base64') }));
  return joinKey;
}
