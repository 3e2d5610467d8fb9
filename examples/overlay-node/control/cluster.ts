/** The record that says which cluster a store carries. */
import { randomBytes } from 'node:crypto';
import { ControlError } from './errors.ts';
import { CLUSTER, type Cluster, readCluster, SCHEMA } from './records.ts';
import type { Store } from './store/store.ts';

/** Makes a store carry a new cluster. Rejects with `CONFLICT` where it carries one. */
export async function createCluster(store: Store, created = new Date().toISOString()): Promise<Cluster> {
  const cluster: Cluster = { id: randomBytes(16).toString('hex'), schema: SCHEMA, created };
  const value = JSON.stringify(cluster);
  const { done } = await store.compareAndSet(
    [{ key: CLUSTER, revision: 0 }],
    [{ type: 'put', key: CLUSTER, value }],
  );
  if (!done) {
    const advice = 'join it, or give the store another prefix';
    throw new ControlError('CONFLICT', `the store at ${store.name} carries a cluster already: ${advice}`);
  }
  return cluster;
}

/** The cluster that a store carries. Rejects with `NOT_JOINED` where it carries none, `CORRUPT`, `VERSION`, `AWAY`.
 * With `expected`, an id, only that one will do. */
export async function findCluster(store: Store, expected: string | null = null): Promise<Cluster> {
  const entry = await store.get(CLUSTER);
  if (entry === null) throw new ControlError('NOT_JOINED', `the store at ${store.name} carries no cluster`);
  let cluster: Cluster;
  try {
    cluster = readCluster(entry.value, '');
  } catch (error) {
    if ((error as ControlError).code === 'VERSION') throw error;
    throw new ControlError('CORRUPT', `the store at ${store.name}, ${CLUSTER}: ${(error as Error).message}`);
  }
  if (expected === null || cluster.id === expected) return cluster;
  throw new ControlError('CONFLICT', `the store at ${store.name} carries another cluster, ${cluster.id}`);
}
