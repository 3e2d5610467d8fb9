/**
 * What lies in the store, and where. All of it is JSON; what another program wrote under our keys is refused here and
 * goes no further.
 *
 *     cluster                          which cluster this is: a store without it is empty, or not ours
 *     allocations                      the VNI given last; changes with every new network, so that two never clash
 *     networks/<id>                    Network
 *     cursors/<network>                addresses given last, by subnet; changes with every attachment
 *     endpoints/<network>/<endpoint>   Endpoint
 *     addresses/<network>/<address>    whose an IPv4, IPv6 or MAC address is
 *     on/<node>/<endpoint>             id of the network: what a node has, without a look at all endpoints
 *     nodes/<id>                       Node
 *     alive/<node>                     there as long as the node's lease
 *     keys/<node>                      public keys
 */
import { parseAddress, parseCidr } from './cidr.ts';
import { ControlError } from './errors.ts';
import type { Endpoint, Network, Node } from './model.ts';
import { MAX_VNI } from './network-options.ts';

/** Of the records: a node that reads another says so instead of guessing. */
export const SCHEMA = 1;

export interface Cluster {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly schema: number;
  /** ISO 8601. */
  readonly created: string;
}

/** Whose an address is: what an interrupted attachment left behind is found by it. */
export interface Claim {
  readonly endpoint: string;
  readonly node: string;
}

export interface KeyRecord {
  /** Of the node, in the underlay. */
  readonly address: string;
  /** Base64. */
  readonly record: string;
}

export const CLUSTER = 'cluster';
export const ALLOCATIONS = 'allocations';
export const keyOf = {
  network: (id: string) => `networks/${id}`,
  cursor: (network: string) => `cursors/${network}`,
  endpoint: (network: string, id: string) => `endpoints/${network}/${id}`,
  claim: (network: string, address: string) => `addresses/${network}/${address}`,
  on: (node: string, endpoint: string) => `on/${node}/${endpoint}`,
  node: (id: string) => `nodes/${id}`,
  alive: (node: string) => `alive/${node}`,
  keys: (node: string) => `keys/${node}`,
};

/** Whether it can be the id of a network, an endpoint or a container. */
export const isId = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);

/** Reads a record whose key ends with `id`. Throws where it is not one of ours. */
export type Read<T> = (value: string, id: string) => T;

export const readCluster: Read<Cluster> = (value) => {
  const cluster = fields<Cluster>(value, { id: text, schema: number, created: text });
  if (cluster.schema === SCHEMA) return cluster;
  const advice = 'use the same version of the program on all hosts';
  throw new ControlError(
    'VERSION',
    `the store has records of schema ${cluster.schema}, not ${SCHEMA}: ${advice}`,
  );
};

export const readNode: Read<Node> = (value, id) => {
  const node = fields<Node>(value, {
    id: (found) => found === id,
    name: text,
    address,
    dataPort: port,
    espPort: port,
    mtu: integer(1, 65535),
    version: text,
    joined: text,
  });
  return node;
};

export const readNetwork: Read<Network> = (value, id) =>
  fields<Network>(value, {
    id: (found) => found === id,
    name: text,
    created: text,
    vni: integer(1, MAX_VNI),
    subnets: (found) => list(readableSubnet)(found) && (found as unknown[]).length > 0,
    ipv6: flag,
    internal: flag,
    attachable: flag,
    encrypted: flag,
    mtu: (mtu) => mtu === null || integer(1, 65535)(mtu),
    labels: dictionary,
    options: dictionary,
  });

const readableSubnet: Test = (subnet) =>
  shaped(subnet, {
    cidr: subnetText,
    range: (range) => range === null || subnetText(range),
    gateway: address,
    auxiliary: dictionary,
  });

/** Reads an endpoint of the network whose id is given. */
export function readEndpoint(network: string): Read<Endpoint> {
  return (value, id) =>
    fields<Endpoint>(value, {
      id: (found) => found === id,
      network: (found) => found === network,
      node: text,
      container: text,
      name: text,
      aliases: list(text),
      hostname: text,
      mac: (found) => text(found) && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(found as string),
      // As many as a transaction can take away.
      addresses: (found) => list(subnetText)(found) && [1, 2].includes((found as unknown[]).length),
      ports: list((published) =>
        shaped(published, {
          protocol: (name) => ['tcp', 'udp', 'sctp'].includes(name as string),
          published: port,
          port,
          count: port,
          hostAddress: (host) => host === null || address(host),
        }),
      ),
      labels: dictionary,
    });
}

export const readClaim: Read<Claim> = (value) => fields<Claim>(value, { endpoint: text, node: text });
export const readKeys: Read<KeyRecord> = (value) => fields<KeyRecord>(value, { address, record: text });
export const readAlive: Read<true> = () => true;

type Test = (value: unknown) => boolean;

/** What a value has to be like, by the names of its fields; others may be there. */
function fields<T>(value: string, tests: Readonly<Record<keyof T & string, Test>>): T {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw new ControlError('CORRUPT', 'it is no JSON');
  }
  if (typeof parsed !== 'object' || parsed === null) throw new ControlError('CORRUPT', 'it is no object');
  for (const [name, test] of Object.entries<Test>(tests)) {
    if (test((parsed as Record<string, unknown>)[name])) continue;
    throw new ControlError('CORRUPT', `its "${name}" is not as it should be`);
  }
  return parsed as T;
}

function shaped(value: unknown, tests: Readonly<Record<string, Test>>): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(tests).every(([name, test]) => test((value as Record<string, unknown>)[name]));
}

const text: Test = (value) => typeof value === 'string';
const number: Test = (value) => typeof value === 'number' && Number.isFinite(value);
function integer(least: number, most: number): Test {
  return (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
}
const port = integer(1, 65535);
const flag: Test = (value) => typeof value === 'boolean';
const address: Test = (value) => text(value) && parseAddress(value as string) !== null;
const subnetText: Test = (value) => text(value) && parseCidr(value as string) !== null;
const dictionary: Test = (value) =>
  typeof value === 'object' && value !== null && Object.values(value).every(text);
function list(test: Test): Test {
  return (value) => Array.isArray(value) && value.every(test);
}
