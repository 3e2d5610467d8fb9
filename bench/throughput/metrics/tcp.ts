/** TCP through the path, with cubic, and the processor time that a gigabyte costs with one flow. */
import { CpuMeter } from './cpu.ts';
import { iperf } from './iperf.ts';
import type { Probe } from './metric.ts';

export function tcpOptions(flows: number): string[] {
  return ['-C', 'cubic', '-P', String(flows)];
}

export const tcp1: Probe = {
  metrics: ['tcp1', 'cpu-per-gb'],
  warm: true,
  async measure({ stage, seconds, idle }) {
    const meter = new CpuMeter(stage.daemons.map(({ pid }) => pid));
    const received = await iperf(stage, seconds, tcpOptions(1));
    const { elapsed, busy, daemons } = meter.read();
    const gigabytes = received.bytes / 1e9;
    // On a machine that others use too, what they leave to us hides us: what is surely ours counts at the least.
    const used = Math.max(busy - idle * elapsed, daemons + received.cpu);
    const cpu = { value: used / gigabytes };
    return {
      tcp1: { value: (received.bytes * 8) / received.seconds / 1e9 },
      'cpu-per-gb': stage.daemons.length === 0 ? cpu : { ...cpu, daemons: daemons / gigabytes },
    };
  },
};

export const tcp4: Probe = {
  metrics: ['tcp4'],
  warm: true,
  async measure({ stage, seconds }) {
    const { bytes, seconds: took } = await iperf(stage, seconds, tcpOptions(4));
    return { tcp4: { value: (bytes * 8) / took / 1e9 } };
  },
};
