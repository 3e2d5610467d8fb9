/**
 * Network devices and namespaces: changes a device by one rtnetlink message (RFC 3549; rtnetlink(7)), and does
 * something in another namespace (setns(2)), which is this thread's alone and only for as long as a function runs.
 */
import * as c from './constants.ts';
import { portError } from './errors.ts';
import { libc } from './libc.ts';
import { Slab } from './slab.ts';

/** What of a device is changed; what is absent stays. */
export interface LinkChange {
  /** Six bytes. */
  readonly mac?: Uint8Array;
  /** Largest IP packet in bytes. */
  readonly mtu?: number;
  /** The most segments of a super-frame that its network stack makes. */
  readonly gsoMaxSegments?: number;
  readonly up?: boolean;
}

/** Bytes of nlmsghdr and of ifinfomsg. */
const HEADER = 16;
const INFO = 16;

/** Changes the device of a name in this thread's namespace. Throws a PortError. */
export function changeLink(name: string, change: LinkChange): void {
  const native = libc();
  const fd = native.socket(c.AF_NETLINK, c.SOCK_RAW | c.SOCK_CLOEXEC, c.NETLINK_ROUTE);
  if (fd < 0) throw portError(native.errno(), 'no netlink socket can be had');
  try {
    const slab = new Slab(512);
    const bytes = writeMessage(slab, name, change);
    if (native.write(fd, slab.address(0), bytes) < 0 || native.read(fd, slab.address(0), 512) < HEADER + 4) {
      throw portError(native.errno(), `"${name}" cannot be changed`);
    }
    // The answer is an error number, 0 for none, negative.
    const refused = slab.view.getUint16(4, true) === c.NLMSG_ERROR ? -slab.view.getInt32(HEADER, true) : 0;
    if (refused !== 0) throw portError(refused, `"${name}" cannot be changed`);
  } finally {
    native.close(fd);
  }
}

/** Writes the whole message and returns its length. */
function writeMessage({ view: v, bytes }: Slab, name: string, change: LinkChange): number {
  let at = HEADER + INFO;
  const attribute = (type: number, value: Uint8Array): void => {
    v.setUint16(at, 4 + value.length, true);
    v.setUint16(at + 2, type, true);
    bytes.set(value, at + 4);
    at = (at + 4 + value.length + 3) & ~3;
  };
  const word = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  attribute(c.IFLA_IFNAME, Buffer.from(`${name}\0`));
  if (change.mac !== undefined) attribute(c.IFLA_ADDRESS, change.mac);
  if (change.mtu !== undefined) attribute(c.IFLA_MTU, word(change.mtu));
  if (change.gsoMaxSegments !== undefined) attribute(c.IFLA_GSO_MAX_SEGS, word(change.gsoMaxSegments));
  v.setUint32(0, at, true);
  v.setUint16(4, c.RTM_NEWLINK, true);
  v.setUint16(6, c.NLM_F_REQUEST | c.NLM_F_ACK, true);
  if (change.up !== undefined) {
    v.setUint32(HEADER + 8, change.up ? c.IFF_UP : 0, true);
    v.setUint32(HEADER + 12, c.IFF_UP, true);
  }
  return at;
}

/**
 * Runs a function in a network namespace: a name of `ip netns`, or a path such as `/proc/PID/ns/net`. Descriptors
 * made meanwhile stay in that namespace. The function must not wait for anything. Throws a PortError where there is no
 * such namespace, or what the function throws.
 */
export function inNamespace<T>(namespace: string | null, work: () => T): T {
  if (namespace === null) return work();
  const native = libc();
  const path = namespace.includes('/') ? namespace : `/run/netns/${namespace}`;
  const home = openNamespace('/proc/thread-self/ns/net', 'this thread');
  try {
    const there = openNamespace(path, namespace);
    const entered = native.setns(there, c.CLONE_NEWNET);
    const errno = native.errno();
    native.close(there);
    if (entered < 0) throw portError(errno, `the network namespace "${namespace}" cannot be entered`);
    try {
      return work();
    } finally {
      native.setns(home, c.CLONE_NEWNET);
    }
  } finally {
    native.close(home);
  }
}

function openNamespace(path: string, name: string): number {
  const fd = libc().open(path, c.O_RDONLY | c.O_CLOEXEC);
  if (fd < 0) throw portError(libc().errno(), `the network namespace of "${name}" cannot be opened`);
  return fd;
}
