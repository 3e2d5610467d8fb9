/** What the UDP ports have in common: sockets for source ports, and why a port could not be had. */
import { PortError } from './port.ts';

/** `code` is the error's name, as EADDRINUSE; `text` the system's own words. */
export function udpRefusal(code: string, text: string, address: string, port: number): PortError {
  const what = `UDP port ${port} of ${address}`;
  switch (code) {
    case 'EADDRINUSE':
      return new PortError(
        'ADDRESS_IN_USE',
        `${what} is in use: stop what holds it (a kernel VXLAN device does, too), or use another port`,
      );
    case 'EADDRNOTAVAIL':
      return new PortError(
        'NO_SUCH_ADDRESS',
        `${what} cannot be opened: this machine has no address ${address}, use one that it has`,
      );
    case 'EACCES':
      return new PortError(
        'PERMISSION',
        `${what} may not be opened by this user: use a port of 1024 or more, or run with the privilege`,
      );
    default:
      return new PortError('IO', `${what} cannot be opened: ${text}`);
  }
}

/** First port of the range that a tunnel's source ports are taken from (RFC 7348 section 5, RFC 6335 section 6). */
const DYNAMIC = 49152;

/**
 * Opens `count` sockets on the first ports of the dynamic range that are free: a socket for each source port that
 * flows are spread over. `open` throws or rejects with the code ADDRESS_IN_USE where a port is taken. Every socket that
 * was opened is in `sockets`, also when it throws.
 */
export async function openSources<T>(
  sockets: T[],
  count: number,
  listening: number,
  address: string,
  open: (port: number) => T | Promise<T>,
): Promise<void> {
  for (let port = DYNAMIC; sockets.length < count; port++) {
    if (port > 65535) {
      throw new PortError('ADDRESS_IN_USE', `no source port of ${address} is free: use fewer "sourcePorts"`);
    }
    if (port === listening) continue;
    try {
      sockets.push(await open(port));
    } catch (error) {
      if ((error as PortError).code !== 'ADDRESS_IN_USE') throw error;
    }
  }
}
