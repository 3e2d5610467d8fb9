/**
 * Throughput of the whole, beside what a user would pick instead: every path in every round, in an order that
 * changes from round to round, medians over the rounds. It needs Linux, root, iproute2, iperf3 and ping.
 *
 *     npm run bench:throughput
 *     npm run bench:throughput -- --only kernel-vxlan,plain --metrics tcp1,rtt --rounds 5
 *
 * bench/README.md says how each figure is measured, and how the peers are installed.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { noNamespaces } from '../../test/gen/skip.ts';
import { PROBES } from './metrics/all.ts';
import { idleProcessors } from './metrics/cpu.ts';
import { iperf } from './metrics/iperf.ts';
import type { Probe, Trial } from './metrics/metric.ts';
import { tcpOptions } from './metrics/tcp.ts';
import { names, type Options, parseOptions, USAGE } from './options.ts';
import { allPaths, REFERENCE } from './paths/all.ts';
import { needs, type Path } from './paths/path.ts';
import { sleep } from './programs.ts';
import { Samples } from './results.ts';
import { interrupted, Stage } from './stage.ts';
import { svg } from './svg.ts';
import { figure, table } from './table.ts';

/** Processors that may be busy beforehand. With more, `cpu-per-gb` says little: who shares takes less. */
const QUIET = 0.2;
/** What could not be measured, in sentences. */
const failures: string[] = [];

function fail(what: string, error: unknown): void {
  if (interrupted()) return;
  failures.push(`${what}: ${error instanceof Error ? error.message : error}`);
  console.error(`  failed: ${failures.at(-1)}`);
}

/** The paths that were asked for and that this machine has. */
function available({ only, own }: Options): Path[] {
  const all = allPaths(own);
  const known = all.map(({ name }) => name);
  const wanted = only === null ? known : names('only', only.join(','), known);
  return all.filter((path) => {
    if (!wanted.includes(path.name)) return false;
    const missing = path.missing();
    if (missing !== null) console.error(`${path.name}: skipped, ${missing}`);
    return missing === null;
  });
}

/** The order of a round: each starts at another path, and every other one goes backwards. */
function order(paths: readonly Path[], round: number): Path[] {
  const at = round % paths.length;
  const turned = [...paths.slice(at), ...paths.slice(0, at)];
  return round % 2 === 0 ? turned : turned.reverse();
}

/** Lays a path on a stage of its own and measures all that is wanted. What fails leaves the rest standing. */
async function measure(
  path: Path,
  probes: readonly Probe[],
  options: Options,
  samples: Samples,
): Promise<void> {
  const stage = new Stage();
  try {
    const idle = options.metrics.has('cpu-per-gb') ? await idleProcessors() : 0;
    if (idle > QUIET) console.error(`  the machine is not quiet: ${idle.toFixed(1)} processors are busy`);
    await path.lay(stage);
    await stage.reach();
    if (probes.some(({ warm }) => warm)) await iperf(stage, 1, tcpOptions(1));
    const trial = { stage, seconds: options.seconds, idle };
    for (const probe of probes) await measureOne(path, probe, trial, options, samples);
  } catch (error) {
    fail(path.name, error);
  } finally {
    await stage.close();
  }
}

async function measureOne(
  { name }: Path,
  probe: Probe,
  trial: Trial,
  { metrics }: Options,
  samples: Samples,
): Promise<void> {
  try {
    await sleep(200); // what still is in queues has left them
    const found = await probe.measure(trial);
    for (const metric of probe.metrics) {
      const sample = found[metric];
      if (sample === undefined || !metrics.has(metric)) continue;
      samples.add(name, metric, sample);
      if (sample.value !== null) console.error(`  ${metric} ${figure(sample.value)}`);
    }
  } catch (error) {
    fail(`${name} ${probe.metrics.join(', ')}`, error);
  }
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

async function main(options: Options, paths: readonly Path[]): Promise<void> {
  const probes = PROBES.filter((probe) => probe.metrics.some((metric) => options.metrics.has(metric)));
  const samples = new Samples();
  for (let round = 0; round < options.rounds; round++) {
    for (const path of order(paths, round)) {
      console.error(`round ${round + 1} of ${options.rounds}, ${path.name}`);
      await measure(path, probes, options, samples);
    }
  }
  const results = samples.results(
    paths.map(({ name }) => name),
    options.metrics,
    REFERENCE,
  );
  const json = `${JSON.stringify(results, null, 2)}\n`;
  if (options.json === '-') process.stdout.write(json);
  else console.log(table(results));
  if (options.json !== null && options.json !== '-') write(options.json, json);
  if (options.svg !== null) write(options.svg, svg(results));
  for (const failure of failures) console.error(`failed: ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
}

function refuse(message: string): never {
  console.error(message);
  process.exit(2);
}

const missing = noNamespaces() ?? needs(['iperf3', 'ping'], 'apt-get install iperf3 iputils-ping');
if (missing !== null) refuse(missing);
let options: Options;
let paths: Path[];
try {
  options = parseOptions(process.argv.slice(2));
  paths = available(options);
} catch (error) {
  refuse(`${(error as Error).message}\n${USAGE}`);
}
await main(options, paths);
