/** What a guard asks of IPv6 packets; the rules are stated in `guard.ts`. */
import { OK } from '../../codecs/fault.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as extensions from '../../codecs/ipv6-extensions.ts';
import * as nd from '../../codecs/nd.ts';
import * as options from '../../codecs/nd-options.ts';
import { type Drop, MALFORMED, SPOOFED_ADDRESS, SPOOFED_MAC } from '../core/drop.ts';
import { NONE } from '../core/packet.ts';
import type { Owners } from '../tables/owners.ts';

/** No reason to drop a packet. */
const PASS: Drop = -1;

/** Why an IPv6 packet from a port may not pass, or PASS (-1). `hi` and `lo` are the frame's source MAC. */
export function judgeIpv6(
  owners: Owners,
  owner: number,
  v: DataView,
  at: number,
  end: number,
  hi: number,
  lo: number,
): Drop {
  if (ipv6.check(v, at, end) !== OK) return MALFORMED;
  const payloadEnd = ipv6.payloadEnd(v, at);
  const upper = extensions.upper(v, at, payloadEnd);
  if (upper < 0) return MALFORMED;
  const l4 = isMessage(upper) ? at + extensions.upperOffset(upper) : NONE;
  const reason = l4 === NONE ? PASS : judgeMessage(owners, owner, v, l4, payloadEnd, upper);
  if (reason !== PASS || !owners.knowsIps(owner)) return reason;

  const type = l4 === NONE ? NONE : icmpv6.type(v, l4);
  const src = at + ipv6.SRC;
  if (ipv6.isUnspecified(v, src)) {
    const mine = needsNoAddress(type) || isProbe(owners, owner, v, l4, type, hi, lo);
    return mine ? PASS : SPOOFED_ADDRESS;
  }
  if (!owns(owners, owner, v, src, hi, lo)) return SPOOFED_ADDRESS;
  if (type !== icmpv6.NEIGHBOR_ADVERTISEMENT) return PASS;
  return owns(owners, owner, v, l4 + nd.TARGET, hi, lo) ? PASS : SPOOFED_ADDRESS;
}

/** Judges shape and link-layer addresses of neighbor discovery; other ICMPv6 passes. */
function judgeMessage(
  owners: Owners,
  owner: number,
  v: DataView,
  l4: number,
  end: number,
  upper: extensions.Upper,
): Drop {
  if (icmpv6.check(v, l4, end) !== OK) return MALFORMED;
  if (!nd.isNd(icmpv6.type(v, l4))) return PASS;
  if (extensions.hasFragmentHeader(upper) || nd.check(v, l4, end) !== OK) return MALFORMED;
  return !owners.knowsMacs(owner) || namesOwnMac(owners, owner, v, l4, end) ? PASS : SPOOFED_MAC;
}

/** Whether the walk led to an ICMPv6 message, and not to the middle of one. */
function isMessage(upper: extensions.Upper): boolean {
  return extensions.upperProtocol(upper) === icmpv6.PROTOCOL && !extensions.isLaterFragment(upper);
}

/** Whether every link-layer address option speaks of the port. That of a redirect speaks of another node. */
function namesOwnMac(owners: Owners, owner: number, v: DataView, at: number, end: number): boolean {
  const type = icmpv6.type(v, at);
  for (let i = at + nd.sizeOf(type); i < end; i = options.next(v, i, end)) {
    const option = v.getUint8(i);
    const link = option === options.SOURCE_LINK || option === options.TARGET_LINK;
    if (!link || (option === options.TARGET_LINK && type === icmpv6.REDIRECT)) continue;
    if (!owners.hasMac(owner, options.linkHi(v, i), options.linkLo(v, i) | 0)) return false;
  }
  return true;
}

/** Whether a port owns the address that lies at `i`: declared, or made of the source MAC. */
function owns(owners: Owners, owner: number, v: DataView, i: number, hi: number, lo: number): boolean {
  const a = v.getInt32(i);
  const b = v.getInt32(i + 4);
  const c = v.getInt32(i + 8);
  const d = v.getInt32(i + 12);
  return owners.hasIp(owner, a, b, c, d) || isLinkLocalOf(a, b, c, d, hi, lo);
}

/** Whether four words (signed) are fe80::/64 and the EUI-64 of a MAC address (RFC 4291 appendix A). */
function isLinkLocalOf(a: number, b: number, c: number, d: number, hi: number, lo: number): boolean {
  if (a !== (0xfe800000 | 0) || b !== 0) return false;
  const first = ((hi ^ 0x0200) << 16) | ((lo >>> 24) << 8) | 0xff;
  return c === first && d === ((0xfe << 24) | (lo & 0xffffff));
}

/** Whether nodes that have no address yet send such messages. */
function needsNoAddress(type: number): boolean {
  return (
    type === icmpv6.ROUTER_SOLICITATION ||
    type === icmpv6.MLD_REPORT ||
    type === icmpv6.MLD_DONE ||
    type === icmpv6.MLD2_REPORT
  );
}

/** Whether a message from :: asks for an address that the port is about to use (RFC 4862 section 5.4.2). */
function isProbe(
  owners: Owners,
  owner: number,
  v: DataView,
  l4: number,
  type: number,
  hi: number,
  lo: number,
): boolean {
  return type === icmpv6.NEIGHBOR_SOLICITATION && owns(owners, owner, v, l4 + nd.TARGET, hi, lo);
}
