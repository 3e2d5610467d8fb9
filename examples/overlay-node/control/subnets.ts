/** The subnets of a network that is to be made, with what belongs to each: in Docker's words. */
import {
  type Address,
  bounds,
  type Cidr,
  contains,
  formatAddress,
  formatCidr,
  overlap,
  parseAddress,
  parseCidr,
  usable,
  within,
} from './cidr.ts';
import { ControlError } from './errors.ts';
import type { NetworkRequest, Subnet } from './model.ts';

/** Prefix lengths that a subnet can have. /29 is Docker's smallest: five addresses beside the gateway. */
const LENGTHS = { 4: { least: 8, most: 29 }, 6: { least: 16, most: 125 } } as const;

interface Draft {
  readonly subnet: Cidr;
  range: Cidr | null;
  gateway: bigint | null;
  readonly auxiliary: Map<string, bigint>;
}

/** Checks `--subnet`, `--ip-range`, `--gateway` and `--aux-address` together. Gives the subnets in their order. */
export function checkSubnets(request: NetworkRequest): Subnet[] {
  const { subnets = [], ranges = [], gateways = [], auxiliary = [] } = request;
  if (ranges.length > subnets.length || gateways.length > subnets.length) {
    throw invalid('every ip-range or gateway must have a corresponding subnet');
  }
  const drafts: Draft[] = [];
  for (const text of subnets) {
    const subnet = checkSubnet(text);
    if (drafts.some((other) => overlap(other.subnet, subnet))) {
      throw invalid(`multiple overlapping subnet configuration is not supported: ${text} and another`);
    }
    drafts.push({ subnet, range: null, gateway: null, auxiliary: new Map() });
  }
  for (const text of ranges) addRange(drafts, text);
  for (const text of gateways) addGateway(drafts, text);
  for (const text of auxiliary) addAuxiliary(drafts, text);
  return drafts.map(finish);
}

/** A subnet as it is where nobody asks for more. */
export function plainSubnet(subnet: Cidr): Subnet {
  return finish({ subnet, range: null, gateway: null, auxiliary: new Map() });
}

function checkSubnet(text: string): Cidr {
  const subnet = parseCidr(text);
  if (subnet === null) throw invalid(`invalid subnet ${text}: expected an address and a length, 10.0.1.0/24`);
  if (subnet.address !== subnet.base) {
    throw invalid(`invalid subnet ${text}: it should be ${formatCidr(subnet)}`);
  }
  const { least, most } = LENGTHS[subnet.family];
  if (subnet.length < least || subnet.length > most) {
    throw invalid(`invalid subnet ${text}: its length must be from /${least} to /${most}`);
  }
  const top = subnet.family === 4 ? Number(subnet.base >> 24n) : Number(subnet.base >> 120n);
  const foreign = subnet.family === 4 ? top === 0 || top === 127 || top >= 224 : top === 0 || top === 0xff;
  if (foreign) throw invalid(`invalid subnet ${text}: hosts cannot have its addresses`);
  return subnet;
}

function addRange(drafts: readonly Draft[], text: string): void {
  const range = parseCidr(text);
  if (range === null)
    throw invalid(`invalid ip-range ${text}: expected an address and a length, 10.0.1.64/26`);
  if (range.address !== range.base) {
    throw invalid(`invalid ip-range ${text}: it should be ${formatCidr(range)}`);
  }
  const bigger = drafts.find(({ subnet }) => range.length < subnet.length && within(range, subnet));
  if (bigger !== undefined) {
    const parent = formatCidr(bigger.subnet);
    throw invalid(`invalid ip-range ${text}: CIDR block is bigger than its parent subnet ${parent}`);
  }
  const draft = drafts.find(({ subnet }) => within(subnet, range));
  if (draft === undefined) throw invalid(`no matching subnet for range ${text}`);
  const { first, last } = bounds(draft.subnet, range);
  if (first > last) throw invalid(`invalid ip-range ${text}: hosts cannot have any of its addresses`);
  if (draft.range !== null) {
    const both = `${text}, ${formatCidr(draft.range)}`;
    throw invalid(
      `cannot configure multiple ranges (${both}) on the same subnet (${formatCidr(draft.subnet)})`,
    );
  }
  draft.range = { family: range.family, base: range.base, length: range.length };
}

function addGateway(drafts: readonly Draft[], text: string): void {
  const { draft, address } = place(drafts, 'gateway', text);
  if (draft.gateway !== null) {
    const both = `${text}, ${formatAddress({ family: draft.subnet.family, value: draft.gateway })}`;
    throw invalid(
      `cannot configure multiple gateways (${both}) for the same subnet (${formatCidr(draft.subnet)})`,
    );
  }
  draft.gateway = address.value;
}

function addAuxiliary(drafts: readonly Draft[], text: string): void {
  const [, name, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined) throw invalid(`invalid aux-address ${text}: expected name=address`);
  const { draft, address } = place(drafts, 'aux-address', value!);
  if (drafts.some(({ auxiliary }) => auxiliary.has(name))) {
    throw invalid(`aux-address ${name} is given twice`);
  }
  if (draft.gateway === address.value || [...draft.auxiliary.values()].includes(address.value)) {
    throw invalid(`aux-address ${text}: Address already in use`);
  }
  draft.auxiliary.set(name, address.value);
}

/** The subnet that an address belongs to. */
function place(drafts: readonly Draft[], what: string, text: string): { draft: Draft; address: Address } {
  const address = parseAddress(text);
  if (address === null) throw invalid(`invalid ${what} ${text}: expected an IPv4 or IPv6 address`);
  const draft = drafts.find(({ subnet }) => contains(subnet, address));
  if (draft === undefined) throw invalid(`no matching subnet for ${what} ${text}`);
  if (usable(draft.subnet, address.value)) return { draft, address };
  const why = `hosts cannot have the first or last address of ${formatCidr(draft.subnet)}`;
  throw invalid(`invalid ${what} ${text}: ${why}`);
}

function finish({ subnet, range, gateway, auxiliary }: Draft): Subnet {
  const { family } = subnet;
  const address = (value: bigint) => formatAddress({ family, value });
  return {
    cidr: formatCidr(subnet),
    range: range === null ? null : formatCidr(range),
    gateway: address(gateway ?? firstFree(subnet, range, new Set(auxiliary.values()))),
    auxiliary: Object.fromEntries([...auxiliary].map(([name, value]) => [name, address(value)])),
  };
}

/** The first address that the subnet gives: its gateway, as in Docker also where there is a range. */
function firstFree(subnet: Cidr, range: Cidr | null, taken: ReadonlySet<bigint>): bigint {
  const { first, last } = bounds(subnet, range);
  for (let value = first; value <= last; value++) if (!taken.has(value)) return value;
  throw invalid(`${formatCidr(subnet)} has no address left for its gateway: give one with --gateway`);
}

function invalid(message: string): ControlError {
  return new ControlError('INVALID', message);
}
