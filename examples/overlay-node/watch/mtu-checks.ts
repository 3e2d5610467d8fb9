/** Whether packets of the size that this node sends reach the other nodes. */
import type { Check } from '../api/api.ts';
import type { NodeState } from '../control/model.ts';
import { check } from './host-checks.ts';
import { type MtuFound, probeMtu } from './mtu.ts';

export interface MtuChecksOptions {
  readonly peers: readonly Pick<NodeState, 'name' | 'address'>[];
  /** Address of this node. */
  readonly from: string;
  /** Largest IP packet that this node sends to others, in bytes. */
  readonly mtu: number;
  /** Namespace that is measured from; null for this one. */
  readonly namespace: string | null;
}

/** Nodes that are measured at once. */
const MOST = 32;

/** One for all nodes that packets reach, and one for each other. */
export async function mtuChecks({ peers, from, mtu, namespace }: MtuChecksOptions): Promise<Check[]> {
  const some = peers.slice(0, MOST);
  const results = await Promise.all(some.map(({ address }) => probeMtu({ address, from, mtu, namespace })));
  const checks: Check[] = [];
  const fit = results.filter(({ kind }) => kind === 'fits').length;
  const rest = peers.length > MOST ? `; ${peers.length - MOST} more were not measured` : '';
  if (fit > 0) {
    checks.push(
      check('mtu', true, `packets of ${mtu} bytes reach ${fit} of ${peers.length} nodes${rest}`, ''),
    );
  }
  for (const [i, result] of results.entries())
    if (result.kind !== 'fits') checks.push(say(some[i], mtu, result));
  return checks;
}

function say(
  { name, address }: Pick<NodeState, 'name' | 'address'>,
  mtu: number,
  result: Exclude<MtuFound, { kind: 'fits' }>,
): Check {
  const node = `${name} (${address})`;
  // Who does not answer pings may still take tunnels.
  if (result.kind === 'unknown') return check('mtu', true, `not measured to ${node}: ${result.why}`, '');
  const found = `packets of ${mtu} bytes do not reach ${node}: the way has room for ${result.mtu}`;
  const advice = `raise the MTU on the way, or give "up" --mtu ${result.mtu} on every node`;
  return check('mtu', false, found, advice);
}
