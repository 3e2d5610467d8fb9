/**
 * The header that TAP, TUN and packet sockets put in front of every frame: struct virtio_net_hdr
 * (linux/virtio_net.h; Virtual I/O Device 1.2, section 5.1.6), in the machine's byte order.
 *
 *       0       1       2               4               6               8              10
 *     +-------+-------+---------------+---------------+---------------+---------------+
 *     | flags | type  | header length |  segment size | checksum start| check. offset |
 *     +-------+-------+---------------+---------------+---------------+---------------+
 *
 * The header length is a hint, and Linux gives what happens to lie in one piece: it is never believed.
 */
import { release } from 'node:os';
import { GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NONE, type Packet } from '../../core/packet.ts';
import { VIRTIO_NET_HDR_F_NEEDS_CSUM as NEEDS_CSUM, VIRTIO_NET_HDR_SIZE as SIZE } from './constants.ts';

export { SIZE };

/** Whether the header knows UDP super-frames, and TAP devices TUN_F_USO4 and TUN_F_USO6: from Linux 6.2. */
const [major, minor] = release().split('.').map(Number);
export const KERNEL_HAS_USO = major > 6 || (major === 6 && minor >= 2);

const TYPE = 1;
const HEADER_LENGTH = 2;
const SEGMENT_SIZE = 4;
const CHECKSUM_START = 6;
const CHECKSUM_OFFSET = 8;

const TCP_SIZE = 20;
const TCP_DATA_OFFSET = 12;
const TCP_CHECKSUM = 16;
const UDP_SIZE = 8;
const UDP_CHECKSUM = 6;

/** Notes on a packet what the header in front of `start` says, and says whether that can be true. */
export function read(p: Packet): boolean {
  const v = p.view;
  const at = p.start - SIZE;
  const flags = v.getUint8(at);
  const type = v.getUint8(at + TYPE);
  if ((flags & NEEDS_CSUM) === 0) return type === GSO_NONE;
  const start = p.start + v.getUint16(at + CHECKSUM_START, true);
  const offset = v.getUint16(at + CHECKSUM_OFFSET, true);
  if (start + offset + 2 > p.end) return false;
  p.csumStart = start;
  p.csumOffset = offset;
  return type === GSO_NONE || readSegments(p, type, v.getUint16(at + SEGMENT_SIZE, true));
}

/** What lies behind the headers has to be at least a byte, and the headers those of the type. */
function readSegments(p: Packet, type: number, size: number): boolean {
  const v = p.view;
  const l4 = p.csumStart;
  let end = l4 + UDP_SIZE;
  switch (type & ~GSO_ECN) {
    case GSO_TCPV4:
    case GSO_TCPV6:
      if (p.csumOffset !== TCP_CHECKSUM || l4 + TCP_SIZE > p.end) return false;
      end = l4 + (v.getUint8(l4 + TCP_DATA_OFFSET) >>> 4) * 4;
      if (end < l4 + TCP_SIZE) return false;
      break;
    case GSO_UDP_L4:
      if (p.csumOffset !== UDP_CHECKSUM) return false;
      break;
    default:
      return false;
  }
  if (size === 0 || end >= p.end) return false;
  // What is one segment is an ordinary frame.
  if (p.end - end <= size) return true;
  p.gsoType = type;
  p.gsoSize = size;
  p.hdrLen = end - p.start;
  return true;
}

/** Writes the header in front of `start`, where {@link SIZE} bytes have to be free. */
export function write(p: Packet): void {
  const v = p.view;
  const at = p.start - SIZE;
  const partial = p.csumStart !== NONE;
  v.setUint8(at, partial ? NEEDS_CSUM : 0);
  v.setUint8(at + TYPE, p.gsoType);
  v.setUint16(at + HEADER_LENGTH, p.hdrLen, true);
  v.setUint16(at + SEGMENT_SIZE, p.gsoSize, true);
  v.setUint16(at + CHECKSUM_START, partial ? p.csumStart - p.start : 0, true);
  v.setUint16(at + CHECKSUM_OFFSET, partial ? p.csumOffset : 0, true);
}
