/** A device as it is inside a network namespace, by what iproute2 says of it. */
import { execFile } from 'node:child_process';
import type { CniRoute } from './result.ts';

export interface Inside {
  readonly mac: string;
  /** In bytes. */
  readonly mtu: number;
  readonly up: boolean;
  /** With prefix length, without those that IPv6 gives itself. */
  readonly addresses: readonly string[];
  /** Those that the kernel did not make by itself. */
  readonly routes: readonly CniRoute[];
}

interface ShownLink {
  readonly ifname?: string;
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly addr_info: readonly {
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
  }[];
}

interface ShownRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly protocol?: string;
}

/** Looks at a device; null where there is none of that name, or no such namespace. */
export async function lookInside(namespace: string, device: string): Promise<Inside | null> {
  const ask = <T>(...args: string[]) => shown<T>(namespace, [...args, 'dev', device]);
  try {
    const [links, routes, routes6] = await Promise.all([
      ask<ShownLink>('address', 'show'),
      ask<ShownRoute>('-4', 'route', 'show'),
      ask<ShownRoute>('-6', 'route', 'show'),
    ]);
    const link = links.find(({ ifname }) => ifname === device);
    if (link === undefined) return null;
    const { address: mac, mtu, flags, addr_info } = link;
    return {
      mac,
      mtu,
      up: flags.includes('UP'),
      addresses: addr_info
        .filter(({ scope }) => scope !== 'link')
        .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
      routes: [...made(routes, '0.0.0.0/0', 32), ...made(routes6, '::/0', 128)],
    };
  } catch {
    return null;
  }
}

function made(routes: readonly ShownRoute[], all: string, length: number): CniRoute[] {
  return routes
    .filter(({ protocol }) => protocol !== 'kernel')
    .map(({ dst, gateway }) => ({
      dst: dst === 'default' ? all : dst.includes('/') ? dst : `${dst}/${length}`,
      ...(gateway !== undefined && { gw: gateway }),
    }));
}

/** What `ip -json` prints in a namespace. */
function shown<T>(namespace: string, args: readonly string[]): Promise<T[]> {
  return new Promise((resolve, reject) => {
    execFile('nsenter', [`--net=${namespace}`, 'ip', '-j', ...args], (error, stdout) => {
      if (error === null) resolve(JSON.parse(stdout.trim() || '[]') as T[]);
      else reject(error);
    });
  });
}
