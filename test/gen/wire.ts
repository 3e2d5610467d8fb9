/**
 * A cable between two namespaces, of which one is a port's and the other is only looked at: what arrives there is
 * taken from the wire by a packet socket, and what goes from there is put on it.
 */
import type { Test } from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as mac from '../../codecs/mac.ts';
import { Namespaces } from './netns.ts';
import { PacketSocket } from './packet-socket.ts';

export const ADDRESSES = { 4: ['192.0.2.1', '192.0.2.2'], 6: ['2001:db8::1', '2001:db8::2'] } as const;

const OURS = '02:00:00:00:00:01';
const THEIRS = '02:00:00:00:00:02';

export class Wire {
  readonly namespaces: Namespaces;
  readonly far: PacketSocket;

  /** Both ends are `eth0`, in the namespaces `here` and `there`. */
  constructor(t: Test) {
    this.namespaces = new Namespaces(t);
    for (const name of ['here', 'there']) this.namespaces.add(name);
    this.namespaces.cable('here', 'eth0', 'there', 'eth0');
    for (const [i, name] of ['here', 'there'].entries()) {
      this.namespaces.run(name, `ip link set eth0 address ${i === 0 ? OURS : THEIRS}`);
      this.namespaces.run(name, `ip addr add ${ADDRESSES[4][i]}/24 dev eth0`);
      this.namespaces.run(name, `ip addr add ${ADDRESSES[6][i]}/64 dev eth0 nodad`);
    }
    this.far = new PacketSocket(this.namespaces.real('there'), 'eth0');
  }

  /** The real name of the port's namespace. */
  get here(): string {
    return this.namespaces.real('here');
  }

  /** Puts IP packets on the wire. */
  deliver(packets: readonly Uint8Array[]): void {
    const [to, from] = [OURS, THEIRS].map((text) => mac.parse(text));
    const frames = packets.map((packet) => {
      const frame = new Uint8Array(ethernet.SIZE + packet.length);
      const type = packet[0] >> 4 === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
      ethernet.write(viewOf(frame), 0, to.hi, to.lo | 0, from.hi, from.lo | 0, type);
      frame.set(packet, ethernet.SIZE);
      return frame;
    });
    this.far.deliver(frames);
  }

  /** The IP packets of a protocol that came since the last call. */
  collect(protocol: number): Uint8Array[] {
    return this.far
      .collect()
      .map((frame) => frame.subarray(ethernet.SIZE))
      .filter((packet) => packet[packet[0] >> 4 === 4 ? 9 : 6] === protocol);
  }

  close(): void {
    this.far.close();
    this.namespaces.remove();
  }
}
