/**
 * Which subnet, VNI, address and MAC is next. Only arithmetic: that nobody gets what another has is the store's to say
 * (endpoints.ts writes one key for each address, only where it is absent).
 *
 * Addresses are given in turn (next-fit), as in Docker: what was released is not given again until all others were, so
 * that nobody's neighbour table speaks of the one before. Where many nodes attach at the same instant that is likely, not
 * certain: who writes last says where it goes on.
 */
import { randomBytes } from 'node:crypto';
import {
  type Address,
  bounds,
  type Cidr,
  cidr,
  contains,
  formatAddress,
  formatCidr,
  overlap,
  parseAddress,
} from './cidr.ts';
import { ControlError } from './errors.ts';
import type { Network, Subnet } from './model.ts';
import { MAX_VNI, mayOverlap } from './network-options.ts';
import type { WantedNetwork } from './requests.ts';
import { plainSubnet } from './subnets.ts';

/** Docker's first VNI is 4096, for its ingress network: those of users begin behind it. */
export const FIRST_VNI = 4097;
/** 10.0.0.0/8 in /24s. The first is left out: in Docker it is the ingress network's. */
const POOL = { base: 10 << 24, count: 65_536, length: 24 } as const;

/** A network that does not clash with `others`: subnets and VNI are chosen where none were asked for. Rejects with
 * `CONFLICT` or `FULL`. `cursor` is the VNI that was given last, or 0. */
export function place(
  wanted: WantedNetwork,
  others: readonly Network[],
  cursor: number,
): { readonly vni: number; readonly subnets: readonly Subnet[] } {
  const used = others.flatMap(({ subnets }) => subnets.map((subnet) => cidr(subnet.cidr)));
  for (const subnet of mayOverlap(wanted.options) ? [] : wanted.subnets) {
    if (!used.some((other) => overlap(other, cidr(subnet.cidr)))) continue;
    const whose = others.find((other) =>
      other.subnets.some((one) => overlap(cidr(one.cidr), cidr(subnet.cidr))),
    );
    const text = `Pool overlaps with other one on this address space: ${subnet.cidr} and network ${whose!.name}`;
    const advice = 'choose another, or give --opt overlap if nothing is to be on both';
    throw new ControlError('CONFLICT', `${text}: ${advice}`);
  }
  const has = (family: 4 | 6) => wanted.subnets.some((subnet) => cidr(subnet.cidr).family === family);
  const own = wanted.subnets.map((subnet) => cidr(subnet.cidr));
  const subnets = [...wanted.subnets];
  if (!has(4)) subnets.unshift(plainSubnet(nextPool([...used, ...own])));
  if (wanted.ipv6 && !has(6)) subnets.push(plainSubnet(localPool([...used, ...own])));
  return { vni: placeVni(wanted.vni, others, cursor), subnets };
}

/** The first /24 of 10.0.0.0/8 that overlaps with none of these. */
export function nextPool(used: readonly Cidr[]): Cidr {
  // Taken /24s in a set: to compare each with each would take seconds where there are many networks.
  const taken = new Set<number>();
  for (const one of used) {
    if (one.family !== 4) continue;
    const first = Number(one.base) / 256 - POOL.base / 256;
    const count = one.length >= POOL.length ? 1 : 2 ** (POOL.length - one.length);
    const end = Math.min(POOL.count, Math.floor(first) + count);
    for (let i = Math.max(0, Math.floor(first)); i < end; i++) taken.add(i);
  }
  for (let i = 1; i < POOL.count; i++) {
    if (!taken.has(i)) return { family: 4, base: BigInt(POOL.base) + 256n * BigInt(i), length: POOL.length };
  }
  const text = 'could not find an available, non-overlapping IPv4 address pool among the defaults';
  throw new ControlError('FULL', `${text} (10.0.0.0/8 in /24s): give one with --subnet`);
}

/** A unique local /64 (RFC 4193 section 3.2: fd, 40 bits of chance, and a subnet number of 0). */
function localPool(used: readonly Cidr[]): Cidr {
  for (;;) {
    const chance = BigInt(`0x${randomBytes(5).toString('hex')}`);
    const pool: Cidr = { family: 6, base: ((0xfdn << 40n) | chance) << 80n, length: 64 };
    if (!used.some((other) => overlap(other, pool))) return pool;
  }
}

function placeVni(wanted: number | null, others: readonly Network[], cursor: number): number {
  const used = new Map(others.map(({ vni, name }) => [vni, name]));
  if (wanted !== null) {
    if (!used.has(wanted)) return wanted;
    throw new ControlError('CONFLICT', `VNI ${wanted} is in use by network ${used.get(wanted)}`);
  }
  const count = MAX_VNI - FIRST_VNI + 1;
  const start = cursor >= FIRST_VNI && cursor < MAX_VNI ? cursor + 1 : FIRST_VNI;
  for (let i = 0; i < count; i++) {
    const vni = FIRST_VNI + ((start - FIRST_VNI + i) % count);
    if (!used.has(vni)) return vni;
  }
  throw new ControlError('FULL', `all VNIs from ${FIRST_VNI} to ${MAX_VNI} are in use`);
}

/** First and last of some addresses. None where the last is before the first. */
export interface Bounds {
  readonly first: bigint;
  readonly last: bigint;
}

/** What a subnet gives: all that hosts can have, or its range of it. */
export function given({ cidr: text, range }: Subnet): Bounds {
  return bounds(cidr(text), range === null ? null : cidr(range));
}

/** Up to `count` free addresses of a subnet, or of a part of it, in turn behind `after`. None: it is full. */
export function nextAddresses(
  subnet: Subnet,
  after: string | null,
  taken: (address: string) => boolean,
  count: number,
  { first, last }: Bounds = given(subnet),
): string[] {
  if (first > last) return [];
  const { family } = cidr(subnet.cidr);
  const kept = new Set([subnet.gateway, ...Object.values(subnet.auxiliary)]);
  const before = after === null ? null : parseAddress(after);
  const goes = before !== null && before.family === family && before.value >= first && before.value < last;
  const start = goes ? before.value + 1n : first;
  const found: string[] = [];
  let value = start;
  do {
    const address = formatAddress({ family, value } as Address);
    if (!kept.has(address) && !taken(address)) found.push(address);
    value = value === last ? first : value + 1n;
  } while (value !== start && found.length < count);
  return found;
}

/** Docker's: `02:42` and the four bytes of the IPv4 address. */
export function macOf(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return `02:42:${bytes.join(':')}`;
}

/** The subnet that an address is of. */
export function homeOf(address: string, subnets: readonly Subnet[]): Subnet | undefined {
  const parsed = parseAddress(address);
  return parsed === null ? undefined : subnets.find((subnet) => contains(cidr(subnet.cidr), parsed));
}

/** What is in use where no address is left. */
export function fullMessage(network: Network, family: 4 | 6): string {
  const pools = network.subnets.filter((subnet) => cidr(subnet.cidr).family === family);
  const list = pools.map((subnet) => subnet.range ?? formatCidr(cidr(subnet.cidr))).join(', ');
  return `no available IPv${family} addresses on this network's address pools: ${network.name} (${list})`;
}
