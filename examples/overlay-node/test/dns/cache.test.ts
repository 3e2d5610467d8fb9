import { type Answer, decode, encode, type Packet } from 'dns-packet';
import t from 'tap';
import { Cache } from '../../dns/cache.ts';

const a = (ttl: number): Answer => ({ type: 'A', name: 'web.test', ttl, data: '192.0.2.1' });
const soa = (ttl: number, minimum: number): Answer => ({
  type: 'SOA',
  name: 'test',
  ttl,
  data: { mname: 'ns.test', rname: 'root.test', serial: 1, refresh: 2, retry: 3, expire: 4, minimum },
});

const NXDOMAIN = 3;
const TC = 0x200;
const AA = 0x400;

function answer(more: Packet): Buffer {
  return encode({ type: 'response', flags: AA, questions: [{ type: 'A', name: 'web.test' }], ...more });
}

const ttls = (bytes: Buffer | null) =>
  bytes &&
  [...decode(bytes).answers!, ...decode(bytes).authorities!].map((record) => (record as { ttl: number }).ttl);

t.test('answers are kept as long as their shortest TTL, and count down', async (t) => {
  let now = 5000;
  const cache = new Cache({ now: () => now });
  cache.set('k', answer({ answers: [a(60), a(30)] }));
  now += 12_345;
  t.same(ttls(cache.get('k')), [48, 18]);
  t.equal(decode(cache.get('k')!).flag_aa, false, 'without authority');
  now += 17_654;
  t.same(ttls(cache.get('k')), [31, 1]);
  now++;
  t.equal(cache.get('k'), null);
  t.equal(cache.size, 0);
});

t.test('what is not there is remembered as long as SOA says: RFC 2308', async (t) => {
  let now = 0;
  const cache = new Cache({ now: () => now });
  cache.set('none', answer({ flags: NXDOMAIN, authorities: [soa(300, 20)] }));
  cache.set('no data', answer({ authorities: [soa(10, 300)] }));
  cache.set('no SOA', answer({ flags: NXDOMAIN }));
  cache.set('long', answer({ flags: NXDOMAIN, authorities: [soa(1e6, 1e6)] }));
  t.equal(cache.get('no SOA'), null);
  now += 4000;
  t.same(ttls(cache.get('none')), [16]);
  t.same(ttls(cache.get('no data')), [6]);
  now += 6000;
  t.equal(cache.get('no data'), null);
  now += 10_000;
  t.equal(cache.get('none'), null);
  now = 10_800_000;
  t.equal(cache.get('long'), null, 'three hours at the most');
});

t.test('what may not be kept', async (t) => {
  const cache = new Cache({ now: () => 0 });
  cache.set('cut off', answer({ flags: TC, answers: [a(60)] }));
  cache.set('SERVFAIL', answer({ flags: 2, answers: [a(60)] }));
  cache.set('zero', answer({ answers: [a(0)] }));
  cache.set('negative', answer({ answers: [a(0x80000000)] }));
  cache.set('malformed', answer({ answers: [a(60)] }).subarray(0, 40));
  t.equal(cache.size, 0);
});

t.test('an OPT record has no TTL', async (t) => {
  let now = 0;
  const cache = new Cache({ now: () => now });
  const opt: Answer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: 1232,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0x8000,
    flag_do: true,
    options: [],
  };
  cache.set('k', answer({ answers: [a(60)], additionals: [opt] }));
  now += 3000;
  t.match(decode(cache.get('k')!), {
    answers: [{ ttl: 57 }],
    additionals: [{ flag_do: true, ednsVersion: 0 }],
  });
});

t.test('so many answers and so many bytes, and what was not used goes first', async (t) => {
  const one = answer({ answers: [a(60)] });
  const few = new Cache({ now: () => 0, entries: 2 });
  few.set('1', one);
  few.set('2', one);
  few.get('1');
  few.set('3', one);
  t.equal(few.get('2'), null);
  t.ok(few.get('1'));
  t.ok(few.get('3'));
  const small = new Cache({ now: () => 0, bytes: one.length * 3 });
  for (let i = 0; i < 100; i++) small.set(String(i % 7), one);
  t.equal(small.size, 3);
  small.set('large', answer({ answers: Array.from({ length: 100 }, () => a(60)) }));
  t.equal(small.size, 3);
});
