/** What people and programs can see of this node: the parts of watch/, told about what runs at the moment. */
import type { Check, PeerRow, Stats } from '../api/api.ts';
import { ControlError } from '../control/errors.ts';
import { capture } from '../watch/capture.ts';
import { doctor } from '../watch/doctor.ts';
import { Metrics } from '../watch/metrics.ts';
import { peerRows } from '../watch/peers.ts';
import { stats } from '../watch/stats.ts';
import { Totals } from '../watch/totals.ts';
import { trace } from '../watch/trace.ts';
import { type Logger, libraryLog } from './log.ts';
import type { Running } from './running.ts';
import { VERSION } from './version.ts';

type Query = Readonly<Record<string, string>>;

export interface ObserverParts {
  /** Null before init or join. */
  readonly running: () => Running | null;
  /** The state folder. */
  readonly state: string;
  readonly log: Logger;
}

export class Observer {
  readonly #parts: ObserverParts;
  readonly #totals = new Totals();
  readonly #metrics: Metrics;

  constructor(parts: ObserverParts) {
    this.#parts = parts;
    const { running } = parts;
    this.#metrics = new Metrics({
      version: VERSION,
      totals: this.#totals,
      dataplane: () => running()?.dataplane ?? null,
      control: () => running()?.control ?? null,
      dns: () => running()?.names.counters() ?? {},
    });
  }

  async peers(): Promise<PeerRow[]> {
    const { control, dataplane } = this.#here();
    return peerRows(control, await dataplane.encryptedPeers());
  }

  async stats(): Promise<Stats> {
    const { control, dataplane } = this.#here();
    this.#totals.take(dataplane.counters());
    const ports = await dataplane.ports();
    return stats({
      ports,
      drops: this.#totals.drops(),
      views: control.views,
      node: control.node.id,
      at: Date.now(),
    });
  }

  async doctor(): Promise<Check[]> {
    const { running, state } = this.#parts;
    const now = running();
    const common = { state, gateways: true, namespace: null };
    if (now === null) return doctor({ ...common, local: null, control: null, encryptedPeers: null });
    const { control, dataplane, local } = now;
    const encryptedPeers = await dataplane.encryptedPeers().catch(() => null);
    return doctor({ ...common, local, control, encryptedPeers });
  }

  capture(query: Query, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { control, dataplane } = this.#here();
    const log = libraryLog(this.#parts.log);
    return capture({ dataplane, views: control.views, node: control.node.id, log }, query, signal);
  }

  trace(query: Query, signal: AbortSignal): Promise<AsyncIterable<string>> {
    const { control, dataplane } = this.#here();
    const parts = { dataplane, views: () => control.views, node: control.node.id, now: Date.now };
    return trace(parts, query, signal);
  }

  metrics(): Promise<{ readonly type: string; readonly text: string }> {
    return this.#metrics.text();
  }

  #here(): Running {
    const running = this.#parts.running();
    if (running !== null) return running;
    throw new ControlError('NOT_JOINED', 'this host is in no overlay');
  }
}
