/** Packet sockets of the system (packet(7)), each on one Ethernet device. */
import { PortError } from '../port.ts';
import * as c from './constants.ts';
import { portError } from './errors.ts';
import { type Libc, libc } from './libc.ts';
import { Slab } from './slab.ts';
import { buffer, setter } from './socket-options.ts';

export interface PacketSocketOptions {
  readonly device: string;
  readonly promiscuous: boolean;
  /** Whether frames that are sent pass by the device's queue. */
  readonly bypass: boolean;
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
}

// struct sockaddr_ll (linux/if_packet.h).
const SOCKADDR_LL = 20;
const PROTOCOL = 2;
const INDEX = 4;
const HARDWARE = 8;

/** Opens a socket in the namespace that this thread is in, and returns its descriptor. Throws a PortError. */
export function openPacket(options: PacketSocketOptions): number {
  const native = libc();
  const { device } = options;
  // Without a protocol nothing comes in before it is bound.
  const fd = native.socket(c.AF_PACKET, c.SOCK_RAW | c.SOCK_NONBLOCK | c.SOCK_CLOEXEC, 0);
  if (fd < 0) throw portError(native.errno(), 'no packet socket can be had');
  try {
    const index = native.ifNameToIndex(device);
    if (index === 0) throw portError(c.ENODEV, `"${device}" cannot be opened`);
    configure(native, fd, index, options);
    attach(native, fd, index, device);
  } catch (error) {
    native.close(fd);
    throw error;
  }
  return fd;
}

function configure(native: Libc, fd: number, index: number, options: PacketSocketOptions): void {
  const set = setter(native, fd);
  buffer(set, c.SO_RCVBUFFORCE, c.SO_RCVBUF, options.receiveBuffer);
  buffer(set, c.SO_SNDBUFFORCE, c.SO_SNDBUF, options.sendBuffer);
  const wanted = [c.PACKET_VNET_HDR, c.PACKET_AUXDATA, c.PACKET_IGNORE_OUTGOING];
  if (options.bypass) wanted.push(c.PACKET_QDISC_BYPASS);
  for (const option of wanted) {
    if (!set(c.SOL_PACKET, option, 1))
      throw portError(native.errno(), `"${options.device}" cannot be set up`);
  }
  if (!options.promiscuous) return;
  // struct packet_mreq
  const slab = new Slab(128);
  slab.view.setInt32(0, index, true);
  slab.view.setUint16(4, c.PACKET_MR_PROMISC, true);
  if (native.setsockopt(fd, c.SOL_PACKET, c.PACKET_ADD_MEMBERSHIP, slab.address(0), 16) < 0) {
    throw portError(native.errno(), `"${options.device}" cannot be made promiscuous`);
  }
}

/** Binds a socket to a device, and sees whether that is one that carries Ethernet and is up. */
function attach(native: Libc, fd: number, index: number, device: string): void {
  const slab = new Slab(128);
  slab.view.setUint16(0, c.AF_PACKET, true);
  slab.view.setUint16(PROTOCOL, c.ETH_P_ALL);
  slab.view.setInt32(INDEX, index, true);
  const what = `"${device}" cannot be opened`;
  if (native.bind(fd, slab.address(0), SOCKADDR_LL) < 0) throw portError(native.errno(), what);
  slab.view.setUint32(64, SOCKADDR_LL, true);
  native.getsockname(fd, slab.address(0), slab.address(64));
  const hardware = slab.view.getUint16(HARDWARE, true);
  if (hardware !== c.ARPHRD_ETHER && hardware !== c.ARPHRD_LOOPBACK) {
    throw new PortError('NOT_SUPPORTED', `${what}: it carries no Ethernet frames, use a device that does`);
  }
  slab.view.setUint32(64, 4, true);
  native.getsockopt(fd, c.SOL_SOCKET, c.SO_ERROR, slab.address(0), slab.address(64));
  const errno = slab.view.getInt32(0, true);
  if (errno !== 0) throw portError(errno, what);
}
