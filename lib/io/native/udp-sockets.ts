/** UDP sockets of the system: opened with everything that the native UDP port needs set on them. */
import { format, type Ip } from '../../../codecs/ip.ts';
import type { PortError } from '../port.ts';
import { udpRefusal } from '../udp-sources.ts';
import * as c from './constants.ts';
import { nameOf, portError, textOf } from './errors.ts';
import { type Libc, libc } from './libc.ts';
import { Slab } from './slab.ts';
import * as sockaddr from './sockaddr.ts';
import { buffer, setter } from './socket-options.ts';

export interface SocketOptions {
  readonly address: Ip;
  /** 0 for any that is free. */
  readonly port: number;
  /** Bytes that the kernel may hold in each direction, 0 for its default. */
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
  /** Whether received trains come whole. */
  readonly gro: boolean;
}

/** Opens and binds a socket, and returns its descriptor. Throws a PortError. */
export function openUdp(options: SocketOptions, native = libc()): number {
  const { family } = options.address;
  const type = c.SOCK_DGRAM | c.SOCK_NONBLOCK | c.SOCK_CLOEXEC;
  const fd = native.socket(family === 4 ? c.AF_INET : c.AF_INET6, type, 0);
  if (fd < 0) throw portError(native.errno(), 'no UDP socket can be had');
  try {
    configure(native, fd, options);
    const slab = new Slab(128);
    const bytes = sockaddr.write(slab, 0, options.address, options.port);
    if (native.bind(fd, slab.address(0), bytes) < 0) throw refused(native.errno(), options);
  } catch (error) {
    native.close(fd);
    throw error;
  }
  return fd;
}

function configure(native: Libc, fd: number, options: SocketOptions): void {
  const set = setter(native, fd);
  buffer(set, c.SO_RCVBUFFORCE, c.SO_RCVBUF, options.receiveBuffer);
  buffer(set, c.SO_SNDBUFFORCE, c.SO_SNDBUF, options.sendBuffer);
  if (options.gro) set(c.IPPROTO_UDP, c.UDP_GRO, 1);
  if (options.address.family === 4) {
    set(c.IPPROTO_IP, c.IP_RECVTOS, 1);
    // Don't Fragment, and refuse what does not fit the path (RFC 7348 section 4.3).
    set(c.IPPROTO_IP, c.IP_MTU_DISCOVER, c.IP_PMTUDISC_DO);
  } else {
    set(c.IPPROTO_IPV6, c.IPV6_V6ONLY, 1);
    set(c.IPPROTO_IPV6, c.IPV6_RECVTCLASS, 1);
    set(c.IPPROTO_IPV6, c.IPV6_MTU_DISCOVER, c.IP_PMTUDISC_DO);
  }
}

/** The port that a socket is bound to. */
export function boundPort(fd: number): number {
  const slab = new Slab(128);
  slab.view.setUint32(64, 64, true);
  libc().getsockname(fd, slab.address(0), slab.address(64));
  return sockaddr.portOf(slab, 0);
}

function refused(errno: number, { address, port }: SocketOptions): PortError {
  return udpRefusal(nameOf(errno), textOf(errno), format(address), port);
}
