/**
 * What `dissect` finds in a frame: one layer a header, and what follows the last. The arrays are reused from
 * frame to frame.
 */
import { type Fault, OK } from './fault.ts';
import { PORT } from './vxlan.ts';

/** The most headers of one frame that are followed. */
export const MAX_LAYERS = 8;

/** A small integer: what a layer is. */
export type Kind = number;

/** No header: payload. */
export const NONE = 0;
export const ETHERNET = 1;
/** Linux cooked header, version 1. */
export const SLL = 2;
/** Linux cooked header, version 2. */
export const SLL2 = 3;
/** LLC, with SNAP where it is there. */
export const LLC = 4;
/** One VLAN tag: its TCI and the type behind it. */
export const VLAN = 5;
export const ARP = 6;
/** With options. */
export const IPV4 = 7;
/** With extension headers. */
export const IPV6 = 8;
export const UDP = 9;
/** With options. */
export const TCP = 10;
/** The common header; its payload is the chunks. */
export const SCTP = 11;
export const ICMP = 12;
/** With its first two words; neighbor discovery only where that is malformed. */
export const ICMPV6 = 13;
/** Neighbor discovery, an ICMPv6 message; its payload is the options. */
export const ND = 14;
export const VXLAN = 15;
/** On IP protocol 50 or UDP port 4500; its payload is encrypted. */
export const ESP = 16;
/** The marker of four zeros in front of an IKE message on UDP port 4500 (RFC 3948 section 2.2). */
export const IKE = 17;
/** A keepalive on UDP port 4500 (RFC 3948 section 2.3). */
export const KEEPALIVE = 18;

/** Names for people, by kind. */
export const KINDS: readonly string[] = [
  'payload',
  'ethernet',
  'sll',
  'sll2',
  'llc',
  'vlan',
  'arp',
  'ip',
  'ip6',
  'udp',
  'tcp',
  'sctp',
  'icmp',
  'icmp6',
  'nd',
  'vxlan',
  'esp',
  'isakmp',
  'nat-keep-alive',
];

export interface LayersOptions {
  /** UDP destination ports of VXLAN. Default 4789. */
  readonly vxlanPorts?: readonly number[];
}

/** What `dissect` found. One object serves for any number of frames. */
export class Layers {
  /** How many headers there are. The arrays hold what is older behind that. */
  count = 0;
  readonly kind = new Int32Array(MAX_LAYERS);
  /** Where each header starts. */
  readonly start = new Int32Array(MAX_LAYERS);
  /** Where what each header covers ends: its own payload included, padding excluded. */
  readonly end = new Int32Array(MAX_LAYERS);
  /** Where what follows the last header starts. */
  payload = 0;
  /** Where it ends. */
  payloadEnd = 0;
  /** Why the walk ended early, or TRUNCATED where a header claims more than there is, or OK. */
  fault: Fault = OK;
  /** The kind of header in which it is, {@link NONE} for a link type that is not known. */
  faultKind: Kind = NONE;
  /** Where that header starts. */
  faultAt = 0;
  /** Whether the innermost IP packet is a fragment. Only a first one has layers behind IP. */
  fragment = false;
  readonly vxlanPorts: readonly number[];

  /** Throws a RangeError for a port that is none. */
  constructor(options: LayersOptions = {}) {
    this.vxlanPorts = options.vxlanPorts ?? [PORT];
    for (const port of this.vxlanPorts) {
      if (Number.isInteger(port) && port >= 1 && port <= 65535) continue;
      throw new RangeError(`"vxlanPorts" expected integers 1..65535, got ${port}`);
    }
  }

  /** Index of the first layer of a kind from layer `from` on, or -1. */
  find(kind: Kind, from = 0): number {
    for (let i = from; i < this.count; i++) if (this.kind[i] === kind) return i;
    return -1;
  }
}
