/** TAP and TUN devices of the system: made, or taken hold of, and set up (tuntap.rst in the kernel's documentation). */
import { PortError, TSO4, USO } from '../port.ts';
import * as c from './constants.ts';
import { portError } from './errors.ts';
import { type Libc, libc } from './libc.ts';
import { changeLink, type LinkChange } from './link.ts';
import { Slab } from './slab.ts';
import * as vnet from './vnet.ts';

export interface TunDevice {
  /** With `%d` in it for a number that is free. */
  readonly name: string;
  /** IFF_TAP or IFF_TUN, and others. */
  readonly flags: number;
  /** What passes: bits of a port's `offloads`. */
  readonly offloads: number;
  readonly persistent: boolean;
  readonly change: LinkChange;
}

export interface OpenTun {
  readonly fd: number;
  readonly name: string;
}

/** Opens a device in the namespace that this thread is in. Throws a PortError. */
export function openTun(device: TunDevice): OpenTun {
  const native = libc();
  const fd = native.open('/dev/net/tun', c.O_RDWR | c.O_NONBLOCK | c.O_CLOEXEC);
  if (fd < 0) {
    const error = portError(native.errno(), '/dev/net/tun cannot be opened');
    if (error.code === 'IO') throw error; // as too many descriptors
    const advice = 'TAP devices need it (modprobe tun, or --device /dev/net/tun)';
    throw new PortError(error.code, `${error.message}: ${advice}`);
  }
  try {
    return { fd, name: configure(native, fd, device) };
  } catch (error) {
    native.close(fd);
    throw error;
  }
}

/** Sets everything that is wanted, and returns the name. */
function configure(native: Libc, fd: number, device: TunDevice): string {
  const slab = new Slab(128);
  slab.writeString(0, device.name);
  slab.view.setUint16(c.IFNAMSIZ, device.flags, true);
  if (native.ioctl(fd, c.TUNSETIFF, slab.address(0)) < 0) throw refused(native.errno(), device.name);
  const name = slab.readString(0, c.IFNAMSIZ);
  const set = (request: number, argument: number): void => {
    if (native.ioctl(fd, request, argument) < 0)
      throw portError(native.errno(), `"${name}" cannot be set up`);
  };
  slab.view.setInt32(64, vnet.SIZE, true);
  set(c.TUNSETVNETHDRSZ, slab.address(64));
  const tso = (device.offloads & TSO4) === 0 ? 0 : c.TUN_F_TSO4 | c.TUN_F_TSO6 | c.TUN_F_TSO_ECN;
  const uso = (device.offloads & USO) === 0 ? 0 : c.TUN_F_USO4 | c.TUN_F_USO6;
  set(c.TUNSETOFFLOAD, c.TUN_F_CSUM | tso | uso);
  if (device.persistent) set(c.TUNSETPERSIST, 1);
  changeLink(name, device.change);
  return name;
}

function refused(errno: number, name: string): PortError {
  if (errno !== c.EINVAL) return portError(errno, `the device "${name}" cannot be made`);
  return new PortError(
    'STATE',
    `"${name}" exists with other flags than this port needs (kind, multi_queue, vnet_hdr): ` +
      `delete it (ip link del ${name}) or use another name`,
  );
}
