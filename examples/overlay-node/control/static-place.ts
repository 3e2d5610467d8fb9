/**
 * What hosts without a store have to agree on, found by each of them for itself: a network's id, VNI and subnets follow
 * from its name, a node's id and its part of every subnet from the addresses of the hosts.
 */
import { createHash } from 'node:crypto';
import { cidr, formatAddress, formatCidr, parseAddress } from './cidr.ts';
import { ControlError } from './errors.ts';
import { type Bounds, FIRST_VNI, given, place } from './ipam.ts';
import type { Network, Subnet } from './model.ts';
import { MAX_VNI } from './network-options.ts';
import type { WantedNetwork } from './requests.ts';
import { plainSubnet } from './subnets.ts';

/** /24s of 10.0.0.0/8 behind the first, which is no network's. */
const POOLS = 65_535;

/** Id of the node at an address of the underlay, the same on every host. */
export function nodeIdOf(address: string): string {
  return createHash('sha256').update(`packetweave node ${address}`).digest('hex').slice(0, 12);
}

/**
 * A network as every host makes it from the same request. From the SHA-256 of its name come what was not asked for: the
 * VNI (4097..16777215), a /24 of 10.0.0.0/8, a unique local /64 (RFC 4193). Throws `CONFLICT` where that clashes with
 * another network of this host: then it is to be given, the same on all hosts.
 */
export function derive(wanted: WantedNetwork, others: readonly Network[], created: string): Network {
  const hash = createHash('sha256').update(`packetweave network ${wanted.name}`).digest();
  const families = new Set(wanted.subnets.map((subnet) => cidr(subnet.cidr).family));
  const subnets = [...wanted.subnets];
  if (!families.has(4)) {
    const base = BigInt(10 * 2 ** 24 + 256 * (1 + (hash.readUInt32BE(4) % POOLS)));
    subnets.unshift(plainSubnet({ family: 4, base, length: 24 }));
  }
  if (wanted.ipv6 && !families.has(6)) {
    const base = BigInt(`0xfd${hash.toString('hex', 8, 13)}`) << 80n;
    subnets.push(plainSubnet({ family: 6, base, length: 64 }));
  }
  const vni = wanted.vni ?? FIRST_VNI + (hash.readUInt32BE(0) % (MAX_VNI - FIRST_VNI + 1));
  try {
    return {
      id: hash.toString('hex'),
      created,
      ...wanted,
      ...place({ ...wanted, vni, subnets }, others, 0),
    };
  } catch (error) {
    const advice =
      'without a store both follow from the name: give --subnet and --opt vni=, the same on all hosts';
    throw new ControlError('CONFLICT', `${(error as Error).message}; ${advice}`);
  }
}

/** Addresses of hosts in canonical form and in the order of their numbers, each once. Throws `INVALID`. */
export function inOrder(addresses: readonly string[]): string[] {
  const parsed = addresses.map((text) => {
    const address = parseAddress(text);
    if (address === null) throw new ControlError('INVALID', `"${text}" is no address of a host`);
    return address;
  });
  parsed.sort((a, b) => a.family - b.family || (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
  return [...new Set(parsed.map(formatAddress))];
}

/** The part of a subnet that the host of a `rank` gives addresses from: the whole is cut into as many parts of equal
 * size as there are hosts. A part is empty where there are more hosts than addresses. */
export function partOf(subnet: Subnet, rank: number, hosts: number): Bounds {
  const { first, last } = given(subnet);
  const count = last - first + 1n;
  const cut = (i: number) => first + (count * BigInt(i)) / BigInt(hosts);
  return { first: cut(rank), last: cut(rank + 1) - 1n };
}

/** For people. */
export function formatPart(subnet: Subnet, { first, last }: Bounds): string {
  const { family } = cidr(subnet.cidr);
  const all = formatCidr(cidr(subnet.cidr));
  if (first > last) return `none of ${all}`;
  return `${formatAddress({ family, value: first })} to ${formatAddress({ family, value: last })} of ${all}`;
}
