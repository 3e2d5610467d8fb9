/** One flow of TCP (cubic, iperf3) from the first host to the second, on one network after the other. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Engine } from './engine.ts';
import { median } from './median.ts';
import { NEBULA } from './networks.ts';

/** Network namespaces that a flow goes between, as words for `nsenter` on the host, none for the host's own. */
export interface Flow {
  readonly name: string;
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly address: string;
}

/** A flow between two containers, one on each engine. */
export async function containerFlow([one, two]: readonly Engine[], network: string): Promise<Flow> {
  const from = await one.sleeper(`${network}-client`, network);
  const to = await two.sleeper(`${network}-server`, network);
  const address = await two.addressOf(`${network}-server`, network);
  const enter = (pid: number) => ['nsenter', '-t', String(pid), '--net'];
  return { name: network, from: enter(from), to: enter(to), address };
}

/** A flow through nebula, between the hosts themselves. */
export const nebulaFlow: Flow = { name: 'nebula', from: [], to: [], address: NEBULA[1] };

/** Medians in Gbit/s that were received, by the name of the flow. */
export async function measureFlows(
  engines: readonly Engine[],
  flows: readonly Flow[],
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): Promise<Record<string, number>> {
  const rates = new Map<string, number[]>(flows.map(({ name }) => [name, []]));
  for (const flow of flows) await reach(engines[0], flow);
  for (let round = -1; round < rounds; round++) {
    for (const flow of flows) {
      const rate = await transfer(engines, flow, round < 0 ? 1 : seconds);
      if (round >= 0) rates.get(flow.name)!.push(rate);
    }
  }
  return Object.fromEntries([...rates].map(([name, all]) => [name, median(all)]));
}

async function reach(from: Engine, flow: Flow): Promise<void> {
  for (let i = 0; i < 20; i++) {
    const { code } = await from.host.run(...flow.from, 'ping', '-c', '1', '-W', '1', flow.address);
    if (code === 0) return;
    await pause(500);
  }
  throw new Error(`${flow.address} does not answer on ${flow.name}`);
}

/** Gbit/s that the server received. */
async function transfer([one, two]: readonly Engine[], flow: Flow, seconds: number): Promise<number> {
  const server = two.host.start(...flow.to, 'iperf3', '-s', '-1');
  try {
    const line = ['iperf3', '-c', flow.address, '-C', 'cubic', '-t', String(seconds), '-J'];
    for (let i = 0; i < 20; i++) {
      await pause(200);
      const { code, text } = await one.host.run(...flow.from, ...line);
      if (code === 0) return received(text);
    }
    throw new Error(`iperf3 does not get through on ${flow.name}`);
  } finally {
    server.kill('SIGKILL');
  }
}

function received(json: string): number {
  const { end } = JSON.parse(json) as { readonly end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e9;
}
