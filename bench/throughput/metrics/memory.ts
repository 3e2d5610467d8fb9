/** Resident memory of the larger of the path's daemons, after all other measurements. */
import { readFileSync } from 'node:fs';
import type { Probe } from './metric.ts';

/** Megabytes (10^6 bytes) that a process holds in memory, from the text of /proc/PID/status. */
export function residentMegabytes(text: string): number {
  return (Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024) / 1e6;
}

export const rss: Probe = {
  metrics: ['rss'],
  warm: true,
  measure({ stage }) {
    const sizes = stage.daemons.map(({ pid }) =>
      residentMegabytes(readFileSync(`/proc/${pid}/status`, 'utf8')),
    );
    return { rss: { value: sizes.length === 0 ? null : Math.max(...sizes) } };
  },
};
