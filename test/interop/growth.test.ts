/**
 * The memory of daemons does not grow: `MINUTES=10 npx tap --timeout 3600 test/interop/growth.test.ts` has the example
 * carry as much as it can for so many minutes, in clear and then in ESP, and looks at both daemons every 30 s. It is part
 * of a release, not of every run.
 */
import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { residentMegabytes } from '../../bench/throughput/metrics/memory.ts';
import { type Program, sleep } from '../../bench/throughput/programs.ts';
import { skip } from '../gen/skip.ts';
import { noExample, Pair, type Way } from './tap-overlay.ts';

const MINUTES = Number(process.env.MINUTES ?? 0);
const EVERY = 30_000;
/** How much more than after the first half minute is not growth. */
const TOLERANCE = 1.05;

const WAYS: readonly Way[] = [
  { name: 'plain', encrypted: false, options: [], kind: 'udp-native' },
  { name: 'ESP in UDP', encrypted: true, options: [], kind: 'udp-native' },
];

const resident = ({ pid }: Program) => residentMegabytes(readFileSync(`/proc/${pid}/status`, 'utf8'));

async function grows(t: Test, way: Way): Promise<void> {
  const pair = new Pair(t);
  await pair.serve();
  const { daemons } = await pair.overlay(way, 4, 1500);
  t.ok(await pair.reach());
  const samples = daemons.map((): number[] => []);
  let loaded = true;
  const load = pair.load(MINUTES * 60).finally(() => {
    loaded = false;
  });
  for (let i = 0; i < MINUTES * 2 && loaded; i++) {
    await Promise.race([sleep(EVERY), load]);
    daemons.forEach((daemon, n) => void samples[n].push(resident(daemon)));
    t.comment(`${(i + 1) / 2} min: ${samples.map((list) => `${list.at(-1)!.toFixed(1)} MB`).join(', ')}`);
  }
  const bytes = await load;
  t.comment(`${((bytes * 8) / (MINUTES * 60e9)).toFixed(2)} Gbit/s, both ways together`);
  for (const list of samples) {
    t.ok(list.at(-1)! <= list[0] * TOLERANCE, `from ${list[0].toFixed(1)} to ${list.at(-1)!.toFixed(1)} MB`);
  }
  t.same((await pair.stop(daemons)).codes, [0, 0]);
}

const reason = MINUTES > 0 ? noExample() : null;
if (reason !== null) skip(t, reason);
else if (MINUTES > 0) {
  for (const way of WAYS) t.test(way.name, { timeout: MINUTES * 60_000 + 120_000 }, (t) => grows(t, way));
} else {
  const why = 'a run of MINUTES, which is not set';
  t.pass(why, { skip: why });
}
