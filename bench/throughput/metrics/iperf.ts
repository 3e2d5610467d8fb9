/** iperf3 from `a` to `b`. What counts is what the server received, in the server's own words. */
import { readFileSync } from 'node:fs';
import type { Program } from '../programs.ts';
import { sleep } from '../programs.ts';
import { INSIDE, type Stage } from '../stage.ts';

const PORT = 5201;
/** Of /proc/net/tcp: a socket that listens on this port. */
const LISTENS = new RegExp(`:${PORT.toString(16).toUpperCase().padStart(4, '0')} [0-9A-F:]+ 0A `);
/** Seconds that a run may take beyond its time: connections through an overloaded path end slowly. */
const PATIENCE = 30;

/** What a server received. */
export interface Received {
  readonly bytes: number;
  readonly seconds: number;
}

/** Reads the server's JSON. Throws what iperf3 says where it failed. */
export function parse(json: string): Received {
  let read: { error?: string; end?: { sum_received?: Partial<Received> } };
  try {
    read = JSON.parse(json);
  } catch {
    throw new Error(`iperf3 said nothing that can be read: ${json.trim().slice(0, 200)}`);
  }
  const { bytes = 0, seconds = 0 } = read.end?.sum_received ?? {};
  if (read.error !== undefined) throw new Error(`iperf3: ${read.error}`);
  if (!(bytes > 0 && seconds > 0)) throw new Error('iperf3: nothing was received');
  return { bytes, seconds };
}

/** Processors that both ends of a run used on average, from the client's JSON. */
export function processors(json: string): number {
  const { end } = JSON.parse(json) as { end?: { cpu_utilization_percent?: Record<string, number> } };
  const { host_total = 0, remote_total = 0 } = end?.cpu_utilization_percent ?? {};
  return (host_total + remote_total) / 100;
}

/** Starts a server for one run, and waits until it listens. */
async function serve(stage: Stage): Promise<Program> {
  const server = stage.start('b', ['iperf3', '-s', '-1', '-J', '-p', String(PORT)]);
  for (let i = 0; i < 1500 && server.running; i++) {
    const sockets = ['tcp', 'tcp6'].map((kind) => readFileSync(`/proc/${server.pid}/net/${kind}`, 'utf8'));
    if (sockets.some((text) => LISTENS.test(text))) return server;
    await sleep(20);
  }
  throw new Error(`iperf3 does not serve: ${server.lastWords}`);
}

/** One run, and the processor seconds that iperf3 itself used. `options` are the client's. */
export async function iperf(
  stage: Stage,
  seconds: number,
  options: readonly string[],
): Promise<Received & { readonly cpu: number }> {
  await stage.reach();
  const server = await serve(stage);
  try {
    const argv = ['iperf3', '-c', INSIDE.b, '-p', String(PORT), '-t', String(seconds), '-J', ...options];
    const client = await stage.run('a', argv, (seconds + PATIENCE) * 1000);
    if (client.code !== 0)
      throw new Error(`iperf3: ${complaint(client.stdout) || client.stderr || 'took too long'}`);
    const received = parse((await server.ended).stdout);
    return { ...received, cpu: processors(client.stdout) * received.seconds };
  } finally {
    server.signal('SIGKILL');
    await server.ended;
  }
}

function complaint(json: string): string {
  return /"error":\s*"([^"]*)"/.exec(json)?.[1] ?? '';
}
