/**
 * Random frames that are right in every field, written by the codecs: every layer that `dissect` knows, with
 * checksums. For fuzzing (they are what gets mutated), for properties, and for tests beside other programs.
 */
import * as arp from '../../codecs/arp.ts';
import { viewOf } from '../../codecs/bytes.ts';
import { dissect } from '../../codecs/dissect.ts';
import * as esp from '../../codecs/esp.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import { parse } from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import { Layers } from '../../codecs/layers.ts';
import * as llc from '../../codecs/llc.ts';
import * as nd from '../../codecs/nd.ts';
import * as ndOptions from '../../codecs/nd-options.ts';
import * as protocols from '../../codecs/protocol.ts';
import * as sctp from '../../codecs/sctp.ts';
import * as chunk from '../../codecs/sctp-chunk.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as tcpOptions from '../../codecs/tcp-options.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import type { Random } from '../../lib/core/random.ts';
import { fill } from './checksums.ts';

/** What lies behind a header, and the number by which that header names it. */
interface Inner {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** Makes frames from one seeded source. */
export class FrameMaker {
  readonly r: Random;
  readonly #layers = new Layers();
  #depth = 0;

  constructor(r: Random) {
    this.r = r;
  }

  /** An Ethernet frame of 15 to some 700 bytes, with all checksums filled. */
  frame(): Uint8Array {
    const bytes = this.#ethernet();
    const v = viewOf(bytes);
    dissect(v, 0, bytes.length, this.#layers);
    for (let i = this.#layers.count - 1; i >= 0; i--) fill(v, this.#layers, i);
    return bytes;
  }

  u16 = () => this.r.below(0x10000);
  u32 = () => this.r.int32() >>> 0;
  words = (): ipv6.Words =>
    this.r.chance(0.2)
      ? parse(this.#pick(['::', '::1', 'fe80::1', 'ff02::1', 'ff02::1:ff00:1', '2001:db8::'])).words
      : [this.u32(), this.u32(), this.u32(), this.u32()];
  data = (most: number, least = 0) =>
    Uint8Array.from({ length: least + this.r.below(most - least + 1) }, () => this.r.below(256));

  #pick<T>(list: readonly T[]): T {
    return list[this.r.below(list.length)];
  }

  /** A port behind which nothing else is looked for. */
  #port = () => this.#pick([1, 22, 1024, 65535, 20000 + this.r.below(10000)]);

  #ethernet(): Uint8Array {
    const { r } = this;
    let { type, bytes } = this.#network();
    const tags = this.#pick([0, 0, 0, 1, 2]);
    for (let tag = 1; tag <= tags; tag++) {
      const inner = type;
      bytes = wrap(vlan.SIZE, bytes, (v) => vlan.write(v, 0, r.below(8), r.below(2), r.below(4096), inner));
      type = tag === 1 ? ethernet.TYPE_VLAN : ethernet.TYPE_QINQ;
    }
    const frame = wrap(ethernet.SIZE, bytes, (v) =>
      ethernet.write(v, 0, this.u16(), this.u32(), this.u16(), this.u32(), type),
    );
    // A frame is padded behind what it carries; 802.3 says by its length where that ends.
    return frame.length < 60 && r.chance(0.5) ? join(frame, new Uint8Array(60 - frame.length)) : frame;
  }

  #network(): Inner {
    const kind = this.r.below(20);
    if (kind === 0) return this.#llc();
    if (kind === 1) return { type: 0x88b5, bytes: this.data(40, 1) };
    if (kind <= 3) return { type: ethernet.TYPE_ARP, bytes: this.#arp() };
    return kind <= 11 ? this.#ipv4() : this.#ipv6();
  }

  #llc(): Inner {
    const bytes = wrap(llc.SNAP_SIZE, this.data(40, 1), (v) => llc.write(v, 0, 0x88b5));
    return { type: bytes.length, bytes };
  }

  #arp(): Uint8Array {
    const [op, target] = [this.#pick([1, 1, 2]), this.r.chance(0.5) ? 0 : this.u32()];
    return wrap(arp.SIZE, NOTHING, (v) =>
      arp.write(v, 0, op, this.u16(), this.u32(), this.u32(), target & 0xffff, target, this.u32()),
    );
  }

  #ipv4(): Inner {
    const { r } = this;
    const later = r.chance(0.05);
    const { type, bytes } = later
      ? { type: udp.PROTOCOL, bytes: this.data(80, 8) }
      : r.chance(0.25)
        ? { type: icmp.PROTOCOL, bytes: this.#icmp() }
        : this.#transport();
    const options = r.chance(0.2) ? this.#pick(IPV4_OPTIONS) : NOTHING;
    const inner = join(options, bytes);
    const packet = wrap(ipv4.SIZE, inner, (v) => {
      const total = ipv4.SIZE + inner.length;
      const flags = this.#pick([0, ipv4.DF, ipv4.DF]);
      ipv4.write(v, 0, r.below(256), total, this.u16(), flags, r.below(256), type, this.u32(), this.u32());
      ipv4.setHeaderLength(v, 0, ipv4.SIZE + options.length);
      if (later) ipv4.setFragmentOffset(v, 0, 8 * (1 + r.below(8000)));
    });
    return { type: ethernet.TYPE_IPV4, bytes: packet };
  }

  #ipv6(): Inner {
    const { r } = this;
    let { type, bytes } = r.chance(0.5)
      ? { type: icmpv6.PROTOCOL, bytes: this.#icmpv6() }
      : r.chance(0.1)
        ? { type: protocols.NO_NEXT_HEADER, bytes: NOTHING }
        : this.#transport();
    if (r.chance(0.3)) ({ type, bytes } = this.#extend({ type, bytes }));
    const packet = wrap(ipv6.SIZE, bytes, (v) => {
      const label = r.below(0x100000);
      const words = [this.words(), this.words()] as const;
      ipv6.write(v, 0, r.below(256), label, bytes.length, type, r.below(256), ...words);
    });
    return { type: ethernet.TYPE_IPV6, bytes: packet };
  }

  /** Puts extension headers in front, in the order that RFC 8200 section 4.1 wants. */
  #extend(inner: Inner): Inner {
    const { r } = this;
    let { type, bytes } = inner;
    const put = (own: number, header: Uint8Array) => {
      header[0] = type;
      bytes = join(header, bytes);
      type = own;
    };
    const padded = () => {
      const units = r.below(3);
      const header = new Uint8Array(8 + 8 * units);
      header.set([0, units, 1, header.length - 4]); // PadN over all the rest
      return header;
    };
    if (r.chance(0.3)) put(protocols.DESTINATION_OPTIONS, padded());
    if (r.chance(0.3)) {
      const [offset, id] = [r.chance(0.5) ? 8 * (1 + r.below(8000)) : 0, this.u32()];
      put(protocols.FRAGMENT, Uint8Array.of(0, 0, offset >> 8, offset, id >>> 24, id >>> 16, id >>> 8, id));
    }
    // No segments left: the destination is that of the header (RFC 8200 section 8.1).
    if (r.chance(0.3)) put(protocols.ROUTING, new Uint8Array(8));
    if (r.chance(0.5)) put(protocols.HOP_BY_HOP, padded());
    return { type, bytes };
  }

  #transport(): Inner {
    const kind = this.r.below(12);
    if (kind === 0) return { type: esp.PROTOCOL, bytes: this.#esp() };
    if (kind === 1) return { type: udp.PROTOCOL, bytes: this.#on4500() };
    if (kind <= 4 && this.#depth === 0) return { type: udp.PROTOCOL, bytes: this.#vxlan() };
    if (kind <= 7)
      return { type: udp.PROTOCOL, bytes: this.#udp(this.#port(), this.#port(), this.data(100)) };
    return kind <= 10
      ? { type: tcp.PROTOCOL, bytes: this.#tcp() }
      : { type: sctp.PROTOCOL, bytes: this.#sctp() };
  }

  #udp(src: number, dst: number, payload: Uint8Array): Uint8Array {
    return wrap(udp.SIZE, payload, (v) => udp.write(v, 0, src, dst, v.byteLength, 0));
  }

  #esp(): Uint8Array {
    return wrap(esp.SIZE, this.data(80, 16), (v) => esp.write(v, 0, 256 + this.r.below(1e9), this.u32()));
  }

  #on4500(): Uint8Array {
    const payload = this.#pick([
      () => this.#esp(),
      () => join(new Uint8Array(esp.NON_ESP_MARKER), this.data(60, 28)),
      () => Uint8Array.of(0xff),
    ])();
    return this.#udp(esp.UDP_PORT, esp.UDP_PORT, payload);
  }

  #vxlan(): Uint8Array {
    this.#depth++;
    const inner = this.#ethernet();
    this.#depth--;
    const payload = wrap(vxlan.SIZE, inner, (v) => vxlan.write(v, 0, this.r.below(vxlan.MAX_VNI + 1)));
    return this.#udp(49152 + this.r.below(16384), vxlan.PORT, payload);
  }

  #tcp(): Uint8Array {
    const { r } = this;
    const list: tcpOptions.Option[] = [];
    for (let n = r.below(4); n > 0; n--) list.push(this.#pick(TCP_OPTIONS));
    const bytes = list.reduce((sum, { kind, value }) => sum + (kind === 1 ? 1 : 2 + value.length / 2), 0);
    const header = tcp.SIZE + Math.ceil(bytes / 4) * 4;
    return wrap(header, this.data(100), (v) => {
      const [src, dst, flags] = [this.#port(), this.#port(), r.below(256)];
      tcp.write(v, 0, src, dst, this.u32(), this.u32(), header, flags, this.u16());
      tcpOptions.encode(list, v, tcp.SIZE, header);
      if ((flags & tcp.URG) !== 0) tcp.setUrgent(v, 0, this.u16());
    });
  }

  #sctp(): Uint8Array {
    let chunks = NOTHING;
    for (let n = 1 + this.r.below(3); n > 0; n--) chunks = join(chunks, this.#chunk());
    return wrap(sctp.SIZE, chunks, (v) => sctp.write(v, 0, this.#port(), this.#port(), this.u32()));
  }

  #chunk(): Uint8Array {
    const [type, most, least] = this.#pick([
      [chunk.DATA, 40, 13],
      [chunk.SHUTDOWN, 4, 4],
      [chunk.COOKIE_ACK, 0, 0],
      [chunk.COOKIE_ECHO, 20, 1],
    ]);
    const value = this.data(most, least);
    const padding = new Uint8Array(-value.length & 3);
    const flags = type === chunk.DATA ? this.r.below(8) : 0;
    return wrap(chunk.SIZE, join(value, padding), (v) =>
      chunk.write(v, 0, type, flags, chunk.SIZE + value.length),
    );
  }

  #icmp(): Uint8Array {
    const [type, code] = this.#pick([
      [icmp.ECHO_REQUEST, 0],
      [icmp.ECHO_REPLY, 0],
      [icmp.UNREACHABLE, icmp.PORT_UNREACHABLE],
      [icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED],
      [icmp.TIME_EXCEEDED, 0],
    ]);
    const [payload, rest] = icmp.isError(type)
      ? [this.#quoted4(), type === icmp.UNREACHABLE && code === 4 ? this.u16() : 0]
      : [this.data(60), this.u32()];
    return wrap(icmp.SIZE, payload, (v) => icmp.write(v, 0, type, code, rest));
  }

  #quoted4(): Uint8Array {
    return wrap(ipv4.SIZE, this.data(8, 8), (v) =>
      ipv4.write(v, 0, 0, 1500, this.u16(), ipv4.DF, 64, udp.PROTOCOL, this.u32(), this.u32()),
    );
  }

  #icmpv6(): Uint8Array {
    const { r } = this;
    const kind = r.below(8);
    if (kind >= 4) return this.#nd(icmpv6.ROUTER_SOLICITATION + r.below(5));
    const type = [icmpv6.ECHO_REQUEST, icmpv6.ECHO_REPLY, icmpv6.PACKET_TOO_BIG, icmpv6.UNREACHABLE][kind];
    const quoted = wrap(ipv6.SIZE, NOTHING, (v) =>
      ipv6.write(v, 0, 0, 0, 1400, protocols.NO_NEXT_HEADER, 64, this.words(), this.words()),
    );
    const [payload, code] = icmpv6.isError(type) ? [quoted, r.below(2)] : [this.data(60), 0];
    const rest = type === icmpv6.UNREACHABLE ? 0 : this.u32();
    return wrap(icmpv6.SIZE, payload, (v) =>
      icmpv6.write(v, 0, type, type === icmpv6.PACKET_TOO_BIG ? 0 : code, rest),
    );
  }

  #nd(type: number): Uint8Array {
    const { r } = this;
    const list: ndOptions.Option[] = [];
    for (let n = r.below(3); n > 0; n--) list.push(this.#pick(ND_OPTIONS));
    const address = this.#pick(['fe80::1', '2001:db8::2', 'ff02::1']);
    const out = new Uint8Array(200);
    const message: nd.Nd = { type, code: 0, checksum: 0, options: list };
    if (type === icmpv6.ROUTER_ADVERTISEMENT) {
      const numbers = { hopLimit: r.below(256), flags: 0xc0 & r.below(256), lifetime: this.u16() };
      Object.assign(message, numbers, { reachable: this.u32(), retrans: this.u32() });
    } else if (type !== icmpv6.ROUTER_SOLICITATION) message.target = address;
    if (type === icmpv6.NEIGHBOR_ADVERTISEMENT) message.flags = 0xe0 & r.below(256);
    if (type === icmpv6.REDIRECT) message.destination = '2001:db8::3';
    return out.slice(0, nd.encode(message, viewOf(out), 0));
  }
}

const NOTHING: Uint8Array = new Uint8Array(0);
// Two NOPs and an END; record route with room for one address; router alert.
const IPV4_OPTIONS: Uint8Array[] = [
  Uint8Array.of(1, 1, 0, 0),
  Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0),
  Uint8Array.of(148, 4, 0, 0),
];
const TCP_OPTIONS: readonly tcpOptions.Option[] = [
  { kind: tcpOptions.NOP, value: '' },
  { kind: tcpOptions.MSS, value: '05b4' },
  { kind: tcpOptions.WINDOW_SCALE, value: '07' },
  { kind: tcpOptions.SACK_PERMITTED, value: '' },
  { kind: tcpOptions.SACK, value: '0000000100000002' },
  { kind: tcpOptions.TIMESTAMPS, value: '0102030405060708' },
];
const ND_OPTIONS: readonly ndOptions.Option[] = [
  { type: ndOptions.SOURCE_LINK, value: '024200000001' },
  { type: ndOptions.TARGET_LINK, value: '024200000002' },
  { type: ndOptions.MTU, value: '0000000005aa' },
  { type: ndOptions.PREFIX, value: `40c00001518000003840${'00000000'}20010db8000000000000000000000000` },
  { type: ndOptions.NONCE, value: '010203040506' },
];

/** `inner` behind a header of `size` bytes that `write` fills. */
function wrap(size: number, inner: Uint8Array, write: (v: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size + inner.length);
  bytes.set(inner, size);
  write(viewOf(bytes));
  return bytes;
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
