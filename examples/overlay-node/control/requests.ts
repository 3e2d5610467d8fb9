/** Checks of what somebody asks for, before anything is looked up or changed: Docker's words, Docker's defaults. */
import * as mac from 'packetweave/codecs/mac';
import { cidr, contains, formatAddress, parseAddress, usable } from './cidr.ts';
import { ControlError } from './errors.ts';
import type {
  Endpoint,
  EndpointChange,
  EndpointRequest,
  Network,
  NetworkRequest,
  PublishedPort,
  Subnet,
} from './model.ts';
import { checkOptions } from './network-options.ts';
import { checkSubnets } from './subnets.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const DRIVERS = ['overlay', 'packetweave'];
/** Networks that every Docker engine has. */
const PREDEFINED = ['bridge', 'host', 'none', 'default'];

/** A request without holes, apart from what only the others' networks can tell. */
export interface WantedNetwork {
  readonly name: string;
  readonly attachable: boolean;
  readonly internal: boolean;
  readonly ipv6: boolean;
  readonly encrypted: boolean;
  readonly mtu: number | null;
  /** Null for the next free one. */
  readonly vni: number | null;
  /** Of both families or of one: what is missing is taken from the defaults. */
  readonly subnets: readonly Subnet[];
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
}

export function checkNetworkRequest(request: NetworkRequest): WantedNetwork {
  const { name, driver = 'overlay', options = {}, labels = {} } = request;
  checkName('network', name);
  if (name.length > 63) throw invalid('a network name has up to 63 characters');
  if (PREDEFINED.includes(name)) {
    throw new ControlError('FORBIDDEN', `operation is not permitted on predefined ${name} network`);
  }
  if (!DRIVERS.includes(driver)) {
    throw invalid(`network driver "${driver}" not found: known are ${DRIVERS.join(' and ')}`);
  }
  const subnets = checkSubnets(request);
  const has6 = subnets.some((subnet) => cidr(subnet.cidr).family === 6);
  if (has6 && request.ipv6 === false) {
    throw invalid('an IPv6 subnet is of no use to a network without IPv6: leave one of them out');
  }
  const ipv6 = request.ipv6 === true || has6;
  return {
    name,
    attachable: request.attachable === true,
    internal: request.internal === true,
    ipv6,
    ...checkOptions(options, ipv6),
    subnets,
    labels: { ...labels },
    options: { ...options },
  };
}

/** A request for an endpoint without holes, apart from addresses that are to be chosen. */
export interface WantedEndpoint {
  readonly container: string;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly hostname: string;
  /** Without prefix length, in canonical form. */
  readonly ip: string | null;
  readonly ip6: string | null;
  readonly mac: string | null;
  readonly ports: readonly PublishedPort[];
  readonly labels: Readonly<Record<string, string>>;
}

export function checkEndpointRequest(request: EndpointRequest, network: Network): WantedEndpoint {
  const { container, name, aliases = [], hostname = container.slice(0, 12), ports = [] } = request;
  checkWho({ container, name, aliases, hostname, ports });
  if (!network.attachable && request.service !== true) {
    const text = `Could not attach to network ${network.name}: network ${network.name} not manually attachable`;
    throw new ControlError('FORBIDDEN', text);
  }
  return {
    container,
    name,
    aliases: [...new Set(aliases)],
    hostname,
    ip: request.ip === undefined ? null : checkAddress(request.ip, 4, network),
    ip6: request.ip6 === undefined ? null : checkAddress(request.ip6, 6, network),
    mac: request.mac === undefined ? null : checkMac(request.mac),
    ports: [...ports],
    labels: { ...request.labels },
  };
}

/** An endpoint with what is to change of it. Throws `INVALID`. */
export function changedEndpoint(endpoint: Endpoint, change: EndpointChange): Endpoint {
  const { container, name, aliases, hostname, ports } = { ...endpoint, ...change };
  checkWho({ container, name, aliases, hostname, ports });
  return { ...endpoint, container, name, aliases: [...new Set(aliases)], hostname, ports: [...ports] };
}

/** Who an endpoint is to the others. */
function checkWho({ container, name, aliases, hostname, ports }: Required<EndpointChange>): void {
  if (!/^[0-9a-f]{64}$/.test(container)) throw invalid('a container id has 64 hexadecimal digits');
  checkName('container', name);
  for (const alias of aliases) checkName('alias', alias);
  if (!/^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/.test(hostname)) {
    throw invalid(`invalid hostname format: ${hostname}`);
  }
  for (const port of ports) checkPort(port);
}

/** An address of one of the network's subnets that is nobody's by its nature; in canonical form. */
function checkAddress(text: string, family: 4 | 6, { name, subnets }: Network): string {
  const address = parseAddress(text);
  if (address === null || address.family !== family) throw invalid(`invalid IPv${family} address: ${text}`);
  const subnet = subnets.find((one) => contains(cidr(one.cidr), address));
  if (subnet === undefined) {
    const list = subnets.map((one) => one.cidr).join(', ');
    throw invalid(`no configured subnet contains IP address ${text}: network ${name} has ${list}`);
  }
  const plain = formatAddress(address);
  if (!usable(cidr(subnet.cidr), address.value)) {
    throw invalid(`hosts cannot have ${text}: it is the first or last address of ${subnet.cidr}`);
  }
  const kept = plain === subnet.gateway ? 'the gateway' : auxiliaryName(subnet, plain);
  if (kept !== null)
    throw new ControlError('CONFLICT', `Address already in use: ${text} is kept for ${kept}`);
  return plain;
}

function auxiliaryName(subnet: Subnet, address: string): string | null {
  return Object.entries(subnet.auxiliary).find(([, kept]) => kept === address)?.[0] ?? null;
}

function checkMac(text: string): string {
  let parsed: mac.Mac;
  try {
    parsed = mac.parse(text);
  } catch {
    throw invalid(`${text} is not a valid mac address`);
  }
  const { hi, lo } = parsed;
  if (mac.isGroup(hi) || (hi === 0 && lo === 0)) {
    throw invalid(`${text} is not a valid mac address: it is nobody's own`);
  }
  return mac.format(hi, lo);
}

function checkPort({ protocol, published, port, count, hostAddress }: PublishedPort): void {
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw invalid(`invalid proto: ${protocol}`);
  if (!(Number.isInteger(count) && count >= 1))
    throw invalid(`a port is published once or more, got ${count}`);
  for (const first of [published, port]) {
    if (Number.isInteger(first) && first >= 1 && first + count - 1 <= 65535) continue;
    throw invalid(`invalid port: ${first}, expected 1..65535 with all ${count} of its range`);
  }
  if (hostAddress !== null && parseAddress(hostAddress) === null) {
    throw invalid(`invalid IP address: ${hostAddress}`);
  }
}

function checkName(what: string, name: string): void {
  if (NAME.test(name) && name.length <= 255) return;
  throw invalid(`Invalid ${what} name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed`);
}

function invalid(message: string): ControlError {
  return new ControlError('INVALID', message);
}
