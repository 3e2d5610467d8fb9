/** What ADD answers: interfaces, addresses, routes and name servers, after those of the plugins before us in a chain. */
import type { Fields } from './fields.ts';
import { atLeast, type Version } from './versions.ts';

export interface CniInterface {
  readonly name: string;
  readonly mac?: string;
  /** In bytes; since 1.1.0. */
  readonly mtu?: number;
  /** Path of the namespace; absent for devices of the host. */
  readonly sandbox?: string;
}

export interface CniAddress {
  /** `4` or `6`; before 1.0.0. */
  readonly version?: string;
  /** With prefix length. */
  readonly address: string;
  readonly gateway?: string;
  /** Number of its interface in the list. */
  readonly interface?: number;
}

export interface CniRoute {
  readonly dst: string;
  /** Absent for what is on the link. */
  readonly gw?: string;
}

export interface CniDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

export interface Result {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniAddress[];
  readonly routes: readonly CniRoute[];
  readonly dns: CniDns;
}

const NOTHING: Result = { interfaces: [], ips: [], routes: [], dns: {} };

/** `prevResult` of a configuration, with what else is in it; null where there is none. Throws BAD_CONFIG. */
export function previousResult(config: Fields): Result | null {
  if (!config.has('prevResult')) return null;
  const fields = config.object('prevResult');
  const raw = <T>(name: string) => fields.objects(name).map((one) => one.raw() as unknown as T);
  return {
    interfaces: raw<CniInterface>('interfaces'),
    ips: raw<CniAddress>('ips'),
    routes: raw<CniRoute>('routes'),
    dns: fields.object('dns').raw() as CniDns,
  };
}

/** Ours after theirs: numbers of interfaces count on, and our name server, which knows all names, is asked first. */
export function chained(before: Result | null, own: Result): Result {
  const { interfaces, ips, routes, dns } = before ?? NOTHING;
  const moved = own.ips.map((ip) => ({ ...ip, interface: (ip.interface ?? 0) + interfaces.length }));
  const both = (name: 'nameservers' | 'search' | 'options') => [
    ...new Set([...(own.dns[name] ?? []), ...(dns[name] ?? [])]),
  ];
  const [nameservers, search, options] = [both('nameservers'), both('search'), both('options')];
  return {
    interfaces: [...interfaces, ...own.interfaces],
    ips: [...ips, ...moved],
    routes: [...routes, ...own.routes],
    dns: {
      ...own.dns,
      ...dns,
      nameservers,
      ...(search.length > 0 && { search }),
      ...(options.length > 0 && { options }),
    },
  };
}

/** A result in the words of a version. */
export function written(result: Result, version: Version): object {
  const interfaces = atLeast(version, '1.1.0')
    ? result.interfaces
    : result.interfaces.map(({ mtu: _, ...rest }) => rest);
  const ips = atLeast(version, '1.0.0')
    ? result.ips
    : result.ips.map((ip) => ({ version: ip.address.includes(':') ? '6' : '4', ...ip }));
  return { cniVersion: version, ...result, interfaces, ips };
}
