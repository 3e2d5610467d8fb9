/**
 * The UDP header of a tunnel that ESP protects in transport mode (RFC 4303 section 3.1.1): it lies inside ESP,
 * between the ESP header and VXLAN. What goes in and comes out is what a DATAGRAM port carries.
 *
 * Its checksum is computed over IPv6, where it may not be left out (RFC 8200 section 8.1), with the addresses
 * of the outer header; over IPv4 it is 0, as RFC 7348 section 5 has it. The ICV protects more than it does.
 */
import { add, sum } from '../../codecs/checksum.ts';
import { OK } from '../../codecs/fault.ts';
import type { Ip } from '../../codecs/ip.ts';
import * as udp from '../../codecs/udp.ts';
import { NONE } from '../core/packet.ts';
import type { VtepTable } from '../tables/vtep.ts';

/** First source port of the dynamic range (RFC 7348 section 5). */
const FIRST_PORT = 0xc000;
const PORT_MASK = 0x3fff;

/** Writes the header in front of the payload `at..end`; `addresses` is what {@link AddressSums} has for the peer. */
export function write(
  v: DataView,
  at: number,
  end: number,
  hash: number,
  dstPort: number,
  addresses: number,
): void {
  const bytes = end - at + udp.SIZE;
  const header = at - udp.SIZE;
  udp.write(v, header, FIRST_PORT | (hash & PORT_MASK), dstPort, bytes, 0);
  if (addresses >= 0) udp.fillChecksum(v, header, add(addresses, add(udp.PROTOCOL, bytes)));
}

/** Whether a datagram for `port` fills `at..end`, but for TFC padding behind it (RFC 4303 section 2.7). */
export function accepts(v: DataView, at: number, end: number, port: number, addresses: number): boolean {
  if (udp.check(v, at, end) !== OK || udp.dstPort(v, at) !== port) return false;
  if (udp.checksum(v, at) === 0) return addresses < 0;
  // Over IPv4 the ICV has verified what the checksum would, whoever computed it before a NAT.
  return addresses < 0 || udp.verifyChecksum(v, at, add(addresses, add(udp.PROTOCOL, udp.length(v, at))));
}

/**
 * For each peer the part of a pseudo header's sum that is the same for all packets between it and this host;
 * -1 over IPv4, where no checksum is needed.
 */
export class AddressSums {
  readonly #vteps: VtepTable;
  readonly #local: Ip;
  #sums: number[] = [];
  #version = NONE;

  constructor(vteps: VtepTable, local: Ip) {
    this.#vteps = vteps;
    this.#local = local;
  }

  of(peer: number): number {
    if (this.#version !== this.#vteps.version) this.#follow();
    return this.#sums[peer];
  }

  #follow(): void {
    this.#version = this.#vteps.version;
    this.#sums = [];
    for (const [peer, { address }] of this.#vteps.entries()) this.#sums[peer] = sumOf(this.#local, address);
  }
}

function sumOf(a: Ip, b: Ip): number {
  if (a.family === 4) return -1;
  const v = new DataView(new ArrayBuffer(32));
  for (const [i, word] of [...a.words, ...b.words].entries()) v.setUint32(4 * i, word);
  return sum(v, 0, 32);
}
