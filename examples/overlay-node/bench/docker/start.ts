/** How long `docker run --rm` of a container that ends at once takes, on one network after the other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, IMAGE } from './engine.ts';
import { median } from './median.ts';

/** Medians in ms, by network. `pause`: ms before each. */
export async function measureStarts(
  engine: Engine,
  networks: readonly string[],
  rounds: number,
  pause: number,
): Promise<Record<string, number>> {
  const times = new Map<string, number[]>(networks.map((network) => [network, []]));
  // The first of each is not counted: bridges and sandboxes are made then.
  for (let round = -1; round < rounds; round++) {
    for (const network of networks) {
      await sleep(pause);
      const begin = performance.now();
      await engine.docker('run', '--rm', '--network', network, IMAGE, 'true');
      if (round >= 0) times.get(network)!.push(performance.now() - begin);
    }
  }
  return Object.fromEntries([...times].map(([network, all]) => [network, median(all)]));
}
