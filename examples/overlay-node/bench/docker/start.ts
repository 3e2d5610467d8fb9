/** How long `docker run --rm` of a container that ends at once takes, on one network after the other. */
import { type Engine, IMAGE } from './engine.ts';
import { median } from './median.ts';

/** Medians in ms, by network. */
export async function measureStarts(
  engine: Engine,
  networks: readonly string[],
  rounds: number,
): Promise<Record<string, number>> {
  const times = new Map<string, number[]>(networks.map((network) => [network, []]));
  // The first of each is not counted: bridges and sandboxes are made then.
  for (let round = -1; round < rounds; round++) {
    for (const network of networks) {
      const begin = performance.now();
      await engine.docker('run', '--rm', '--network', network, IMAGE, 'true');
      if (round >= 0) times.get(network)!.push(performance.now() - begin);
    }
  }
  return Object.fromEntries([...times].map(([network, all]) => [network, median(all)]));
}
