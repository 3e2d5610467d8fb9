/** Nodes in this process for tests of what is watched: real control over one store, real tunnels over loopback. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { freePort } from '../../../../test/gen/free-port.ts';
import type { NetworkRequest } from '../../control/model.ts';
import type { StoreControl } from '../../control/store-control.ts';
import type { DataplaneLocal, LocalPort } from '../../daemon/dataplane.ts';
import { desiredNetwork } from '../../daemon/desired.ts';
import { withoutLength } from '../../daemon/names.ts';
import { ProcessDataplane } from '../../daemon/process-dataplane.ts';
import { ask, LASTING, until, World } from '../control/world.ts';

export { until } from '../control/world.ts';

export interface RigNode {
  readonly control: StoreControl;
  readonly dataplane: ProcessDataplane;
  readonly local: DataplaneLocal;
  /** Brings the dataplane to what control knows. */
  carry(): Promise<void>;
  /** The small host behind a container's first endpoint. */
  host(container: string): NonNullable<ReturnType<ProcessDataplane['host']>>;
  /** Pings from one container to another until an answer comes. */
  ping(container: string, other: string): Promise<void>;
}

export interface Rig {
  readonly nodes: readonly RigNode[];
  /** Makes a network with a container on each node, named `web0`, `web1` and so on, and carries it. */
  network(request: NetworkRequest): Promise<void>;
}

/** Nodes at 127.0.0.1 and so on, which end with the test. */
export async function rig(t: Test, count: number): Promise<Rig> {
  const world = await World.make();
  t.teardown(() => world.close());
  const nodes: RigNode[] = [];
  // What ESP carries has the number of the data port, which all nodes must have.
  const ports = { dataPort: await freePort(), espPort: await freePort() };
  for (let n = 0; n < count; n++) nodes.push(await node(t, world, `127.0.0.${n + 1}`, ports));
  return { nodes, network: (request) => network(nodes, request) };
}

async function node(
  t: Test,
  world: World,
  address: string,
  ports: { readonly dataPort: number; readonly espPort: number },
): Promise<RigNode> {
  const { dataPort, espPort } = ports;
  const identity = { ...world.identity(), address, ...ports };
  const { control } = await world.node({ identity, timing: LASTING });
  // In band there are keys within milliseconds: no grace time is waited for.
  const esp = { secret: 'what all nodes of the test share', port: espPort, keys: null };
  const local = { address, dataPort, mtu: 1500, esp };
  const dataplane = await ProcessDataplane.start(local);
  t.teardown(() => dataplane.stop());
  return { control, dataplane, local, ...acts(control, dataplane) };
}

function acts(control: StoreControl, dataplane: ProcessDataplane): Pick<RigNode, 'carry' | 'host' | 'ping'> {
  const place = () => ({ namespace: 'none', device: 'eth0', main: true });
  const carry = () => {
    const views = [...control.views.values()];
    return dataplane.apply(views.map((view) => desiredNetwork(view, control.node.id, place, false)));
  };
  const host = (container: string) => {
    const endpoint = control.own().find(({ name }) => name === container);
    const found = dataplane.host((endpoint as Pick<LocalPort, 'id'> | undefined)?.id ?? '');
    if (found === null) throw new Error(`no container ${container} is carried`);
    return found;
  };
  const ping = async (container: string, other: string) => {
    const all = [...control.views.values()].flatMap((view) => [...view.endpoints.values()]);
    const address = withoutLength(all.find(({ name }) => name === other)!.addresses[0]);
    await until(async () => (await host(container).ping(address)) !== null);
  };
  return { carry, host, ping };
}

async function network(nodes: readonly RigNode[], request: NetworkRequest): Promise<void> {
  const { id } = await nodes[0].control.createNetwork({ attachable: true, ...request });
  for (const [n, { control }] of nodes.entries()) {
    await control.attach(ask(request.name, { name: `web${n}` }));
  }
  const all = ({ control }: RigNode) => {
    const view = control.views.get(id);
    return view?.peers.length === nodes.length - 1 && view.endpoints.size === nodes.length;
  };
  await until(() => nodes.every(all));
  for (const one of nodes) await one.carry();
}

/** A folder that is gone with the test; its path is short enough for sockets. */
export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'packetweave-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
