/** CHECK: the daemon has the attachment still, and device, addresses and routes are as ADD told them. */
import { attachmentsOf, containers } from './attachments.ts';
import type { PlacedCall } from './call.ts';
import { BAD_CONFIG, BROKEN, CniError, NO_CONTAINER, NOT_ATTACHED } from './errors.ts';
import { type Inside, lookInside } from './inside.ts';
import { type CniInterface, previousResult, type Result } from './result.ts';

export async function work(call: PlacedCall): Promise<null> {
  const { client, config, place } = call;
  const told = previousResult(config.fields);
  if (told === null) throw new CniError(BAD_CONFIG, '"prevResult" is missing: CHECK compares with it');
  const { isNamespace } = await import('../attach/nsfs.ts');
  const namespace = place.namespace!;
  if (!isNamespace(namespace)) {
    throw new CniError(NO_CONTAINER, `there is no network namespace at ${namespace}`);
  }
  const attached = attachmentsOf(call, await containers(client)).flatMap(({ endpoints }) => endpoints);
  if (attached.length === 0) {
    const text = `the daemon knows no ${place.device} of container ${place.container} on network ${config.name}`;
    throw new CniError(NOT_ATTACHED, text);
  }
  const at = told.interfaces.findIndex(({ name, sandbox }) => name === place.device && sandbox !== undefined);
  if (at < 0) throw new CniError(BAD_CONFIG, `"prevResult" has no interface ${place.device}`);
  const inside = await lookInside(namespace, place.device);
  const wrong = difference(told, at, attached[0].addresses, inside);
  if (wrong !== null) throw new CniError(BROKEN, `${place.device} in ${namespace}: ${wrong}`);
  return null;
}

/** What is not as it was told; null where all is. */
function difference(
  told: Result,
  at: number,
  attached: readonly string[],
  inside: Inside | null,
): string | null {
  if (inside === null) return 'the device is gone';
  const { mac } = told.interfaces[at] as CniInterface;
  if (mac !== undefined && mac.toLowerCase() !== inside.mac) return `its MAC is ${inside.mac}, not ${mac}`;
  if (!inside.up) return 'the device is down';
  const ips = told.ips.filter((ip) => ip.interface === at);
  for (const { address } of ips) {
    if (!attached.includes(address)) return `${address} is not its address in the overlay`;
    if (!inside.addresses.includes(address)) return `it has no address ${address}`;
  }
  // Routes of other plugins in the chain are theirs to check.
  const gateways = new Set(ips.flatMap(({ gateway }) => gateway ?? []));
  const ours = told.routes.filter(({ gw }) => gw !== undefined && gateways.has(gw));
  const lost = ours.find(({ dst, gw }) => !inside.routes.some((one) => one.dst === dst && one.gw === gw));
  return lost === undefined ? null : `there is no route to ${lost.dst} by ${lost.gw}`;
}
