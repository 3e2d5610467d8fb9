import t from 'tap';
import { seed } from '../gen/seed.ts';
import { fuzzOverlay } from './overlay.ts';

const COUNT = 60_000;

t.test(`${COUNT} mutated frames through overlays of every kind, seed ${seed}`, async (t) => {
  const { frames, delivered, drops, keepalives, findings } = await fuzzOverlay(COUNT, seed);
  t.same(findings, []);
  t.equal(frames, COUNT);
  t.ok(delivered > COUNT / 2, `${delivered} frames came out`);
  t.ok(keepalives > 0, `${keepalives} keepalives`);
  const met = [
    ...['malformed', 'too-big', 'no-destination', 'same-port', 'split-horizon', 'group-source', 'fdb-frozen'],
    ...['spoofed-mac', 'spoofed-address', 'not-ip', 'not-for-us', 'outer-fragment', 'outer-checksum'],
    ...['zero-checksum', 'not-vxlan', 'reserved-bits', 'unknown-vni', 'unknown-peer', 'inner-vlan', 'ecn'],
    ...['clear-text', 'no-sa', 'unknown-spi', 'bad-icv', 'replayed'],
  ];
  t.same(
    met.filter((reason) => !(reason in drops)),
    [],
    'every guard was met',
  );
});
