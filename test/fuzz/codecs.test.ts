import t from 'tap';
import { OK } from '../../codecs/fault.ts';
import { KINDS } from '../../codecs/layers.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { seed } from '../gen/seed.ts';
import { ALL, type Reader } from './codec-readers.ts';
import { fuzzCodecs } from './codecs.ts';

t.test(`100,000 mutated frames, seed ${seed}`, async (t) => {
  const { frames, findings, layers, whole } = fuzzCodecs(100_000, seed);
  t.same(findings, []);
  t.equal(frames, 100_000);
  const missed = KINDS.filter((name, kind) => kind > 0 && layers[name] < 50);
  t.same(missed, [], 'every kind of header was read many times');
  t.ok(whole > 10_000 && whole < 95_000, `${whole} frames were without fault, the others not`);
  t.comment(Object.entries(layers).flat().join(' '));
});

t.test('all functions that read a header are found', async (t) => {
  const counts = Object.fromEntries(
    ALL.map(({ name, getters, walks }) => [name, getters.length + walks.length]),
  );
  t.comment(JSON.stringify(counts));
  for (const { name, getters } of ALL) t.ok(getters.length > 0, name);
  t.ok(ALL.reduce((sum, { getters, walks }) => sum + getters.length + walks.length, 0) > 110);
});

t.test('equal seeds do the same', async (t) => {
  t.same(fuzzCodecs(3000, 5), fuzzCodecs(3000, 5));
});

// Mistakes that a codec could have: the rules must find each.
const base: Reader = { name: 'mistake', check: vxlan.check, getters: [], walks: [], cold: () => '' };
for (const [what, mistake, expected] of [
  ['reads the byte behind', { walks: [(v, _at, end) => v.getUint8(end)] }, /reads other bytes/],
  [
    'reads the byte before',
    { getters: [(v, at) => v.getUint8(at - 64)] },
    /reads other bytes|outside the bounds/,
  ],
  ['throws', { getters: [(v) => v.getUint8(1e6)] }, /outside the bounds/],
  ['judges by what is behind', { check: (v, _at, end) => (v.getUint8(end) & 1) + OK }, /check of mistake/],
  ['shows bytes that are not its own', { cold: (v, at) => v.getUint8(at - 64) }, /shows other bytes|outside/],
] as [string, Partial<Reader>, RegExp][]) {
  t.test(`a codec that ${what} is found`, async (t) => {
    const { frames, findings } = fuzzCodecs(20_000, 1, [{ ...base, ...mistake }]);
    t.equal(findings.length, 3, `after ${frames} frames`);
    t.match(findings[0], expected);
  });
}
