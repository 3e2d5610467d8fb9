/** Trains of datagrams as packets, and what they stand for. */
import { GSO_UDP_L4, HEADROOM, isTrain, type Packet } from '../../lib/core/packet.ts';

/** Puts datagrams, all of one length but a shorter last, into a packet, `gap` bytes apart. */
export function putTrain(p: Packet, datagrams: readonly Uint8Array[], gap = 0): Packet {
  p.start = p.end = HEADROOM;
  for (const [i, datagram] of datagrams.entries()) {
    if (i > 0) p.end += gap;
    p.bytes.set(datagram, p.end);
    p.end += datagram.length;
  }
  p.gsoType = GSO_UDP_L4;
  p.gsoSize = datagrams[0].length;
  p.hdrLen = 0;
  p.gap = gap;
  return p;
}

/** The datagrams that a packet stands for: those of a train, or itself. */
export function datagramsOf(p: Packet): Uint8Array[] {
  if (!isTrain(p)) return [p.frame().slice()];
  const datagrams: Uint8Array[] = [];
  for (let at = p.start; at < p.end; at += p.gsoSize + p.gap) {
    datagrams.push(p.bytes.slice(at, Math.min(at + p.gsoSize, p.end)));
  }
  return datagrams;
}
