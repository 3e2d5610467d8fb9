/**
 * Rules of nftables in a table of our own, the same one in the host and in the namespaces of gateways. A chain is
 * always written whole: flushed and filled in the same transaction, so that it is never half of something.
 *
 * Published ports are elements of maps, which come and go one by one (port-map.ts): what one costs is the same beside
 * one other and beside thousands, for a packet as for a change.
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

/** Where one port leads. */
export interface PortElement {
  /** One of {@link PORT_MAPS}. */
  readonly map: string;
  /** Protocol and port, after the address that the packets were sent to where it matters. */
  readonly key: string;
  /** Address and port. */
  readonly value: string;
}

const PORT = 'inet_proto . inet_service';

/** Those at one address are looked up before those at any. */
const KINDS = [
  { map: 'at4', type: `ipv4_addr . ${PORT} : ipv4_addr . inet_service`, key: 'ip daddr . ' },
  { map: 'at6', type: `ipv6_addr . ${PORT} : ipv6_addr . inet_service`, key: 'ip6 daddr . ' },
  { map: 'any4', type: `${PORT} : ipv4_addr . inet_service`, key: '' },
  { map: 'any6', type: `${PORT} : ipv6_addr . inet_service`, key: '' },
];

/** Maps of published ports: at one address and at any, of either family. */
export const PORT_MAPS: readonly string[] = KINDS.map(({ map }) => map);

/** Commands that make a chain anew. `hook` is what makes it a base chain. */
export function chain(name: string, hook: string | null, rules: readonly string[]): string[] {
  return [
    `add table ${TABLE}`,
    `add chain ${TABLE} ${name}${hook === null ? '' : ` { ${hook}; policy accept; }`}`,
    `flush chain ${TABLE} ${name}`,
    ...rules.map((rule) => `add rule ${TABLE} ${name} ${rule}`),
  ];
}

/** Commands that make the chain `ports` and its maps; what is in these stays. */
export function portRules(): string[] {
  const rules = KINDS.map(({ map, key }) => {
    const [family, nfproto] = map.endsWith('6') ? ['ip6', 'ipv6'] : ['ip', 'ipv4'];
    const match = `meta nfproto ${nfproto} meta l4proto { tcp, udp }`;
    return `${match} dnat ${family} to ${key}meta l4proto . th dport map @${map}`;
  });
  return [
    `add table ${TABLE}`,
    ...KINDS.map(({ map, type }) => `add map ${TABLE} ${map} { type ${type}; }`),
    ...chain('ports', null, rules),
  ];
}

/** One element for each port. */
export function portElements({ protocol, from, count, address, to, at }: Redirection): PortElement[] {
  const map = `${at === null ? 'any' : 'at'}${isIPv6(address) ? 6 : 4}`;
  const where = at === null ? '' : `${shortest(at)} . `;
  const leads = shortest(address);
  return Array.from({ length: count }, (_, i) => ({
    map,
    key: `${where}${protocol} . ${from + i}`,
    value: `${leads} . ${to + i}`,
  }));
}

/** An address as nft shows it (RFC 5952). */
function shortest(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}
