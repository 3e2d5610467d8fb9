import t from 'tap';
import { ICMP, SCTP, TCP, UDP } from '../../../codecs/protocol.ts';
import { NONE } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { type Publication, Published } from '../../../lib/tables/publish.ts';
import { seed } from '../../gen/seed.ts';

t.test('a port leads to the one behind it', async (t) => {
  const published = new Published([
    { protocol: UDP, published: 5353, port: 53 },
    { protocol: TCP, published: 8080, port: 80 },
    { protocol: TCP, published: 8000, port: 80 },
    { protocol: TCP, published: 443, port: 443 },
    { protocol: SCTP, published: 65535, port: 1 },
  ]);
  t.equal(published.behind(TCP, 8080), 80);
  t.equal(published.behind(TCP, 8000), 80);
  t.equal(published.behind(UDP, 5353), 53);
  t.equal(published.behind(SCTP, 65535), 1);
  for (const port of [0, 79, 80, 443, 7999, 8001, 8079, 8081, 65535])
    t.equal(published.behind(TCP, port), NONE);
  t.equal(published.behind(UDP, 8080), NONE);
  t.same(
    [80, 443, 8080].map((port) => published.isBehind(TCP, port)),
    [true, false, false],
  );
  t.same(
    [TCP, UDP, SCTP, ICMP, 58].map((p) => published.concerns(p)),
    [true, true, true, false, false],
  );
  const none = new Published([{ protocol: TCP, published: 443, port: 443 }]);
  t.equal(none.concerns(TCP), false, 'ports that are published as themselves concern nobody');
});

t.test(`random ranges do what they do in a Map, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  let wrong = 0;
  for (let round = 0; round < 50; round++) {
    const outside = new Map<string, number>();
    const inside = new Set<string>();
    const list: Publication[] = [];
    for (let n = r.below(12); n > 0; n--) {
      const protocol = [TCP, UDP, SCTP][r.below(3)];
      const [published, port, count] = [1 + r.below(200), 1 + r.below(200), 1 + r.below(20)];
      const keys = Array.from({ length: count }, (_, i) => `${protocol} ${published + i}`);
      if (keys.some((key) => outside.has(key))) continue;
      list.push({ protocol, published, port, count });
      for (const [i, key] of keys.entries()) outside.set(key, port === published ? NONE : port + i);
      if (port !== published) for (let i = 0; i < count; i++) inside.add(`${protocol} ${port + i}`);
    }
    const table = new Published(list);
    for (const protocol of [TCP, UDP, SCTP]) {
      for (let port = 0; port < 240; port++) {
        const key = `${protocol} ${port}`;
        if (table.behind(protocol, port) !== (outside.get(key) ?? NONE)) wrong++;
        if (table.isBehind(protocol, port) !== inside.has(key)) wrong++;
      }
    }
  }
  t.equal(wrong, 0);
});

t.test('what cannot be is refused', async (t) => {
  const refused = (publications: Publication[], message: RegExp) =>
    t.throws(() => new Published(publications), { name: 'RangeError', message });
  refused([{ protocol: ICMP, published: 1, port: 1 }], /"protocol" expected 6 \(TCP\), 17 \(UDP\) or 132/);
  refused([{ protocol: TCP, published: 0, port: 1 }], /"published" expected a port 1..65535, got 0/);
  refused([{ protocol: TCP, published: 1, port: 65536 }], /"port" expected a port 1..65535, got 65536/);
  refused(
    [{ protocol: TCP, published: 65535, port: 1, count: 2 }],
    /"count" expected an integer 1..1, got 2/,
  );
  const two = { protocol: TCP, published: 9, port: 2 };
  refused([{ protocol: TCP, published: 5, port: 1, count: 5 }, two], /each port once, got 9 twice/);
  t.ok(new Published([{ protocol: UDP, published: 5, port: 1, count: 5 }, two]));
});
