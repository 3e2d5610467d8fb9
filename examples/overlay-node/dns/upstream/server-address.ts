/** Addresses of name servers as people write them. */
import { Resolver } from 'node:dns';
import { isIP } from 'node:net';
import { ControlError } from '../../control/errors.ts';

export interface ServerAddress {
  /** As it was written. */
  readonly text: string;
  readonly address: string;
  readonly port: number;
}

/** Reads `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`. Throws `INVALID` for what is none. */
export function parseServer(text: string): ServerAddress {
  const [, bracketed, plain, port = '53'] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  const number = Number(port);
  if (isIP(address) === 0 || number < 1 || number > 65535) {
    throw new ControlError('INVALID', `"${text}" is no name server: give an address such as 192.0.2.1`);
  }
  return { text, address, port: number };
}

/** Milliseconds that what was read of /etc/resolv.conf is good for. */
const FRESH = 1000;

/** Tells the servers that this machine asks, as /etc/resolv.conf has them; `now` in ms, of a clock that does not go
 * backwards. */
export function systemServers(now: () => number): () => readonly string[] {
  let servers: readonly string[] = [];
  let until = Number.NEGATIVE_INFINITY;
  return () => {
    if (now() < until) return servers;
    until = now() + FRESH;
    servers = new Resolver().getServers();
    return servers;
  };
}
