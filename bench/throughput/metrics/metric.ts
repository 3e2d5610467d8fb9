/** What is measured, and in which units. */
import type { Stage } from '../stage.ts';

/** Every metric with its unit, in the order in which they are shown. */
export const UNITS = {
  tcp1: 'Gbit/s',
  tcp4: 'Gbit/s',
  udp1400: 'packets/s',
  udp64: 'packets/s',
  rtt: 'µs',
  'rtt-loaded': 'µs',
  'cpu-per-gb': 's/GB',
  rss: 'MB',
} as const;
export type Metric = keyof typeof UNITS;
export const METRICS = Object.keys(UNITS) as Metric[];

/** One path, laid and reached. */
export interface Trial {
  readonly stage: Stage;
  /** How long one measurement runs. */
  readonly seconds: number;
  /** Processors that were busy before the path was laid: a share of all, in processors. */
  readonly idle: number;
}

/** What one measurement found; null where the path has no such thing, such as the memory of no daemon. */
export interface Sample {
  readonly value: number | null;
  /** Of the value, what the path's daemons used. */
  readonly daemons?: number;
}

export type Samples = Partial<Record<Metric, Sample>>;

/** One measurement. Some yield several metrics. */
export interface Probe {
  readonly metrics: readonly Metric[];
  /** Whether the path has to be warm: it carries TCP for a second before the first that has. */
  readonly warm: boolean;
  measure(trial: Trial): Samples | Promise<Samples>;
}
