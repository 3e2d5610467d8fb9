/** `packetweave network ...` */
import type { Command } from 'commander';
import type { NetworkDetail } from '../../api/api.ts';
import type { Network } from '../../control/model.ts';
import { short, table } from '../format.ts';
import { networkShape } from '../inspect.ts';
import { connectRequest, type NetworkOptions, networkRequest } from '../requests.ts';
import { act, collect, leaf } from '../session.ts';
import type { World } from '../world.ts';

export function networkCommands(program: Command, world: World): void {
  const network = program.command('network').description('Manage networks');
  create(network, world);
  list(network, world);
  inspect(network, world);
  remove(network, world);
  connect(network, world);
  disconnect(network, world);
}

function create(network: Command, world: World): void {
  const command = leaf(network, 'create', 'Create a network')
    .argument('<name>', 'name of the network')
    .option('-d, --driver <driver>', 'driver to manage the network (default "overlay")')
    .option('--attachable', 'let commands and containers attach by hand')
    .option('--subnet <cidr>', 'subnet such as 10.0.1.0/24; can be given again', collect)
    .option('--ip-range <cidr>', 'give addresses from a part of the subnet', collect)
    .option('--gateway <address>', 'gateway of the subnet', collect)
    .option('--aux-address <name=address>', 'address that somebody else has', collect)
    .option('--ipv6', 'IPv6 beside IPv4')
    .option('--internal', 'no way out of the network')
    .option('--label <key=value>', 'label', collect)
    .option('-o, --opt <key=value>', 'option: encrypted, mtu=BYTES, vni=NUMBER', collect);
  act<[string], NetworkOptions>(command, world, async (session, [name], options) => {
    const made = await session.client.post<Network>(['networks'], networkRequest(name, options));
    session.show(made, () => made.id);
    return 0;
  });
}

function list(network: Command, world: World): void {
  const command = leaf(network, 'ls', 'List networks')
    .alias('list')
    .option('-q, --quiet', 'ids only')
    .option('--no-trunc', 'whole ids');
  act<[], { quiet?: boolean; trunc: boolean }>(command, world, async (session, _, { quiet, trunc }) => {
    const networks = await session.client.get<Network[]>(['networks']);
    const id = (of: Network) => (trunc ? short(of.id) : of.id);
    session.show(networks, () => {
      if (quiet) return networks.map(id).join('\n');
      const rows = networks.map((of) => [id(of), of.name, 'overlay', 'swarm']);
      return table(['NETWORK ID', 'NAME', 'DRIVER', 'SCOPE'], rows);
    });
    return 0;
  });
}

function inspect(network: Command, world: World): void {
  const command = leaf(network, 'inspect', 'Show everything about networks').argument(
    '<network...>',
    'names or ids',
  );
  act<[string[]]>(command, world, async (session, [names]) => {
    const found: object[] = [];
    const code = await session.each(names, async (name) => {
      found.push(networkShape(await session.client.get<NetworkDetail>(['networks', name])));
    });
    session.print(JSON.stringify(found, null, 4));
    return code;
  });
}

function remove(network: Command, world: World): void {
  const command = leaf(network, 'rm', 'Remove networks')
    .alias('remove')
    .argument('<network...>', 'names or ids');
  act<[string[]]>(command, world, (session, [names]) =>
    session.each(names, async (name) => {
      await session.client.delete(['networks', name]);
      session.show({ removed: name }, () => name);
    }),
  );
}

function connect(network: Command, world: World): void {
  const command = leaf(network, 'connect', 'Connect a container to a network')
    .argument('<network>', 'name or id')
    .argument('<container>', 'name or id')
    .option('--alias <name>', 'another name in the network', collect)
    .option('--ip <address>', 'IPv4 address')
    .option('--ip6 <address>', 'IPv6 address');
  act<[string, string], Parameters<typeof connectRequest>[1]>(
    command,
    world,
    async (session, [name, container], options) => {
      await session.client.post(['networks', name, 'connect'], connectRequest(container, options));
      return 0;
    },
  );
}

function disconnect(network: Command, world: World): void {
  const command = leaf(network, 'disconnect', 'Disconnect a container from a network')
    .argument('<network>', 'name or id')
    .argument('<container>', 'name or id');
  act<[string, string]>(command, world, async (session, [name, container]) => {
    await session.client.post(['networks', name, 'disconnect'], connectRequest(container, {}));
    return 0;
  });
}
