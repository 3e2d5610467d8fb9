/** The forwarder against servers on loopback that do what they are told. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { decode, encode, type Packet } from 'dns-packet';
import t, { type Test } from 'tap';
import type { Forwarder, OwnServers } from '../../dns/forwarder.ts';
import { frame } from '../../dns/frames.ts';
import { type Query, readQuery, type Transport } from '../../dns/message.ts';
import { parseServer, systemServers } from '../../dns/upstream/server-address.ts';
import { forwarder, scripted } from './table.ts';

const SERVFAIL = 2;
const NXDOMAIN = 3;
const REFUSED = 5;

function query(name: string): Query {
  const bytes = encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: 'A', name }] });
  return readQuery(bytes) as Query;
}

const a = (name: string, data: string, ttl = 60): Packet => ({ answers: [{ type: 'A', name, ttl, data }] });
const soa = (minimum: number): Packet['authorities'] => [
  {
    type: 'SOA',
    name: 'test',
    ttl: minimum,
    data: { mname: 'ns.test', rname: 'root.test', serial: 1, refresh: 2, retry: 3, expire: 4, minimum },
  },
];

/** The first address of the answer, or its error, or null. */
async function ask(by: Forwarder, name: string, transport: Transport = 'udp', own?: OwnServers) {
  const bytes = await by.forward(query(name), transport, own);
  if (bytes === null) return null;
  const { answers, rcode } = decode(bytes) as unknown as Packet & { rcode: string };
  return (answers?.[0] as { data?: string } | undefined)?.data ?? rcode;
}

/** A server by TCP that hands its connections over. */
async function byTcp(t: Test, accept: (socket: Socket, n: number) => void): Promise<string> {
  let n = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    accept(socket, n++);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

/** Answers every whole message of a chunk. */
function answerAll(socket: Socket, data: string): void {
  socket.on('data', (chunk) => {
    for (let at = 0; at < chunk.length; at += 2 + chunk.readUInt16BE(at)) {
      const { id, questions } = decode(chunk.subarray(at + 2, at + 2 + chunk.readUInt16BE(at)));
      const reply: Packet = { type: 'response', questions: questions!, ...a(questions![0].name, data) };
      if (id !== undefined) reply.id = id;
      socket.write(frame(encode(reply)));
    }
  });
}

/** An address where nobody listens. */
async function nobody(): Promise<string> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return `127.0.0.1:${port}`;
}

t.test('answers are kept as long as they say, negative ones too', async (t) => {
  let now = 0;
  const server = await scripted(t, ({ questions }) =>
    questions![0].name === 'web.test'
      ? a('web.test', '192.0.2.1', 30)
      : { flags: NXDOMAIN, authorities: soa(5)! },
  );
  const by = forwarder(t, { servers: () => [server.address], now: () => now });
  t.equal(await ask(by, 'web.test'), '192.0.2.1');
  t.equal(await ask(by, 'WEB.test'), '192.0.2.1', 'case makes no difference');
  t.equal(await ask(by, 'none.test'), 'NXDOMAIN');
  t.equal(await ask(by, 'none.test'), 'NXDOMAIN');
  t.equal(server.ids.length, 2);
  now = 29_999;
  await ask(by, 'web.test');
  t.equal(server.ids.length, 2);
  await ask(by, 'none.test');
  t.equal(server.ids.length, 3, 'the negative one is forgotten');
  now = 30_000;
  await ask(by, 'web.test');
  t.equal(server.ids.length, 4);
  t.match(by.counters(), { cached: 3, asked: 4, waiting: 0 });
});

t.test('what many ask at once is asked once', async (t) => {
  const server = await scripted(t, () => a('web.test', '192.0.2.1', 0));
  const by = forwarder(t, { servers: () => [server.address] });
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask(by, 'web.test')));
  t.same(new Set(answers), new Set(['192.0.2.1']));
  t.equal(server.ids.length, 1);
  t.match(by.counters(), { shared: 99, cached: 0 });
});

t.test('the next server is asked where one is not there, is silent, fails or refuses', async (t) => {
  const silent = await scripted(t, () => null);
  const failing = await scripted(t, () => ({ flags: SERVFAIL }));
  const refusing = await scripted(t, () => ({ flags: REFUSED }));
  const good = await scripted(t, ({ questions }) => a(questions![0].name, '192.0.2.1'));
  const dead = await nobody();
  for (const [i, first] of [dead, silent.address, failing.address, refusing.address, 'rubbish'].entries()) {
    const by = forwarder(t, { servers: () => [first, good.address], timeout: 1000 });
    t.equal(await ask(by, `n${i}.test`), '192.0.2.1', first);
  }
  const three = forwarder(t, { servers: () => [dead, dead, failing.address, good.address] });
  t.equal(await ask(three, 'web.test'), null, 'three at the most');
  t.equal(await ask(forwarder(t, { servers: () => [] }), 'web.test'), null);
});

// broadcast needs a permission that nobody asks for
t.test('a server that there is no way to fails like one that is not there', async (t) => {
  const by = forwarder(t, { servers: () => ['255.255.255.255'] });
  t.equal(await ask(by, 'web.test'), null);
  t.equal(await ask(by, 'web.test'), null, 'and again');
  t.equal(await ask(by, 'web.test', 'tcp'), null);
  t.match(by.counters(), { waiting: 0, failures: 3 });
});

t.test('a datagram that is lost is sent again, with the same id', async (t) => {
  const server = await scripted(t, (_query, n) => (n === 1 ? null : a('web.test', '192.0.2.1')));
  const by = forwarder(t, { servers: () => [server.address], timeout: 2000 });
  t.equal(await ask(by, 'web.test'), '192.0.2.1');
  t.equal(server.ids.length, 2);
  t.equal(server.ids[0], server.ids[1]);
  t.equal(server.ports.size, 1);
});

t.test('answers to what was not asked do not count', async (t) => {
  const lies = (query: Packet): Packet[] => [
    { id: query.id! ^ 1, ...a('web.test', '192.0.2.66') },
    { questions: [{ type: 'A', name: 'other.test' }], ...a('web.test', '192.0.2.66') },
    { questions: [{ type: 'AAAA', name: 'web.test' }], ...a('web.test', '192.0.2.66') },
    { questions: [], ...a('web.test', '192.0.2.66') },
    { type: 'query', ...a('web.test', '192.0.2.66') },
    a('web.test', '192.0.2.1'),
  ];
  const server = await scripted(t, lies);
  const by = forwarder(t, { servers: () => [server.address] });
  t.equal(await ask(by, 'web.test'), '192.0.2.1');
});

t.test('nor do those of another address or port', async (t) => {
  const liar = createSocket('udp4').bind(0, '127.0.0.2');
  const twin = createSocket('udp4').bind(0, '127.0.0.1');
  const server = createSocket('udp4').bind(0, '127.0.0.1');
  await Promise.all([liar, twin, server].map((socket) => once(socket, 'listening')));
  t.teardown(() => [liar, twin, server].map((socket) => socket.close()));
  const send = (socket: typeof liar, bytes: Buffer, port: number) =>
    new Promise<void>((resolve) => socket.send(bytes, port, '127.0.0.1', () => resolve()));
  server.on('message', async (bytes, { port }) => {
    const { id, questions } = decode(bytes);
    const reply = (data: string) =>
      encode({ type: 'response', id: id!, questions: questions!, ...a('web.test', data) });
    await send(liar, reply('192.0.2.66'), port);
    await send(twin, reply('192.0.2.67'), port);
    await send(server, reply('192.0.2.1'), port);
  });
  const by = forwarder(t, { servers: () => [`127.0.0.1:${server.address().port}`] });
  t.equal(await ask(by, 'web.test'), '192.0.2.1');
});

t.test('ids and ports cannot be guessed', async (t) => {
  const server = await scripted(t, ({ questions }) => a(questions![0].name, '192.0.2.1'));
  const by = forwarder(t, { servers: () => [server.address] });
  for (let i = 0; i < 400; i++) await ask(by, `n${i}.test`);
  t.ok(new Set(server.ids).size > 380, 'ids');
  t.ok(server.ports.size >= 8, 'ports');
  const steps = server.ids.slice(1).map((id, i) => id - server.ids[i]);
  t.ok(new Set(steps).size > 350, 'no id follows from the one before');
});

t.test('2,000 questions that wait at once are all answered', async (t) => {
  const COUNT = 2000;
  const held: (() => void)[] = [];
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 }).bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  const seen = new Set<string>();
  socket.on('message', (bytes, { port }) => {
    const { id, questions } = decode(bytes);
    const { name } = questions![0];
    const reply = encode({ type: 'response', id: id!, questions: questions!, ...a(name, '192.0.2.1') });
    seen.add(name);
    held.push(() => socket.send(reply, port, '127.0.0.1'));
    if (seen.size < COUNT) return;
    for (const send of held.splice(0)) send();
  });
  const by = forwarder(t, { servers: () => [`127.0.0.1:${socket.address().port}`], timeout: 20_000 });
  const asked: Promise<unknown>[] = [];
  for (let i = 0; i < COUNT; i++) {
    asked.push(ask(by, `n${i}.test`));
    // the kernel holds some hundred datagrams for this process, which is the server too
    if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(by.counters().waiting, COUNT);
  t.same(new Set(await Promise.all(asked)), new Set(['192.0.2.1']));
  t.match(by.counters(), { overload: 0, failures: 0, waiting: 0 });
});

t.test('what is more than can wait is not asked', async (t) => {
  const silent = await scripted(t, () => null);
  const by = forwarder(t, { servers: () => [silent.address], limit: 2, timeout: 200 });
  const waiting = [ask(by, 'a.test'), ask(by, 'b.test')];
  t.equal(await ask(by, 'c.test'), null);
  t.match(by.counters(), { overload: 1, waiting: 2 });
  t.same(await Promise.all(waiting), [null, null]);
  t.equal(by.counters().waiting, 0);
});

t.test('closed, it answers nothing, and at once', async (t) => {
  const silent = await scripted(t, () => null);
  const tcp = await byTcp(t, () => {});
  const by = forwarder(t, { servers: () => [silent.address, tcp] });
  const waiting = [ask(by, 'a.test'), ask(by, 'b.test', 'tcp')];
  await new Promise((resolve) => setImmediate(resolve));
  by.close();
  t.same(await Promise.all(waiting), [null, null]);
  t.equal(await ask(by, 'c.test'), null);
});

t.test("answers of one client's servers are not those of others", async (t) => {
  const one = await scripted(t, () => a('web.test', '192.0.2.1'));
  const two = await scripted(t, () => a('web.test', '192.0.2.2'));
  const by = forwarder(t, { servers: () => [one.address] });
  const own = (network: string) => ({ servers: [two.address], network, namespaceOf: () => null });
  t.equal(await ask(by, 'web.test'), '192.0.2.1');
  t.equal(await ask(by, 'web.test', 'udp', own('net1')), '192.0.2.2');
  t.equal(await ask(by, 'web.test'), '192.0.2.1');
  await ask(by, 'web.test', 'udp', own('net2'));
  t.equal(two.ids.length, 2, 'the same address can be another server in another network');
});

t.test('a namespace that is gone', async (t) => {
  const by = forwarder(t, { servers: () => [] });
  const own = { servers: ['10.0.1.2'], network: 'net1', namespaceOf: () => 'no-such-namespace' };
  for (const transport of ['udp', 'tcp'] as const) t.equal(await ask(by, 'web.test', transport, own), null);
  t.equal(by.counters().waiting, 0);
});

t.test('by TCP: one connection for many', async (t) => {
  let connections = 0;
  const server = await byTcp(t, (socket) => {
    connections++;
    answerAll(socket, '192.0.2.1');
  });
  const by = forwarder(t, { servers: () => [server] });
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(by, `n${i}.test`, 'tcp')));
  t.same(new Set(answers), new Set(['192.0.2.1']));
  t.equal(connections, 1);
});

t.test('by TCP: a connection that the server closes, and one that is dead', async (t) => {
  const sockets: Socket[] = [];
  const server = await byTcp(t, (socket, n) => {
    sockets.push(socket);
    if (n === 0) {
      answerAll(socket, '192.0.2.1');
    } else if (n === 1) {
      // good for one answer, then silent for ever
      socket.once('data', (chunk) => {
        const { id, questions } = decode(chunk.subarray(2));
        const reply = { id: id!, questions: questions!, ...a(questions![0].name, '192.0.2.2') };
        socket.write(frame(encode({ type: 'response', ...reply })));
        socket.resume();
      });
    } else answerAll(socket, '192.0.2.3');
  });
  const by = forwarder(t, { servers: () => [server], timeout: 1000 });
  t.equal(await ask(by, 'a.test', 'tcp'), '192.0.2.1');
  sockets[0].prependOnceListener('data', () => sockets[0].destroy());
  t.equal(await ask(by, 'b.test', 'tcp'), '192.0.2.2', 'asked again by a new connection');
  t.equal(await ask(by, 'c.test', 'tcp'), null, 'no answer in time');
  t.equal(await ask(by, 'd.test', 'tcp'), '192.0.2.3', 'and the dead connection is left');
  t.equal(sockets.length, 3);
});

t.test('by TCP: nobody there, or rubbish', async (t) => {
  const rubbish = await byTcp(t, (socket) =>
    socket.once('data', () => socket.write(Buffer.alloc(70_000, 0xff))),
  );
  const by = forwarder(t, { servers: () => [rubbish], timeout: 200 });
  t.equal(await ask(by, 'web.test', 'tcp'), null);
  const dead = await nobody();
  t.equal(await ask(forwarder(t, { servers: () => [dead] }), 'web.test', 'tcp'), null);
});

t.test('addresses of servers', async (t) => {
  t.match(parseServer('192.0.2.1'), { address: '192.0.2.1', port: 53 });
  t.match(parseServer('192.0.2.1:5353'), { address: '192.0.2.1', port: 5353 });
  t.match(parseServer('2001:db8::1'), { address: '2001:db8::1', port: 53 });
  t.match(parseServer('[2001:db8::1]:5353'), { address: '2001:db8::1', port: 5353 });
  for (const text of ['', 'dns.test', '192.0.2.1:0', '192.0.2.1:65536', '[192.0.2.1', '192.0.2', '1:2']) {
    t.throws(() => parseServer(text), { code: 'INVALID' }, text);
  }
  let now = 0;
  const system = systemServers(() => now);
  const first = system();
  t.ok(Array.isArray(first));
  now = 999;
  t.equal(system(), first, 'not read again');
  now = 1000;
  t.not(system(), first);
});
