/** A cluster of many nodes in one process. How long it takes is said, not judged: who is told of what is. */
import t from 'tap';
import { seed } from '../../../../test/gen/seed.ts';
import { simulate } from '../../bench/control-simulation.ts';

t.test('many nodes and endpoints', async (t) => {
  const size = { nodes: 100, networks: 40, endpoints: 10_000, hosted: 3, changes: 40 };
  const figures = await simulate({ ...size, seed });
  t.comment(JSON.stringify({ ...size, ...figures }));
  t.same(
    figures.wrong,
    [],
    'all views are what is attached, nobody hears of others, no address is given twice',
  );
  // Each of the others' records, each network, and what was attached, stopped and moved in its own networks.
  const theirs = (size.endpoints / size.networks) * size.hosted * 2;
  t.ok(figures.events.mean <= 2 * size.nodes + size.networks + theirs, 'what a node is told of in all');
});
