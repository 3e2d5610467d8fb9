/** The name server on real sockets, as programs ask it. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { decode, encode, type Packet } from 'dns-packet';
import { Random } from 'packetweave';
import t, { type Test } from 'tap';
import { Namespaces } from '../../../../test/gen/netns.ts';
import { has, noNamespaces, noNative, skip } from '../../../../test/gen/skip.ts';
import { dig, FRONT, forwarder, NameTable, named, output, scripted, serve } from './table.ts';

const TC = 0x200;
const AA = 0x400;

const table = () =>
  new NameTable(
    named(['web', 'www', '0123456789ab'], '10.0.1.2'),
    named(['db', 'www'], '10.0.1.3', 'fd00:1::3'),
    named(['many'], ...Array.from({ length: 100 }, (_, i) => `10.0.1.${100 + i}`)),
  );

const a = (name: string, data: string): Packet => ({ answers: [{ type: 'A', name, ttl: 60, data }] });

/** The lines of a reply's answers, which dig prints in columns. */
const short = (text: string) => text.trim().split('\n').filter(Boolean);
const flags = (text: string) => /;; flags: ([^;]*);/.exec(text)?.[1].split(' ') ?? [];

/** Asks by a socket of its own and resolves with as many replies. */
async function exchange(t: Test, port: number, messages: readonly Buffer[], replies = messages.length) {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 }).bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  const got: Buffer[] = [];
  const all = new Promise<void>((resolve) => {
    socket.on('message', (bytes) => got.push(bytes) === replies && resolve());
  });
  for (const [i, message] of messages.entries()) {
    socket.send(message, port, '127.0.0.1');
    // the kernel holds some hundred datagrams for this process, which is the server too
    if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  if (replies > 0) await all;
  return got;
}

const question = (name: string, id = 1): Buffer =>
  encode({ type: 'query', id, flags: 0x100, questions: [{ type: 'A', name }] });

t.test('dig: names of the network', async (t) => {
  if (!has('dig')) return skip(t, 'dig is not installed');
  const upstream = await scripted(t, () => a('web', '192.0.2.66'));
  const names = table();
  const { port } = await serve(t, {
    names,
    forwarder: forwarder(t, { servers: () => [upstream.address] }),
  });
  for (const name of ['web', 'WEB', 'web.front', '0123456789ab', 'web.']) {
    t.same(short(await dig(port, '+short', name)), ['10.0.1.2'], name);
  }
  t.same(short(await dig(port, '+short', 'www')).sort(), ['10.0.1.2', '10.0.1.3']);
  t.same(short(await dig(port, '+short', '-t', 'AAAA', 'db')), ['fd00:1::3']);
  t.same(short(await dig(port, '+short', '-x', '10.0.1.2')), ['web.front.']);
  t.same(short(await dig(port, '+short', '-x', 'fd00:1::3')), ['db.front.']);
  const whole = await dig(port, 'WeB');
  t.match(whole, /status: NOERROR/);
  t.match(whole, /^WeB\.\s+600\s+IN\s+A\s+10\.0\.1\.2$/m, 'as it was asked');
  t.same(flags(whole), ['qr', 'rd', 'ra']);
  t.match(whole, /EDNS: version: 0, flags:; udp: 1232/);
  t.notMatch(await dig(port, '+noedns', 'web'), /EDNS/);
  t.match(await dig(port, '+edns=1', '+noednsneg', 'web'), /status: BADVERS/);
  for (const type of ['AAAA', 'MX', 'SRV', 'TXT', 'HTTPS']) {
    const nothing = await dig(port, '-t', type, 'web');
    t.match(nothing, /status: NOERROR/, type);
    t.match(nothing, /ANSWER: 0/, type);
  }
  t.match(await dig(port, '-x', '10.0.1.77'), /status: NXDOMAIN/);
  t.match(await dig(port, '+tcp', '-t', 'AXFR', 'front'), /Transfer failed|NOTIMP/);
  t.equal(upstream.ids.length, 0, 'nobody else was asked');
  names.set(named(['web'], '10.0.1.9'));
  t.same(short(await dig(port, '+short', 'web')), ['10.0.1.9'], 'a change is seen at once');
});

t.test('dig: what does not fit is cut off, and asked again by TCP', async (t) => {
  if (!has('dig')) return skip(t, 'dig is not installed');
  const { port } = await serve(t, { names: table() });
  const cut = await dig(port, '+ignore', '+noedns', 'many');
  t.ok(flags(cut).includes('tc'));
  t.match(cut, /ANSWER: 30,/);
  t.equal(short(await dig(port, '+short', '+noedns', 'many')).length, 100, 'by TCP');
  t.ok(flags(await dig(port, '+ignore', '+bufsize=1232', 'many')).includes('tc'));
  const whole = await dig(port, '+ignore', '+bufsize=4096', 'many');
  t.notOk(flags(whole).includes('tc'));
  t.match(whole, /ANSWER: 100,/);
});

t.test('addresses of a name come in every order', async (t) => {
  const random = new Random(1);
  const names = new NameTable(
    named(['a', 'x'], '10.0.1.1'),
    named(['b', 'x'], '10.0.1.2'),
    named(['x'], '10.0.1.3'),
  );
  const { port } = await serve(t, { names, random: () => random.float() });
  const replies = await exchange(
    t,
    port,
    Array.from({ length: 300 }, (_, id) => question('x', id)),
  );
  const orders = new Map<string, number>();
  for (const reply of replies) {
    const order = (decode(reply).answers ?? [])
      .map((answer) => (answer as { data: string }).data.at(-1))
      .join('');
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  t.same([...orders.keys()].sort(), ['123', '132', '213', '231', '312', '321']);
  for (const [order, n] of orders) t.ok(n > 25, `${order}: ${n} of 300`);
});

t.test('other names are asked elsewhere', async (t) => {
  const upstream = await scripted(t, ({ questions }) => {
    const { name } = questions![0];
    if (name === 'none.test') return { flags: AA | 3 };
    if (name === 'cut.test') return { flags: TC };
    if (name !== 'long.test') return { flags: AA, ...a(name, '192.0.2.1') };
    return { answers: Array.from({ length: 60 }, (_, i) => a(name, `192.0.2.${i}`).answers![0]) };
  });
  const by = forwarder(t, { servers: () => [upstream.address] });
  const { port, server } = await serve(t, { names: table(), forwarder: by });
  const ask = async (name: string) => {
    const [reply] = await exchange(t, port, [question(name, 4711)]);
    return decode(reply) as unknown as Packet & { rcode: string; flag_tc: boolean };
  };
  t.match(await ask('ExAmPlE.test'), {
    id: 4711,
    rcode: 'NOERROR',
    questions: [{ name: 'ExAmPlE.test' }],
    answers: [{ name: 'ExAmPlE.test', data: '192.0.2.1' }],
  });
  t.match(
    await ask('example.TEST'),
    { questions: [{ name: 'example.TEST' }], answers: [{}] },
    'as it is asked now',
  );
  t.match(await ask('none.test'), { rcode: 'NXDOMAIN' });
  t.match(await ask('cut.test'), { flag_tc: true });
  t.match(await ask('long.test'), { flag_tc: true, answers: [] }, 'too long for this client');
  t.match(server.counters(), { queries: 5, local: 0, forwarded: 5, failed: 0, 'forward.cached': 1 });
  const alone = await serve(t, { names: table() });
  const [reply] = await exchange(t, alone.port, [question('example.test', 9)]);
  t.match(decode(reply), { id: 9, rcode: 'SERVFAIL', questions: [{ name: 'example.test' }] });
});

t.test('from internal networks nobody else is asked', async (t) => {
  const upstream = await scripted(t, () => a('example.test', '192.0.2.1'));
  const by = forwarder(t, { servers: () => [upstream.address] });
  const options = { names: table(), forwarder: by, servers: () => [upstream.address] };
  const { port } = await serve(t, options, { ...FRONT, internal: true });
  const replies = await exchange(t, port, [question('example.test'), question('web')]);
  t.same(replies.map((reply) => (decode(reply) as unknown as { rcode: string }).rcode).sort(), [
    'NOERROR',
    'NXDOMAIN',
  ]);
  t.equal(upstream.ids.length, 0);
});

t.test('a client with servers of its own', async (t) => {
  if (!has('dig')) return skip(t, 'dig is not installed');
  const common = await scripted(t, () => a('example.test', '192.0.2.1'));
  const own = await scripted(t, () => a('example.test', '192.0.2.2'));
  const servers = (network: string, from: string) =>
    network !== FRONT.id || from === '127.0.0.1' ? null : from === '127.0.0.2' ? [own.address] : [];
  const by = forwarder(t, { servers: () => [common.address] });
  const { port } = await serve(t, { names: table(), forwarder: by, servers });
  const ask = async (from: string, name: string) => short(await dig(port, '-b', from, '+short', name));
  t.same(await ask('127.0.0.2', 'example.test'), ['192.0.2.2']);
  t.same(await ask('127.0.0.1', 'example.test'), ['192.0.2.1']);
  t.same(await ask('127.0.0.3', 'example.test'), ['192.0.2.1'], 'none is not its own');
  t.same(await ask('127.0.0.2', 'example.test'), ['192.0.2.2'], 'also from what is kept');
  t.same(await ask('127.0.0.2', 'web'), ['10.0.1.2'], 'names of the network are known to it too');
  t.equal(own.ids.length, 1);
});

t.test('2,000 questions for other names at once, and none is refused', async (t) => {
  const COUNT = 2000;
  const held: (() => void)[] = [];
  const upstream = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 }).bind(0, '127.0.0.1');
  await once(upstream, 'listening');
  t.teardown(() => upstream.close());
  const seen = new Set<string>();
  upstream.on('message', (bytes, { port }) => {
    const { id, questions } = decode(bytes);
    const { name } = questions![0];
    seen.add(name);
    const reply = encode({ type: 'response', id: id!, questions: questions!, ...a(name, '192.0.2.1') });
    held.push(() => upstream.send(reply, port, '127.0.0.1'));
    // all of them wait before the first is answered
    if (seen.size === COUNT) for (const send of held.splice(0)) send();
  });
  const by = forwarder(t, { servers: () => [`127.0.0.1:${upstream.address().port}`], timeout: 20_000 });
  const { port, server } = await serve(t, { names: table(), forwarder: by });
  const replies = await exchange(
    t,
    port,
    Array.from({ length: COUNT }, (_, id) => question(`n${id}.test`, id)),
  );
  t.equal(new Set(replies.map((reply) => decode(reply).id)).size, COUNT);
  t.ok(replies.every((reply) => decode(reply).answers?.length === 1));
  t.match(server.counters(), { forwarded: COUNT, failed: 0, refused: 0, 'forward.overload': 0 });
});

t.test('one client cannot wait for more than its share', async (t) => {
  const silent = await scripted(t, () => null);
  const by = forwarder(t, { servers: () => [silent.address], timeout: 20_000 });
  const { port, server } = await serve(t, { names: table(), forwarder: by });
  const many = Array.from({ length: 4200 }, (_, id) => question(`n${id}.test`, id));
  const replies = await exchange(t, port, many, 104);
  t.equal((decode(replies[0]) as unknown as { rcode: string }).rcode, 'SERVFAIL');
  t.match(server.counters(), { 'forward.overload': 0, 'forward.waiting': 4096 });
});

t.test('rubbish does no harm', async (t) => {
  const random = new Random(2);
  const { port, server } = await serve(t, { names: table() });
  const valid = question('web', 7);
  const rubbish: Buffer[] = [];
  for (let i = 0; i < 600; i++) {
    const bytes = i % 2 === 0 ? Buffer.alloc(random.below(600)) : Buffer.from(valid);
    const wrong = i % 2 === 0 ? bytes.length : 1 + random.below(4);
    for (let k = 0; k < wrong; k++) bytes[random.below(bytes.length)] = random.int32();
    rubbish.push(bytes);
  }
  rubbish.push(Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(12, 0xff), Buffer.alloc(60_000, 1));
  await exchange(t, port, rubbish, 0);
  const [reply] = await exchange(t, port, [question('web', 8)]);
  t.match(decode(reply), { id: 8, answers: [{ data: '10.0.1.2' }] });
  const { refused, ignored, queries } = server.counters();
  t.ok(refused > 0 && ignored > 0 && queries > 500, 'and it is counted');
});

t.test('where it cannot listen', async (t) => {
  const names = table();
  const { server, port } = await serve(t, { names });
  const listen = (addresses: string[], port = 0) =>
    server.listen({ namespace: null, addresses, port, network: FRONT });
  await t.rejects(listen(['127.0.0.1'], port), { code: 'CONFLICT', message: /another program listens/ });
  await t.rejects(listen([]), { code: 'INVALID', message: /no address/ });
  await t.rejects(listen(['front']), { code: 'INVALID', message: /"front" is no IP address/ });
  await t.rejects(listen(['127.0.0.3', '192.0.2.1']), {
    code: 'INVALID',
    message: /no device has the address/,
  });
  t.equal(await listen(['127.0.0.3', '127.0.0.4'], port), port, 'nothing was left');
  const again = await exchange(t, port, [question('web')]);
  t.equal(again.length, 1, 'and the first goes on');
  server.close(FRONT.id);
  t.equal(await listen(['127.0.0.1'], port), port, 'free again');
  const late = t.rejects(listen(['127.0.0.5'], port), { code: 'INVALID', message: /closed meanwhile/ });
  server.stop();
  await late;
});

const noGateway = noNamespaces() ?? noNative() ?? (has('dig') ? null : 'dig is not installed');

/** Namespaces `gateway` (10.0.1.1 and fd00:1::1) and `container` (10.0.1.7 and fd00:1::7). */
function gateway(t: Test): Namespaces {
  const spaces = new Namespaces(t);
  spaces.add('gateway');
  spaces.add('container');
  spaces.cable('gateway', 'gw0', 'container', 'eth0');
  spaces.run('gateway', 'ip addr add 10.0.1.1/24 dev gw0');
  spaces.run('gateway', 'ip addr add fd00:1::1/64 dev gw0 nodad');
  spaces.run('container', 'ip addr add 10.0.1.7/24 dev eth0');
  spaces.run('container', 'ip addr add fd00:1::7/64 dev eth0 nodad');
  return spaces;
}

t.test('inside of a network namespace', async (t) => {
  if (noGateway !== null) return skip(t, noGateway);
  const spaces = gateway(t);
  const upstream = await scripted(t, () => a('example.test', '192.0.2.1'));
  const names = table();
  const { server } = await serve(t, {
    names,
    forwarder: forwarder(t, { servers: () => [upstream.address] }),
  });
  const addresses = ['10.0.1.1', 'fd00:1::1'];
  const network = { ...FRONT, id: 'other' };
  t.equal(await server.listen({ namespace: spaces.real('gateway'), addresses, network }), 53);
  const ask = async (...args: string[]) =>
    short(
      await output('ip', ['netns', 'exec', spaces.real('container'), 'dig', '+short', '+tries=1', ...args]),
    );
  for (const address of addresses) {
    t.same(await ask(`@${address}`, 'web'), ['10.0.1.2'], address);
    t.equal((await ask(`@${address}`, '+noedns', 'many')).length, 100, `${address} by TCP`);
    t.same(await ask(`@${address}`, 'example.test'), ['192.0.2.1'], `${address}: asked by the host`);
  }
  t.same([...new Set(names.asked)].sort(), ['other 10.0.1.7', 'other fd00:1::7']);
  await t.rejects(server.listen({ namespace: 'no-such-namespace', addresses, network }), { code: 'INVALID' });
});

t.test("a client's own server that is a member of its network is asked out of the namespace", async (t) => {
  if (noGateway !== null) return skip(t, noGateway);
  const spaces = gateway(t);
  const namespace = spaces.real('gateway');
  const member = await serve(t, {
    names: new NameTable(
      named(['inner.test'], '192.0.2.9'),
      named(['many.test'], ...Array.from({ length: 100 }, (_, i) => `192.0.2.${i}`)),
    ),
  });
  await member.server.listen({
    namespace: spaces.real('container'),
    addresses: ['10.0.1.7', 'fd00:1::7'],
    network: { ...FRONT, internal: true },
  });
  const { server } = await serve(t, {
    names: table(),
    servers: (_network, from) => [from.includes(':') ? 'fd00:1::7' : '10.0.1.7'],
  });
  await server.listen({ namespace, addresses: ['10.0.1.1', 'fd00:1::1'], network: FRONT });
  const ask = async (...args: string[]) =>
    short(
      await output('ip', ['netns', 'exec', spaces.real('container'), 'dig', '+short', '+tries=1', ...args]),
    );
  for (const address of ['@10.0.1.1', '@fd00:1::1']) {
    t.same(await ask(address, 'inner.test'), ['192.0.2.9'], address);
    t.equal((await ask(address, '+noedns', 'many.test')).length, 100, `${address} by TCP`);
    t.same(await ask(address, 'web'), ['10.0.1.2']);
  }
});
