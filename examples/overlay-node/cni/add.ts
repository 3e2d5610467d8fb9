/** ADD: puts the runtime's namespace on the network, and tells what is in it then. */
import type { Container } from '../api/api.ts';
import { cidr, contains, parseAddress } from '../control/cidr.ts';
import type { Network, Subnet } from '../control/model.ts';
import { attachmentsOf, containers, removeAll } from './attachments.ts';
import type { PlacedCall } from './call.ts';
import { BAD_CONFIG, CniError, IN_USE, INTERNAL, NO_CONTAINER } from './errors.ts';
import { lookInside } from './inside.ts';
import { attachRequest, resolver } from './request.ts';
import { chained, previousResult, type Result } from './result.ts';

export async function work(call: PlacedCall): Promise<Result> {
  const { client, config, place } = call;
  const before = previousResult(config.fields);
  const [networks, there] = await Promise.all([
    client.get<readonly Network[]>(['networks']),
    containers(client),
  ]);
  const network = find(networks, config.network);
  if (attachmentsOf(call, there).length > 0) {
    const text = `container ${place.container} has ${place.device} on network ${config.name} already`;
    throw new CniError(IN_USE, text);
  }
  await checkNamespace(place.namespace!);
  const container = await client.post<Container>(['containers'], attachRequest(call, there));
  try {
    return chained(before, await resultOf(call, container, network));
  } catch (error) {
    // Nobody sends DEL for what was never told.
    await removeAll(client, [container]);
    throw error;
  }
}

function find(networks: readonly Network[], wanted: string): Network {
  const network = networks.find(({ id, name }) => name === wanted || id === wanted);
  if (network !== undefined) return network;
  throw new CniError(
    BAD_CONFIG,
    `there is no network "${wanted}": make it with "packetweave network create --attachable ${wanted}"`,
  );
}

async function checkNamespace(path: string): Promise<void> {
  const { isNamespace } = await import('../attach/nsfs.ts');
  if (!isNamespace(path)) throw new CniError(NO_CONTAINER, `there is no network namespace at ${path}`);
}

async function resultOf(
  { place, config }: PlacedCall,
  { endpoints }: Container,
  network: Network,
): Promise<Result> {
  const { device, namespace: sandbox } = place;
  const inside = await lookInside(sandbox!, device);
  if (inside === null || endpoints.length === 0) {
    throw new CniError(
      INTERNAL,
      `${device} is not in ${sandbox} though it was made: see what the daemon logged`,
    );
  }
  const { nameservers: _, search, options, domain } = resolver(config.fields);
  const ips = endpoints[0].addresses.map((address) => {
    const subnet = subnetOf(network, address);
    return { address, interface: 0, ...(subnet && !network.internal && { gateway: subnet.gateway }) };
  });
  return {
    interfaces: [{ name: device, mac: inside.mac, mtu: inside.mtu, sandbox: sandbox! }],
    ips,
    routes: inside.routes,
    dns: {
      nameservers: nameservers(network, endpoints[0].addresses),
      ...(domain !== undefined && { domain }),
      ...(search.length > 0 && { search }),
      ...(options.length > 0 && { options }),
    },
  };
}

function subnetOf({ subnets }: Network, address: string): Subnet | undefined {
  const parsed = parseAddress(address.split('/', 1)[0]);
  return subnets.find((subnet) => parsed !== null && contains(cidr(subnet.cidr), parsed));
}

/** The gateway of the first subnet answers for all names, in internal networks, too. */
function nameservers(network: Network, addresses: readonly string[]): string[] {
  const subnet = subnetOf(network, addresses[0] ?? '');
  return subnet === undefined ? [] : [subnet.gateway];
}
