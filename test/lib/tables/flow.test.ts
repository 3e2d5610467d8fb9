import t from 'tap';
import { TCP, UDP } from '../../../codecs/protocol.ts';
import { NONE } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import {
  ALIAS,
  ANSWERED,
  ASKED,
  BEGUN,
  CLIENT_DONE,
  DONE,
  FlowTable,
  SIX,
} from '../../../lib/tables/flow.ts';
import { Published } from '../../../lib/tables/publish.ts';
import { seed } from '../../gen/seed.ts';

/** Addresses: a client's at 0, the endpoint's at 16. */
const v = new DataView(new ArrayBuffer(32));
const CLIENT = 0;
const OWN = 16;
const key = (place: number, own: number, protocol: number, client: number) =>
  [(place << 16) | own, (protocol << 24) | client] as const;
const link = (published: number, client: number) => (published << 16) | client;

t.test(`100,000 random operations do what they do to a Map, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const flows = new FlowTable({ capacity: 60, seed });
  const twin = new Map<string, { row: number; link: number }>();
  let wrong = 0;
  for (let i = 0; i < 100_000; i++) {
    const six = r.chance(0.5);
    const words = [r.below(3), r.below(2), r.below(4), r.below(2)];
    v.setInt32(CLIENT, words[0]);
    v.setInt32(CLIENT + 12, words[1]);
    v.setInt32(OWN, words[2]);
    v.setInt32(OWN + 12, words[3]);
    const [a, b] = key(r.below(3), r.below(3), TCP, r.below(3));
    const name = String([a, b, six, ...(six ? words : [words[0], words[2]])]);
    const known = twin.get(name);
    const row = flows.find(v, CLIENT, OWN, a, six ? b | SIX : b);
    if (row !== (known?.row ?? NONE)) wrong++;
    if (known !== undefined && flows.link(row) !== known.link) wrong++;
    const what = r.below(3);
    if (what === 0 && known === undefined) {
      // The same port, so that it has no alias.
      const to = link(r.below(65536), b & 0xffff);
      // All of one second, so that nothing makes room.
      const added = flows.add(to, ASKED, 1);
      const full = twin.size === 60 || flows.countPlace(a >>> 16) === 30;
      if (added === NONE && !full) wrong++;
      if (added !== NONE) twin.set(name, { row: added, link: to });
    } else if (what === 1 && known !== undefined) {
      flows.remove(row);
      twin.delete(name);
    }
    if (flows.size !== twin.size) wrong++;
  }
  t.equal(wrong, 0);
  t.same(
    [...flows.entries()].map(({ link }) => link | 0).sort(),
    [...twin.values()].map(({ link }) => link).sort(),
  );
  for (const place of [0, 1, 2]) flows.flushPlace(place);
  t.equal(flows.size, 0);
});

t.test('a flow lives as long as its protocol and what was seen of it ask', async (t) => {
  const lives = (protocol: number, ...seen: number[]) => {
    const flows = new FlowTable({ capacity: 4, seed });
    const [a, b] = key(1, 80, protocol, 5000);
    flows.find(v, CLIENT, OWN, a, b);
    const row = flows.add(link(8080, 5000), ASKED, 10);
    for (const flags of seen) flows.see(row, flags, 10);
    for (let second = 10; second < 10_000; second++) {
      flows.age(second * 1000);
      if (flows.size === 0) return second - 10;
    }
    return NONE;
  };
  t.equal(lives(UDP), 300);
  t.equal(lives(UDP, ANSWERED, ASKED), 300);
  t.equal(lives(TCP), 240, 'asked in vain');
  t.equal(lives(TCP, ANSWERED), 240, 'half open');
  t.equal(lives(TCP, ANSWERED, ASKED), 7440, 'established');
  t.equal(lives(TCP, ANSWERED, ASKED, ASKED | CLIENT_DONE), 240, 'closing');
  t.equal(lives(TCP, ANSWERED, ASKED, ANSWERED | DONE), 240, 'reset');
  t.equal(lives(TCP, ANSWERED, ASKED, ANSWERED | DONE, ASKED | BEGUN, ANSWERED, ASKED), 7440, 'begun anew');
  t.equal(lives(132, ANSWERED, ASKED), 7440);
  t.equal(lives(132, ANSWERED, ASKED, DONE), 240);
});

t.test('an alias comes and goes with its flow', async (t) => {
  const flows = new FlowTable({ capacity: 8, seed });
  const [a, b] = key(1, 80, UDP, 5000);
  flows.find(v, CLIENT, OWN, a, b);
  flows.add(link(80, 5000), ASKED, 0);
  const row = flows.addAliased(v, CLIENT, OWN, a, b, link(8080, 5000), 200);
  t.equal(flows.size, 3);
  const seen = flows.clientPort(row);
  t.ok(seen >= 0xc000);
  const alias = () => flows.find(v, CLIENT, OWN, (1 << 16) | 8080, b | ALIAS);
  t.equal(flows.link(alias()), seen);
  t.equal(flows.find(v, CLIENT, OWN, a, (b & ~0xffff) | seen), row);
  t.equal(flows.age(300_000), 1, 'the first is over');
  t.equal(flows.age(499_000), 0);
  t.equal(flows.age(500_000), 2);
  t.equal(alias(), NONE);
  flows.addAliased(v, CLIENT, OWN, a, b, link(8080, 5000), 500);
  t.equal(flows.flushPlace(2), 0);
  t.equal(flows.flushPlace(1), 2);
});

t.test('flows that came to nothing make room', async (t) => {
  const flows = new FlowTable({ capacity: 32, seed });
  const add = (client: number, second: number, place = 1) => {
    const [a, b] = key(place, 80, TCP, client);
    flows.find(v, CLIENT, OWN, a, b);
    return flows.add(link(8080, client), ASKED, second);
  };
  const rows = Array.from({ length: 16 }, (_, i) => add(i, 1));
  for (const row of rows.slice(1)) {
    flows.see(row, ANSWERED, 1);
    flows.see(row, ASKED, 1);
  }
  t.equal(add(100, 1), NONE, 'a place has half of the table at the most');
  t.not(add(100, 3), NONE, 'in place of the one that nobody answered');
  t.equal(add(101, 3), NONE);
  t.equal(flows.size, 16);
  t.not(add(1, 3, 2), NONE, 'another place has its own half');
  flows.see(rows[5], DONE, 3);
  t.not(add(102, 4), NONE, 'in place of one that has ended, or of 100');
  t.equal(flows.displaced, 2);
});

t.test(`what was met lately is what a search finds, or nothing, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const flows = new FlowTable({ capacity: 64, seed });
  let wrong = 0;
  let hits = 0;
  for (let i = 0; i < 50_000; i++) {
    for (let at = 0; at < 32; at += 4) v.setInt32(at, r.chance(0.3) ? 1 : 0);
    const kind = ((r.chance(0.5) ? 132 : UDP) << 24) | (r.chance(0.5) ? SIX : 0);
    const place = r.below(3);
    const [a, client] = [(place << 16) | (80 + r.below(2)), r.below(3)];
    const known = flows.find(v, CLIENT, OWN, a, kind | client);
    const published = link(8080 + r.below(2), client);
    const asked = flows.recallAsked(v, CLIENT, OWN, place, kind, published);
    const answered = flows.recallAnswered(v, CLIENT, OWN, a, kind | client);
    if (answered !== NONE && answered !== known) wrong++;
    if (asked !== NONE && (flows.link(asked) !== published || flows.clientPort(asked) !== client)) wrong++;
    if (asked !== NONE && asked === known) hits++;
    if (r.chance(0.3) && known !== NONE) flows.remove(known);
    else if (known !== NONE) flows.remember(known);
    else if (asked === NONE) {
      flows.find(v, CLIENT, OWN, a, kind | client);
      flows.add(published, ASKED, 1);
    }
  }
  t.equal(wrong, 0);
  t.ok(hits > 100);
});

t.test('what is published no longer is forgotten, and what still is stays', async (t) => {
  const flows = new FlowTable({ capacity: 64, seed });
  const add = (place: number, own: number, published: number, more = 0, protocol = TCP) => {
    const [a, b] = key(place, own, protocol, 5000);
    flows.find(v, CLIENT, OWN, a, b | more);
    return flows.add(more === ALIAS ? 0 : link(published, 5000), ASKED, 1);
  };
  add(1, 80, 8080);
  add(1, 81, 8081);
  add(1, 82, 82);
  add(1, 83, 83);
  add(1, 9000, 0, ALIAS);
  add(1, 8082, 0, ALIAS);
  add(1, 80, 8080, 0, UDP);
  add(2, 81, 8081);
  const [a, b] = key(1, 81, TCP, 5000);
  flows.addAliased(v, CLIENT, OWN, a, b, link(9081, 5000), 1);
  t.equal(flows.size, 10);
  const now = new Published([
    { protocol: TCP, published: 8080, port: 80 },
    { protocol: TCP, published: 8082, port: 82 },
  ]);
  t.equal(flows.keepPublished(1, now), 6);
  t.same([...flows.entries()].map(({ place, port, alias }) => `${place} ${port} ${alias}`).sort(), [
    '1 80 false',
    '1 8082 true',
    '1 82 false',
    '2 81 false',
  ]);
  t.notOk(now.equals(new Published([])));
  t.ok(
    now.equals(
      new Published([
        ...[{ protocol: TCP, published: 8082, port: 82 }],
        { protocol: TCP, published: 8080, port: 80 },
      ]),
    ),
  );
});

t.test('where a flood finds no room it is not sought again in that second', async (t) => {
  const flows = new FlowTable({ capacity: 1024, seed });
  const add = (client: number, second: number) => {
    const [a, b] = key(1, 80, UDP, client);
    flows.find(v, CLIENT, OWN, a, b);
    return flows.add(link(8080, client), ASKED, second);
  };
  let refused = 0;
  for (let i = 0; i < 5000; i++) if (add(i, 1) === NONE) refused++;
  t.equal(refused, 5000 - 512);
  refused = 0;
  for (let i = 5000; i < 10_000; i++) if (add(i, 3) === NONE) refused++;
  t.equal(refused, 5000 - 512, 'all of them make room, once');
  t.equal(flows.displaced, 512);
  t.not(add(20_000, 4), NONE);
});

t.test('options out of range are refused', async (t) => {
  for (const capacity of [0, 1.5, 2 ** 22 + 1]) {
    t.throws(() => new FlowTable({ capacity, seed }), {
      message: /"capacity" expected an integer 1..4194304/,
    });
  }
  t.throws(() => new FlowTable({ capacity: 1, seed: 0.5 }), {
    message: /"seed" expected an integer, got 0.5/,
  });
  t.ok(new FlowTable({ capacity: 1, seed }).bytes > 64);
});
