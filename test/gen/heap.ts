/**
 * How many bytes of heap a piece of the packet path uses for each packet. Packets must use none; the tests
 * allow half a byte, for what the measurement itself leaves behind.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const RUNS = 40;
const TRIES = 5;

/**
 * Bytes of heap that `fn` uses for each packet, when it is asked to handle `packets` at once. Each try takes
 * the upper quartile of many short runs: runs into which a garbage collection falls look cheaper than they
 * are, and must not hide the others. The best try counts, since compiling and what else the machine does
 * allocates too.
 */
export function bytesPerPacket(fn: (packets: number) => void, packets = 2048): number {
  for (let i = 0; i < 200; i++) fn(packets);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < TRIES && best > 0; i++) best = Math.min(best, quartile(fn, packets) - own(packets));
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
