/** `GET /v1/doctor`: what keeps this node from working, and what to do about it. */
import { statfsSync } from 'node:fs';
import type { EncryptedPeer } from 'packetweave';
import type { Check } from '../api/api.ts';
import type { Control, ControlHealth } from '../control/control.ts';
import { forwardingChecks } from './forwarding.ts';
import { check, hostChecks } from './host-checks.ts';
import { mtuChecks } from './mtu-checks.ts';
import { peerRows, peersOf } from './peers.ts';
import { socketChecks } from './sockets.ts';

export interface DoctorParts {
  /** Folder of what outlives the daemon. */
  readonly state: string;
  /** What the dataplane was told; null before init or join. */
  readonly local: {
    readonly address: string;
    readonly mtu: number;
    readonly dataPort: number;
    readonly esp: { readonly port: number } | null;
  } | null;
  readonly control: Pick<Control, 'views' | 'health'> | null;
  /** Null where there is no dataplane, or it has died. */
  readonly encryptedPeers: readonly EncryptedPeer[] | null;
  /** Whether endpoints are namespaces of this host, with gateways that it forwards for. */
  readonly gateways: boolean;
  /** Namespace of the host; null for this one. */
  readonly namespace: string | null;
}

/** All checks, those of the host first, within about two seconds. Nothing depends on clocks that agree, so that they are
 * not compared. */
export async function doctor(parts: DoctorParts): Promise<Check[]> {
  const { state, local, control } = parts;
  const host = [...(await hostChecks()), disk(state)];
  if (local === null || control === null) return host;
  return [
    ...host,
    store(control.health),
    ...socketChecks([local.dataPort, ...(local.esp === null ? [] : [local.esp.port])]),
    ...keys(parts),
    ...dataPorts(parts),
    ...(await Promise.all([mtus(parts), forwarding(parts)])).flat(),
  ];
}

/** Bytes, and files, that the state folder ought to have room for. */
const LEAST_BYTES = 64 << 20;
const LEAST_FILES = 1000;
const MIB = 1 << 20;

function disk(folder: string): Check {
  try {
    const { bavail, bsize, ffree, files } = statfsSync(folder);
    // Some file systems do not count files.
    const ok = bavail * bsize >= LEAST_BYTES && (files === 0 || ffree >= LEAST_FILES);
    const found = `${Math.floor((bavail * bsize) / MIB)} MiB are free for ${folder}, ${ffree} of ${files} files`;
    return check('disk', ok, found, `make room, or give "up" another folder with --state`);
  } catch (error) {
    const advice = 'make the folder, or give "up" another with --state';
    return check('disk', false, (error as Error).message, advice);
  }
}

function store({ state, since, error, store: name }: ControlHealth): Check {
  const when = new Date(since).toISOString();
  const away = `${name} is away since ${when}${error === null ? '' : `: ${error}`}`;
  const advice = 'traffic goes on, changes wait: see that the store runs and that this host reaches it';
  return check(
    'store',
    state === 'connected',
    state === 'connected' ? `${name}, since ${when}` : away,
    advice,
  );
}

/** One for all nodes with keys, and one for each without. */
function keys({ control, encryptedPeers }: DoctorParts): Check[] {
  if (encryptedPeers === null) {
    return [check('dataplane', false, 'it does not run', 'see what the daemon logged, and start it again')];
  }
  const rows = peerRows(control!, encryptedPeers).filter(({ encrypted }) => encrypted !== null);
  const ready = rows.filter(({ encrypted }) => encrypted);
  const missing = rows.filter(({ encrypted }) => !encrypted);
  const advice =
    'nothing is sent to it in encrypted networks: see that its daemon runs, has joined the same cluster and reaches the store';
  return [
    ...(ready.length > 0 ? [check('keys', true, `of ${ready.length} of ${rows.length} nodes`, '')] : []),
    ...missing.map(({ name, address }) => check('keys', false, `none of ${name} (${address})`, advice)),
  ];
}

/** What ESP carries is a packet from data port to data port, and another port's is refused (drop reason bad-trailer). */
function dataPorts({ control, local }: DoctorParts): Check[] {
  const peers = [...peersOf(control!).values()].filter(({ networks }) => networks.some((n) => n.encrypted));
  const others = peers.map(({ peer }) => peer).filter(({ dataPort }) => dataPort !== local!.dataPort);
  return others.map(({ name, address, dataPort }) => {
    const found = `${name} (${address}) has ${dataPort}, this node ${local!.dataPort}`;
    const advice = 'nothing arrives in encrypted networks: give "up" the same --data-port on every node';
    return check('data port', false, found, advice);
  });
}

async function mtus({ control, local, namespace }: DoctorParts): Promise<Check[]> {
  const peers = [...peersOf(control!).values()].map(({ peer }) => peer).filter(({ alive }) => alive);
  return mtuChecks({ peers, from: local!.address, mtu: local!.mtu, namespace });
}

async function forwarding({ control, gateways, namespace }: DoctorParts): Promise<Check[]> {
  const networks = [...control!.views.values()].map(({ network }) => network);
  const outside = networks.filter(({ internal }) => !internal);
  if (!gateways || outside.length === 0) return [];
  return forwardingChecks({ ipv6: outside.some(({ ipv6 }) => ipv6), namespace });
}
