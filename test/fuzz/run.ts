/**
 * The long run: mutated frames through every codec and through whole overlays, half of them each, in two
 * threads. It goes slice by slice, each with a seed of its own, so that a finding is repeated by its slice
 * alone. It ends with a summary, and with exit code 1 where anything was found.
 *
 *     npm run fuzz [-- --count 10000000 --seed 1 --only codecs|overlay]
 */
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { fuzzCodecs } from './codecs.ts';
import { fuzzOverlay } from './overlay.ts';

type Part = 'codecs' | 'overlay';

interface Job {
  readonly part: Part;
  readonly count: number;
  readonly seed: number;
}

/** What a thread tells after each slice. */
interface Told {
  readonly frames: number;
  readonly findings: readonly string[];
}

const SLICE = 250_000;
/** A slice that takes longer than this hangs, in ms: it takes some seconds. */
const HANGS = 300_000;

/** In a thread: carries a job out, slice by slice, until something is found. */
async function work({ part, count, seed }: Job): Promise<void> {
  for (let done = 0, slice = 0; done < count; done += SLICE, slice++) {
    const n = Math.min(SLICE, count - done);
    const outcome = part === 'codecs' ? fuzzCodecs(n, seed + slice) : await fuzzOverlay(n, seed + slice);
    const told: Told = { frames: outcome.frames, findings: outcome.findings };
    parentPort!.postMessage(told);
    if (told.findings.length > 0) return;
  }
}

/** Runs a job in a thread of its own and resolves to what it found. */
function watch(job: Job, progress: (frames: number) => void): Promise<readonly string[]> {
  const worker = new Worker(new URL(import.meta.url), { workerData: job });
  let frames = 0;
  let findings: readonly string[] = [];
  const end = (...found: string[]) => {
    findings = [`${again(job, frames)} finds:`, ...found];
    void worker.terminate();
  };
  const hangs = () => end(`it does not end within ${HANGS} ms`);
  let timer = setTimeout(hangs, HANGS);
  worker.on('message', (told: Told) => {
    clearTimeout(timer);
    timer = setTimeout(hangs, HANGS);
    if (told.findings.length > 0) end(...told.findings);
    frames += told.frames;
    progress(told.frames);
  });
  worker.on('error', (error) => end(String(error.stack)));
  return new Promise((resolve) => {
    worker.on('exit', () => {
      clearTimeout(timer);
      resolve(findings);
    });
  });
}

/** The command that repeats the slice after so many frames. */
function again({ part, seed, count }: Job, frames: number): string {
  const slice = Math.floor(frames / SLICE);
  const n = Math.min(SLICE, count - slice * SLICE);
  return `npm run fuzz -- --only ${part} --seed ${seed + slice} --count ${n}`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '10000000' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      only: { type: 'string' },
    },
  });
  const seed = integer('seed', values.seed);
  const parts = (['codecs', 'overlay'] as const).filter((part) => (values.only ?? part) === part);
  if (parts.length === 0) throw new TypeError(`"only" expected codecs or overlay, got "${values.only}"`);
  const count = Math.ceil(integer('count', values.count) / parts.length);
  console.log(`${count} frames through ${parts.join(', and as many through ')}, seed ${seed}`);

  const start = performance.now();
  const totals: Record<Part, number> = { codecs: 0, overlay: 0 };
  const sum = () => {
    const seconds = (performance.now() - start) / 1000;
    const rate = Math.round((totals.codecs + totals.overlay) / seconds);
    const each = parts.map((part) => `${part} ${totals[part]}`).join(', ');
    return `${seconds.toFixed(0)} s: ${each} (${rate} frames a second)`;
  };
  const jobs = parts.map((part) =>
    watch({ part, count, seed }, (frames) => {
      totals[part] += frames;
      console.log(sum());
    }),
  );
  const findings = (await Promise.all(jobs)).flat();
  console.log(`${sum()}, ${findings.length === 0 ? 'nothing found' : 'findings:'}`);
  for (const finding of findings) console.log(finding);
  process.exitCode = findings.length === 0 ? 0 : 1;
}

function integer(field: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new RangeError(`"${field}" expected an integer of at least 0, got "${text}"`);
}

if (isMainThread) await main();
else await work(workerData as Job);
