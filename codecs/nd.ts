/**
 * Neighbor discovery, RFC 4861 section 4: five types of ICMPv6 message. Type, code and checksum are read by
 * `icmpv6.ts`; options, which all five can have, are walked in `nd-options.ts`.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Code      |           Checksum            |
 *     +-+-+-+---------+---------------+-------------------------------+
 *     |R|S|O|            Reserved (flags: advertisement only)         |
 *     +-+-+-+---------------------------------------------------------+
 *     |     Target address (16 bytes): neighbor messages, redirect    |
 *     +---------------------------------------------------------------+
 *     |     Destination address (16 bytes): redirect only             |
 *     +---------------------------------------------------------------+
 *
 * A router solicitation ends behind the second word; in a router advertisement the second word is hop limit,
 * flags and lifetime, and two more hold timers.
 *
 * Odd: what a receiver must refuse is partly policy (hop limit 255, who may be the source), which needs the
 * IPv6 header: {@link valid} judges that, {@link check} the shape alone.
 */
import * as checksums from './checksum.ts';
import { type Fault, SHORT, TYPE } from './fault.ts';
import * as icmpv6 from './icmpv6.ts';
import * as ip from './ip.ts';
import * as ipv6 from './ipv6.ts';
import * as extensions from './ipv6-extensions.ts';
import { type Layout, struct, u8, u16, u32, words } from './layout.ts';
import * as options from './nd-options.ts';

const head = [u8('type'), u8('code'), u16('checksum')];

/** A neighbor advertisement. */
export const layout: Layout = struct(
  ...head,
  u8('flags'),
  u8('reserved'),
  u16('reserved2'),
  words('target', 4),
);
const solicitation = struct(...head, u32('reserved'), words('target', 4));
const routerSolicitation = struct(...head, u32('reserved'));
const routerAdvertisement = struct(
  ...head,
  u8('hopLimit'),
  u8('flags'),
  u16('lifetime'),
  u32('reachable'),
  u32('retrans'),
);
const redirect = struct(...head, u32('reserved'), words('target', 4), words('destination', 4));

const FLAGS = layout.offsetOf('flags');
const HOP_LIMIT = routerAdvertisement.offsetOf('hopLimit');
const ROUTER_FLAGS = routerAdvertisement.offsetOf('flags');
const LIFETIME = routerAdvertisement.offsetOf('lifetime');
const REACHABLE = routerAdvertisement.offsetOf('reachable');
const RETRANS = routerAdvertisement.offsetOf('retrans');

/** Bytes of a neighbor solicitation or advertisement without options; see {@link sizeOf} for the others. */
export const SIZE = layout.span;
/** Where the target address lies, in neighbor messages and redirects. */
export const TARGET = layout.offsetOf('target');
/** Where the destination address lies in a redirect. */
export const DESTINATION = redirect.offsetOf('destination');

// Flags of a neighbor advertisement.
export const ROUTER = 0x80;
export const SOLICITED = 0x40;
export const OVERRIDE = 0x20;

// Flags of a router advertisement.
export const MANAGED = 0x80;
export const OTHER = 0x40;

const LAYOUTS: Record<number, Layout> = {
  [icmpv6.ROUTER_SOLICITATION]: routerSolicitation,
  [icmpv6.ROUTER_ADVERTISEMENT]: routerAdvertisement,
  [icmpv6.NEIGHBOR_SOLICITATION]: solicitation,
  [icmpv6.NEIGHBOR_ADVERTISEMENT]: layout,
  [icmpv6.REDIRECT]: redirect,
};
const SIZES = Uint8Array.from({ length: 256 }, (_, type) => LAYOUTS[type]?.span ?? 0);

/** Whether an ICMPv6 type is one of neighbor discovery. */
export function isNd(type: number): boolean {
  return SIZES[type] !== 0;
}

/** Bytes in front of the options, by ICMPv6 type; 0 for one that is not of neighbor discovery. */
export function sizeOf(type: number): number {
  return SIZES[type];
}

/** TYPE for other ICMPv6, OPTIONS for malformed ones. `end` is where the IP payload ends. */
export function check(v: DataView, at: number, end: number): Fault {
  if (end - at < icmpv6.SIZE) return SHORT;
  const size = SIZES[icmpv6.type(v, at)];
  if (size === 0) return TYPE;
  return end - at < size ? SHORT : options.check(v, at + size, end);
}

/** Where the first option of a type starts, or -1. */
export function option(v: DataView, at: number, end: number, type: number): number {
  return options.find(v, at + SIZES[icmpv6.type(v, at)], end, type);
}

/** Of a neighbor advertisement: {@link ROUTER}, {@link SOLICITED} and {@link OVERRIDE}. */
export function flags(v: DataView, at: number): number {
  return v.getUint8(at + FLAGS);
}

/** Word `i` (0 to 3) of the target address, unsigned: of neighbor messages and redirects. */
export function target(v: DataView, at: number, i: number): number {
  return v.getUint32(at + TARGET + 4 * i);
}

/** Of a router advertisement: the hop limit for new packets, 0 where it does not say. */
export function hopLimit(v: DataView, at: number): number {
  return v.getUint8(at + HOP_LIMIT);
}

/** Of a router advertisement: {@link MANAGED}, {@link OTHER}, and by RFC 4191 the preference, 0x18. */
export function routerFlags(v: DataView, at: number): number {
  return v.getUint8(at + ROUTER_FLAGS);
}

/** Of a router advertisement: how long the router serves as default, in seconds; 0 means that it does not. */
export function lifetime(v: DataView, at: number): number {
  return v.getUint16(at + LIFETIME);
}

/** Of a router advertisement: how long a neighbor counts as reachable, in ms; 0 where it does not say. */
export function reachable(v: DataView, at: number): number {
  return v.getUint32(at + REACHABLE);
}

/** Of a router advertisement: time between two solicitations, in ms; 0 where it does not say. */
export function retrans(v: DataView, at: number): number {
  return v.getUint32(at + RETRANS);
}

export function setFlags(v: DataView, at: number, flags: number): void {
  v.setUint8(at + FLAGS, flags);
}

export function setTarget(v: DataView, at: number, a: number, b: number, c: number, d: number): void {
  ipv6.setAddress(v, at + TARGET, a, b, c, d);
}

/** Writes the {@link SIZE} bytes of a neighbor solicitation for a target given as four words. Options follow,
 * then fill the checksum. */
export function writeSolicitation(v: DataView, at: number, a: number, b: number, c: number, d: number): void {
  icmpv6.write(v, at, icmpv6.NEIGHBOR_SOLICITATION, 0, 0);
  setTarget(v, at, a, b, c, d);
}

/** Writes the {@link SIZE} bytes of a neighbor advertisement, like {@link writeSolicitation}. */
export function writeAdvertisement(
  v: DataView,
  at: number,
  flags: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  icmpv6.write(v, at, icmpv6.NEIGHBOR_ADVERTISEMENT, 0, flags << 24);
  setTarget(v, at, a, b, c, d);
}

/**
 * Whether a node may believe a message: RFC 4861 sections 6.1.1, 6.1.2, 7.1.1, 7.1.2 and 8.1, and no fragment
 * header (RFC 6980 section 5). Expects that `ipv6.check` and {@link check} passed. `ip` is where the IPv6
 * header starts and `end` where its payload ends: padding of the link would spoil the checksum.
 *
 * Not judged: whether a redirect comes from the current router, which only its receiver knows.
 */
export function valid(v: DataView, ip: number, at: number, end: number): boolean {
  if (ipv6.hopLimit(v, ip) !== 255 || icmpv6.code(v, at) !== 0) return false;
  const u = extensions.upper(v, ip, end);
  if (u < 0 || extensions.hasFragmentHeader(u) || !validAddresses(v, ip, at, end)) return false;
  return icmpv6.verifyChecksum(v, at, end, checksums.pseudo6(v, ip, icmpv6.PROTOCOL, end - at));
}

function validAddresses(v: DataView, ip: number, at: number, end: number): boolean {
  const src = ip + ipv6.SRC;
  const dst = ip + ipv6.DST;
  const target = at + TARGET;
  switch (icmpv6.type(v, at)) {
    case icmpv6.ROUTER_SOLICITATION:
      return !ipv6.isUnspecified(v, src) || !hasSourceLink(v, at, end);
    case icmpv6.ROUTER_ADVERTISEMENT:
      return ipv6.isLinkLocal(v, src);
    case icmpv6.NEIGHBOR_SOLICITATION:
      if (ipv6.isMulticast(v, target)) return false;
      return !ipv6.isUnspecified(v, src) || (ipv6.isSolicitedNode(v, dst) && !hasSourceLink(v, at, end));
    case icmpv6.NEIGHBOR_ADVERTISEMENT:
      return !ipv6.isMulticast(v, target) && !(ipv6.isMulticast(v, dst) && (flags(v, at) & SOLICITED) !== 0);
    case icmpv6.REDIRECT:
      if (!ipv6.isLinkLocal(v, src) || ipv6.isMulticast(v, at + DESTINATION)) return false;
      return ipv6.isLinkLocal(v, target) || ipv6.sameAddress(v, target, at + DESTINATION);
    default:
      return false;
  }
}

function hasSourceLink(v: DataView, at: number, end: number): boolean {
  return option(v, at, end, options.SOURCE_LINK) >= 0;
}

/** A decoded message, for people and tools; which fields it has depends on the type. */
export interface Nd {
  type: number;
  code: number;
  checksum: number;
  flags?: number;
  target?: string;
  destination?: string;
  hopLimit?: number;
  /** In seconds. */
  lifetime?: number;
  /** In ms. */
  reachable?: number;
  /** In ms. */
  retrans?: number;
  options: options.Option[];
}

/** Expects a message that {@link check} passed. Reserved fields are left out. */
export function decode(v: DataView, at: number, end: number): Nd {
  const type = icmpv6.type(v, at);
  const { reserved, reserved2, ...fields } = LAYOUTS[type].decode(v, at);
  const message = fields as unknown as Nd;
  for (const [name, offset] of [
    ['target', TARGET],
    ['destination', DESTINATION],
  ] as const) {
    if (name in message) message[name] = ip.format(ip.read6(v, at + offset));
  }
  message.options = options.decode(v, at + SIZES[type], end);
  return message;
}

/** Writes a decoded message, reserved fields zero. Returns where it ends. */
export function encode(message: Nd, v: DataView, at: number): number {
  const { target, destination, options: list, ...numbers } = message;
  const address = (text = '::') => [...ip.parse(text).words];
  const addresses = { target: address(target), destination: address(destination) };
  const layout = LAYOUTS[message.type];
  layout.encode({ ...numbers, ...addresses, reserved: 0, reserved2: 0 }, v, at);
  return options.encode(list, v, at + layout.span);
}

/** `ICMP6, neighbor solicitation, who has fe80::2, length 32`, as tcpdump prints it. */
export function format(v: DataView, at: number, end: number): string {
  const address = (offset: number) => ip.format(ip.read6(v, at + offset));
  const length = `length ${end - at}`;
  switch (icmpv6.type(v, at)) {
    case icmpv6.NEIGHBOR_SOLICITATION:
      return `ICMP6, neighbor solicitation, who has ${address(TARGET)}, ${length}`;
    case icmpv6.NEIGHBOR_ADVERTISEMENT:
      return `ICMP6, neighbor advertisement, tgt is ${address(TARGET)}, ${length}`;
    case icmpv6.REDIRECT:
      return `ICMP6, redirect, ${address(DESTINATION)} to ${address(TARGET)}, ${length}`;
    default:
      return icmpv6.format(v, at, end);
  }
}
