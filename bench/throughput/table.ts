/** The results as text: a row a path, a column a metric, each figure with its ratio to kernel VXLAN. */
import { METRICS, UNITS } from './metrics/metric.ts';
import type { Result } from './results.ts';

export function table(results: readonly Result[]): string {
  const metrics = METRICS.filter((metric) => results.some((result) => result.metric === metric));
  const paths = [...new Set(results.map(({ path }) => path))];
  const cell = (path: string, metric: string) => {
    const found = results.find((result) => result.path === path && result.metric === metric);
    if (found === undefined || found.value === null) return '-';
    return found.ratio === null ? figure(found.value) : `${figure(found.value)} (${ratio(found.ratio)})`;
  };
  const rows = [
    ['path', ...metrics.map((metric) => `${metric}, ${UNITS[metric]}`)],
    ...paths.map((path) => [path, ...metrics.map((metric) => cell(path, metric))]),
  ];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row: readonly string[]) =>
    row.map((text, i) => (i === 0 ? text.padEnd(widths[i]) : text.padStart(widths[i]))).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

/** A figure for people: thousands as 152k, the rest with three digits. */
export function figure(value: number): string {
  if (value >= 10_000) return `${Math.round(value / 1000)}k`;
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function ratio(value: number): string {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(2);
}
