/**
 * What an overlay is told, and the checks that refuse a wrong description where it is given: every message
 * names the field, what was expected and what came.
 */
import * as ip from '../../codecs/ip.ts';
import * as mac from '../../codecs/mac.ts';
import { MAX_VNI, PORT } from '../../codecs/vxlan.ts';
import { DATAGRAM, ETHERNET, type Port } from '../io/port.ts';

/** An overlay on this host. */
export interface OverlayConfig {
  /** This host's address on the underlay, or more about it. */
  readonly local: string | LocalConfig;
  readonly networks: readonly NetworkConfig[];
}

export interface LocalConfig {
  /** IPv4 or IPv6 address that the other hosts know this one by. */
  readonly address: string;
  /** UDP port of VXLAN. Default 4789. */
  readonly port?: number;
  /** Largest IP packet that the underlay carries, in bytes. Default 1500. */
  readonly mtu?: number;
  /** What carries the packets. Default: a UDP socket on `address` and `port`. */
  readonly underlay?: Port;
  /** This host's MAC address, where the underlay is Ethernet. */
  readonly mac?: string;
  /** Refuse VXLAN headers with reserved bits set, as Linux does, instead of ignoring them. Default false. */
  readonly strictReserved?: boolean;
  /** Send and accept UDP checksum 0 over IPv6 (RFC 6936), where the port shows the header. Default false. */
  readonly zeroChecksum6?: boolean;
}

/** One network: an Ethernet segment that reaches over hosts. */
export interface NetworkConfig {
  /** VXLAN network identifier, 1..16777215. */
  readonly vni: number;
  /** Largest IP packet inside, in bytes. Default: what fits the underlay (1450 over IPv4, 1430 over IPv6). */
  readonly mtu?: number;
  /** The other hosts: frames come from these only, and are flooded to these. */
  readonly remotes?: readonly (string | RemoteConfig)[];
  /** The local ports. */
  readonly ports?: readonly PortConfig[];
  /** Endpoints behind remotes that are known beforehand. */
  readonly static?: readonly StaticConfig[];
  readonly limits?: {
    /** The most MAC addresses learned in this network. Default: no limit but the table's. */
    readonly macs?: number;
  };
  /** Learn MAC addresses from frames. Default true. */
  readonly learning?: boolean;
  /** Flood frames to unknown MAC addresses. Default true. */
  readonly floodUnknown?: boolean;
  /** Answer ARP and neighbor solicitations for known addresses without flooding them. Default true. */
  readonly suppress?: boolean;
  /** What to do with VLAN tags inside the tunnel (RFC 7348 section 6.1). Default: strip, and refuse. */
  readonly vlan?: 'strip' | 'keep';
}

export interface RemoteConfig {
  readonly address: string;
  /** UDP port it listens on. Default: the same as here. */
  readonly port?: number;
  /** MAC address on the way to it, where the underlay is Ethernet. */
  readonly mac?: string;
}

export interface PortConfig {
  readonly port: Port;
  /** The only MAC addresses it may send from. Default: any, learned. */
  readonly mac?: string | readonly string[];
  /** The only IP addresses it may send from; answered for it. Needs `mac`. Default: any. */
  readonly addresses?: readonly string[];
  readonly limits?: {
    /** The most MAC addresses learned behind the port. */
    readonly macs?: number;
    /** The most broadcast, multicast and unknown frames a second. */
    readonly floodPerSecond?: number;
    /** How many of them may come at once. Default: as many as in a second. */
    readonly burst?: number;
  };
}

export interface StaticConfig {
  readonly mac: string;
  /** Address of the remote host that it is behind: one of the network's `remotes`. */
  readonly remote: string;
  /** Its IP addresses: answered here. */
  readonly addresses?: readonly string[];
}

/** A description that was found right, with addresses parsed and defaults filled in. */
export interface Wanted {
  readonly local: WantedLocal;
  readonly networks: readonly WantedNetwork[];
}

export interface WantedLocal {
  readonly address: ip.Ip;
  readonly port: number;
  readonly mtu: number;
  readonly underlay: Port | null;
  readonly mac?: mac.Mac;
  readonly strictReserved: boolean;
  readonly zeroChecksum6: boolean;
}

export interface WantedRemote {
  readonly address: ip.Ip;
  readonly port: number;
  readonly mac?: mac.Mac;
}

export interface WantedPort {
  readonly port: Port;
  readonly macs: readonly mac.Mac[];
  readonly addresses: readonly ip.Ip[];
  readonly maxMacs: number | null;
  readonly floodPerSecond: number | null;
  readonly burst: number;
}

export interface WantedStatic {
  readonly mac: mac.Mac;
  readonly remote: ip.Ip;
  readonly addresses: readonly ip.Ip[];
}

export interface WantedNetwork {
  readonly vni: number;
  readonly mtu: number;
  readonly remotes: readonly WantedRemote[];
  readonly ports: readonly WantedPort[];
  readonly statics: readonly WantedStatic[];
  readonly maxMacs: number | null;
  readonly learning: boolean;
  readonly floodUnknown: boolean;
  readonly suppress: boolean;
  readonly vlan: 'strip' | 'keep';
}

const LOCAL_FIELDS = ['address', 'port', 'mtu', 'underlay', 'mac', 'strictReserved', 'zeroChecksum6'];
const NETWORK_FIELDS = [
  'vni',
  'mtu',
  'remotes',
  'ports',
  'static',
  'limits',
  'learning',
  'floodUnknown',
  'suppress',
  'vlan',
];

/** Checks a whole description. Throws a TypeError or RangeError that names the field. */
export function check(config: OverlayConfig): Wanted {
  object('overlay', config, ['local', 'networks']);
  const local = checkLocal(typeof config.local === 'string' ? { address: config.local } : config.local);
  const networks = list('networks', config.networks).map((network, i) =>
    checkNetwork(`networks[${i}]`, network as NetworkConfig, local),
  );
  unique('networks', networks, ({ vni }) => `vni ${vni}`);
  const ports = networks.flatMap((network) => network.ports.map(({ port }) => port));
  if (new Set(ports).size < ports.length)
    throw new RangeError('"networks" expected each port once, got one twice');
  return { local, networks };
}

function checkLocal(local: LocalConfig): WantedLocal {
  object('local', local, LOCAL_FIELDS);
  const underlay = local.underlay ?? null;
  const address = anIp('local.address', local.address);
  const macAddress = local.mac === undefined ? {} : { mac: aMac('local.mac', local.mac) };
  if (underlay?.medium === ETHERNET && local.mac === undefined) {
    throw new TypeError('"local.mac" expected a MAC address, because the underlay is Ethernet, got none');
  }
  return {
    address,
    port: integer('local.port', local.port ?? PORT, 0, 65535),
    mtu: integer(
      'local.mtu',
      local.mtu ?? underlayMtu(underlay, address),
      address.family === 4 ? 576 : 1280,
      65535,
    ),
    underlay,
    strictReserved: flag('local.strictReserved', local.strictReserved, false),
    zeroChecksum6: flag('local.zeroChecksum6', local.zeroChecksum6, false),
    ...macAddress,
  };
}

/** Largest IP packet that a port carries. */
function underlayMtu(port: Port | null, address: ip.Ip): number {
  if (port === null) return 1500;
  if (port.medium === ETHERNET) return port.mtu - 14;
  return port.medium === DATAGRAM ? port.mtu + udpOverhead(address) : port.mtu;
}

function udpOverhead({ family }: ip.Ip): number {
  return (family === 4 ? 20 : 40) + 8;
}

/** Bytes that VXLAN adds to an inner IP packet: outer IP and UDP, VXLAN, inner Ethernet: 50, or 70 over IPv6. */
export function overhead(address: ip.Ip): number {
  return udpOverhead(address) + 8 + 14;
}

function checkNetwork(path: string, network: NetworkConfig, local: WantedLocal): WantedNetwork {
  object(path, network, NETWORK_FIELDS);
  const most = local.mtu - overhead(local.address);
  const remotes = list(`${path}.remotes`, network.remotes ?? []).map((remote, i) =>
    checkRemote(`${path}.remotes[${i}]`, remote as string | RemoteConfig, local),
  );
  unique(`${path}.remotes`, remotes, ({ address }) => ip.format(address));
  const known = new Set(remotes.map(({ address }) => ip.format(address)));
  const limits = network.limits ?? {};
  object(`${path}.limits`, limits, ['macs']);
  return {
    vni: integer(`${path}.vni`, network.vni, 1, MAX_VNI),
    mtu: integer(`${path}.mtu`, network.mtu ?? most, 68, most),
    remotes,
    ports: list(`${path}.ports`, network.ports ?? []).map((port, i) =>
      checkPort(`${path}.ports[${i}]`, port as PortConfig),
    ),
    statics: list(`${path}.static`, network.static ?? []).map((entry, i) =>
      checkStatic(`${path}.static[${i}]`, entry as StaticConfig, known),
    ),
    maxMacs: limits.macs === undefined ? null : integer(`${path}.limits.macs`, limits.macs, 1, 2 ** 24),
    learning: flag(`${path}.learning`, network.learning, true),
    floodUnknown: flag(`${path}.floodUnknown`, network.floodUnknown, true),
    suppress: flag(`${path}.suppress`, network.suppress, true),
    vlan: oneOf(`${path}.vlan`, network.vlan ?? 'strip', ['strip', 'keep']),
  };
}

function checkRemote(path: string, remote: string | RemoteConfig, local: WantedLocal): WantedRemote {
  if (typeof remote !== 'string') object(path, remote, ['address', 'port', 'mac']);
  const { address: text, port, mac: macText } = typeof remote === 'string' ? { address: remote } : remote;
  const at = typeof remote === 'string' ? path : `${path}.address`;
  const address = anIp(at, text);
  if (address.family !== local.address.family) {
    throw new RangeError(
      `"${at}" expected an IPv${local.address.family} address, as "local" has, got "${text}"`,
    );
  }
  if (ip.format(address) === ip.format(local.address)) {
    throw new RangeError(`"${at}" expected another host, got the local address "${text}"`);
  }
  if (local.underlay?.medium === ETHERNET && macText === undefined) {
    throw new TypeError(`"${path}.mac" expected a MAC address, because the underlay is Ethernet, got none`);
  }
  return {
    address,
    port: integer(`${path}.port`, port ?? (local.port === 0 ? PORT : local.port), 1, 65535),
    ...(macText === undefined ? {} : { mac: aMac(`${path}.mac`, macText) }),
  };
}

function checkPort(path: string, config: PortConfig): WantedPort {
  object(path, config, ['port', 'mac', 'addresses', 'limits']);
  if (typeof config.port?.receive !== 'function')
    throw new TypeError(`"${path}.port" expected a Port, got none`);
  if (config.port.medium !== ETHERNET) {
    throw new TypeError(
      `"${path}.port" expected a port that carries Ethernet frames, got "${config.port.name}"`,
    );
  }
  const macs = config.mac === undefined ? [] : [config.mac].flat();
  const addresses = list(`${path}.addresses`, config.addresses ?? []);
  if (addresses.length > 0 && macs.length === 0) {
    throw new TypeError(`"${path}.mac" expected the MAC address that "addresses" belong to, got none`);
  }
  const limits = config.limits ?? {};
  object(`${path}.limits`, limits, ['macs', 'floodPerSecond', 'burst']);
  const { macs: maxMacs, floodPerSecond, burst } = limits;
  const rate =
    floodPerSecond === undefined
      ? null
      : integer(`${path}.limits.floodPerSecond`, floodPerSecond, 0, 2 ** 30);
  return {
    port: config.port,
    macs: macs.map((text, i) => aMac(Array.isArray(config.mac) ? `${path}.mac[${i}]` : `${path}.mac`, text)),
    addresses: addresses.map((text, i) => anIp(`${path}.addresses[${i}]`, text)),
    maxMacs: maxMacs === undefined ? null : integer(`${path}.limits.macs`, maxMacs, 1, 2 ** 24),
    floodPerSecond: rate,
    burst: integer(`${path}.limits.burst`, burst ?? Math.max(rate ?? 1, 1), 1, 2 ** 30),
  };
}

function checkStatic(path: string, entry: StaticConfig, remotes: ReadonlySet<string>): WantedStatic {
  object(path, entry, ['mac', 'remote', 'addresses']);
  const remote = anIp(`${path}.remote`, entry.remote);
  if (!remotes.has(ip.format(remote))) {
    throw new RangeError(`"${path}.remote" expected one of the network's remotes, got "${entry.remote}"`);
  }
  return {
    mac: aMac(`${path}.mac`, entry.mac),
    remote,
    addresses: list(`${path}.addresses`, entry.addresses ?? []).map((text, i) =>
      anIp(`${path}.addresses[${i}]`, text),
    ),
  };
}

// ---- One value each -------------------------------------------------------------------------------------

/** An object with no other fields than these: a misspelt field would otherwise be ignored in silence. */
function object(path: string, value: unknown, fields: readonly string[]): void {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`"${path}" expected an object, got ${show(value)}`);
  }
  for (const field of Object.keys(value)) {
    if (fields.includes(field)) continue;
    throw new TypeError(`"${path}" has no field "${field}"; it has: ${fields.join(', ')}`);
  }
}

function list(path: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`"${path}" expected an array, got ${show(value)}`);
  return value;
}

function integer(path: string, value: unknown, least: number, most: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)
    return value as number;
  throw new RangeError(`"${path}" expected an integer ${least}..${most}, got ${show(value)}`);
}

function flag(path: string, value: unknown, byDefault: boolean): boolean {
  if (value === undefined) return byDefault;
  if (typeof value === 'boolean') return value;
  throw new TypeError(`"${path}" expected true or false, got ${show(value)}`);
}

function oneOf<T extends string>(path: string, value: T, known: readonly T[]): T {
  if (known.includes(value)) return value;
  throw new TypeError(`"${path}" expected ${known.map((x) => `"${x}"`).join(' or ')}, got ${show(value)}`);
}

function anIp(path: string, value: unknown): ip.Ip {
  try {
    return ip.parse(String(value));
  } catch {
    throw new TypeError(`"${path}" expected an IP address, got ${show(value)}`);
  }
}

function aMac(path: string, value: unknown): mac.Mac {
  try {
    const address = mac.parse(String(value));
    if (!mac.isGroup(address.hi)) return address;
  } catch {
    // told below
  }
  throw new TypeError(`"${path}" expected the MAC address of one station, got ${show(value)}`);
}

function unique<T>(path: string, values: readonly T[], key: (value: T) => string): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(key(value))) throw new RangeError(`"${path}" expected each once, got ${key(value)} twice`);
    seen.add(key(value));
  }
}

function show(value: unknown): string {
  return typeof value === 'string' ? `"${value}"` : String(value);
}
