/** What can be said on the command line. */
import { parseArgs } from 'node:util';
import { METRICS, type Metric } from './metrics/metric.ts';

export const USAGE = `usage: npm run bench:throughput -- [options]
  --rounds N        how often every path is measured, 3
  --seconds N       how long one measurement runs, 5
  --only PATH,...   some of the paths
  --metrics M,...   some of ${METRICS.join(', ')}
  --json [FILE]     the results as JSON into FILE, or instead of the table
  --svg [FILE]      a picture of bars, into bench/results/throughput.svg
  --busy-poll N     microseconds that the project's own daemons poll busily, 0: for round trips
  --node-args ARGS  arguments for node where it runs the project's own paths, such as --cpu-prof`;

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  /** Names of paths, or null for all. */
  readonly only: readonly string[] | null;
  readonly metrics: ReadonlySet<Metric>;
  /** A file, `-` for the standard output, or null. */
  readonly json: string | null;
  readonly svg: string | null;
  readonly own: OwnOptions;
}

/** How the project's own daemons are started. */
export interface OwnOptions {
  /** In microseconds. */
  readonly busyPoll: number;
  readonly nodeArgs: readonly string[];
}

/** Reads the arguments. Throws a TypeError or RangeError that says what is wrong. */
export function parseOptions(argv: readonly string[]): Options {
  const defaults = { '--json': '-', '--svg': 'bench/results/throughput.svg' };
  const { values } = parseArgs({
    args: withDefaults(argv, defaults),
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '5' },
      only: { type: 'string' },
      metrics: { type: 'string', default: METRICS.join(',') },
      json: { type: 'string' },
      svg: { type: 'string' },
      'busy-poll': { type: 'string', default: '0' },
      'node-args': { type: 'string', default: '' },
    },
  });
  return {
    rounds: integer('rounds', values.rounds, 1, 1000),
    seconds: integer('seconds', values.seconds, 1, 3600),
    only: values.only?.split(',') ?? null,
    metrics: new Set(names('metrics', values.metrics, METRICS)),
    json: values.json ?? null,
    svg: values.svg ?? null,
    own: {
      busyPoll: integer('busy-poll', values['busy-poll'], 0, 1_000_000),
      nodeArgs: values['node-args'].split(' ').filter(Boolean),
    },
  };
}

/** Names separated by commas, each of which has to be one of `known`. */
export function names<T extends string>(option: string, text: string, known: readonly T[]): T[] {
  return text.split(',').map((name) => {
    const found = known.find((one) => one === name);
    if (found === undefined)
      throw new RangeError(`"${option}" expected some of ${known.join(',')}, got ${name}`);
    return found;
  });
}

/** Gives options that may stand alone the value that they then have, and joins those that start with a dash. */
function withDefaults(argv: readonly string[], defaults: Readonly<Record<string, string>>): string[] {
  const args: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const [name, next] = [argv[i], argv[i + 1]];
    if (name === '--node-args' && next !== undefined) args.push(`${name}=${argv[++i]}`);
    else if (name in defaults && (next === undefined || next.startsWith('--'))) {
      args.push(`${name}=${defaults[name]}`);
    } else args.push(name);
  }
  return args;
}

function integer(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(`"${name}" expected an integer ${least}..${most}, got ${text}`);
}
