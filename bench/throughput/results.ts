/** Medians over the rounds, and their ratios to the path that all are compared with. */
import { METRICS, type Metric, type Sample, UNITS } from './metrics/metric.ts';

export interface Result {
  readonly path: string;
  readonly metric: Metric;
  /** Null where the path has no such thing, or no round could measure it. */
  readonly value: number | null;
  readonly unit: string;
  /** The value divided by that of kernel VXLAN in the same run; null where one of the two is missing. */
  readonly ratio: number | null;
  /** Of `cpu-per-gb`: what the path's daemons used. */
  readonly daemons?: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What the rounds found, by path and metric. */
export class Samples {
  readonly #found = new Map<string, Sample[]>();
  readonly #paths = new Set<string>();

  add(path: string, metric: Metric, sample: Sample): void {
    this.#paths.add(path);
    const key = `${path} ${metric}`;
    const found = this.#found.get(key);
    if (found === undefined) this.#found.set(key, [sample]);
    else found.push(sample);
  }

  /** One result for each path that was measured and each metric of `wanted`, in the order of `paths`. */
  results(paths: readonly string[], wanted: ReadonlySet<Metric>, reference: string): Result[] {
    return paths
      .filter((path) => this.#paths.has(path))
      .flatMap((path) =>
        METRICS.filter((metric) => wanted.has(metric)).map((metric) => {
          const value = this.#median(path, metric, 'value');
          const beside = this.#median(reference, metric, 'value');
          const daemons = this.#median(path, metric, 'daemons');
          return {
            path,
            metric,
            value: round(value),
            unit: UNITS[metric],
            ratio: value === null || !beside ? null : round(value / beside),
            ...(daemons === null ? {} : { daemons: round(daemons)! }),
          };
        }),
      );
  }

  #median(path: string, metric: Metric, field: 'value' | 'daemons'): number | null {
    const found = (this.#found.get(`${path} ${metric}`) ?? []).flatMap((sample) => sample[field] ?? []);
    return found.length === 0 ? null : median(found);
  }
}

/** Three digits that count, or all before the point. */
function round(value: number | null): number | null {
  if (value === null) return null;
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3));
}
