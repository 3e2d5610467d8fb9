/**
 * What an overlay in a worker is told: the description of an overlay (overlay/config.ts) with descriptions of ports
 * in place of ports, so that it is plain data. A key channel and a listener to keys stay behind on the main thread,
 * and messages stand in for them.
 */
import type { LoggedKey } from '../../crypto/epoch.ts';
import type { EspConfig, LocalConfig, NetworkConfig, OverlayConfig, PortConfig } from '../overlay/config.ts';
import { check } from '../overlay/config.ts';
import type { KeyChannel } from '../overlay/key-channel.ts';
import type { PortSpec, SpecPorts } from './ports.ts';

/** An {@link OverlayConfig} with descriptions of ports. */
export interface WorkerConfig {
  readonly local: string | WorkerLocal;
  readonly networks: readonly WorkerNetwork[];
}

export interface WorkerLocal extends Omit<LocalConfig, 'underlay' | 'esp'> {
  /** Default: a UDP socket on `address` and `port`, the native one where there is one. */
  readonly underlay?: PortSpec;
  readonly esp?: WorkerEsp;
}

export interface WorkerEsp extends Omit<EspConfig, 'underlay' | 'control'> {
  readonly underlay?: PortSpec;
  readonly control?: PortSpec;
}

export interface WorkerNetwork extends Omit<NetworkConfig, 'ports'> {
  readonly ports?: readonly WorkerPort[];
}

export interface WorkerPort extends Omit<PortConfig, 'port'> {
  /** A TAP device's `mtu` is by default what the network has room for. */
  readonly port: PortSpec;
}

/** What a description holds that cannot travel. */
export interface Behind {
  readonly channel: KeyChannel | null;
  readonly onKeys: ((key: LoggedKey) => void) | null;
}

/** A description that can travel, and what of it cannot. */
export function part(config: WorkerConfig): { config: WorkerConfig; behind: Behind } {
  const esp = typeof config?.local === 'object' ? config.local?.esp : undefined;
  if (typeof esp !== 'object' || esp === null) return { config, behind: { channel: null, onKeys: null } };
  const { channel = null, onKeys = null, ...rest } = esp;
  const local = { ...(config.local as WorkerLocal), esp: rest };
  return { config: { ...config, local }, behind: { channel, onKeys } };
}

/**
 * The description of the overlay: with ports, and with what stands in for what stayed behind. Where it is not of the
 * shape that it should have it is left as it is: the overlay's own check says what is wrong.
 */
export async function whole(config: WorkerConfig, ports: SpecPorts, behind: Behind): Promise<OverlayConfig> {
  const { local, networks } = config;
  const wanted: Record<string, unknown> = { ...config };
  if (isObject(local)) wanted.local = await wholeLocal(local as WorkerLocal, ports, behind);
  if (Array.isArray(networks)) {
    const mtus = mtusOf(wanted as unknown as OverlayConfig);
    const lists: unknown[] = [];
    for (const [i, network] of networks.entries()) {
      lists.push(isObject(network) ? await withPorts(`networks[${i}]`, network, ports, mtus[i]) : network);
    }
    wanted.networks = lists;
  }
  return wanted as unknown as OverlayConfig;
}

/** The largest IP packet inside of each network; none where the description is wrong, which others will tell. */
function mtusOf(config: OverlayConfig): readonly number[] {
  try {
    const networks = config.networks.map((network) => ({ ...network, ports: [] }));
    return check({ ...config, networks }).networks.map(({ mtu }) => mtu);
  } catch {
    return [];
  }
}

async function wholeLocal(
  local: WorkerLocal,
  ports: SpecPorts,
  { channel, onKeys }: Behind,
): Promise<Record<string, unknown>> {
  const { underlay, esp } = local;
  const wanted: Record<string, unknown> = { ...local };
  if (underlay !== undefined) wanted.underlay = await ports.port('local.underlay', underlay);
  if (!isObject(esp)) return wanted;
  wanted.esp = {
    ...esp,
    ...(esp.underlay !== undefined && { underlay: await ports.port('local.esp.underlay', esp.underlay) }),
    ...(esp.control !== undefined && { control: await ports.port('local.esp.control', esp.control) }),
    ...(channel !== null && { channel }),
    ...(onKeys !== null && { onKeys }),
  };
  return wanted;
}

async function withPorts(
  path: string,
  network: WorkerNetwork,
  known: SpecPorts,
  mtu: number | undefined,
): Promise<Record<string, unknown>> {
  if (!Array.isArray(network.ports)) return { ...network };
  const ports: unknown[] = [];
  for (const entry of network.ports as readonly WorkerPort[]) {
    let port = isObject(entry) ? entry.port : undefined;
    if (port?.kind === 'tap' && port.mtu === undefined && mtu !== undefined) port = { ...port, mtu };
    ports.push({ ...entry, port: await known.port(`${path}.ports[${ports.length}].port`, port) });
  }
  return { ...network, ports };
}

function isObject<T>(value: T): value is T & object {
  return typeof value === 'object' && value !== null;
}
