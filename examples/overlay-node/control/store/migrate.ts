/**
 * Carries a cluster over to another store. While it goes on nobody may change the old one (see Gate), and the new one has
 * a record `copying` and no `cluster`, which comes with the last transaction: no node takes a half copy for the cluster. A
 * copy that was interrupted is taken up where it stopped when it is called again.
 */
import { randomBytes } from 'node:crypto';
import { commit } from '../commit.ts';
import { ControlError } from '../errors.ts';
import { CLUSTER } from '../records.ts';
import type { Condition, Entry, Operation, Store } from './store.ts';

/** Key of the record in the old store that says where the cluster has gone; put when all is copied. */
export const MOVED = 'moved';
/** Key of the record in the new store that says whose copy is under way there. */
const COPYING = 'copying';

/** Operations of one transaction: two conditions come to them. */
const maxOperations = 126;
/** Bytes of keys and values of one transaction, but for one entry that is larger by itself. */
const maxBytes = 512 << 10;

/** What hangs on leases: the nodes put it anew. */
export const leased = (key: string): boolean => key.startsWith('alive/');

/** Value of the record `moved`. `to` is the URL of the new store. */
export function movedRecord(to: string): string {
  return JSON.stringify({ to });
}

/** Where a cluster has gone. Throws a ControlError `CORRUPT`. */
export function readMoved(value: string): { readonly to: string } {
  try {
    const { to } = JSON.parse(value) as { to?: unknown };
    if (typeof to === 'string') return { to };
  } catch {}
  throw new ControlError('CORRUPT', `the record "${MOVED}" of the store does not say where it has gone`);
}

/** Copies everything but what `skip` says; how many entries there are. Rejects with a ControlError: `CONFLICT` where the
 * new store carries a cluster or has something else in it, `NOT_JOINED` where the old one carries none, `AWAY`. */
export async function copyStore(from: Store, to: Store, skip: (key: string) => boolean): Promise<number> {
  const all = (await from.list('')).entries;
  const cluster = all.find(({ key }) => key === CLUSTER);
  if (cluster === undefined)
    throw new ControlError('NOT_JOINED', `the store at ${from.name} carries no cluster`);
  const left = (key: string) => key === CLUSTER || key === MOVED || key === COPYING || skip(key);
  const wanted = all.filter(({ key }) => !left(key));
  const conditions = await begin(to, cluster.value);
  const there = (await to.list('')).entries.filter(({ key }) => !left(key));
  for (const operations of batches(difference(wanted, there))) {
    await change(to, conditions, operations, async () => false);
  }
  const last: Operation[] = [
    { type: 'put', key: CLUSTER, value: cluster.value },
    { type: 'delete', key: COPYING },
  ];
  await change(to, conditions, last, async () => (await to.get(CLUSTER))?.value === cluster.value);
  return wanted.length + 1;
}

/** Makes the new store ours; what must hold as long as it is. */
async function begin(to: Store, cluster: string): Promise<Condition[]> {
  const { entries } = await to.list('');
  if (entries.some(({ key }) => key === CLUSTER)) {
    throw new ControlError('CONFLICT', `the store at ${to.name} carries a cluster already: empty it first`);
  }
  const before = entries.find(({ key }) => key === COPYING);
  if (before === undefined ? entries.length > 0 : !before.value.startsWith(cluster)) {
    const advice = 'empty it, or give another prefix';
    throw new ControlError('CONFLICT', `the store at ${to.name} has something else in it: ${advice}`);
  }
  const absent = { key: CLUSTER, revision: 0 };
  const free = { key: COPYING, revision: before?.revision ?? 0 };
  // Another at each beginning: of two who copy at once the former is told.
  const value = `${cluster} ${randomBytes(8).toString('hex')}`;
  const mine = async () => (await to.get(COPYING))?.value === value;
  await change(to, [absent, free], [{ type: 'put', key: COPYING, value }], mine);
  const record = await to.get(COPYING);
  if (record?.value !== value) throw disturbed(to);
  return [absent, { key: COPYING, revision: record.revision }];
}

async function change(
  to: Store,
  conditions: readonly Condition[],
  operations: readonly Operation[],
  made: () => Promise<boolean>,
): Promise<void> {
  if (await commit(to, conditions, operations, made)) return;
  throw disturbed(to);
}

function disturbed(to: Store): ControlError {
  return new ControlError('CONFLICT', `somebody else changes the store at ${to.name}: nothing was moved`);
}

/** What makes `there` the same as `wanted`. */
function difference(wanted: readonly Entry[], there: readonly Entry[]): Operation[] {
  const has = new Map(there.map(({ key, value }) => [key, value]));
  const wants = new Set(wanted.map(({ key }) => key));
  const puts = wanted.filter(({ key, value }) => has.get(key) !== value);
  const extra = there.filter(({ key }) => !wants.has(key));
  return [
    ...puts.map(({ key, value }) => ({ type: 'put' as const, key, value })),
    ...extra.map(({ key }) => ({ type: 'delete' as const, key })),
  ];
}

function* batches(operations: readonly Operation[]): Iterable<Operation[]> {
  let batch: Operation[] = [];
  let size = 0;
  for (const operation of operations) {
    const bytes = weight(operation);
    if (batch.length === maxOperations || (batch.length > 0 && size + bytes > maxBytes)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(operation);
    size += bytes;
  }
  if (batch.length > 0) yield batch;
}

function weight(operation: Operation): number {
  const value = operation.type === 'put' ? Buffer.byteLength(operation.value) : 0;
  return Buffer.byteLength(operation.key) + value;
}
