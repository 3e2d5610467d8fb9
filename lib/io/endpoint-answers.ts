/** What a small host answers: each function turns a request in place into its answer. Cold code. */
import * as checksums from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import { read6 } from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import type { Mac } from '../../codecs/mac.ts';
import * as nd from '../../codecs/nd.ts';
import * as options from '../../codecs/nd-options.ts';

const TTL = 64;

/** Sends a frame back to where it came from. */
export function turnFrame(v: DataView, at: number, own: Mac): void {
  ethernet.setDst(v, at, ethernet.srcHi(v, at), ethernet.srcLo(v, at));
  ethernet.setSrc(v, at, own.hi, own.lo);
}

/** An echo request over IPv4 becomes the reply (RFC 792); the data is returned as it came. */
export function turnEcho4(v: DataView, l3: number, l4: number): void {
  const asker = ipv4.src(v, l3);
  ipv4.setSrc(v, l3, ipv4.dst(v, l3));
  ipv4.setDst(v, l3, asker);
  ipv4.setTtl(v, l3, TTL);
  ipv4.fillChecksum(v, l3);
  const request = icmp.ECHO_REQUEST << 8;
  icmp.setType(v, l4, icmp.ECHO_REPLY);
  icmp.setChecksum(v, l4, checksums.update(icmp.checksum(v, l4), request, icmp.ECHO_REPLY << 8));
}

/** An echo request over IPv6 becomes the reply (RFC 4443 section 4.2). */
export function turnEcho6(v: DataView, l3: number, l4: number): void {
  // Swapping the addresses leaves the pseudo header's sum as it is.
  for (let i = 0; i < 4; i++) {
    const src = ipv6.src(v, l3, i);
    v.setUint32(l3 + ipv6.SRC + 4 * i, ipv6.dst(v, l3, i));
    v.setUint32(l3 + ipv6.DST + 4 * i, src);
  }
  ipv6.setHopLimit(v, l3, TTL);
  const request = icmpv6.ECHO_REQUEST << 8;
  icmpv6.setType(v, l4, icmpv6.ECHO_REPLY);
  icmpv6.setChecksum(v, l4, checksums.update(icmpv6.checksum(v, l4), request, icmpv6.ECHO_REPLY << 8));
}

/** Bytes of a neighbor solicitation or advertisement with one link-layer address. */
const ND_BYTES = nd.SIZE + options.SIZE;

/**
 * Writes a multicast neighbor solicitation (RFC 4861 section 7.2.2) as a whole frame at `at`, to the group
 * 33:33:ff:xx:xx:xx (RFC 2464 section 7) of the target's solicited-node address, and returns its end.
 */
export function writeSolicitation(
  v: DataView,
  at: number,
  own: Mac,
  src: ipv6.Words,
  target: ipv6.Words,
): number {
  const tail = target[3] & 0xffffff;
  ethernet.write(v, at, 0x3333, (0xff000000 | tail) >>> 0, own.hi, own.lo, ethernet.TYPE_IPV6);
  const l3 = at + ethernet.SIZE;
  const group = [0xff020000, 0, 1, (0xff000000 | tail) >>> 0] as const;
  ipv6.write(v, l3, 0, 0, ND_BYTES, icmpv6.PROTOCOL, 255, src, group);
  const l4 = l3 + ipv6.SIZE;
  nd.writeSolicitation(v, l4, target[0], target[1], target[2], target[3]);
  return finishNd(v, l3, l4, options.SOURCE_LINK, own);
}

/**
 * Writes, over a solicitation, the advertisement that answers it (RFC 4861 section 7.2.4): solicited and to
 * the asker, or to all nodes where the asker has no address yet. Returns the frame's end.
 */
export function turnSolicitation(v: DataView, at: number, own: Mac, target: ipv6.Words): number {
  const l3 = at + ethernet.SIZE;
  const l4 = l3 + ipv6.SIZE;
  const { words: asker } = read6(v, l3 + ipv6.SRC);
  const nameless = asker.every((word) => word === 0);
  turnFrame(v, at, own);
  if (nameless) ethernet.setDst(v, at, 0x3333, 1);
  const to = nameless ? ([0xff020000, 0, 0, 1] as const) : asker;
  ipv6.write(v, l3, 0, 0, ND_BYTES, icmpv6.PROTOCOL, 255, target, to);
  const flags = nd.OVERRIDE | (nameless ? 0 : nd.SOLICITED);
  nd.writeAdvertisement(v, l4, flags, target[0], target[1], target[2], target[3]);
  return finishNd(v, l3, l4, options.TARGET_LINK, own);
}

function finishNd(v: DataView, l3: number, l4: number, type: number, own: Mac): number {
  options.writeLink(v, l4 + nd.SIZE, type, own.hi, own.lo);
  const end = l4 + ND_BYTES;
  icmpv6.fillChecksum(v, l4, end, checksums.pseudo6(v, l3, icmpv6.PROTOCOL, ND_BYTES));
  return end;
}
