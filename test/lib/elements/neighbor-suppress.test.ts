import t from 'tap';
import * as arp from '../../../codecs/arp.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import { OK } from '../../../codecs/fault.ts';
import * as ip from '../../../codecs/ip.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as mac from '../../../codecs/mac.ts';
import * as nd from '../../../codecs/nd.ts';
import { GSO_NONE, NONE, type Packet, remote } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { NeighborSuppress } from '../../../lib/elements/neighbor-suppress.ts';
import { NeighborTable } from '../../../lib/tables/neighbor.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import { ASKER as A, arpFrame, type Ns, nsFrame, slla } from './questions.ts';
import { packetOf, pushAll, randomFrame } from './tunnel.ts';

const DOMAIN = 3;
const PORT = 17;
/** Who has 10.0.0.2 and fd00::2. */
const B = '02:42:fe:00:00:0b';
/** The router, 10.0.0.1 and fd00::1. */
const R = '02:42:ff:00:00:01';

function setup() {
  const context = testContext();
  const neighbors = new NeighborTable({ capacity: 16, seed });
  const known = { '10.0.0.2': B, 'fd00::2': B, '10.0.0.1': R, 'fd00::1': R };
  for (const [address, owner] of Object.entries(known)) {
    neighbors.set(DOMAIN, ip.parse(address), { ...mac.parse(owner), router: owner === R });
  }
  neighbors.set(DOMAIN + 1, ip.parse('10.0.0.9'), mac.parse(B));
  const suppress = new NeighborSuppress(context, 'suppress', { domain: DOMAIN, neighbors });
  const out = new Collector();
  const reply = new Collector();
  suppress.connect('out', out);
  suppress.connect('reply', reply);
  /** Pushes a frame; gives the answer, or null where it passed as it was. */
  const ask = (bytes: Uint8Array, change?: (p: Packet) => void): Packet | null => {
    const p = packetOf(context.pool, bytes);
    p.port = PORT;
    change?.(p);
    const before = p.frame().slice();
    pushAll(suppress, [p]);
    if (out.packets.length === 0) return reply.packets[0];
    if (Buffer.compare(p.frame(), before) !== 0) throw new Error('a frame that passed was changed');
    return null;
  };
  const release = () => {
    out.release();
    reply.release();
  };
  /** What became of a question. */
  const fate = (bytes: Uint8Array, change?: (p: Packet) => void): string => {
    const answered = ask(bytes, change) !== null;
    release();
    if (context.pool.used > 0) return 'leaked';
    return answered ? 'answered' : 'passed';
  };
  const counters = () => context.counters.read(suppress.name);
  return { context, suppress, out, reply, ask, fate, release, counters };
}

t.test('an ARP request for a known neighbor is answered', async (t) => {
  const { context, ask, release, counters } = setup();
  const p = ask(arpFrame('10.0.0.2'))!;
  t.same([p.out, p.port, p.gsoType], [PORT, NONE, GSO_NONE]);
  t.same(ethernet.decode(p.view, p.start), { dst: A, src: B, etherType: 0x0806 });
  t.equal(arp.check(p.view, p.start + 14, p.end), OK);
  t.same(arp.decode(p.view, p.start + 14), {
    op: arp.REPLY,
    sha: B,
    spa: '10.0.0.2',
    tha: A,
    tpa: '10.0.0.5',
  });
  t.equal(p.length, 60);
  release();

  const probed = ask(arpFrame('10.0.0.2', { spa: '0.0.0.0' }))!;
  t.same(
    arp.decode(probed.view, probed.start + 14),
    { op: arp.REPLY, sha: B, spa: '10.0.0.2', tha: A, tpa: '0.0.0.0' },
    'a probe finds the owner',
  );
  release();
  t.same(counters(), { answered4: 2 });
  t.equal(context.pool.used, 0);
});

t.test('other ARP passes on', async (t) => {
  const { fate, counters } = setup();
  t.equal(fate(arpFrame('10.0.0.3')), 'passed', 'not known');
  t.equal(fate(arpFrame('10.0.0.9')), 'passed', 'known in another domain');
  t.same(counters(), { missed: 2 });
  t.equal(fate(arpFrame('10.0.0.2', { sha: B })), 'passed', 'the owner asks');
  t.equal(fate(arpFrame('10.0.0.2', { sha: B, spa: '0.0.0.0' })), 'passed', 'the owner probes');
  t.equal(fate(arpFrame('10.0.0.2', { spa: '10.0.0.2' })), 'passed', 'gratuitous');
  t.equal(fate(arpFrame('10.0.0.2', { op: arp.REPLY })), 'passed', 'a reply');
  t.equal(fate(arpFrame('10.0.0.2', { op: 3 })), 'passed', 'another operation');
  t.equal(fate(arpFrame('10.0.0.2', { dst: B })), 'passed', 'unicast');
  t.equal(fate(arpFrame('10.0.0.2', { sha: '03:00:00:00:00:01' })), 'passed', 'a group as sender');
  t.equal(fate(arpFrame('10.0.0.2').slice(0, 14 + 27)), 'passed', 'cut');
  const other = arpFrame('10.0.0.2');
  other[15] = 6;
  t.equal(fate(other), 'passed', 'other hardware');
  const ask = arpFrame('10.0.0.2');
  const tagged = new Uint8Array([...ask.slice(0, 12), 0x81, 0, 0, 1, ...ask.slice(12)]);
  t.equal(fate(tagged), 'passed', 'tagged');
  t.equal(
    fate(ask, (p) => {
      p.port = remote(1);
    }),
    'passed',
    'from a remote endpoint',
  );
  t.equal(
    fate(ask, (p) => {
      p.port = NONE;
    }),
    'passed',
    'from an element here',
  );
  t.equal(fate(ask.slice(0, 13)), 'passed', 'no Ethernet');
  t.same(counters(), { missed: 2 });
});

/** Everything in an advertisement that counts. */
function advertisement(p: Packet) {
  const v = p.view;
  const at = p.start;
  const end = ipv6.payloadEnd(v, at + 14);
  const { trafficClass, flowLabel, hopLimit, nextHeader, src, dst } = ipv6.decode(v, at + 14);
  const { type, code, flags, target, options } = nd.decode(v, at + 54, end);
  const valid = ipv6.check(v, at + 14, p.end) === OK && nd.check(v, at + 54, end) === OK && end === p.end;
  return {
    link: ethernet.decode(v, at),
    ip: [trafficClass, flowLabel, hopLimit, nextHeader, src, dst],
    nd: [type, code, flags, target],
    options,
    valid: valid && nd.valid(v, at + 14, at + 54, end),
  };
}

t.test('a solicitation for a known neighbor is answered', async (t) => {
  const { context, ask, release, counters } = setup();
  const p = ask(nsFrame('fd00::2'))!;
  t.same([p.out, p.port], [PORT, NONE]);
  t.same(advertisement(p), {
    link: { dst: A, src: B, etherType: 0x86dd },
    ip: [0, 0, 255, 58, 'fd00::2', 'fd00::5'],
    nd: [136, 0, nd.SOLICITED, 'fd00::2'],
    options: [{ type: 2, value: B.replaceAll(':', '') }],
    valid: true,
  });
  release();
  const router = ask(nsFrame('fd00::1'))!;
  t.same(advertisement(router).nd, [136, 0, nd.SOLICITED | nd.ROUTER, 'fd00::1'], 'a router');
  release();
  t.same(counters(), { answered6: 2 });
  t.equal(context.pool.used, 0);
});

t.test('duplicate address detection finds the owner, and not the owner itself', async (t) => {
  const { context, ask, fate, release } = setup();
  for (const options of [[], [{ type: 14, value: '010203040506' }]]) {
    const p = ask(nsFrame('fd00::2', { src: '::', options }))!;
    t.same(advertisement(p), {
      link: { dst: '33:33:00:00:00:01', src: B, etherType: 0x86dd },
      ip: [0, 0, 255, 58, 'fd00::2', 'ff02::1'],
      nd: [136, 0, 0, 'fd00::2'],
      options: [{ type: 2, value: B.replaceAll(':', '') }],
      valid: true,
    });
    release();
    t.equal(fate(nsFrame('fd00::2', { src: '::', linkSrc: B, options })), 'passed');
  }
  t.equal(context.pool.used, 0);
});

t.test('the option says who asks, where there is one', async (t) => {
  const { ask, fate, release } = setup();
  const to = (given: Ns) => {
    const p = ask(nsFrame('fd00::2', given));
    const dst = p && ethernet.decode(p.view, p.start).dst;
    release();
    return dst;
  };
  const other = '02:00:00:00:00:99';
  t.equal(to({ options: [slla(other)] }), other);
  t.equal(to({ options: [] }), A);
  t.equal(to({ options: [{ type: 14, value: '010203040506' }, slla(other)] }), other);
  t.equal(fate(nsFrame('fd00::2', { options: [slla(B)] })), 'passed', 'the owner');
  t.equal(fate(nsFrame('fd00::2', { options: [slla('03:00:00:00:00:01')] })), 'passed', 'a group');
});

t.test('other neighbor discovery passes on', async (t) => {
  const { fate, counters } = setup();
  t.equal(fate(nsFrame('fd00::3')), 'passed', 'not known');
  t.same(counters(), { missed: 1 });
  const on = (text: string, given: Ns, target = 'fd00::2') =>
    t.equal(fate(nsFrame(target, given)), 'passed', text);
  on('unicast', { dst: 'fd00::2', linkDst: B });
  on('unicast to a group of Ethernet', { dst: 'fd00::2' });
  on('to all nodes', { dst: 'ff02::1' });
  on('a hop limit that a router has touched', { hopLimit: 254 });
  on('a code', { code: 1 });
  on('an advertisement', { type: 136 });
  on('an echo request', { type: 128 });
  on('a group as target', {}, 'ff02::2');
  on('detection with a link-layer option', { src: '::', options: [slla(A)] });
  on('an option without a length', { options: [{ type: 1, value: '' }] });
  const wrong = nsFrame('fd00::2');
  wrong[57] ^= 1;
  t.equal(fate(wrong), 'passed', 'a wrong checksum');
  const good = nsFrame('fd00::2');
  for (let length = 14; length < good.length; length++) {
    if (fate(good.slice(0, length)) !== 'passed') t.fail(`answered ${length} bytes`);
  }
  t.equal(
    fate(good, (p) => {
      p.port = remote(0);
    }),
    'passed',
    'from a remote endpoint',
  );
  t.equal(fate(good), 'answered');
  t.same(counters(), { missed: 1, answered6: 1 });
});

t.test('other traffic keeps its order', async (t) => {
  const { context, suppress, out, reply, release } = setup();
  const packets = Array.from({ length: 30 }, (_, i) => {
    const p = packetOf(context.pool, i % 3 === 0 ? arpFrame('10.0.0.2') : arpFrame(`10.0.1.${i}`));
    p.port = i;
    return p;
  });
  pushAll(suppress, packets);
  const range = Array.from({ length: 30 }, (_, i) => i);
  t.same(
    out.packets.map((p) => p.port),
    range.filter((i) => i % 3 !== 0),
  );
  t.same(
    reply.packets.map((p) => p.out),
    range.filter((i) => i % 3 === 0),
  );
  release();
  t.equal(context.pool.used, 0);
});

t.test('another domain is taken over', async (t) => {
  const { suppress, fate } = setup();
  const neighbors = new NeighborTable({ capacity: 1 });
  neighbors.set(1, ip.parse('10.0.0.3'), mac.parse(B));
  t.equal(fate(arpFrame('10.0.0.3')), 'passed');
  t.ok(suppress.configure({ domain: 1, neighbors }));
  t.equal(fate(arpFrame('10.0.0.3')), 'answered');
});

t.test(`whatever comes, nothing is thrown or lost, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const { context, suppress, out, reply, release } = setup();
  const questions = [arpFrame('10.0.0.2'), nsFrame('fd00::2'), nsFrame('fd00::1', { src: '::' })];
  let kept = 0;
  let answered = 0;
  for (let i = 0; i < 5000; i++) {
    const p = packetOf(context.pool, r.chance(0.2) ? randomFrame(r) : questions[r.below(3)]);
    p.port = PORT;
    for (let n = r.below(3); n > 0; n--) p.bytes[p.start + r.below(p.length)] = r.below(256);
    if (r.chance(0.2)) p.end = p.start + r.below(p.length + 1);
    pushAll(suppress, [p]);
    kept += out.packets.length + reply.packets.length;
    answered += reply.packets.length;
    release();
  }
  t.equal(kept, 5000);
  t.ok(answered > 500, `${answered} answered`);
  t.equal(context.pool.used, 0);
});
