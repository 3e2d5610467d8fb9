/** Puts a frame into a tunnel as its sender would, and finds again what lies in a tunnel. */
import { pseudo4, pseudo6 } from '../../codecs/checksum.ts';
import * as esp from '../../codecs/esp.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { DESTINATION_OPTIONS } from '../../codecs/protocol.ts';
import * as udp from '../../codecs/udp.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import type { Random } from '../../lib/core/random.ts';
import { DATAGRAM, ETHERNET, IP } from '../../lib/io/port.ts';
import { vtep } from '../lib/elements/tunnel.ts';
import type { Kind } from './ends.ts';
import type { Scratch } from './mutate.ts';

/** Bytes of options that some outer headers carry. */
const OPTIONS = 8;

/** Bytes of the outer headers that an overlay writes, in front of VXLAN or ESP. */
export function leadOf({ medium, family }: Kind, encrypted: boolean): number {
  if (medium === DATAGRAM) return 0;
  const network = family === 4 ? ipv4.SIZE : ipv6.SIZE;
  if (medium === IP && encrypted) return network;
  return (medium === ETHERNET ? ethernet.SIZE : 0) + network + udp.SIZE;
}

export function writeVxlan(frame: Scratch, vni: number): void {
  frame.start -= vxlan.SIZE;
  vxlan.write(frame.view, frame.start, vni);
}

/** Makes a frame what nobody who has no keys should be listened to with, on the port of ESP. */
export function writeFalseEsp(frame: Scratch, r: Random): void {
  const kind = r.below(8);
  if (kind === 0) frame.end = frame.start + 1;
  if (kind === 0)
    frame.bytes[frame.start] = 0xff; // a keepalive
  else if (kind <= 2) {
    frame.start -= esp.NON_ESP_MARKER;
    frame.bytes.fill(0, frame.start, frame.start + esp.NON_ESP_MARKER);
  } else if (kind <= 5) {
    frame.start -= esp.SIZE;
    esp.write(frame.view, frame.start, r.int32() >>> 0, r.below(1000));
  } else writeVxlan(frame, r.below(10));
}

const hosts = new Map<number, ReturnType<typeof vtep>>();

/** A host's addresses, which are made once. */
function host(n: number, family: 4 | 6): ReturnType<typeof vtep> {
  const known = hosts.get(16 * n + family) ?? vtep(n, family);
  hosts.set(16 * n + family, known);
  return known;
}

/** Who sends to whom on an underlay. */
export interface Way {
  readonly from: number;
  readonly to: number;
  /** Whether on the underlay of encrypted networks. */
  readonly esp: boolean;
}

/** Writes the outer headers that the underlay shows, with right lengths and checksums. */
export function writeOuter(
  frame: Scratch,
  { medium, family }: Kind,
  { from, to, esp: encrypted }: Way,
  r: Random,
) {
  if (medium === DATAGRAM) return;
  const [src, dst] = [host(from, family), host(to, family)];
  const v = frame.view;
  const onIp = encrypted && medium === IP;
  const protocol = onIp ? esp.PROTOCOL : udp.PROTOCOL;
  const l4 = frame.start - (onIp ? 0 : udp.SIZE);
  const bytes = frame.end - l4;
  const options = r.chance(0.1) ? OPTIONS : 0;
  const tos = r.below(256);
  if (!onIp) udp.write(v, l4, 49152 + r.below(16384), encrypted ? esp.UDP_PORT : vxlan.PORT, bytes, 0);
  const summed = !onIp && r.chance(family === 4 ? 0.5 : 0.8);
  const l3 = l4 - options - (family === 4 ? ipv4.SIZE : ipv6.SIZE);
  frame.start = l3;
  if (family === 4) {
    frame.bytes.fill(1, l4 - options, l4); // no operation
    const flags = r.chance(0.02) ? ipv4.MF : ipv4.DF;
    const [a, b] = [src.address.words[3], dst.address.words[3]];
    ipv4.write(v, l3, tos, frame.length, 0, flags, 64, protocol, a, b);
    ipv4.setHeaderLength(v, l3, ipv4.SIZE + options);
    ipv4.fillChecksum(v, l3);
    if (summed) udp.fillChecksum(v, l4, pseudo4(v, l3, protocol, bytes));
  } else {
    if (options > 0) frame.bytes.set([protocol, 0, 1, 4, 0, 0, 0, 0], l4 - options); // PadN
    const next = options > 0 ? DESTINATION_OPTIONS : protocol;
    ipv6.write(v, l3, tos, 1, options + bytes, next, 64, src.address.words, dst.address.words);
    if (summed) udp.fillChecksum(v, l4, pseudo6(v, l3, protocol, bytes));
  }
  if (medium !== ETHERNET) return;
  frame.start -= ethernet.SIZE;
  const type = family === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
  ethernet.write(v, frame.start, dst.mac.hi, dst.mac.lo, src.mac.hi, src.mac.lo, type);
}

/**
 * Whether a frame carries, anywhere behind what may be a UDP destination port of VXLAN, the VNI and then the
 * MAC addresses at `at` of `inner`. It knows nothing of the headers in between.
 */
export function carries(frame: Scratch, { medium }: Kind, vni: number, inner: DataView, at: number): boolean {
  const { view: v, start, end } = frame;
  if (medium === DATAGRAM) return carriesAt(v, start, end, vni, inner, at);
  for (let i = start; i + 2 <= end; i++) {
    if (v.getUint16(i) === vxlan.PORT && carriesAt(v, i + 6, end, vni, inner, at)) return true;
  }
  return false;
}

function carriesAt(v: DataView, i: number, end: number, vni: number, inner: DataView, at: number): boolean {
  return (
    i + vxlan.SIZE + ethernet.SIZE <= end &&
    vxlan.vni(v, i) === vni &&
    v.getUint32(i + 8) === inner.getUint32(at) &&
    v.getUint32(i + 12) === inner.getUint32(at + 4) &&
    v.getUint32(i + 16) === inner.getUint32(at + 8)
  );
}
