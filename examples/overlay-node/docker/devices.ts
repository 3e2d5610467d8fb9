/** Devices of endpoints, which an engine moves between namespaces. */
import { runIn } from '../attach/system.ts';
import type { Place } from '../daemon/desired.ts';

/** What is known of a device. */
export interface Device {
  /** Name in the host's namespace. */
  readonly device: string;
  readonly mac: string;
  /** Path of the namespace that it was moved to; null before. */
  readonly sandbox: string | null;
}

/** Where the device of an endpoint is; null where it is gone. */
export async function findDevice({ sandbox, mac, device }: Device): Promise<Place | null> {
  const managed = { main: false, managed: true };
  const here = (await links(null)).some(({ ifname }) => ifname === device);
  if (here) return { namespace: null, device, ...managed };
  if (sandbox === null) return null;
  const found = (await links(sandbox)).find(({ address }) => address === mac);
  return found === undefined ? null : { namespace: sandbox, device: found.ifname, ...managed };
}

interface Link {
  readonly ifname: string;
  readonly address?: string;
}

/** Devices of a namespace; none where it is nobody's any more. */
async function links(namespace: string | null): Promise<readonly Link[]> {
  try {
    return JSON.parse(await runIn(namespace, 'ip', ['-j', 'link', 'show']));
  } catch {
    return [];
  }
}
