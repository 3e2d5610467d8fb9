/**
 * The outer headers that a DATAGRAM port hides, made up so that a capture shows whole frames: Ethernet between
 * two addresses of no card, IPv4 or IPv6 from and to the endpoints' addresses, UDP between the ports that they
 * listen on. Lengths and checksums are right; what only the operating system knows (identification, TTL, the
 * true source port) is not the truth.
 */
import { add, finishNonZero, pseudo4, pseudo6, sum } from '../../../codecs/checksum.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import { type Ip, parse } from '../../../codecs/ip.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as udp from '../../../codecs/udp.ts';
import type { Packet } from '../../core/packet.ts';
import type { Vtep, VtepTable } from '../../tables/vtep.ts';

/** Where a DATAGRAM port is bound. */
export interface Bound {
  readonly address: Ip | string;
  /** UDP port. */
  readonly port: number;
}

/** Locally administered: 02:00:00:00:00:01 is this end, :02 the other. */
const MAC_HI = 0x0200;
const US = 1;
const THEM = 2;
const TTL = 64;
/** The largest value of a length field. */
const MAX_LENGTH = 0xffff;

export class Outer {
  /** Bytes of all headers. */
  readonly size: number;
  readonly #peers: VtepTable;
  readonly #port: number;
  readonly #us: Vtep;
  /** Stands for a peer that is not known: address and port 0. */
  readonly #nobody: Vtep;

  /** `port` is the UDP port of all peers, where it is not their own that is to be shown. */
  constructor(peers: VtepTable, local: Bound, port = 0) {
    const address = typeof local.address === 'string' ? parse(local.address) : local.address;
    const four = address.family === 4;
    this.size = ethernet.SIZE + (four ? ipv4.SIZE : ipv6.SIZE) + udp.SIZE;
    this.#peers = peers;
    this.#port = port;
    this.#us = { address, port: local.port };
    this.#nobody = { address: parse(four ? '0.0.0.0' : '::'), port: 0 };
  }

  /** Writes the headers to `to` for a packet's payload, which lies in `payload` at `at..end` and is not copied. */
  write(
    v: DataView,
    to: number,
    p: Packet,
    payload: DataView,
    at: number,
    end: number,
    outbound: boolean,
  ): void {
    const them = this.#them(p.peer);
    const from = outbound ? this.#us : them;
    const dest = outbound ? them : this.#us;
    const four = this.#us.address.family === 4;
    const type = four ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6;
    ethernet.write(v, to, MAC_HI, outbound ? THEM : US, MAC_HI, outbound ? US : THEM, type);
    const l3 = to + ethernet.SIZE;
    const l4 = to + this.size - udp.SIZE;
    // A super-frame can be longer than its headers can say: then they say what they can, without a checksum.
    const whole = udp.SIZE + end - at;
    const fits = whole + ipv4.SIZE <= MAX_LENGTH;
    const bytes = fits ? whole : MAX_LENGTH - ipv4.SIZE;
    udp.write(v, l4, from.port, dest.port, bytes, 0);
    if (four) this.#write4(v, l3, bytes, p.tos, from, dest);
    else ipv6.write(v, l3, p.tos, 0, bytes, udp.PROTOCOL, TTL, from.address.words, dest.address.words);
    if (!fits) return;
    const pseudo = four ? pseudo4(v, l3, udp.PROTOCOL, whole) : pseudo6(v, l3, udp.PROTOCOL, whole);
    const all = add(add(pseudo, sum(v, l4, l4 + udp.SIZE)), sum(payload, at, end));
    udp.setChecksum(v, l4, finishNonZero(all));
  }

  #them(number: number): Vtep {
    const peer = this.#peers.get(number);
    if (peer === undefined || peer.address.family !== this.#us.address.family) return this.#nobody;
    return this.#port === 0 ? peer : { address: peer.address, port: this.#port };
  }

  #write4(v: DataView, l3: number, bytes: number, tos: number, from: Vtep, dest: Vtep): void {
    const src = from.address.words[3];
    const dst = dest.address.words[3];
    ipv4.write(v, l3, tos, ipv4.SIZE + bytes, 0, ipv4.DF, TTL, udp.PROTOCOL, src, dst);
  }
}
