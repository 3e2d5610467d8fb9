/** Questions by TCP, and what clients do with connections. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { decode, encode, type Packet } from 'dns-packet';
import t, { type Test } from 'tap';
import { Frames, frame } from '../../dns/frames.ts';
import { forwarder, NameTable, named, scripted, serve } from './table.ts';

const names = () =>
  new NameTable(
    named(['web'], '10.0.1.2'),
    named(['many'], ...Array.from({ length: 1000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`)),
  );

const question = (name: string, id = 1): Buffer =>
  encode({ type: 'query', id, flags: 0x100, questions: [{ type: 'A', name }] });

interface Client {
  readonly socket: Socket;
  readonly replies: Packet[];
  /** Resolves when there are so many. */
  got(n: number): Promise<void>;
  readonly closed: Promise<unknown>;
}

async function client(t: Test, port: number): Promise<Client> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.on('error', () => {}); // close follows
  await once(socket, 'connect');
  const frames = new Frames();
  const replies: Packet[] = [];
  let enough = () => {};
  socket.on('data', (chunk) => {
    replies.push(...frames.push(chunk).map((message) => decode(message)));
    enough();
  });
  socket.on('end', () => socket.end());
  const got = (n: number) =>
    new Promise<void>((resolve) => {
      enough = () => replies.length >= n && resolve();
      enough();
    });
  return { socket, replies, got, closed };
}

t.test('many questions on one connection', async (t) => {
  const { port } = await serve(t, { names: names() });
  const { socket, replies, got } = await client(t, port);
  const questions = Array.from({ length: 5000 }, (_, id) => frame(question('web', id)));
  socket.write(Buffer.concat(questions));
  await got(5000);
  t.same(
    replies.map(({ id }) => id),
    Array.from({ length: 5000 }, (_, id) => id),
  );
  t.match(replies[4999], { answers: [{ data: '10.0.1.2' }] });
});

t.test('answers overtake what waits for others, and no more than so many wait', async (t) => {
  const upstream = await scripted(t, () => null);
  const by = forwarder(t, { servers: () => [upstream.address], timeout: 300 });
  const { port, server } = await serve(t, { names: names(), forwarder: by, tcp: { pipelined: 3 } });
  const { socket, replies, got } = await client(t, port);
  // by TCP nobody listens there: the answer is SERVFAIL, and takes a turn
  socket.write(Buffer.concat([frame(question('a.test', 1)), frame(question('web', 2))]));
  await got(2);
  t.same(
    replies.map(({ id }) => id),
    [2, 1],
  );
  socket.write(Buffer.concat(Array.from({ length: 10 }, (_, i) => frame(question(`n${i}.test`, i)))));
  await got(12);
  t.equal(server.counters().forwarded, 11);
});

t.test('pieces of any length', async (t) => {
  const { port } = await serve(t, { names: names() });
  const { socket, replies, got } = await client(t, port);
  socket.setNoDelay(true);
  for (const byte of frame(question('web', 7))) {
    socket.write(Buffer.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await got(1);
  t.match(replies, [{ id: 7, answers: [{ data: '10.0.1.2' }] }]);
});

t.test('messages that are none', async (t) => {
  const { port, server } = await serve(t, { names: names() });
  const { socket, replies, got } = await client(t, port);
  const bad = [Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(12), Buffer.alloc(65535, 1)];
  socket.write(Buffer.concat([...bad, question('web', 9)].map(frame)));
  await got(3);
  t.match(replies, [{ rcode: 'FORMERR' }, {}, { id: 9, answers: [{ data: '10.0.1.2' }] }]);
  t.match(server.counters(), { ignored: 2, refused: 2, local: 1 });
});

t.test('a message that never comes, or nothing at all', async (t) => {
  const { port } = await serve(t, { names: names(), tcp: { idle: 100 } });
  const silent = await client(t, port);
  const slow = await client(t, port);
  slow.socket.write(Buffer.from('ffff0001', 'hex'));
  await Promise.all([silent.closed, slow.closed]);
  t.same([...silent.replies, ...slow.replies], []);
});

t.test('a client that says it has asked all gets all its answers', async (t) => {
  const upstream = await scripted(t, () => null);
  const by = forwarder(t, { servers: () => [upstream.address] });
  const { port } = await serve(t, { names: names(), forwarder: by });
  const { socket, replies, closed } = await client(t, port);
  socket.end(Buffer.concat([frame(question('a.test', 1)), frame(question('web', 2))]));
  await closed;
  t.same(replies.map(({ id }) => id).sort(), [1, 2]);
});

t.test('a client that does not read is not read either, and closed', async (t) => {
  const { port, server } = await serve(t, { names: names(), tcp: { idle: 300 } });
  const { socket, closed } = await client(t, port);
  socket.pause();
  const questions = Buffer.concat(Array.from({ length: 5000 }, () => frame(question('many'))));
  let asked = 0;
  // a socket that does not read learns that it is closed when it writes
  const more = setInterval(() => {
    if (socket.writableNeedDrain || asked >= 100_000) return void socket.write(Buffer.alloc(1));
    socket.write(questions);
    asked += 5000;
  }, 20);
  await closed;
  clearInterval(more);
  // of 16 KiB each, some megabytes are with the kernel
  const { queries } = server.counters();
  t.ok(queries < 2500 && queries < asked, `${queries} of ${asked} were taken`);
});

t.test('one that reads late gets all', async (t) => {
  const { port } = await serve(t, { names: names() });
  const { socket, replies, got } = await client(t, port);
  socket.pause();
  socket.write(Buffer.concat(Array.from({ length: 600 }, (_, id) => frame(question('many', id)))));
  await new Promise((resolve) => setTimeout(resolve, 100));
  socket.resume();
  await got(600);
  t.ok(replies.every(({ answers }) => answers?.length === 1000));
});

t.test('connections are bounded, of one address and in all', async (t) => {
  const { port } = await serve(t, { names: names(), tcp: { perAddress: 2, clients: 3 } });
  const first = await client(t, port);
  const second = await client(t, port);
  const third = await client(t, port);
  await third.closed;
  for (const { socket, got } of [first, second]) {
    socket.write(frame(question('web')));
    await got(1);
  }
  first.socket.destroy();
  await first.closed;
  // the server learns of it in a while
  let served = false;
  for (let tries = 0; tries < 100 && !served; tries++) {
    const next = await client(t, port);
    next.socket.write(frame(question('web')));
    await Promise.race([next.got(1), next.closed]);
    served = next.replies.length === 1;
  }
  t.ok(served, 'there is room again');
});

t.test('stopped, it closes what is open', async (t) => {
  const { port, server } = await serve(t, { names: names() });
  const { socket, got, closed } = await client(t, port);
  socket.write(frame(question('web')));
  await got(1);
  server.stop();
  await closed;
  const late = connect(port, '127.0.0.1');
  const [error] = await once(late, 'error');
  t.match(error, { code: 'ECONNREFUSED' });
});
