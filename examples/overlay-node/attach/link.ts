/**
 * Links between gateways and the host: a veth pair each.
 *
 * Its addresses are link-local, 169.254.192.0 to 169.254.254.255 (RFC 3927), two for each gateway: the first of the host,
 * the second of the gateway. Which pair it is follows from the VNI, or is the next that is free. Clouds have their
 * services in 169.254.169.0/24 and 169.254.170.0/24, which are none of these, and 169.254.255.0/24 is reserved. IPv6 has
 * fd5e:7061:636b:PAIR::/126, of a unique local prefix that was made for this purpose (RFC 4193), with the pair's number.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { inNamespace } from 'packetweave';
import { ControlError } from '../control/errors.ts';
import { addAddress } from './namespace.ts';
import { ipBatch, run, setNet } from './system.ts';

/** The device towards the host, inside a gateway. */
export const OUT = 'out';
/** All addresses of links. */
export const LINKS = '169.254.192.0/18';
export const LINKS6 = 'fd5e:7061:636b::/48';
/** Pairs in 169.254.192.0 to 169.254.254.255. */
const PAIRS = 63 * 128;

/** How a gateway is joined to its host. */
export interface GatewayLink {
  /** Device in the host. */
  readonly device: string;
  /** The host's addresses on it: IPv4, and IPv6 where the network has it. */
  readonly host: readonly string[];
  /** The gateway's, likewise. */
  readonly gateway: readonly string[];
}

/** Addresses of a link: those that it has, or else free ones. */
export async function chooseLink(device: string, vni: number, ipv6: boolean): Promise<GatewayLink> {
  const used = new Map<number, string>();
  for (const { ifname, addr_info } of JSON.parse(await run('ip', ['-j', 'address', 'show'])) as Shown[]) {
    for (const { local } of addr_info ?? []) if (pairOf(local) !== null) used.set(pairOf(local)!, ifname);
  }
  const own = [...used].find(([, name]) => name === device);
  let pair = own?.[0] ?? vni % PAIRS;
  for (let tried = 0; own === undefined && used.has(pair); tried++) {
    if (tried === PAIRS)
      throw new ControlError('FULL', `${PAIRS} networks have gateways on this host: no more can`);
    pair = (pair + 1) % PAIRS;
  }
  const [host6, gateway6] = [1, 2].map((n) => `fd5e:7061:636b:${pair.toString(16)}::${n}`);
  return {
    device,
    host: [address(pair, 0), ...(ipv6 ? [host6] : [])],
    gateway: [address(pair, 1), ...(ipv6 ? [gateway6] : [])],
  };
}

interface Shown {
  readonly ifname: string;
  readonly addr_info?: readonly { readonly local: string }[];
}

/** Number of the pair that an address is of, or null. */
function pairOf(local: string): number | null {
  const [a, b, c, d] = (local ?? '').split('.').map(Number);
  return a === 169 && b === 254 && c >= 192 ? (c - 192) * 128 + (d >>> 1) : null;
}

function address(pair: number, end: 0 | 1): string {
  return `169.254.${192 + (pair >>> 7)}.${(pair & 127) * 2 + end}`;
}

/** Makes the veth pair where there is none, and configures both of its ends. */
export async function joinLink(namespace: string, link: GatewayLink, ipv6: boolean): Promise<void> {
  const { device } = link;
  // One whose other end stayed in a namespace that has lost its name is of no use.
  if (!hasDevice(namespace, OUT)) {
    await removeLink(device);
    await run('ip', ['link', 'add', device, 'type', 'veth', 'peer', 'name', OUT, 'netns', namespace]);
  }
  for (const [place, name] of [
    [null, device],
    [namespace, OUT],
  ] as const) {
    setNet(place, {
      [`ipv6/conf/${name}/disable_ipv6`]: ipv6 ? 0 : 1,
      [`ipv6/conf/${name}/accept_dad`]: 0,
      [`ipv6/conf/${name}/accept_ra`]: 0,
      [`ipv4/conf/${name}/send_redirects`]: 0,
    });
  }
  // What the host sends to 127.0.0.1 may leave by this device.
  setNet(null, { [`ipv4/conf/${device}/route_localnet`]: 1 });
  const configured = (name: string, addresses: readonly string[]) => [
    ...addresses.map((local) => addAddress(`${local}/${local.includes(':') ? 126 : 31}`, name)),
    `link set dev ${name} up`,
  ];
  await ipBatch(null, configured(device, link.host));
  await ipBatch(namespace, [
    ...configured(OUT, link.gateway),
    ...link.host.map((host) => `route replace default via ${host} dev ${OUT}`),
  ]);
}

function hasDevice(namespace: string | null, device: string): boolean {
  return inNamespace(namespace, () => existsSync(`/proc/sys/net/ipv4/conf/${device}`));
}

export async function removeLink(device: string): Promise<void> {
  if (hasDevice(null, device)) await run('ip', ['link', 'del', device]);
}

/** Lets this host forward packets. One that learns its own routes from routers goes on doing so: to a router the kernel
 * says otherwise (ip-sysctl, accept_ra). */
export function forwardOnHost(ipv6: boolean): void {
  setNet(null, { 'ipv4/ip_forward': 1 });
  if (!ipv6) return;
  const folder = '/proc/sys/net/ipv6/conf';
  for (const device of readdirSync(folder)) {
    if (learnsRoutes(`${folder}/${device}`)) setNet(null, { [`ipv6/conf/${device}/accept_ra`]: 2 });
  }
  setNet(null, { 'ipv6/conf/all/forwarding': 1 });
}

function learnsRoutes(settings: string): boolean {
  try {
    return readFileSync(`${settings}/accept_ra`, 'latin1').trim() === '1';
  } catch {
    return false; // the device is gone meanwhile
  }
}
