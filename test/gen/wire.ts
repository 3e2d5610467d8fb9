/**
 * A cable between two namespaces, of which one is a port's and the other is only looked at: what arrives there is
 * taken from the wire by a packet socket, and what goes from there is put on it.
 */
import type { Test } from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { parse } from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as mac from '../../codecs/mac.ts';
import { Namespaces } from './netns.ts';
import { PacketSocket } from './packet-socket.ts';

export const ADDRESSES = { 4: ['192.0.2.1', '192.0.2.2'], 6: ['2001:db8::1', '2001:db8::2'] } as const;

const OURS = '02:00:00:00:00:01';
const THEIRS = '02:00:00:00:00:02';

export type Family = 4 | 6;

/** The protocol of packets that nobody but a raw socket takes. */
export const ESP = 50;

/** An IP packet from `from` to `to` that holds a pattern. */
export function packet(
  family: Family,
  [from, to]: readonly string[],
  length: number,
  serial = 1,
  notes = {},
): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => i * 7 + serial * 31);
  const v = viewOf(bytes);
  const { tos, label, hops, protocol } = {
    tos: serial & 0xff,
    label: serial & 0xfffff,
    hops: 64,
    protocol: ESP,
    ...notes,
  };
  const [src, dst] = [parse(from).words, parse(to).words];
  if (family === 6) {
    ipv6.write(v, 0, tos, label, length - ipv6.SIZE, protocol, hops, src, dst);
    return bytes;
  }
  ipv4.write(v, 0, tos, length, serial & 0xffff || 1, ipv4.DF, hops, protocol, src[3] | 0, dst[3] | 0);
  ipv4.fillChecksum(v, 0);
  return bytes;
}

/** The same packet the other way round: no checksum changes. */
export function turned(bytes: Uint8Array): Uint8Array {
  const [at, size] = bytes[0] >> 4 === 4 ? [12, 4] : [8, 16];
  const other = bytes.slice();
  other.set(bytes.subarray(at, at + size), at + size);
  other.set(bytes.subarray(at + size, at + 2 * size), at);
  return other;
}

export class Wire {
  readonly namespaces: Namespaces;
  readonly far: PacketSocket;

  /** Both ends are `eth0`, in the namespaces `here` and `there`. */
  constructor(t: Test) {
    this.namespaces = new Namespaces(t);
    for (const name of ['here', 'there']) this.namespaces.add(name);
    this.namespaces.cable('here', 'eth0', 'there', 'eth0');
    for (const [i, name] of ['here', 'there'].entries()) {
      const address = `ip link set eth0 address ${i === 0 ? OURS : THEIRS}`;
      const [four, six] = [`${ADDRESSES[4][i]}/24`, `${ADDRESSES[6][i]}/64`];
      const addresses = `ip addr add ${four} dev eth0 && ip addr add ${six} dev eth0 nodad`;
      this.namespaces.run(name, `sh -c "${address} && ${addresses}"`);
    }
    this.far = new PacketSocket(this.namespaces.real('there'), 'eth0');
    t.teardown(this.far.close);
  }

  /** The real name of the port's namespace. */
  get here(): string {
    return this.namespaces.real('here');
  }

  /** Puts IP packets on the wire. */
  readonly deliver = (packets: readonly Uint8Array[]): void => {
    const [to, from] = [OURS, THEIRS].map((text) => mac.parse(text));
    const frames = packets.map((packet) => {
      const frame = new Uint8Array(ethernet.SIZE + packet.length);
      const type = packet[0] >> 4 === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
      ethernet.write(viewOf(frame), 0, to.hi, to.lo | 0, from.hi, from.lo | 0, type);
      frame.set(packet, ethernet.SIZE);
      return frame;
    });
    this.far.deliver(frames);
  };

  /** The IP packets of a protocol that came since the last call. */
  readonly collect = (protocol: number): Uint8Array[] =>
    this.far
      .collect()
      .map((frame) => frame.subarray(ethernet.SIZE))
      .filter((packet) => packet[packet[0] >> 4 === 4 ? 9 : 6] === protocol);
}
