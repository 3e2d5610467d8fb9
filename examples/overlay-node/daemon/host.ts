/** This host on the underlay: the address that the others are told, and how large its packets can be. */
import { spawnSync } from 'node:child_process';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
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
}

/** Finds the address to advertise: of an interface, the one that is given, or the only one that there is. */
export function findHost(advertise: string | null, mtu: number | null): Host {
  const all = addresses();
  const { device, address } = advertise === null ? only(all) : wanted(all, advertise);
  return { name: hostname(), address, mtu: mtu ?? mtuOf(device) };
}

/** What others can reach, IPv4 first: no loopback, no link-local, nothing that this node made. */
function addresses(): Address[] {
  const rows = Object.entries(networkInterfaces()).flatMap(([device, list]) =>
    (list ?? []).map((row) => ({ device, ...row })),
  );
  return rows
    .filter(({ internal, address }) => !internal && !/^(?:fe80:|169\.254\.)/i.test(address))
    .filter(({ device }) => !/^(?:docker|br-|veth|pwg|cni|virbr)/.test(device))
    .sort((a, b) => a.family.localeCompare(b.family));
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

function wanted(all: readonly Address[], advertise: string): Address {
  const here = Object.entries(networkInterfaces()).flatMap(([device, list]) =>
    (list ?? []).map(({ address }) => ({ device, address })),
  );
  const found =
    isIP(advertise) !== 0
      ? here.find(({ address }) => address.toLowerCase() === advertise.toLowerCase())
      : (all.find(({ device }) => device === advertise) ?? here.find(({ device }) => device === advertise));
  if (found !== undefined) return found;
  const known = all.map(({ device, address }) => `${address} on ${device}`).join(', ');
  throw new ControlError(
    'INVALID',
    `--advertise ${advertise} is no address or interface of this host; it has ${known || 'none'}`,
  );
}

/** What the loopback device would carry is no measure of an underlay. /sys may be that of another network namespace, so
 * that `ip` is asked. */
function mtuOf(device: string): number {
  const { stdout } = spawnSync('ip', ['-j', 'link', 'show', 'dev', device], { encoding: 'utf8' });
  try {
    const [{ mtu }] = JSON.parse(stdout) as [{ readonly mtu: number }];
    return mtu >= 576 && mtu < 65536 ? Math.min(mtu, 9216) : 1500;
  } catch {
    return 1500;
  }
}
