/** What an overlay is made of, as every part of the node speaks of it and as it lies in the store: plain data. */

/** A host of the overlay. */
export interface Node {
  /** 12 hexadecimal digits, chosen when the host joined. */
  readonly id: string;
  /** The host's name, for people; not unique. */
  readonly name: string;
  /** Address that the other hosts send tunnels to. */
  readonly address: string;
  /** UDP port of VXLAN. */
  readonly dataPort: number;
  /** UDP port of ESP. */
  readonly espPort: number;
  /** Largest IP packet that its underlay carries, in bytes. */
  readonly mtu: number;
  /** Version of the program. */
  readonly version: string;
  /** When it joined, ISO 8601. */
  readonly joined: string;
}

/** A node, and whether it is heard of: a dead node's endpoints are withdrawn, not forgotten. */
export interface NodeState extends Node {
  readonly alive: boolean;
}

export interface Subnet {
  /** Such as `10.0.1.0/24` or `fd00:1::/64`. */
  readonly cidr: string;
  /** The part that addresses are given from; null for all of it. */
  readonly range: string | null;
  /** An address of the subnet, without length. */
  readonly gateway: string;
  /** Addresses that are kept for somebody else, by name. */
  readonly auxiliary: Readonly<Record<string, string>>;
}

export interface Network {
  /** 64 hexadecimal digits, as Docker's. */
  readonly id: string;
  readonly name: string;
  /** ISO 8601. */
  readonly created: string;
  readonly vni: number;
  /** At least one of IPv4. */
  readonly subnets: readonly Subnet[];
  readonly ipv6: boolean;
  /** No way out of the overlay: no published port on the host, no forwarded name. */
  readonly internal: boolean;
  /** Whether commands and containers may attach by hand. */
  readonly attachable: boolean;
  readonly encrypted: boolean;
  /** Largest IP packet inside, in bytes; null for what every underlay has room for. */
  readonly mtu: number | null;
  readonly labels: Readonly<Record<string, string>>;
  /** `--opt` as they were given. */
  readonly options: Readonly<Record<string, string>>;
}

/** Label of networks and endpoints that somebody beside this program's own containers made: who. */
export const OWNER = 'packetweave.owner';

export type Protocol = 'tcp' | 'udp' | 'sctp';

/** `count` ports from `port` on, each reached as the one from `published` on. */
export interface PublishedPort {
  readonly protocol: Protocol;
  /** First port that others use. */
  readonly published: number;
  /** First port of the endpoint itself. */
  readonly port: number;
  /** How many, at least 1. */
  readonly count: number;
  /** Address of the host that it is published on; null for all. */
  readonly hostAddress: string | null;
}

/** One attachment to one network. */
export interface Endpoint {
  /** 64 hexadecimal digits. Its short id is the first 12 of `container`. */
  readonly id: string;
  /** Id of the network. */
  readonly network: string;
  /** Id of the node that it is on. */
  readonly node: string;
  /** What has the attachment: a run command, a Docker container, an attached namespace. Those of one container share
   * this id, 64 hexadecimal digits. */
  readonly container: string;
  /** Name of the container. */
  readonly name: string;
  readonly aliases: readonly string[];
  readonly hostname: string;
  /** Such as `02:42:0a:00:01:02`. */
  readonly mac: string;
  /** With prefix length, IPv4 first: `10.0.1.2/24`. */
  readonly addresses: readonly string[];
  readonly ports: readonly PublishedPort[];
  readonly labels: Readonly<Record<string, string>>;
}

/** What somebody asks for when a network is to be made; what is absent is chosen. */
export interface NetworkRequest {
  readonly name: string;
  readonly driver?: string;
  readonly attachable?: boolean;
  readonly internal?: boolean;
  readonly ipv6?: boolean;
  /** In the order of the command line; the first range and the first gateway of a subnet's family belong to it. */
  readonly subnets?: readonly string[];
  readonly ranges?: readonly string[];
  readonly gateways?: readonly string[];
  /** `name=address`. */
  readonly auxiliary?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** `encrypted` (its presence alone counts, as in Docker, unless the value is "false"), `mtu`, `vni`,
   * `com.docker.network.driver.mtu`, `com.docker.network.driver.overlay.vxlanid_list`. */
  readonly options?: Readonly<Record<string, string>>;
}

/** What may change of an endpoint while it is attached; what is absent stays. */
export interface EndpointChange {
  /** 64 hexadecimal digits. */
  readonly container?: string;
  readonly name?: string;
  readonly aliases?: readonly string[];
  readonly hostname?: string;
  readonly ports?: readonly PublishedPort[];
}

/** What somebody asks for when something is to be attached; what is absent is chosen. */
export interface EndpointRequest {
  /** Name or id of the network, or the beginning of its id. */
  readonly network: string;
  /** 64 hexadecimal digits. */
  readonly container: string;
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly hostname?: string;
  readonly ip?: string;
  readonly ip6?: string;
  readonly mac?: string;
  readonly ports?: readonly PublishedPort[];
  readonly labels?: Readonly<Record<string, string>>;
  /** True for services of the daemon itself: they may attach to networks that are not attachable. */
  readonly service?: boolean;
}
