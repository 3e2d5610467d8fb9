/** How many bytes of heap a piece of the packet path uses for each packet. Packets must use none. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes a packet that are allowed, for what the measurement itself leaves behind. */
export const MOST = 0.5;

const RUNS = 40;
const TRIES = 50;

/**
 * Bytes of heap that `fn` uses for each packet, when it is asked to handle `packets` at once. Each try takes
 * the upper quartile of many short runs: runs into which a garbage collection falls look cheaper than they
 * are, and must not hide the others. The best try counts, and the first below `MOST` ends them: code that V8 has not
 * optimised yet allocates numbers, and on a busy machine it takes its time.
 */
export function bytesPerPacket(fn: (packets: number) => void, packets = 2048, tries = TRIES): number {
  for (let i = 0; i < 200; i++) fn(packets);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < tries && best >= MOST * packets; i++)
    best = Math.min(best, quartile(fn, packets) - own(packets));
  return Math.max(best, 0) / packets;
}

/** What a run that does nothing seems to use: the measurement's own objects. */
function own(packets: number): number {
  return quartile(() => {}, packets);
}

function quartile(fn: (packets: number) => void, packets: number): number {
  const used: number[] = new Array(RUNS).fill(0);
  collect();
  for (let i = 0; i < RUNS; i++) {
    const before = process.memoryUsage().heapUsed;
    fn(packets);
    used[i] = Math.abs(process.memoryUsage().heapUsed - before);
  }
  return used.sort((a, b) => a - b)[(RUNS * 3) / 4];
}
