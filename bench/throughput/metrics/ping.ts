/** The median round trip of a ping every 2 ms, on a quiet path and beside one TCP flow. */

import { sleep } from '../programs.ts';
import { median } from '../results.ts';
import { INSIDE, type Stage } from '../stage.ts';
import { iperf } from './iperf.ts';
import type { Probe } from './metric.ts';
import { tcpOptions } from './tcp.ts';

const INTERVAL = 0.002;
/** Fewer answers than this say nothing. */
const LEAST = 20;
/** Seconds that the flow has for coming to speed, and for which it goes on after the last ping. */
const LEAD = 1;

/** The round trips that ping printed, in µs. */
export function roundTrips(text: string): number[] {
  return [...text.matchAll(/ time=([\d.]+) ms/g)].map(([, ms]) => Number(ms) * 1000);
}

async function ping(stage: Stage, seconds: number): Promise<number> {
  const count = String(Math.ceil(seconds / INTERVAL));
  const argv = ['ping', '-n', '-i', String(INTERVAL), '-c', count, '-w', String(seconds), INSIDE.b];
  const { stdout, stderr } = await stage.run('a', argv, (seconds + 10) * 1000);
  const found = roundTrips(stdout);
  if (found.length < LEAST) throw new Error(`ping: ${found.length} answers. ${stderr}`);
  return median(found);
}

export const rtt: Probe = {
  metrics: ['rtt'],
  warm: true,
  async measure({ stage, seconds }) {
    await stage.reach();
    return { rtt: { value: await ping(stage, seconds) } };
  },
};

export const rttLoaded: Probe = {
  metrics: ['rtt-loaded'],
  warm: true,
  async measure({ stage, seconds }) {
    await stage.reach();
    const flow = iperf(stage, seconds + 2 * LEAD, tcpOptions(1));
    const pings = sleep(LEAD * 1000).then(() => ping(stage, seconds));
    await Promise.allSettled([pings, flow]); // whatever fails, the next measurement finds neither
    await flow;
    return { 'rtt-loaded': { value: await pings } };
  },
};
