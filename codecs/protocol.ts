/** IP protocol numbers (IANA "Assigned Internet Protocol Numbers"); IPv6 names its next headers by the same. */

/** As a next header: hop-by-hop options (RFC 8200 section 4.3). */
export const HOP_BY_HOP = 0;
export const ICMP = 1;
export const IGMP = 2;
export const IPIP = 4;
export const TCP = 6;
export const UDP = 17;
export const IPV6 = 41;
/** Routing header (RFC 8200 section 4.4). */
export const ROUTING = 43;
/** Fragment header (RFC 8200 section 4.5). */
export const FRAGMENT = 44;
export const GRE = 47;
export const ESP = 50;
/** Authentication header (RFC 4302). */
export const AH = 51;
export const ICMPV6 = 58;
/** Nothing follows (RFC 8200 section 4.7). */
export const NO_NEXT_HEADER = 59;
/** Destination options (RFC 8200 section 4.6). */
export const DESTINATION_OPTIONS = 60;
export const SCTP = 132;

const NAMES: Record<number, string> = {
  [HOP_BY_HOP]: 'Options',
  [ICMP]: 'ICMP',
  [IGMP]: 'IGMP',
  [IPIP]: 'IPIP',
  [TCP]: 'TCP',
  [UDP]: 'UDP',
  [IPV6]: 'IPv6',
  [ROUTING]: 'Routing',
  [FRAGMENT]: 'Fragment',
  [GRE]: 'GRE',
  [ESP]: 'ESP',
  [AH]: 'AH',
  [ICMPV6]: 'ICMPv6',
  [NO_NEXT_HEADER]: 'no next header',
  [DESTINATION_OPTIONS]: 'DSTOPT',
  [SCTP]: 'SCTP',
};

/** `UDP (17)`, as `tcpdump -v` prints it. */
export function format(protocol: number): string {
  return `${NAMES[protocol] ?? 'unknown'} (${protocol})`;
}
