import { decode, type Packet } from 'dns-packet';
import t from 'tap';
import { A, AAAA, ANY, IN, NOERROR, NXDOMAIN, PTR, writeReply } from '../../dns/message.ts';
import { type Local, Resolver } from '../../dns/resolver.ts';
import { FRONT, NameTable, named } from './table.ts';

const MX = 15;
const SRV = 33;
const HTTPS = 65;

const names = new NameTable(
  named(['web', 'www', '0123456789ab'], '10.0.1.2'),
  named(['db', 'www'], '10.0.1.3', 'fd00:1::3'),
  named(['x'.repeat(64)], '10.0.1.9'),
);
const resolver = new Resolver(names, FRONT);
const inside = new Resolver(names, { ...FRONT, internal: true });

function ask(name: string, type: number, by = resolver, klass = IN): Local | 'forward' {
  return by.resolve('10.0.1.7', { name, type, class: klass });
}

/** The answers as somebody else reads them. */
function data(local: Local | 'forward'): unknown[] {
  if (local === 'forward') return [local];
  const question = Buffer.from('000000000001000000000000' + '0161' + '0000010001', 'hex');
  const reply = writeReply(question, question.length, local.rcode, local.records, 65535, null);
  return ((decode(reply) as Packet).answers ?? []).map((answer) => (answer as { data: unknown }).data);
}

t.test('addresses of a name', async (t) => {
  t.same(data(ask('web', A)), ['10.0.1.2']);
  t.same(data(ask('WEB.Front', A)), ['10.0.1.2']);
  t.same(data(ask('0123456789ab', A)), ['10.0.1.2']);
  t.same(data(ask('www', A)), ['10.0.1.2', '10.0.1.3']);
  t.same(data(ask('db', AAAA)), ['fd00:1::3']);
  t.same(data(ask('db', ANY)), ['10.0.1.3', 'fd00:1::3']);
  t.ok(names.asked.includes('f00d 10.0.1.7'), 'the client is told');
});

t.test('a name that exists has no other records, and nobody else is asked', async (t) => {
  const nothing = { rcode: NOERROR, records: [] };
  t.same(ask('web', AAAA), nothing);
  for (const type of [MX, SRV, PTR, HTTPS, 999]) t.same(ask('web', type), nothing);
  t.same(ask('web', A, resolver, 3), nothing, 'in another class');
});

t.test('names of addresses', async (t) => {
  t.same(data(ask('2.1.0.10.in-addr.arpa', PTR)), ['web.front']);
  const nibbles = `3.${'0.'.repeat(15)}${'0.'.repeat(8)}1.0.0.0.0.0.d.f.ip6.arpa`;
  t.same(data(ask(nibbles, PTR)), ['db.front']);
  t.same(data(ask(nibbles.toUpperCase(), PTR)), ['db.front']);
  t.same(ask('2.1.0.10.in-addr.arpa', A), { rcode: NOERROR, records: [] });
  t.same(ask('200.1.0.10.in-addr.arpa', PTR), { rcode: NXDOMAIN, records: [] }, 'ours, and nobody has it');
  t.same(ask(nibbles.replace('3', '4'), PTR), { rcode: NXDOMAIN, records: [] });
  t.same(ask('9.1.0.10.in-addr.arpa', PTR), { rcode: NOERROR, records: [] }, 'a name that cannot be written');
});

t.test('what is not known here is asked elsewhere, but not from internal networks', async (t) => {
  const others = [
    'example.org',
    '',
    '1.2.0.192.in-addr.arpa',
    '1.0.10.in-addr.arpa',
    'g.ip6.arpa',
    'a.b.c.d.in-addr.arpa',
  ];
  for (const name of [...others, '300.1.0.10.in-addr.arpa', `${'1.'.repeat(31)}x.ip6.arpa`]) {
    t.equal(ask(name, PTR), 'forward', name);
    t.same(ask(name, PTR, inside), { rcode: NXDOMAIN, records: [] }, name);
  }
  t.same(data(ask('web', A, inside)), ['10.0.1.2']);
});

t.test('a subnet that is none', async (t) => {
  t.throws(() => new Resolver(names, { ...FRONT, subnets: ['10.0.1.0/99'] }));
  t.throws(() => new Resolver(names, { ...FRONT, subnets: ['front'] }));
});
