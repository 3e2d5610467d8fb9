/** What the operating system's error numbers mean, in words that say what to do. */
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { PortError, type PortErrorCode } from '../port.ts';
import * as c from './constants.ts';

/** The name of an error number, as EAGAIN. */
export function nameOf(errno: number): string {
  return getSystemErrorName(-errno);
}

/** The system's own words for an error number. */
export function textOf(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? 'unknown error';
}

/** Codes and advice of the errors that have a cause which somebody can do something about. */
const KNOWN: ReadonlyMap<number, readonly [PortErrorCode, string]> = new Map([
  [c.EPERM, ['PERMISSION', 'this needs root, or the capability CAP_NET_ADMIN (CAP_NET_RAW for raw sockets)']],
  [c.EACCES, ['PERMISSION', 'this user may not: run as root, or give the program the capability']],
  [c.ENOENT, ['NO_SUCH_DEVICE', 'it does not exist']],
  [c.ENODEV, ['NO_SUCH_DEVICE', 'there is no such device: see `ip link`']],
  [c.ENXIO, ['NO_SUCH_DEVICE', 'there is no such device: see `ip link`']],
  [c.ENETDOWN, ['NO_SUCH_DEVICE', 'it is down, or gone: bring it up (ip link set NAME up)']],
  [c.EBUSY, ['STATE', 'another program holds it: end that program, or use another name']],
  [c.EEXIST, ['STATE', 'something of that name exists: use another name']],
  [c.EADDRINUSE, ['ADDRESS_IN_USE', 'it is in use: stop what holds it, or use another']],
  [c.EADDRNOTAVAIL, ['NO_SUCH_ADDRESS', 'this machine has no such address: use one that it has']],
  [c.EMFILE, ['IO', 'too many files are open: raise the limit (ulimit -n)']],
  [c.EOPNOTSUPP, ['NOT_SUPPORTED', 'this kernel does not support it']],
] as const);

/** An error of a call: `what` says what could not be done, as `"tap0" cannot be opened`. */
export function portError(errno: number, what: string): PortError {
  const [code, advice] = KNOWN.get(errno) ?? ['IO', textOf(errno)];
  return new PortError(code, `${what}: ${advice} (${nameOf(errno)})`);
}
