/** Takes endpoints out of the store, with their addresses. */
import { claimsOf } from './choose.ts';
import { commit } from './commit.ts';
import type { Endpoint } from './model.ts';
import { isId, keyOf, readEndpoint } from './records.ts';
import type { Store } from './store/store.ts';

/** Deletes an endpoint's records in one transaction; nothing where they are gone. Rejects with `AWAY`. */
export async function releaseEndpoint(store: Store, endpoint: Endpoint): Promise<void> {
  const { id, network, node } = endpoint;
  const key = keyOf.endpoint(network, id);
  const keys = [
    key,
    keyOf.on(node, id),
    ...claimsOf(endpoint).map((address) => keyOf.claim(network, address)),
  ];
  for (;;) {
    const entry = await store.get(key);
    if (entry === null) {
      // The addresses may be another's by now: they went away in the same transaction as the record.
      await store.delete(keyOf.on(node, id));
      return;
    }
    const done = await commit(
      store,
      [{ key, revision: entry.revision }],
      keys.map((key) => ({ type: 'delete', key })),
      async () => (await store.get(key)) === null,
    );
    if (done) return;
  }
}

/** The same for what a node's list names, readable or not. */
export async function releaseAll(store: Store, node: string, id: string, network: string): Promise<void> {
  // A list that names what cannot be, or what is another node's, is wrong: only its entry goes.
  const entry = isId(network) && isId(id) ? await store.get(keyOf.endpoint(network, id)) : null;
  let endpoint: Endpoint | null = null;
  try {
    if (entry !== null) endpoint = readEndpoint(network)(entry.value, id);
  } catch {
    // Its addresses are collected when the network is full.
    await store.delete(entry!.key);
  }
  if (endpoint?.node !== node) await store.delete(keyOf.on(node, id));
  else await releaseEndpoint(store, endpoint);
}
