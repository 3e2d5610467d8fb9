/**
 * Link types of captures: what the first header of a recorded frame is. The numbers are the LINKTYPE values
 * of pcap and pcapng files (draft-ietf-opsawg-pcaplinktype), which differ from libpcap's DLT values for raw IP.
 */

/** Ethernet without FCS. */
export const ETHERNET = 1;
/** IPv4 or IPv6, told apart by the version. */
export const RAW = 101;
/** Linux "cooked" header, version 1: what tcpdump records on interface `any`. */
export const LINUX_SLL = 113;
export const IPV4 = 228;
export const IPV6 = 229;
/** Linux "cooked" header, version 2. */
export const LINUX_SLL2 = 276;

const NAMES: Record<number, string> = {
  [ETHERNET]: 'Ethernet',
  [RAW]: 'raw IP',
  [LINUX_SLL]: 'Linux cooked v1',
  [IPV4]: 'raw IPv4',
  [IPV6]: 'raw IPv6',
  [LINUX_SLL2]: 'Linux cooked v2',
};

/** `Ethernet`, or `link type 147` where the number is none of the above. */
export function format(linkType: number): string {
  return NAMES[linkType] ?? `link type ${linkType}`;
}
