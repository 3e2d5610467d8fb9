/** A place on this host where endpoints are: a network namespace, and what is in it. */

/** How a TAP device of an endpoint is to look inside its namespace. The device itself is made by the dataplane. */
export interface Interface {
  /** Name of the device, such as `eth0`. */
  readonly device: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
  readonly mac: string;
  readonly mtu: number;
  /** Subnets of the network beyond the interface's own: reached on the link. */
  readonly onLink: readonly string[];
  /** Default gateways, IPv4 and IPv6, or none. */
  readonly gateways: readonly string[];
}

/** What is in a namespace's /etc. */
export interface Files {
  /** Addresses of name servers. */
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
  readonly hostname: string;
  /** Address and names, beside those of localhost. */
  readonly hosts: readonly { readonly address: string; readonly names: readonly string[] }[];
}
