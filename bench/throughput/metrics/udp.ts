/** Datagrams received a second while more are sent than the path carries. Sizes are those of the UDP payload. */
import { iperf } from './iperf.ts';
import type { Probe } from './metric.ts';

function udp(metric: 'udp1400' | 'udp64', size: number): Probe {
  return {
    metrics: [metric],
    warm: true,
    async measure({ stage, seconds }) {
      const received = await iperf(stage, seconds, ['-u', '-b', '0', '-l', String(size)]);
      return { [metric]: { value: received.bytes / size / received.seconds } };
    },
  };
}

export const udp1400 = udp('udp1400', 1400);
export const udp64 = udp('udp64', 64);
