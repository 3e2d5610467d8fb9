/** What the metrics say at a moment, from what the parts of a daemon know: pure functions. */
import type { EncryptedPeer } from 'packetweave';
import type { Control } from '../control/control.ts';
import { networkName, type Views } from './names.ts';
import { peersOf } from './peers.ts';
import type { Totals } from './totals.ts';

/** A value of a metric, for some values of its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
/** By name of the metric. */
export type Samples = Readonly<Record<string, readonly Sample[]>>;

export interface Moment {
  readonly version: string;
  readonly totals: Totals;
  /** Null before init or join. */
  readonly control: Pick<Control, 'node' | 'views' | 'health'> | null;
  /** Null where there is no dataplane, or it has died. */
  readonly encryptedPeers: readonly EncryptedPeer[] | null;
  /** Of the name server; see NameServer.counters. */
  readonly dns: Readonly<Record<string, number>>;
}

const UNDERLAYS = ['underlay', 'esp-underlay', 'esp-control'];
const DNS_RESULTS = ['local', 'forwarded', 'failed', 'refused', 'ignored'];
const DNS_EVENTS = ['cached', 'shared', 'asked', 'failovers', 'failures', 'overload'];

const one = (value: number): readonly Sample[] => [{ labels: {}, value }];

export function samplesOf(moment: Moment): Samples {
  const { version, control, encryptedPeers, totals, dns } = moment;
  const views: Views = control?.views ?? new Map();
  return {
    info: [{ labels: { version }, value: 1 }],
    dataplane_up: one(encryptedPeers === null ? 0 : 1),
    ...controlSamples(control, views),
    drops_total: Object.entries(totals.drops()).map(([reason, value]) => ({ labels: { reason }, value })),
    ...carriedSamples(totals, views),
    ...keySamples(totals, encryptedPeers ?? []),
    ...nameSamples(dns),
  };
}

function controlSamples(control: Moment['control'], views: Views): Samples {
  const health = control?.health;
  const endpoints: Sample[] = [];
  for (const { network, endpoints: all } of views.values()) {
    const here = [...all.values()].filter(({ node }) => node === control?.node.id).length;
    const counts = { here, elsewhere: all.size - here };
    for (const [place, value] of Object.entries(counts)) {
      endpoints.push({ labels: { network: network.name, place }, value });
    }
  }
  const peers = [...peersOf({ views }).values()];
  const alive = peers.filter(({ peer }) => peer.alive).length;
  return {
    control_connected: one(health?.state === 'connected' ? 1 : 0),
    control_since_timestamp_seconds: health === undefined ? [] : one(health.since / 1000),
    networks: one(views.size),
    endpoints,
    peers: [
      { labels: { state: 'alive' }, value: alive },
      { labels: { state: 'dead' }, value: peers.length - alive },
    ],
  };
}

function carriedSamples(totals: Totals, views: Views): Samples {
  const samples: Record<string, Sample[]> = {
    network_packets_total: [],
    network_bytes_total: [],
    underlay_packets_total: [],
    underlay_bytes_total: [],
  };
  for (const [group, carried] of totals.carried()) {
    const isNetwork = /^\d+$/.test(group);
    if (!isNetwork && !UNDERLAYS.includes(group)) continue;
    const kind = isNetwork ? 'network' : 'underlay';
    const name = isNetwork ? networkName(views, Number(group)) : group;
    const add = (unit: string, direction: string, value: number) =>
      samples[`${kind}_${unit}_total`].push({ labels: { [kind]: name, direction }, value });
    add('packets', 'received', carried.rxPackets);
    add('packets', 'sent', carried.txPackets);
    add('bytes', 'received', carried.rxBytes);
    add('bytes', 'sent', carried.txBytes);
  }
  return samples;
}

function keySamples(totals: Totals, peers: readonly EncryptedPeer[]): Samples {
  const ready = peers.filter((peer) => peer.ready).length;
  return {
    encrypted_peers: [
      { labels: { keys: 'ready' }, value: ready },
      { labels: { keys: 'missing' }, value: peers.length - ready },
    ],
    esp_sealed_total: one(totals.sum('sealed')),
    esp_opened_total: one(totals.sum('opened')),
    esp_rekeys_total: one(totals.sum('rekey')),
  };
}

function nameSamples(dns: Moment['dns']): Samples {
  const of = (label: string, names: readonly string[], prefix = '') =>
    names.map((name) => ({ labels: { [label]: name }, value: dns[prefix + name] ?? 0 }));
  return {
    dns_queries_total: of('result', DNS_RESULTS),
    dns_forwards_total: of('event', DNS_EVENTS, 'forward.'),
    dns_forwards_waiting: one(dns['forward.waiting'] ?? 0),
  };
}
