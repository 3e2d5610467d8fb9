/**
 * Whether the headers of one packet are those of another of its flow: equal, but for what counts up from packet
 * to packet and for checksums, which are somebody else's matter. All headers are there and of the sizes that the
 * other's are, since equal fields say so.
 *
 * Everywhere the first packet's header lies at `from` in `w`, and that of another at the offset in `v`.
 */
import * as ip4 from '../../codecs/ipv4.ts';
import * as ip6 from '../../codecs/ipv6.ts';
import { PSH, SIZE as TCP_SIZE } from '../../codecs/tcp.ts';

/** DF in the 32 bits with identification and fragment offset. */
const DF_BIT = ip4.DF << 13;
/** PSH in the 32 bits with data offset, flags and window. */
const PSH_BIT = PSH << 16;

/** `n` bytes, 4 or more. The last word may overlap the one before. */
export function bytes(w: DataView, from: number, v: DataView, at: number, n: number): boolean {
  const last = n - 4;
  for (let i = 0; i < last; i += 4) if (v.getInt32(at + i) !== w.getInt32(from + i)) return false;
  return v.getInt32(at + last) === w.getInt32(from + last);
}

/**
 * An IPv4 header without options, of a packet that ends at `end` and is number `n` of its flow. The
 * identification has to be that of the first plus `n`, or anything where DF is set (RFC 6864 section 4.1).
 */
export function ipv4(w: DataView, from: number, v: DataView, ip: number, end: number, n: number): boolean {
  const first = v.getInt32(ip);
  const second = v.getInt32(ip + 4);
  const other = w.getInt32(from + 4);
  return (
    (first & 0xffff) === end - ip &&
    (first ^ w.getInt32(from)) >>> 16 === 0 &&
    ((second ^ other) & 0xffff) === 0 &&
    ((second & DF_BIT) !== 0 || second >>> 16 === (((other >>> 16) + n) & 0xffff)) &&
    (v.getInt32(ip + 8) ^ w.getInt32(from + 8)) >>> 16 === 0 &&
    v.getInt32(ip + 12) === w.getInt32(from + 12) &&
    v.getInt32(ip + 16) === w.getInt32(from + 16)
  );
}

/** An IPv6 header of a packet that ends at `end`. */
export function ipv6(w: DataView, from: number, v: DataView, ip: number, end: number): boolean {
  const second = v.getInt32(ip + 4);
  return (
    second >>> 16 === end - ip - ip6.SIZE &&
    ((second ^ w.getInt32(from + 4)) & 0xffff) === 0 &&
    v.getInt32(ip) === w.getInt32(from) &&
    bytes(w, from + ip6.SRC, v, ip + ip6.SRC, ip6.SIZE - ip6.SRC)
  );
}

/** A TCP header of `size` bytes whose payload follows `payload` bytes behind that of the first. PSH may differ. */
export function tcp(
  w: DataView,
  from: number,
  v: DataView,
  l4: number,
  size: number,
  payload: number,
): boolean {
  return (
    v.getInt32(l4) === w.getInt32(from) &&
    v.getInt32(l4 + 4) === ((w.getInt32(from + 4) + payload) | 0) &&
    v.getInt32(l4 + 8) === w.getInt32(from + 8) &&
    ((v.getInt32(l4 + 12) ^ w.getInt32(from + 12)) & ~PSH_BIT) === 0 &&
    v.getUint16(l4 + 18) === w.getUint16(from + 18) &&
    (size === TCP_SIZE || bytes(w, from + TCP_SIZE, v, l4 + TCP_SIZE, size - TCP_SIZE))
  );
}

/** The UDP header of a datagram that ends at `end`. */
export function udp(w: DataView, from: number, v: DataView, l4: number, end: number): boolean {
  return v.getInt32(l4) === w.getInt32(from) && v.getUint16(l4 + 4) === end - l4;
}
