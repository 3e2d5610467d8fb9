/** Options of sockets (setsockopt(2)). */
import * as c from './constants.ts';
import type { Libc } from './libc.ts';
import { Slab } from './slab.ts';

/** Sets an integer option and says whether the kernel took it. */
export type Setter = (level: number, option: number, value: number) => boolean;

export function setter(native: Libc, fd: number): Setter {
  const slab = new Slab(128);
  return (level, option, value) => {
    slab.view.setInt32(0, value, true);
    return native.setsockopt(fd, level, option, slab.address(0), 4) === 0;
  };
}

/** Asks for a buffer beyond the system's limit, and without the privilege for as much as it allows. */
export function buffer(set: Setter, force: number, ask: number, bytes: number): void {
  if (bytes > 0 && !set(c.SOL_SOCKET, force, bytes)) set(c.SOL_SOCKET, ask, bytes);
}
