/**
 * Runs the benches of this folder.
 *
 *     npm run bench                            a table
 *     npm run bench -- --only '^fdb' --quick   those whose names match, for a tenth of the time
 *     npm run bench -- --json                  one array of results
 */
import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { bytesPerPacket } from '../test/gen/heap.ts';
import { type Bench, Missing, type Result } from './bench.ts';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
});

/** What calls return ends here. */
let sink = 0;

/** The benches of every file in this folder that has some, by name. */
async function load(): Promise<Bench[]> {
  const files = await readdir(new URL('.', import.meta.url));
  const found: Bench[] = [];
  for (const file of files.sort()) {
    const subject = /^[\w-]+\.[jt]s$/.test(file) && !['run', 'bench'].includes(basename(file).slice(0, -3));
    if (!subject) continue;
    const { benches = [] } = (await import(new URL(file, import.meta.url).href)) as { benches?: Bench[] };
    found.push(...benches);
  }
  const only = new RegExp(options.only);
  return found.filter(({ name }) => only.test(name));
}

async function measure({ name, ops, prepare }: Bench): Promise<Result> {
  const call = await prepare();
  if (typeof call === 'number') return result(name, call, 0);
  const fn = () => {
    sink += call();
  };
  const limits = options.quick ? { minTime: 0.01, maxTime: 0.1 } : { minTime: 0.02, maxTime: 1 };
  const benchmark = new Benchmark(name, fn, { minSamples: 10, ...limits }).run();
  if (benchmark.error !== undefined) throw benchmark.error;
  const nsPerOp = (Math.min(...benchmark.stats.sample) * 1e9) / ops;
  // Slow operations take fewer for the heap, so that each of its many runs takes two milliseconds at the most.
  const calls = Math.ceil(Math.min(2048, 2e6 / nsPerOp) / ops);
  const bytesPerOp = bytesPerPacket(() => {
    for (let i = 0; i < calls; i++) fn();
  }, calls * ops);
  return result(name, nsPerOp, bytesPerOp);
}

function result(name: string, nsPerOp: number, bytesPerOp: number): Result {
  return {
    name,
    nsPerOp: round(nsPerOp),
    opsPerSecond: Math.round(1e9 / nsPerOp),
    bytesPerOp: round(bytesPerOp),
  };
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}

function line({ name, nsPerOp, opsPerSecond, bytesPerOp }: Result): string {
  const million = (opsPerSecond / 1e6).toPrecision(3);
  // Cryptography is named by the bytes that one operation takes.
  const bytes = Number(/^(?:seal|open|esp-seal|openssl-speed)\..*\.(\d+)$/.exec(name)?.[1] ?? 0);
  const rate = bytes === 0 ? '' : ` ${((bytes * 8) / nsPerOp).toPrecision(3)} Gbit/s`;
  const heap = `${bytesPerOp} bytes`;
  return `${name.padEnd(36)} ${`${nsPerOp} ns`.padStart(10)} ${million.padStart(8)} M/s ${heap}${rate}`;
}

const results: Result[] = [];
for (const bench of await load()) {
  try {
    const result = await measure(bench);
    results.push(result);
    if (!options.json) console.log(line(result));
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    console.error(`${bench.name}: left out, ${error.message}`);
  }
}
if (options.json) console.log(JSON.stringify(results, null, 2));
if (Number.isNaN(sink)) console.error('a bench returned no number');
