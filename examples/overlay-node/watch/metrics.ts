/**
 * The metrics of a daemon for Prometheus, looked up when somebody asks. There is no label for a container: there are as
 * many series as networks, reasons and underlays, whatever runs on the host.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Control } from '../control/control.ts';
import type { Dataplane } from '../daemon/dataplane.ts';
import { samplesOf } from './samples.ts';
import type { Totals } from './totals.ts';

export interface MetricsParts {
  readonly version: string;
  /** For as long as the daemon runs; the same that `stats` uses. */
  readonly totals: Totals;
  /** Null before init or join. */
  readonly dataplane: () => Pick<Dataplane, 'counters' | 'encryptedPeers'> | null;
  readonly control: () => Pick<Control, 'node' | 'views' | 'health'> | null;
  /** Of the name server; see NameServer.counters. */
  readonly dns: () => Readonly<Record<string, number>>;
}

/** Help and labels of each; what ends in `_total` is a counter. */
const METRICS: Readonly<Record<string, readonly [help: string, ...labels: string[]]>> = {
  info: ['The version that runs.', 'version'],
  dataplane_up: ['Whether the dataplane runs.'],
  control_connected: ['Whether the store can be reached, so that changes are possible.'],
  control_since_timestamp_seconds: ['Since when it can, or cannot, in seconds since 1970.'],
  networks: ['Networks that this node takes part in.'],
  endpoints: ['Endpoints of a network, on this node and elsewhere.', 'network', 'place'],
  peers: ['Other nodes of the networks of this node.', 'state'],
  drops_total: ['Packets that were dropped.', 'reason'],
  network_packets_total: [
    'Packets received from the endpoints of a network, and sent to them.',
    'network',
    'direction',
  ],
  network_bytes_total: [
    'Bytes received from the endpoints of a network, and sent to them.',
    'network',
    'direction',
  ],
  underlay_packets_total: ['Packets received from other nodes, and sent to them.', 'underlay', 'direction'],
  underlay_bytes_total: ['Bytes received from other nodes, and sent to them.', 'underlay', 'direction'],
  encrypted_peers: ['Nodes of encrypted networks, and whether there are keys to send with.', 'keys'],
  esp_sealed_total: ['Packets that were encrypted.'],
  esp_opened_total: ['Packets that were decrypted.'],
  esp_rekeys_total: ['Keys that asked to be replaced because of what they had encrypted.'],
  dns_queries_total: ['Questions for names, by what became of them.', 'result'],
  dns_forwards_total: ['What was done for questions that other name servers answer.', 'event'],
  dns_forwards_waiting: ['Questions that other name servers have not answered yet.'],
};

export class Metrics {
  readonly #parts: MetricsParts;
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge>();

  constructor(parts: MetricsParts) {
    this.#parts = parts;
    collectDefaultMetrics({ register: this.#registry });
    for (const [short, [help, ...labelNames]] of Object.entries(METRICS)) {
      const options = { name: `packetweave_${short}`, help, labelNames, registers: [this.#registry] };
      this.#metrics.set(short, short.endsWith('_total') ? new Counter(options) : new Gauge(options));
    }
  }

  /** What `GET /metrics` answers. */
  async text(): Promise<{ readonly type: string; readonly text: string }> {
    const { version, totals, control, dns } = this.#parts;
    const dataplane = this.#parts.dataplane();
    // One that has died answers nothing; the rest is told all the same.
    const encryptedPeers = (await dataplane?.encryptedPeers().catch(() => null)) ?? null;
    if (dataplane !== null) totals.take(dataplane.counters());
    const samples = samplesOf({ version, totals, control: control(), encryptedPeers, dns: dns() });
    for (const [short, metric] of this.#metrics) {
      metric.reset();
      for (const { labels, value } of samples[short]) {
        // Those without labels are 0 after a reset.
        metric.inc(labels, value);
      }
    }
    return { type: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}
