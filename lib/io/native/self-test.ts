/**
 * Whether this kernel carries trains of datagrams undamaged: Linux 7.0-rc1 to 7.1.4 do not where all datagrams are
 * equally long, and older ones than 4.18 know no trains. One is sent over the loopback device and looked at.
 */
import { parse } from '../../../codecs/ip.ts';
import * as c from './constants.ts';
import { type Libc, libc } from './libc.ts';
import { IOVEC, Iovecs } from './memory.ts';
import { Messages, SOCKADDR } from './messages.ts';
import { Slab } from './slab.ts';
import * as sockaddr from './sockaddr.ts';
import { boundPort, openUdp } from './udp-sockets.ts';

const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const;
const DATAGRAMS = 5;
const BYTES = 200;

const known = new Map<4 | 6, boolean>();

/** Tests once in a process and family. True where there is no loopback device to test with. */
export function trainsAreWhole(family: 4 | 6): boolean {
  const before = known.get(family);
  if (before !== undefined) return before;
  const whole = testTrains(family, libc());
  if (whole !== null) known.set(family, whole);
  return whole ?? true;
}

/** Whether a train arrives as it was sent, by the calls that are given; null where nothing can be sent here. */
export function testTrains(family: 4 | 6, native: Libc): boolean | null {
  const address = parse(LOOPBACK[family]);
  const fds: number[] = [];
  try {
    const options = { address, port: 0, receiveBuffer: 1 << 16, sendBuffer: 1 << 16, gro: false };
    fds.push(openUdp(options, native), openUdp(options, native));
    return exchange(native, fds[0], fds[1], family);
  } catch {
    return null; // not even a socket: there is no such address here
  } finally {
    for (const fd of fds) native.close(fd);
  }
}

/** Sends a train from one socket to the other, and compares. */
function exchange(native: Libc, from: number, to: number, family: 4 | 6): boolean | null {
  const slab = new Slab(Messages.size(1) + IOVEC + SOCKADDR + DATAGRAMS * BYTES + 64);
  const iovecs = new Iovecs(slab, 1);
  const messages = new Messages(slab, 1, iovecs);
  const name = slab.reserve(SOCKADDR);
  const data = slab.reserve(DATAGRAMS * BYTES);
  for (let i = 0; i < DATAGRAMS * BYTES; i++) slab.bytes[data + i] = 7 * i + (i >> 8);
  const sent = slab.bytes.slice(data, data + DATAGRAMS * BYTES);

  const bytes = sockaddr.write(slab, name, parse(LOOPBACK[family]), boundPort(to));
  iovecs.setOwn(0, data, DATAGRAMS * BYTES);
  messages.sendTo(0, slab.address(name), bytes);
  messages.setIovecs(0, 0, 1);
  messages.addControl(0, c.IPPROTO_UDP, c.UDP_SEGMENT, BYTES, 2);
  if (native.sendmmsg(from, messages.address(0), 1, 0) !== 1) {
    return native.errno() === c.ENETUNREACH ? null : false;
  }
  for (let i = 0; i < DATAGRAMS; i++) {
    if (native.read(to, slab.address(data), BYTES + 1) !== BYTES) return false;
    for (let k = 0; k < BYTES; k++) if (slab.bytes[data + k] !== sent[i * BYTES + k]) return false;
  }
  return true;
}
