/** The records of nodes: written at init and join, removed with all that hangs on them. */
import { removedNode } from './allocate.ts';
import { ControlError } from './errors.ts';
import type { Node } from './model.ts';
import { keyOf, readNode } from './records.ts';
import { releaseAll } from './release.ts';
import type { Store } from './store/store.ts';

/** Writes down who a node is, if that is not there already. Where it is not `joining` and the record is gone somebody
 * removed the node: rejects with `NOT_JOINED`. */
export async function writeNode(store: Store, node: Node, joining: boolean): Promise<void> {
  const key = keyOf.node(node.id);
  const value = JSON.stringify(node);
  for (;;) {
    const entry = await store.get(key);
    if (entry === null && !joining) throw removedNode(node.id);
    if (entry?.value === value) return;
    const condition = { key, revision: entry?.revision ?? 0 };
    if ((await store.compareAndSet([condition], [{ type: 'put', key, value }])).done) return;
  }
}

/** By id, the beginning of one, or name. */
async function findNode(store: Store, which: string): Promise<{ id: string; name: string }> {
  const { entries } = await store.list('nodes/');
  const nodes = entries.map(({ key, value }) => {
    const id = key.slice('nodes/'.length);
    try {
      return readNode(value, id);
    } catch {
      return { id, name: '' };
    }
  });
  const exact = nodes.find(({ id }) => id === which);
  if (exact !== undefined) return exact;
  const some = which === '' ? [] : nodes.filter(({ id, name }) => name === which || id.startsWith(which));
  if (some.length === 1) return some[0]!;
  // A removal that was interrupted behind the node's record.
  const rest = /^[0-9a-f]{12}$/.test(which) && (await store.list(`on/${which}/`)).entries.length > 0;
  if (rest) return { id: which, name: '' };
  if (some.length === 0) throw new ControlError('NOT_FOUND', `node ${which} not found`);
  throw new ControlError('CONFLICT', `node ${which} is ambiguous (${some.length} matches found)`);
}

/** Removes a node, its endpoints and addresses. Rejects with `NOT_FOUND`, or `CONFLICT` where it lives, unless forced.
 * What was interrupted is done by doing it again. */
export async function removeNode(store: Store, which: string, force: boolean): Promise<void> {
  const { id } = await findNode(store, which);
  if (!force && (await store.get(keyOf.alive(id))) !== null) {
    throw new ControlError(
      'CONFLICT',
      `node ${id} is not down and can't be removed: say "leave" there, or --force`,
    );
  }
  await releaseOf(store, id);
  await store.delete(keyOf.keys(id));
  await store.delete(keyOf.alive(id));
  await store.delete(keyOf.node(id));
  // What it attached meanwhile: nothing comes behind the end of its record.
  await releaseOf(store, id);
}

async function releaseOf(store: Store, node: string): Promise<void> {
  const prefix = `on/${node}/`;
  const { entries } = await store.list(prefix);
  for (const { key, value } of entries) await releaseAll(store, node, key.slice(prefix.length), value);
}
