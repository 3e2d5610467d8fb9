/**
 * Network namespaces of containers: made as Docker's are, configured, and taken away with all that runs in them.
 *
 * A namespace is the name of one of `ip netns`, or a path such as /proc/PID/ns/net of one that somebody else made: that
 * is configured, and never removed.
 */
import { readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { ControlError } from '../control/errors.ts';
import type { Interface } from './attach.ts';
import { ipBatch, run, setNet } from './system.ts';

/** What names of containers' namespaces begin with. */
export const PREFIX = 'pw-';

/** Milliseconds between looks at what still runs, and how often. */
const LOOK = 20;
const LOOKS = 250;

/** Name of a container's namespace. */
export function namespaceName(container: string, prefix = PREFIX): string {
  return `${prefix}${container.slice(0, 12)}`;
}

/** Makes the namespace of a container, with its loopback up, and returns its name. */
export async function makeNamespace(container: string, prefix = PREFIX): Promise<string> {
  const name = namespaceName(container, prefix);
  await run('ip', ['netns', 'add', name]);
  try {
    // As in Docker's: whoever is in there may ping, and serve on any port. Addresses are known to be unique.
    setNet(name, {
      'ipv4/ping_group_range': '0 2147483647',
      'ipv4/ip_unprivileged_port_start': 0,
      'ipv6/conf/all/accept_dad': 0,
      'ipv6/conf/default/accept_dad': 0,
      'ipv6/conf/default/accept_ra': 0,
    });
    await ipBatch(name, ['link set dev lo up']);
  } catch (error) {
    await run('ip', ['netns', 'del', name]);
    throw error;
  }
  return name;
}

/** Ends everything in a namespace of `ip netns` and takes it away; nothing happens where there is none. */
export async function removeNamespace(name: string): Promise<void> {
  if (name.includes('/')) {
    throw new ControlError('INVALID', `the network namespace ${name} is somebody else's: it is not removed`);
  }
  if (!existing().includes(name)) return;
  await endAll(name);
  await run('ip', ['netns', 'del', name]);
}

/** Names of the containers' namespaces on this host, also of what was left by a daemon that died. */
export function listNamespaces(prefix = PREFIX): string[] {
  return existing().filter(
    (name) => name.startsWith(prefix) && /^[0-9a-f]{12}$/.test(name.slice(prefix.length)),
  );
}

/** Names of `ip netns`. */
export function existing(): string[] {
  try {
    return readdirSync('/run/netns');
  } catch {
    return []; // nobody has made one since the host started
  }
}

/** Brings a device to what it should be. It can be called again, as after a device was made anew. */
export async function configure(namespace: string, wanted: Interface): Promise<void> {
  const { device, addresses, mac, mtu, onLink, gateways } = wanted;
  const ipv6 = addresses.some((address) => address.includes(':'));
  const settings = `ipv6/conf/${device}`;
  setNet(namespace, {
    [`${settings}/accept_dad`]: 0,
    [`${settings}/accept_ra`]: 0,
    // A network of IPv4 alone carries none of what IPv6 says by itself.
    [`${settings}/disable_ipv6`]: ipv6 ? 0 : 1,
  });
  await ipBatch(namespace, [
    `link set dev ${device} address ${mac} mtu ${mtu}`,
    ...addresses.map((address) => addAddress(address, device)),
    `link set dev ${device} up`,
    ...onLink.map((subnet) => `route replace ${subnet} dev ${device}`),
    ...gateways.map((gateway) => `route replace default via ${gateway} dev ${device}`),
  ]);
}

/** A command of `ip` that gives a device an address, which is known to be unique. */
export function addAddress(address: string, device: string): string {
  return `address replace ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`;
}

/** Ends every process in a namespace of `ip netns`, and waits until they are gone. */
export async function endAll(name: string): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    const pids = await processes(name);
    if (pids.length === 0) return;
    for (const pid of pids) end(pid);
    await pause(LOOK);
  }
  throw new ControlError(
    'CONFLICT',
    `processes in the network namespace ${name} do not end: see ip netns pids`,
  );
}

/** Ids of the processes in a namespace of `ip netns`. This one enters namespaces for moments, and is not among them. */
async function processes(name: string): Promise<number[]> {
  const pids = (await run('ip', ['netns', 'pids', name])).split('\n').filter(Boolean).map(Number);
  return pids.filter((pid) => pid !== process.pid);
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended meanwhile
  }
}
