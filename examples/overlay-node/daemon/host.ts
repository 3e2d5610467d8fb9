/** This host on the underlay: the address that the others are told, and how large its packets can be. */
import { spawnSync } from 'node:child_process';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { ControlError } from '../control/errors.ts';

export interface Host {
  readonly name: string;
  readonly address: string;
  /** Largest IP packet of its interface, in bytes. */
  readonly mtu: number;
}

interface Address {
  readonly device: string;
  readonly address: string;
  readonly mtu: number;
}

/** Devices that are no way to other hosts. */
const MADE = /^(?:docker|br-|veth|pwg|cni|virbr)/;
const LINK_LOCAL = /^(?:fe80:|169\.254\.)/i;

/** Finds the address to advertise: of an interface, the one that is given, or the only one that there is. */
export function findHost(advertise: string | null, mtu: number | null): Host {
  const all = devices();
  const found = advertise === null ? only(reachable(all)) : wanted(all, advertise);
  return { name: hostname(), address: found.address, mtu: mtu ?? mtuOf(found) };
}

/** A device as `ip -j address` shows it. What Node tells of devices leaves out those without a carrier, which can come
 * at any moment, and /sys may be that of another network namespace. */
interface Shown {
  readonly ifname: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly addr_info: readonly { readonly local?: string; readonly scope: string }[];
}

function devices(): Shown[] {
  const { stdout, stderr, error } = spawnSync('ip', ['-j', 'address', 'show'], { encoding: 'utf8' });
  try {
    return JSON.parse(stdout) as Shown[];
  } catch {
    const why = error?.message ?? stderr.trim();
    throw new ControlError('INVALID', `the addresses of this host cannot be had: ip address show: ${why}`);
  }
}

function addressesOf({ ifname, mtu, addr_info }: Shown): Address[] {
  return addr_info.flatMap(({ local }) =>
    local === undefined ? [] : [{ device: ifname, address: local, mtu }],
  );
}

/** What others can reach, IPv4 first: no loopback, no link-local, nothing that this node made. */
function reachable(all: readonly Shown[]): Address[] {
  return all
    .filter(({ flags, ifname }) => !flags.includes('LOOPBACK') && !MADE.test(ifname))
    .flatMap(addressesOf)
    .filter(({ address }) => !LINK_LOCAL.test(address))
    .sort((a, b) => isIP(a.address) - isIP(b.address));
}

function only(all: readonly Address[]): Address {
  const fours = all.filter(({ address }) => isIP(address) === 4);
  const candidates = fours.length > 0 ? fours : all;
  if (candidates.length === 1) return candidates[0];
  const found = candidates.map(({ device, address }) => `${address} on ${device}`).join(', ');
  throw new ControlError(
    'INVALID',
    candidates.length === 0
      ? 'no address was found that other hosts could reach: give one with --advertise'
      : `there are several addresses (${found}): choose one with --advertise`,
  );
}

function wanted(all: readonly Shown[], advertise: string): Address {
  const good = reachable(all);
  const here = all.flatMap(addressesOf);
  const found =
    isIP(advertise) !== 0
      ? here.find(({ address }) => address.toLowerCase() === advertise.toLowerCase())
      : [...good, ...here].find(({ device }) => device === advertise);
  if (found !== undefined) return found;
  const known = good.map(({ device, address }) => `${address} on ${device}`).join(', ');
  throw new ControlError(
    'INVALID',
    `--advertise ${advertise} is no address or interface of this host; it has ${known || 'none'}`,
  );
}

/** What the loopback device would carry is no measure of an underlay. */
function mtuOf({ mtu }: Address): number {
  return mtu >= 576 && mtu < 65536 ? Math.min(mtu, 9216) : 1500;
}
