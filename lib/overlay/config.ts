/**
 * What an overlay is told, and the checks that refuse a wrong description where it is given: every message
 * names the field, what was expected and what came.
 */
import { UDP_PORT as ESP_PORT } from '../../codecs/esp.ts';
import * as ip from '../../codecs/ip.ts';
import type * as mac from '../../codecs/mac.ts';
import * as protocols from '../../codecs/protocol.ts';
import { MAX_VNI, PORT } from '../../codecs/vxlan.ts';
import type { Algorithm } from '../../crypto/aead.ts';
import { PROVIDERS, type ProviderName } from '../../crypto/choose.ts';
import type { LoggedKey } from '../../crypto/epoch.ts';
import { maxPayload } from '../../crypto/esp.ts';
import { DATAGRAM, ETHERNET, type Port } from '../io/port.ts';
import type { Publication } from '../tables/publish.ts';
import type { KeyChannel } from './key-channel.ts';
import { aMac, anIp, flag, integer, list, object, oneOf, show, unique } from './values.ts';

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
  /** What encrypted networks need. */
  readonly esp?: EspConfig;
}

/** How this host encrypts. */
export interface EspConfig {
  /** What all hosts of the overlay share and nobody else knows: at least 16 bytes, or as many characters. */
  readonly secret: string | Uint8Array;
  /** UDP port of ESP. Default 4500. */
  readonly port?: number;
  /** What carries ESP. Default: a UDP socket on `address` and `port`. */
  readonly underlay?: Port;
  /** On ports that show outer headers: ESP in UDP (RFC 3948), or on IP protocol 50. Default udp. */
  readonly carrier?: 'udp' | 'ip';
  /** Default aes-128-gcm. */
  readonly algorithm?: Algorithm;
  /** What does the cryptography. Default: the fastest that works here. */
  readonly provider?: ProviderName;
  /** How public keys travel between the hosts: for hosts in one process, a {@link KeyDirectory} that they share.
   * Default: in band, in messages beside ESP on the same UDP port, or on `control`. */
  readonly channel?: KeyChannel;
  /** What carries messages about keys where ESP is on IP protocol 50 and there is no `channel`: a port that
   * carries UDP payloads. Default: a UDP socket on `address` and `port`. */
  readonly control?: Port;
  /** Milliseconds after which keys are replaced. Default 12 hours. */
  readonly period?: number;
  /** Is told every key that is derived, for captures that are to be looked into. Whoever has it reads all. */
  readonly onKeys?: (key: LoggedKey) => void;
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
  /** Carry the network in ESP and take it from there alone; needs `local.esp`. Default false. */
  readonly encrypted?: boolean;
}

export interface RemoteConfig {
  readonly address: string;
  /** UDP port it listens on, for ESP where the network is encrypted. Default: the same as here. */
  readonly port?: number;
  /** Whether it can encrypt. A remote that cannot is refused in an encrypted network. Default true. */
  readonly esp?: boolean;
  /** MAC address on the way to it, where the underlay is Ethernet. */
  readonly mac?: string;
}

export interface PortConfig {
  readonly port: Port;
  /** The only MAC addresses it may send from. Default: any, learned. */
  readonly mac?: string | readonly string[];
  /** The only IP addresses it may send from; answered for it. Needs `mac`. Default: any. */
  readonly addresses?: readonly string[];
  /** It forwards for others: it may send from any IP address, though it answers for its own alone. Default false. */
  readonly router?: boolean;
  /** Ports by which others reach its own, at its `addresses`, which it needs. Its own stay reachable. Default: none. */
  readonly published?: readonly PublishedConfig[];
  readonly limits?: {
    /** The most MAC addresses learned behind the port. */
    readonly macs?: number;
    /** The most broadcast, multicast and unknown frames a second. */
    readonly floodPerSecond?: number;
    /** How many of them may come at once. Default: as many as in a second. */
    readonly burst?: number;
  };
}

/** A published port, or a range of them. */
export interface PublishedConfig {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** The port that others see, 1..65535; of a range the first. */
  readonly published: number;
  /** The endpoint's own port, 1..65535; of a range the first. */
  readonly port: number;
  /** How many ports, each leading to the next. Default 1. */
  readonly count?: number;
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
  readonly esp: WantedEsp | null;
}

export interface WantedEsp {
  readonly secret: Uint8Array;
  readonly port: number;
  /** Largest IP packet that its underlay carries, in bytes. */
  readonly mtu: number;
  readonly underlay: Port | null;
  readonly carrier: 'udp' | 'ip';
  readonly algorithm: Algorithm;
  readonly provider: ProviderName | null;
  /** Null for messages in band. */
  readonly channel: KeyChannel | null;
  /** Whether messages in band need a port of their own, because UDP does not carry ESP. */
  readonly apart: boolean;
  /** That port; null for a UDP socket. */
  readonly control: Port | null;
  readonly period: number | null;
  readonly onKeys: ((key: LoggedKey) => void) | null;
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
  readonly router: boolean;
  readonly published: readonly Publication[];
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
  readonly encrypted: boolean;
}

const LOCAL_FIELDS = ['address', 'port', 'mtu', 'underlay', 'mac', 'strictReserved', 'zeroChecksum6', 'esp'];
const ESP_FIELDS = [
  'secret',
  'port',
  'underlay',
  'carrier',
  'algorithm',
  'provider',
  'channel',
  'control',
  'period',
  'onKeys',
];
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
  'encrypted',
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
  const macNeeded = underlay?.medium === ETHERNET || local.esp?.underlay?.medium === ETHERNET;
  if (macNeeded && local.mac === undefined) {
    throw new TypeError('"local.mac" expected a MAC address, because the underlay is Ethernet, got none');
  }
  const least = address.family === 4 ? 576 : 1280;
  const mtu = integer('local.mtu', local.mtu ?? underlayMtu(underlay, address), least, 65535);
  return {
    address,
    port: integer('local.port', local.port ?? PORT, 0, 65535),
    mtu,
    underlay,
    strictReserved: flag('local.strictReserved', local.strictReserved, false),
    zeroChecksum6: flag('local.zeroChecksum6', local.zeroChecksum6, false),
    esp: local.esp === undefined ? null : checkEsp(local.esp, address, mtu),
    ...macAddress,
  };
}

/** `mtu` is what the underlay of plain networks carries. */
function checkEsp(config: EspConfig, address: ip.Ip, mtu: number): WantedEsp {
  object('local.esp', config, ESP_FIELDS);
  const secret = typeof config.secret === 'string' ? new TextEncoder().encode(config.secret) : config.secret;
  if (!(secret instanceof Uint8Array) || secret.length < MIN_SECRET) {
    const got = secret instanceof Uint8Array ? `${secret.length} bytes` : show(secret);
    throw new TypeError(`"local.esp.secret" expected at least ${MIN_SECRET} bytes, got ${got}`);
  }
  const channel = config.channel ?? null;
  if (channel !== null && typeof channel.publish !== 'function') {
    throw new TypeError(`"local.esp.channel" expected a KeyChannel, got ${show(channel)}`);
  }
  const underlay = config.underlay ?? null;
  const carrier = oneOf('local.esp.carrier', config.carrier ?? 'udp', ['udp', 'ip']);
  if (carrier === 'ip' && (underlay === null || underlay.medium === DATAGRAM)) {
    throw new TypeError(
      '"local.esp.carrier" expected "udp", because the underlay carries UDP payloads, got "ip"',
    );
  }
  const apart = carrier === 'ip' && channel === null;
  const control = config.control ?? null;
  if (control !== null && !apart) {
    const why = channel === null ? 'the carrier "udp" has room for messages' : 'keys travel by "channel"';
    throw new TypeError(`"local.esp.control" expected none, because ${why}, got "${control.name}"`);
  }
  if (control !== null && control.medium !== DATAGRAM) {
    throw new TypeError(
      `"local.esp.control" expected a port that carries UDP payloads, got "${control.name}"`,
    );
  }
  const provider = config.provider;
  return {
    secret,
    port: integer('local.esp.port', config.port ?? ESP_PORT, 0, 65535),
    mtu: underlay === null ? mtu : underlayMtu(underlay, address),
    underlay,
    carrier,
    algorithm: oneOf('local.esp.algorithm', config.algorithm ?? 'aes-128-gcm', ESP_ALGORITHMS),
    provider: provider === undefined ? null : oneOf('local.esp.provider', provider, PROVIDERS),
    channel,
    apart,
    control,
    period: config.period === undefined ? null : integer('local.esp.period', config.period, 100, 2 ** 31),
    onKeys: config.onKeys ?? null,
  };
}

const MIN_SECRET = 16;
const ESP_ALGORITHMS: readonly Algorithm[] = ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'];

/** Largest IP packet that a port carries. */
function underlayMtu(port: Port | null, address: ip.Ip): number {
  if (port === null) return 1500;
  if (port.medium === ETHERNET) return port.mtu - 14;
  return port.medium === DATAGRAM ? port.mtu + udpOverhead(address) : port.mtu;
}

function udpOverhead({ family }: ip.Ip): number {
  return (family === 4 ? 20 : 40) + 8;
}

/** Largest inner IP packet of an encrypted network, in bytes: ESP pads UDP, VXLAN and frame to a multiple of
 * four with its trailer. 1408 over IPv4 and ESP in UDP with an underlay of 1500. */
function encryptedMtu({ mtu, carrier }: WantedEsp, { family }: ip.Ip): number {
  const length = mtu - (family === 4 ? 20 : 40) - (carrier === 'udp' ? 8 : 0);
  return maxPayload({ icv: 16 }, length) - 8 - 8 - 14;
}

/** Bytes that VXLAN adds to an inner IP packet: outer IP and UDP, VXLAN, inner Ethernet: 50, or 70 over IPv6. */
function overhead(address: ip.Ip): number {
  return udpOverhead(address) + 8 + 14;
}

function checkNetwork(path: string, network: NetworkConfig, local: WantedLocal): WantedNetwork {
  object(path, network, NETWORK_FIELDS);
  const encrypted = flag(`${path}.encrypted`, network.encrypted, false);
  if (encrypted && local.esp === null) {
    throw new TypeError(`"${path}.encrypted" needs "local.esp" with the secret that all hosts share`);
  }
  const most = encrypted ? encryptedMtu(local.esp!, local.address) : local.mtu - overhead(local.address);
  const remotes = list(`${path}.remotes`, network.remotes ?? []).map((remote, i) =>
    checkRemote(`${path}.remotes[${i}]`, remote as string | RemoteConfig, local, encrypted),
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
    encrypted,
  };
}

function checkRemote(
  path: string,
  remote: string | RemoteConfig,
  local: WantedLocal,
  encrypted: boolean,
): WantedRemote {
  if (typeof remote !== 'string') object(path, remote, ['address', 'port', 'mac', 'esp']);
  const config: RemoteConfig = typeof remote === 'string' ? { address: remote } : remote;
  const at = typeof remote === 'string' ? path : `${path}.address`;
  const address = anIp(at, config.address);
  if (address.family !== local.address.family) {
    throw new RangeError(
      `"${at}" expected an IPv${local.address.family} address, as "local" has, got "${config.address}"`,
    );
  }
  if (ip.format(address) === ip.format(local.address)) {
    throw new RangeError(`"${at}" expected another host, got the local address "${config.address}"`);
  }
  const underlay = encrypted ? local.esp!.underlay : local.underlay;
  if (underlay?.medium === ETHERNET && config.mac === undefined) {
    throw new TypeError(`"${path}.mac" expected a MAC address, because the underlay is Ethernet, got none`);
  }
  if (encrypted && !flag(`${path}.esp`, config.esp, true)) {
    throw new TypeError(
      `"${path}" cannot be part of an encrypted network: the host ${config.address} cannot encrypt`,
    );
  }
  const [here, usual] = encrypted ? [local.esp!.port, ESP_PORT] : [local.port, PORT];
  return {
    address,
    port: integer(`${path}.port`, config.port ?? (here === 0 ? usual : here), 1, 65535),
    ...(config.mac === undefined ? {} : { mac: aMac(`${path}.mac`, config.mac) }),
  };
}

function checkPort(path: string, config: PortConfig): WantedPort {
  object(path, config, ['port', 'mac', 'addresses', 'router', 'published', 'limits']);
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
  const published = list(`${path}.published`, config.published ?? []).map((entry, i) =>
    checkPublished(`${path}.published[${i}]`, entry as PublishedConfig),
  );
  if (published.length > 0 && addresses.length === 0) {
    throw new TypeError(`"${path}.addresses" expected the addresses at which ports are published, got none`);
  }
  checkApart(`${path}.published`, published);
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
    router: flag(`${path}.router`, config.router, false),
    published,
    maxMacs: maxMacs === undefined ? null : integer(`${path}.limits.macs`, maxMacs, 1, 2 ** 24),
    floodPerSecond: rate,
    burst: integer(`${path}.limits.burst`, burst ?? Math.max(rate ?? 1, 1), 1, 2 ** 30),
  };
}

function checkPublished(path: string, entry: PublishedConfig): Publication {
  object(path, entry, ['protocol', 'published', 'port', 'count']);
  const protocol = PROTOCOLS[oneOf(`${path}.protocol`, entry.protocol, ['tcp', 'udp', 'sctp'])];
  const published = integer(`${path}.published`, entry.published, 1, 65535);
  const port = integer(`${path}.port`, entry.port, 1, 65535);
  const most = 65536 - Math.max(published, port);
  return { protocol, published, port, count: integer(`${path}.count`, entry.count ?? 1, 1, most) };
}

const PROTOCOLS = { tcp: protocols.TCP, udp: protocols.UDP, sctp: protocols.SCTP };

/** Refuses a port that is published twice. */
function checkApart(path: string, published: readonly Publication[]): void {
  const sorted = [...published.entries()].sort(
    ([, a], [, b]) => a.protocol - b.protocol || a.published - b.published,
  );
  for (const [n, [i, one]] of sorted.entries()) {
    const [j, next] = sorted[n + 1] ?? [];
    if (next?.protocol !== one.protocol || next.published >= one.published + (one.count ?? 1)) continue;
    throw new RangeError(`"${path}" expected each port once, got ${next.published} in [${i}] and in [${j}]`);
  }
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
