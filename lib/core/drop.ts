/**
 * Why packets die. One list: the number is the error, the counter's index, the metric's label and the word
 * in the trace. A packet is never refused by an exception and never logged one by one.
 */

/** A small integer: an index into {@link DROPS}. */
export type Drop = number;

/** Name (the metric's label) and sentence of every reason, in the order of their numbers. */
export const DROPS: readonly { readonly name: string; readonly text: string }[] = [
  { name: 'not-connected', text: 'the output leads nowhere' },
  { name: 'pool-dry', text: 'no packet was free to copy or receive into' },
  { name: 'malformed', text: 'a header is short, truncated or contradicts itself' },
  { name: 'too-big', text: 'the frame is larger than what the way out can carry' },
  { name: 'no-destination', text: 'the destination is unknown and nothing may be flooded there' },
  { name: 'same-port', text: 'the destination is where the frame came from' },
  { name: 'split-horizon', text: 'a frame from one tunnel endpoint may not go to another' },
  { name: 'reserved-multicast', text: 'a bridge does not forward 01:80:c2:00:00:00 to :0f' },
  { name: 'group-source', text: 'the source address is a multicast or broadcast address' },
  { name: 'fdb-frozen', text: 'the address moves between ports too often and is held where it was' },
  { name: 'spoofed-mac', text: 'the source MAC address is not one of the port' },
  { name: 'spoofed-address', text: 'the source IP address is not one of the port' },
  { name: 'rate-limited', text: 'the port sent more broadcast, multicast or unknown frames than its limit' },
  { name: 'queue-full', text: 'the queue has no room' },
  { name: 'closed', text: 'the port or the element was closed' },
  { name: 'not-ip', text: 'the outer packet is neither IPv4 nor IPv6' },
  { name: 'not-for-us', text: 'the outer packet is for another address, protocol or port' },
  { name: 'outer-fragment', text: 'the outer packet is a fragment' },
  { name: 'outer-checksum', text: 'the outer IPv4 or UDP checksum is wrong' },
  { name: 'zero-checksum', text: 'the outer UDP datagram over IPv6 carries no checksum' },
  { name: 'not-vxlan', text: 'the VXLAN header has no valid VNI, or is VXLAN-GPE' },
  { name: 'reserved-bits', text: 'reserved bits of the VXLAN header are set' },
  { name: 'unknown-vni', text: 'no network has this VNI' },
  { name: 'unknown-peer', text: 'the tunnel endpoint is not one of the network' },
  { name: 'inner-vlan', text: 'the inner frame carries a VLAN tag' },
  { name: 'ecn', text: 'the outer header says congestion experienced, the inner transport knows no ECN' },
  { name: 'no-remotes', text: 'the network has no remote tunnel endpoint' },
  { name: 'port-full', text: 'the port could not take more' },
  { name: 'port-error', text: 'the operating system refused to send' },
  { name: 'fault-injected', text: 'dropped on purpose by fault injection' },
  { name: 'clear-text', text: 'a frame of an encrypted network came in clear' },
  { name: 'no-sa', text: 'there is no key for the tunnel endpoint yet' },
  { name: 'sequence-exhausted', text: 'the sequence numbers of the key are used up' },
  { name: 'unknown-spi', text: 'no security association with the endpoint has this SPI' },
  { name: 'bad-icv', text: 'the integrity check value is wrong' },
  { name: 'replayed', text: 'the sequence number was received before' },
  { name: 'too-old', text: 'the sequence number is left of the replay window' },
  { name: 'bad-trailer', text: 'padding, next header or what was sealed is not what ESP carries here' },
  {
    name: 'not-owner',
    text: 'the source address is declared to be elsewhere than behind this tunnel endpoint',
  },
  { name: 'forged', text: 'the message was not made by a host that knows the secret' },
  { name: 'flows-full', text: 'no more flows by published ports can be told apart: the table is full' },
  {
    name: 'published-fragment',
    text: 'a fragment of a flow by a published port lacks what has to be changed',
  },
  { name: 'sctp-checksum', text: 'the checksum of an SCTP packet for or from a published port is wrong' },
];

const byName = new Map(DROPS.map(({ name }, i) => [name, i]));
const reason = (name: string): Drop => byName.get(name)!;

export const NOT_CONNECTED = reason('not-connected');
export const POOL_DRY = reason('pool-dry');
export const MALFORMED = reason('malformed');
export const TOO_BIG = reason('too-big');
export const NO_DESTINATION = reason('no-destination');
export const SAME_PORT = reason('same-port');
export const SPLIT_HORIZON = reason('split-horizon');
export const RESERVED_MULTICAST = reason('reserved-multicast');
export const GROUP_SOURCE = reason('group-source');
export const FDB_FROZEN = reason('fdb-frozen');
export const SPOOFED_MAC = reason('spoofed-mac');
export const SPOOFED_ADDRESS = reason('spoofed-address');
export const RATE_LIMITED = reason('rate-limited');
export const QUEUE_FULL = reason('queue-full');
export const CLOSED = reason('closed');
export const NOT_IP = reason('not-ip');
export const NOT_FOR_US = reason('not-for-us');
export const OUTER_FRAGMENT = reason('outer-fragment');
export const OUTER_CHECKSUM = reason('outer-checksum');
export const ZERO_CHECKSUM = reason('zero-checksum');
export const NOT_VXLAN = reason('not-vxlan');
export const RESERVED_BITS = reason('reserved-bits');
export const UNKNOWN_VNI = reason('unknown-vni');
export const UNKNOWN_PEER = reason('unknown-peer');
export const INNER_VLAN = reason('inner-vlan');
export const ECN = reason('ecn');
export const NO_REMOTES = reason('no-remotes');
export const PORT_FULL = reason('port-full');
export const PORT_ERROR = reason('port-error');
export const FAULT_INJECTED = reason('fault-injected');
export const CLEAR_TEXT = reason('clear-text');
export const NO_SA = reason('no-sa');
export const SEQUENCE_EXHAUSTED = reason('sequence-exhausted');
export const UNKNOWN_SPI = reason('unknown-spi');
export const BAD_ICV = reason('bad-icv');
export const REPLAYED = reason('replayed');
export const TOO_OLD = reason('too-old');
export const BAD_TRAILER = reason('bad-trailer');
export const NOT_OWNER = reason('not-owner');
export const FORGED = reason('forged');
export const FLOWS_FULL = reason('flows-full');
export const PUBLISHED_FRAGMENT = reason('published-fragment');
export const SCTP_CHECKSUM = reason('sctp-checksum');
