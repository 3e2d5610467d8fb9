/**
 * Gives an endpoint its addresses: one key for each, written only where it is absent, in one transaction with the
 * endpoint's record. So no two have one address whoever dies when, and no address is kept without an endpoint.
 */
import { randomBytes } from 'node:crypto';
import type { Random } from 'packetweave';
import { type Choice, choose, claimsOf, cursorOf } from './choose.ts';
import { cidr } from './cidr.ts';
import { commit } from './commit.ts';
import { ControlError } from './errors.ts';
import { fullMessage, macOf, nextAddresses } from './ipam.ts';
import type { Endpoint, Network } from './model.ts';
import { type Found, notFound } from './networks.ts';
import { type Claim, isId, keyOf, readClaim } from './records.ts';
import type { WantedEndpoint } from './requests.ts';
import type { Condition, Operation, Store } from './store/store.ts';

/** Attempts after which it is asked what is taken: most often another was faster, and what is next is told by the cursor. */
const BLIND = 3;
/** Of how many free addresses one is drawn at the most, after others were faster. */
const SPREAD = 64;

export interface AllocateOptions {
  readonly store: Store;
  readonly node: string;
  /** Of the node's record, 0 where that is not known. */
  readonly nodeRevision: number;
  readonly found: Found;
  readonly wanted: WantedEndpoint;
  readonly id: string;
  readonly random: Random;
}

/** What is taken, as far as it is known. */
interface State {
  revision: number;
  nodeRevision: number;
  cursor: Readonly<Record<string, string>>;
  /** By address; null before it was asked for: in turn it is seldom needed. */
  claims: ReadonlyMap<string, Claim> | null;
}

export function newId(): string {
  return randomBytes(32).toString('hex');
}

/** Writes the endpoint; rejects with `CONFLICT`, `FULL`, `NOT_FOUND` (the network is gone), `NOT_JOINED` (the node is),
 * or `AWAY`, and then it may be there all the same. */
export async function allocate(options: AllocateOptions): Promise<Endpoint> {
  const { store, found, node, wanted } = options;
  const { network } = found;
  const choice: Choice = { network, wanted, id: options.id, node, random: options.random };
  const state: State = {
    revision: found.revision,
    nodeRevision: options.nodeRevision,
    cursor: await readCursor(store, network.id),
    claims: null,
  };
  const asked = [wanted.ip, wanted.ip6, wanted.mac].some((address) => address !== null);
  let collected = false;
  for (let attempt = 0; ; attempt++) {
    const spread = Math.min(SPREAD, 2 ** attempt);
    const endpoint = choose(choice, state, spread);
    if (endpoint === null) {
      // Before it is called full: what has no endpoint is free.
      if (state.claims !== null) {
        if (collected || !(await collect(store, network.id, state.claims)))
          throw full(network, wanted, state);
        collected = true;
      }
    } else if (await write(store, endpoint, state, network)) return endpoint;
    await refresh(store, state, network, node);
    if (endpoint === null || asked || attempt + 1 >= BLIND)
      state.claims = await listClaims(store, network.id);
  }
}

/** Operations and conditions of an endpoint's record, its addresses, and its place at its node. */
export function putEndpoint(endpoint: Endpoint): { conditions: Condition[]; operations: Operation[] } {
  const { id, network, node } = endpoint;
  const claim = JSON.stringify({ endpoint: id, node } satisfies Claim);
  const claims = claimsOf(endpoint).map((address) => keyOf.claim(network, address));
  const key = keyOf.endpoint(network, id);
  return {
    conditions: [key, ...claims].map((key) => ({ key, revision: 0 })),
    operations: [
      { type: 'put', key, value: JSON.stringify(endpoint) },
      { type: 'put', key: keyOf.on(node, id), value: network },
      ...claims.map((key) => ({ type: 'put' as const, key, value: claim })),
    ],
  };
}

async function write(store: Store, endpoint: Endpoint, state: State, network: Network): Promise<boolean> {
  const { conditions, operations } = putEndpoint(endpoint);
  conditions.push({ key: keyOf.network(network.id), revision: state.revision });
  conditions.push({ key: keyOf.node(endpoint.node), revision: state.nodeRevision });
  const value = JSON.stringify({ ...state.cursor, ...cursorOf(endpoint, network) });
  operations.push({ type: 'put', key: keyOf.cursor(network.id), value });
  return commit(store, conditions, operations, async () => {
    const entry = await store.get(keyOf.endpoint(network.id, endpoint.id));
    return entry?.value === JSON.stringify(endpoint);
  });
}

/** Finds out why a transaction was refused. */
async function refresh(store: Store, state: State, network: Network, node: string): Promise<void> {
  const [networkEntry, nodeEntry, cursor] = await Promise.all([
    store.get(keyOf.network(network.id)),
    store.get(keyOf.node(node)),
    readCursor(store, network.id),
  ]);
  if (networkEntry === null) throw notFound(network.name);
  if (nodeEntry === null) throw removedNode(node);
  state.revision = networkEntry.revision;
  state.nodeRevision = nodeEntry.revision;
  state.cursor = cursor;
}

async function listClaims(store: Store, network: string): Promise<Map<string, Claim>> {
  const { entries } = await store.list(`addresses/${network}/`);
  return new Map(entries.map(({ key, value }) => [key.slice(key.lastIndexOf('/') + 1), claimOf(value, key)]));
}

/** Frees the addresses of a network that no endpoint has; whether there were any. */
async function collect(store: Store, network: string, claims: ReadonlyMap<string, Claim>): Promise<boolean> {
  const { entries } = await store.list(`endpoints/${network}/`);
  const living = new Set(entries.map(({ key }) => key.slice(key.lastIndexOf('/') + 1)));
  let freed = false;
  for (const [address, { endpoint }] of claims) {
    if (living.has(endpoint)) continue;
    const key = keyOf.claim(network, address);
    const entry = await store.get(key);
    if (entry === null || claimOf(entry.value, key).endpoint !== endpoint) continue;
    const conditions = [{ key, revision: entry.revision }];
    // A node may just be putting it back.
    if (isId(endpoint)) conditions.push({ key: keyOf.endpoint(network, endpoint), revision: 0 });
    const { done } = await store.compareAndSet(conditions, [{ type: 'delete', key }]);
    freed ||= done;
  }
  return freed;
}

/** A claim that is not readable is nobody's, though the address is kept. */
function claimOf(value: string, key: string): Claim {
  try {
    return readClaim(value, key);
  } catch {
    return { endpoint: '', node: '' };
  }
}

async function readCursor(store: Store, network: string): Promise<Readonly<Record<string, string>>> {
  try {
    const cursor: unknown = JSON.parse((await store.get(keyOf.cursor(network)))?.value ?? '{}');
    return typeof cursor === 'object' && cursor !== null ? (cursor as Record<string, string>) : {};
  } catch (error) {
    if (error instanceof ControlError) throw error;
    return {};
  }
}

export function removedNode(node: string): ControlError {
  const advice = 'say "packetweave leave" here and join again';
  return new ControlError('NOT_JOINED', `node ${node} was removed from the cluster: ${advice}`);
}

function full(network: Network, wanted: WantedEndpoint, state: State): ControlError {
  const used = (address: string) => state.claims!.has(address) || state.claims!.has(macOf(address));
  const none4 = network.subnets.every(
    (subnet) => cidr(subnet.cidr).family === 6 || nextAddresses(subnet, null, used, 1).length === 0,
  );
  return new ControlError('FULL', fullMessage(network, none4 && wanted.ip === null ? 4 : 6));
}
