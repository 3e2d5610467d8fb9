/**
 * Rules of nftables in a table of our own, the same one in the host and in the namespaces of gateways. A chain is
 * always written whole: flushed and filled in the same transaction, so that it is never half of something.
 */
import { isIPv6 } from 'node:net';

export const TABLE = 'inet packetweave';

/** Ports that are reached elsewhere: `count` from `from` on, at an address from the port `to` on. */
export interface Redirection {
  readonly protocol: 'tcp' | 'udp';
  readonly from: number;
  readonly count: number;
  /** Where it leads; its family is that of the packets. */
  readonly address: string;
  readonly to: number;
  /** Address that the packets were sent to; null for any of this machine. */
  readonly at: string | null;
}

/** Commands that make a chain anew. `hook` is what makes it a base chain. */
export function chain(name: string, hook: string | null, rules: readonly string[]): string[] {
  return [
    `add table ${TABLE}`,
    `add chain ${TABLE} ${name}${hook === null ? '' : ` { ${hook}; policy accept; }`}`,
    `flush chain ${TABLE} ${name}`,
    ...rules.map((rule) => `add rule ${TABLE} ${name} ${rule}`),
  ];
}

/**
 * Rules for redirections: one with a map for all of a kind, whose look-up costs the same for one port and for many.
 * A range that keeps its ports is one element of the map. Those at one address come before those at any.
 */
export function redirections(all: readonly Redirection[]): string[] {
  const kinds = new Map<string, { rule: string; elements: string[] }>();
  const ordered = [...all.filter(({ at }) => at !== null), ...all.filter(({ at }) => at === null)];
  for (const redirection of ordered) {
    const rule = ruleOf(redirection);
    // The elements of one map have one type.
    const kind = `${rule} ${keeps(redirection)}`;
    if (!kinds.has(kind)) kinds.set(kind, { rule, elements: [] });
    kinds.get(kind)!.elements.push(...elementsOf(redirection));
  }
  return [...kinds.values()].map(({ rule, elements }) => `${rule} map { ${elements.join(', ')} }`);
}

function ruleOf({ protocol, address, at }: Redirection): string {
  const family = isIPv6(address) ? 'ip6' : 'ip';
  const match = at === null ? `meta nfproto ${family === 'ip' ? 'ipv4' : 'ipv6'}` : `${family} daddr ${at}`;
  return `${match} dnat ${family} to ${protocol} dport`;
}

/** Whether the port stays what it is. */
function keeps({ from, to }: Redirection): boolean {
  return from === to;
}

function elementsOf(redirection: Redirection): string[] {
  const { from, to, count, address } = redirection;
  if (keeps(redirection)) return [`${from}${count > 1 ? `-${from + count - 1}` : ''} : ${address}`];
  return Array.from({ length: count }, (_, i) => `${from + i} : ${address} . ${to + i}`);
}
