/** What the tests of the VXLAN elements share: endpoints, frames, and a way to push packets through. */
import { existsSync, readFileSync } from 'node:fs';
import { viewOf } from '../../../codecs/bytes.ts';
import { readCapture } from '../../../codecs/capture-reader.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as ip from '../../../codecs/ip.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as mac from '../../../codecs/mac.ts';
import { TCP, UDP } from '../../../codecs/protocol.ts';
import * as udp from '../../../codecs/udp.ts';
import { BATCH, Batch } from '../../../lib/core/batch.ts';
import type { Element } from '../../../lib/core/element.ts';
import type { Packet } from '../../../lib/core/packet.ts';
import type { Pool } from '../../../lib/core/pool.ts';
import type { Random } from '../../../lib/core/random.ts';
import { DATAGRAM, ETHERNET, IP, type Medium } from '../../../lib/io/port.ts';
import { VtepTable } from '../../../lib/tables/vtep.ts';

export const MEDIA: readonly Medium[] = [ETHERNET, IP, DATAGRAM];
export const NAMES: Record<Medium, string> = { [ETHERNET]: 'Ethernet', [IP]: 'IP', [DATAGRAM]: 'datagrams' };
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];

/** Hosts 1, 2, ... of the underlay. */
export const address = (host: number, family: Family) =>
  ip.parse(family === 4 ? `192.0.2.${host}` : `2001:db8::${host.toString(16)}`);

/** A host's VTEP. */
export const vtep = (host: number, family: Family) => ({
  address: address(host, family),
  port: 4789,
  mac: mac.parse(`02:fe:00:00:00:${host.toString(16).padStart(2, '0')}`),
});

/** A table with the VTEPs of these hosts, numbered from 0. */
export function vtepsOf(hosts: readonly number[], family: Family): VtepTable {
  const table = new VtepTable(16);
  for (const host of hosts) table.set(vtep(host, family));
  return table;
}

/** Pushes packets through in batches; fails where a batch is not emptied. */
export function pushAll(element: Element, packets: readonly Packet[]): void {
  const batch = new Batch();
  for (let i = 0; i < packets.length; i += BATCH) {
    for (const p of packets.slice(i, i + BATCH)) batch.add(p);
    element.push(batch);
    if (batch.length > 0) throw new Error(`"${element.name}" left ${batch.length} packets in the batch`);
  }
}

/** A packet with these bytes; null would be a dry pool. */
export const packetOf = (pool: Pool, bytes: Uint8Array): Packet => pool.take()!.set(bytes);

/** An Ethernet frame around a payload. */
export function frame(type: number, payload: Uint8Array, dst = '02:00:00:00:00:02'): Uint8Array {
  const bytes = new Uint8Array(ethernet.SIZE + payload.length);
  const to = mac.parse(dst);
  ethernet.write(viewOf(bytes), 0, to.hi, to.lo, 0x0200, 1, type);
  bytes.set(payload, ethernet.SIZE);
  return bytes;
}

/** An Ethernet frame with UDP from port `from` to 53, over the given family. */
export function udpFrame(family: Family, from = 1000, tos = 0, bytes = 12): Uint8Array {
  const header = family === 4 ? ipv4.SIZE : ipv6.SIZE;
  const packet = new Uint8Array(header + udp.SIZE + bytes);
  const v = viewOf(packet);
  if (family === 4) ipv4.write(v, 0, tos, packet.length, 7, 0, 64, UDP, 0x0a000001, 0x0a000002);
  else {
    const [src, dst] = ['fd00::1', 'fd00::2'].map((text) => ip.parse(text).words);
    ipv6.write(v, 0, tos, 0, packet.length - header, UDP, 64, src, dst);
  }
  udp.write(v, header, from, 53, udp.SIZE + bytes, 0);
  return frame(family === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6, packet);
}

/** A frame of any kind: IPv4, IPv6, something else, well formed or not. */
export function randomFrame(r: Random): Uint8Array {
  const bytes = new Uint8Array(ethernet.SIZE + r.below(r.chance(0.1) ? 1500 : 150));
  for (let i = 0; i < bytes.length; i++) bytes[i] = r.below(256);
  const v = viewOf(bytes);
  const types = [ethernet.TYPE_IPV4, ethernet.TYPE_IPV6, ethernet.TYPE_ARP, r.below(65536)];
  ethernet.setEtherType(v, 0, types[r.below(4)]);
  if (bytes[12] === 0x81 || bytes[12] === 0x88) bytes[12] = 0x77; // no VLAN tags
  const room = bytes.length - ethernet.SIZE;
  const tos = r.below(256);
  const protocol = r.chance(0.5) ? TCP : UDP;
  if (ethernet.etherType(v, 0) === ethernet.TYPE_IPV4 && room >= 20 && r.chance(0.8)) {
    ipv4.write(v, 14, tos, room - r.below(2), r.below(65536), r.below(4), 64, protocol, r.int32(), r.int32());
  } else if (ethernet.etherType(v, 0) === ethernet.TYPE_IPV6 && room >= 40 && r.chance(0.8)) {
    const words = ip.parse('fd00::5').words;
    ipv6.write(v, 14, tos, r.below(1 << 20), room - 40, protocol, 64, words, words);
  }
  return bytes;
}

const captures = new URL(
  '../../../../shared/reference/captures/the-tcpdump-group_tcpdump/tests/',
  import.meta.url,
);

/** The frames of a capture of tcpdump's own tests, or null where it is not beside the repository. */
export function captured(name: string): Uint8Array[] | null {
  const path = new URL(name, captures);
  return existsSync(path) ? readCapture(readFileSync(path)).packets.map(({ bytes }) => bytes) : null;
}
