/** `packetweave stats`: what goes through each port, and what is dropped and why. */
import type { Stats } from '../api/api.ts';
import { amount, table } from './format.ts';

type PortStats = Stats['ports'][number];

const HEADINGS = ['PORT', 'NETWORK', 'RX PPS', 'RX BIT/S', 'TX PPS', 'TX BIT/S', 'DROPPED'];
const TOTALS = ['PORT', 'NETWORK', 'RX PACKETS', 'RX BYTES', 'TX PACKETS', 'TX BYTES', 'DROPPED'];

/** Rates between two looks; totals where there is but one. */
export function statsText(now: Stats, before: Stats | null): string {
  const seconds = before === null ? 0 : (now.at - before.at) / 1000;
  const ports = now.ports.map((port) => {
    const old = before?.ports.find(({ name, network }) => name === port.name && network === port.network);
    const cells = seconds > 0 ? rates(port, old, seconds) : totals(port);
    return [port.name, port.network ?? '', ...cells, amount(port.dropped)];
  });
  const drops = Object.entries(now.drops)
    .filter(([, { count }]) => count > 0)
    .sort(([, a], [, b]) => b.count - a.count)
    .map(([reason, { count, text }]) => [reason, amount(count), text]);
  const head = table(seconds > 0 ? HEADINGS : TOTALS, ports);
  return drops.length === 0 ? head : `${head}\n${table(['DROPPED FOR', 'PACKETS', 'MEANING'], drops)}`;
}

const totals = (port: PortStats) => [port.rxPackets, port.rxBytes, port.txPackets, port.txBytes].map(amount);

/** A port that is new has no rate yet, and one that began again counts from 0. */
function rates(port: PortStats, old: PortStats | undefined, seconds: number): string[] {
  const rate = (key: 'rxPackets' | 'rxBytes' | 'txPackets' | 'txBytes') =>
    Math.max(0, port[key] - (old ?? port)[key]) / seconds;
  return [rate('rxPackets'), rate('rxBytes') * 8, rate('txPackets'), rate('txBytes') * 8].map(amount);
}
