/**
 * Reading one VXLAN frame: 13 fields of outer Ethernet, IPv4, UDP, VXLAN and inner Ethernet.
 *
 * `codec.read13` finds the headers and reads the fields as an element does; `codec.check5` proves beforehand
 * that it may. `codec.read13.cap` reads the same fields of the same frames with the decoders of `cap` (and the
 * VNI by hand, since `cap` does not know VXLAN); they check nothing, and give objects and strings.
 */
import { createRequire } from 'node:module';
import * as ethernet from '../codecs/ethernet.ts';
import { OK } from '../codecs/fault.ts';
import * as ipv4 from '../codecs/ipv4.ts';
import * as udp from '../codecs/udp.ts';
import * as vxlan from '../codecs/vxlan.ts';
import { HEADROOM, type Packet } from '../lib/core/packet.ts';
import { Pool } from '../lib/core/pool.ts';
import { type Bench, Missing } from './bench.ts';

/** As many as a pool that gives its warmest slots first has in use. */
const FRAMES = 64;
const ROUNDS = 8;
const INNER = 64;

/** VXLAN frames that differ in every field that is read. */
function frames(): Packet[] {
  const pool = new Pool({ count: FRAMES });
  return Array.from({ length: FRAMES }, (_, i) => {
    const p = pool.take()!;
    const v = p.view;
    let at = HEADROOM;
    ethernet.write(v, at, 0x0242, 0xac110000 + i, 0x0242, 0xac120000 + i, ethernet.TYPE_IPV4);
    at += ethernet.SIZE;
    const bytes = ipv4.SIZE + udp.SIZE + vxlan.SIZE + INNER;
    ipv4.write(v, at, 0, bytes, 0, ipv4.DF, 64, udp.PROTOCOL, 0x0a000000 + i, 0x0a010000 + i);
    at += ipv4.SIZE;
    udp.write(v, at, 49152 + i, vxlan.PORT, bytes - ipv4.SIZE, 0);
    at += udp.SIZE;
    vxlan.write(v, at, 4096 + i);
    at += vxlan.SIZE;
    ethernet.write(v, at, 0x0200, i, 0x0200, ~i, i & 1 ? ethernet.TYPE_IPV6 : ethernet.TYPE_IPV4);
    p.end = at + INNER;
    return p;
  });
}

/** Whether all headers may be read. */
function check5(p: Packet): boolean {
  const v = p.view;
  const { start, end } = p;
  if (ethernet.check(v, start, end) !== OK) return false;
  const ip = start + ethernet.SIZE;
  if (ipv4.check(v, ip, end) !== OK) return false;
  const datagram = ip + ipv4.headerLength(v, ip);
  if (udp.check(v, datagram, end) !== OK) return false;
  const tunnel = datagram + udp.SIZE;
  return vxlan.check(v, tunnel, end) === OK && ethernet.check(v, tunnel + vxlan.SIZE, end) === OK;
}

function read13(p: Packet): number {
  const v = p.view;
  const outer = p.start;
  const ip = outer + ethernet.SIZE;
  const datagram = ip + ipv4.headerLength(v, ip);
  const tunnel = datagram + udp.SIZE;
  const inner = tunnel + vxlan.SIZE;
  return (
    ethernet.dstHi(v, outer) ^
    ethernet.dstLo(v, outer) ^
    ethernet.srcHi(v, outer) ^
    ethernet.srcLo(v, outer) ^
    ethernet.etherType(v, outer) ^
    ipv4.protocol(v, ip) ^
    ipv4.src(v, ip) ^
    ipv4.dst(v, ip) ^
    udp.srcPort(v, datagram) ^
    udp.dstPort(v, datagram) ^
    udp.length(v, datagram) ^
    vxlan.vni(v, tunnel) ^
    ethernet.dstHi(v, inner) ^
    ethernet.dstLo(v, inner) ^
    ethernet.srcHi(v, inner) ^
    ethernet.srcLo(v, inner) ^
    ethernet.etherType(v, inner)
  );
}

/** The decoders of `cap`, as far as they are called here. */
interface Cap {
  Ethernet(
    b: Buffer,
    at: number,
  ): {
    info: { dstmac: string; srcmac: string; type: number };
    offset: number;
  };
  IPV4(
    b: Buffer,
    at: number,
  ): {
    info: { protocol: number; srcaddr: string; dstaddr: string };
    offset: number;
  };
  UDP(
    b: Buffer,
    at: number,
  ): {
    info: { srcport: number; dstport: number; length: number };
    offset: number;
  };
}

function read13Cap(cap: Cap, b: Buffer, start: number): number {
  const outer = cap.Ethernet(b, start);
  const ip = cap.IPV4(b, outer.offset);
  const datagram = cap.UDP(b, ip.offset);
  const vni = b.readUIntBE(datagram.offset + 4, 3);
  const inner = cap.Ethernet(b, datagram.offset + vxlan.SIZE);
  const text =
    outer.info.dstmac.length +
    outer.info.srcmac.length +
    ip.info.srcaddr.length +
    ip.info.dstaddr.length +
    inner.info.dstmac.length +
    inner.info.srcmac.length;
  const { srcport, dstport, length } = datagram.info;
  return text + outer.info.type + ip.info.protocol + srcport + dstport + length + vni + inner.info.type;
}

function capDecoders(): Cap {
  try {
    return createRequire(import.meta.url)('cap').decoders as Cap;
  } catch {
    throw new Missing('since the optional dependency `cap` is not installed');
  }
}

export const benches: readonly Bench[] = [
  {
    name: 'codec.read13',
    ops: FRAMES * ROUNDS,
    prepare() {
      const packets = frames();
      return () => {
        let sum = 0;
        for (let i = 0; i < FRAMES * ROUNDS; i++) sum = (sum + read13(packets[i % FRAMES])) | 0;
        return sum;
      };
    },
  },
  {
    name: 'codec.check5',
    ops: FRAMES * ROUNDS,
    prepare() {
      const packets = frames();
      return () => {
        let sum = 0;
        for (let i = 0; i < FRAMES * ROUNDS; i++) if (check5(packets[i % FRAMES])) sum++;
        return sum;
      };
    },
  },
  {
    name: 'codec.read13.cap',
    ops: FRAMES * ROUNDS,
    prepare() {
      const cap = capDecoders();
      const buffers = frames().map(({ bytes }) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
      return () => {
        let sum = 0;
        for (let i = 0; i < FRAMES * ROUNDS; i++) sum += read13Cap(cap, buffers[i % FRAMES], HEADROOM);
        return sum;
      };
    },
  },
];
