/**
 * Docker's containers on this overlay beside Docker's own networks, in one run on two engines in network namespaces
 * that a veth joins: `docker run --rm` on each network; one flow of TCP between the hosts through each, and through nebula
 * where that is installed; and many containers on both. As root on Linux, with dockerd, busybox-static and iperf3:
 *
 *     npm run build && node examples/overlay-node/dist/bench/docker.js [--rounds 10] [--containers 200] [--json]
 *
 * `--pause 3` waits so many seconds before each start, so that the networks are not ready from the last time. It
 * also takes `--flow-rounds 3`, `--seconds 5` and `--only start,throughput,crowd`.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cable, Host, whyNot } from '../demo/host.ts';
import { Report } from '../demo/report.ts';
import { type Crowd, measureCrowd } from './docker/crowd.ts';
import { Engine, noEngine } from './docker/engine.ts';
import { layNebula, layOverlay, laySwarm } from './docker/networks.ts';
import { measureStarts } from './docker/start.ts';
import { containerFlow, measureFlows, nebulaFlow } from './docker/throughput.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    pause: { type: 'string', default: '0' },
    'flow-rounds': { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    containers: { type: 'string', default: '200' },
    only: { type: 'string', default: 'start,throughput,crowd' },
    json: { type: 'boolean', default: false },
  },
});
const parts = values.only.split(',');

interface Figures {
  /** What could not be had, and why. */
  readonly missing: Record<string, string>;
  /** In ms, by network. */
  start?: Record<string, number>;
  /** In Gbit/s, by network. */
  throughput?: Record<string, number>;
  crowd?: Crowd;
}

class Quiet extends Report {
  override say(): void {}
  override typed(): void {}
}

async function measure(engines: readonly Engine[]): Promise<Figures> {
  await Promise.all(engines.map((engine) => engine.start()));
  await layOverlay(engines);
  const figures: Figures = { missing: {} };
  const swarm = await laySwarm(engines);
  if (swarm !== null) figures.missing.swarm = swarm;
  const overlays = ['plain', 'encrypted', ...(swarm === null ? ['swarm'] : [])];
  if (parts.includes('start')) {
    figures.start = await measureStarts(
      engines[0],
      ['none', 'bridge', ...overlays],
      Number(values.rounds),
      1000 * Number(values.pause),
    );
  }
  if (parts.includes('throughput')) await flows(engines, overlays, figures);
  if (parts.includes('crowd')) figures.crowd = await measureCrowd(engines, Number(values.containers));
  return figures;
}

async function flows(
  engines: readonly Engine[],
  overlays: readonly string[],
  figures: Figures,
): Promise<void> {
  const nebula = await layNebula(engines);
  try {
    const all = [];
    for (const network of overlays) all.push(await containerFlow(engines, network));
    if (typeof nebula === 'string') figures.missing.nebula = nebula;
    else all.push(nebulaFlow);
    const options = { rounds: Number(values['flow-rounds']), seconds: Number(values.seconds) };
    figures.throughput = await measureFlows(engines, all, options);
  } finally {
    if (typeof nebula !== 'string') nebula.stop();
    for (const engine of engines) await engine.clear();
  }
}

function say({ missing, start, throughput, crowd }: Figures): void {
  for (const [what, why] of Object.entries(missing)) console.log(`without ${what}: ${why}`);
  for (const [network, ms] of Object.entries(start ?? {})) {
    console.log(`docker run --rm --network ${network.padEnd(10)} ${ms.toFixed(0)} ms`);
  }
  for (const [network, rate] of Object.entries(throughput ?? {})) {
    console.log(`one flow of TCP through ${network.padEnd(10)} ${rate.toFixed(2)} Gbit/s`);
  }
  if (crowd === undefined) return;
  const { containers, memory, reached, left } = crowd;
  console.log(`${containers} containers on each engine: start ${crowd.start.toFixed(0)} s`);
  console.log(
    `  of ${2 * containers} answered ${reached}; removed in ${crowd.remove.toFixed(0)} s, left ${left}`,
  );
  console.log(
    `  memory of a daemon ${memory.before.toFixed(0)} MB before, ${memory.all.toFixed(0)} MB with all`,
  );
}

const reason = whyNot() ?? noEngine();
if (reason !== null) throw new Error(reason);
const folder = mkdtempSync(join(tmpdir(), 'packetweave-bench-'));
const report = new Quiet();
const hosts = [new Host(1, folder, report), new Host(2, folder, report)];
const engines = hosts.map((host) => new Engine(host));
try {
  cable(hosts[0], hosts[1]);
  const load = loadavg()[0];
  const figures = await measure(engines);
  if (values.json) console.log(JSON.stringify({ load, ...figures }));
  else {
    console.log(`load before: ${load.toFixed(1)}`);
    say(figures);
  }
} finally {
  await Promise.all(engines.map((engine) => engine.stop()));
  for (const { namespace } of hosts) execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(folder, { recursive: true, force: true });
}
