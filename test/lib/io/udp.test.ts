import { createHook } from 'node:async_hooks';
import dgram from 'node:dgram';
import t, { type Test } from 'tap';
import { parse } from '../../../codecs/ip.ts';
import { Batch } from '../../../lib/core/batch.ts';
import * as drops from '../../../lib/core/drop.ts';
import type { PortHost } from '../../../lib/io/port.ts';
import { type UdpOptions, UdpPort } from '../../../lib/io/udp.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { FarSocket, hasIpv6, once, turn, until } from '../../gen/far-socket.ts';
import { skip } from '../../gen/skip.ts';
import { type Bench, FarPort, portConformance, type Rig } from './conformance.ts';

/** Runs `body` and returns its value beside the sockets that were made meanwhile. */
async function spied<T>(body: () => Promise<T>): Promise<[T, dgram.Socket[]]> {
  const { createSocket } = dgram;
  const sockets: dgram.Socket[] = [];
  dgram.createSocket = ((options: dgram.SocketOptions) => {
    sockets.push(createSocket(options));
    return sockets.at(-1);
  }) as typeof createSocket;
  try {
    return [await body(), sockets];
  } finally {
    dgram.createSocket = createSocket;
  }
}

const rig =
  (options: UdpOptions, farAddress: string) =>
  async (_bench: Bench): Promise<Rig> => {
    const port = new UdpPort({ port: 0, capacity: 256, ...options });
    const far = await FarSocket.at(farAddress);
    port.peers.set({ address: parse(farAddress), port: far.port });
    let sockets: dgram.Socket[] = [];
    const open = port.open.bind(port);
    port.open = async (host) => {
      [, sockets] = await spied(() => open(host));
    };
    return {
      port,
      deliver: (frames) => far.deliver(frames, port),
      collect: () => far.collect().map(({ frame }) => frame),
      fail: () => sockets.at(-1)!.emit('error', new Error('the network is gone')),
      close: once(() => far.close()),
    };
  };

portConformance(t, 'udp', rig({ address: '127.0.0.1' }, '127.0.0.2'), { paced: true });
portConformance(t, 'udp, one socket', rig({ address: '127.0.0.1', sourcePorts: 1 }, '127.0.0.2'), {
  paced: true,
});
if (await hasIpv6()) portConformance(t, 'udp over IPv6', rig({ address: '::1' }, '::1'), { paced: true });
else t.test('udp over IPv6', async (t) => skip(t, 'this machine has no ::1'));

/** A port at 127.0.0.1 and a far socket at 127.0.0.2 that is its peer 0. */
async function stand(t: Test, options: Partial<UdpOptions> = {}) {
  const context = testContext({ count: 512 });
  const host: PortHost = testHost(context);
  const port = new UdpPort({ address: '127.0.0.1', port: 0, ...options });
  const far = await FarSocket.at('127.0.0.2');
  port.peers.set({ address: parse('127.0.0.2'), port: far.port });
  const [, sockets] = await spied(() => port.open(host));
  t.teardown(async () => {
    await port.close();
    await far.close();
  });
  return { context, host, port, far, sockets, batch: new Batch() };
}

t.test('a flow always leaves from one source port, many flows from many', async (t) => {
  const { context, port, far, batch } = await stand(t, { sourcePorts: 4 });
  const send = async (hashes: readonly number[]) => {
    for (const hash of hashes) {
      const p = context.pool.take()!.set(new Uint8Array(20));
      p.peer = 0;
      p.hash = hash;
      batch.add(p);
    }
    port.send(batch);
    const got: number[] = [];
    await until(() => got.push(...far.collect().map((from) => from.port)) >= hashes.length);
    return got;
  };
  const hashes = [0, 1, 2, 3, -1, -2, 0x7fffffff, -0x80000000];
  const ports = await send(hashes);
  t.equal(new Set(ports).size, 4);
  t.ok(
    ports.every((port) => port >= 49152 && port <= 65535),
    'RFC 7348 section 5',
  );
  t.notOk(ports.includes(port.port), 'not the listening port');
  t.same(await send(hashes), ports, 'the same again');
});

t.test('one source port is the listening port', async (t) => {
  const { port, far } = await stand(t, { sourcePorts: 1 });
  const context = testContext();
  new FarPort(port, context).deliver([new Uint8Array(20)]);
  t.equal(context.pool.used, 0, 'what the kernel has copied is given back at once');
  const got: number[] = [];
  await until(() => got.push(...far.collect().map((from) => from.port)) > 0);
  t.same(got, [port.port]);
});

t.test('only peers are received from, whatever their source port', async (t) => {
  const { context, port } = await stand(t);
  const [stranger, second] = [await FarSocket.at('127.0.0.3'), await FarSocket.at('127.0.0.2')];
  await stranger.deliver([new Uint8Array(30), new Uint8Array(30)], port);
  await until(() => port.stats.dropped >= 2);
  t.equal(port.stats.droppedFor(drops.UNKNOWN_PEER), 2);
  t.equal(context.pool.used, 0, 'a stranger takes no packet');
  await second.deliver([new Uint8Array(31)], port);
  const here = new FarPort(port, context);
  const got: Uint8Array[] = [];
  await until(() => got.push(...here.collect()) > 0);
  t.equal(got[0]?.length, 31);
  port.peers.set({ address: parse('127.0.0.3'), port: 1 });
  await stranger.deliver([new Uint8Array(32)], port);
  await until(() => got.push(...here.collect()) > 1);
  t.equal(got[1]?.length, 32, 'a new peer is known at once');
  await stranger.close();
  await second.close();
});

t.test('what comes to a sending socket is counted and dropped', async (t) => {
  const { port, far, sockets } = await stand(t);
  await far.deliver([new Uint8Array(30)], { address: '127.0.0.1', port: sockets[0].address().port });
  await until(() => port.stats.dropped > 0);
  t.equal(port.stats.droppedFor(drops.NOT_FOR_US), 1);
});

t.test('a datagram that no packet holds is dropped', async (t) => {
  const { context, port, far } = await stand(t);
  await far.deliver([new Uint8Array(context.pool.maxFrame), new Uint8Array(context.pool.maxFrame + 1)], port);
  const here = new FarPort(port, context);
  const got: Uint8Array[] = [];
  await until(() => got.push(...here.collect()) > 0 && port.stats.dropped > 0);
  t.equal(got[0]?.length, context.pool.maxFrame, 'the longest that fits');
  t.equal(port.stats.droppedFor(drops.TOO_BIG), 1);
});

t.test('a peer that moves to another UDP port is found there', async (t) => {
  const { context, port } = await stand(t);
  const moved = await FarSocket.at('127.0.0.2');
  port.peers.set({ address: parse('127.0.0.2'), port: moved.port });
  new FarPort(port, context).deliver([new Uint8Array(33)]);
  let got = 0;
  await until(() => (got += moved.collect().length) > 0);
  t.equal(got, 1);
  await moved.close();
});

t.test('peers that cannot be reached', async (t) => {
  const { context, port } = await stand(t);
  const six = port.peers.set({ address: parse('2001:db8::1'), port: 4789 });
  const zero = port.peers.set({ address: parse('127.0.0.9'), port: 0 });
  const broadcast = port.peers.set({ address: parse('255.255.255.255'), port: 4789 });
  for (const peer of [six, zero, broadcast]) new FarPort(port, context, peer).deliver([new Uint8Array(20)]);
  t.equal(port.stats.droppedFor(drops.UNKNOWN_PEER), 2, 'another family, and a port that there is not');
  await until(() => port.stats.dropped === 3);
  t.equal(port.stats.droppedFor(drops.PORT_ERROR), 1, 'what the system refuses');
  t.equal(context.pool.used, 0);
});

/** Makes a socket hold what it is sent until `release`, as one whose kernel buffer is full does. */
function stall(socket: dgram.Socket): (error?: Error) => boolean {
  const waiting: ((error: Error | null, bytes: number) => void)[] = [];
  // biome-ignore lint/suspicious/noExplicitAny: one of many overloads
  (socket as any).send = (_b: Uint8Array, _at: number, n: number, _p: number, _a: string, done: any) => {
    waiting.push((error) => done(error, n));
  };
  socket.getSendQueueCount = () => waiting.length;
  return (error) => {
    const next = waiting.shift();
    next?.(error ?? null, 0);
    return next !== undefined;
  };
}

t.test('packets wait while the kernel takes none, but not without bound', async (t) => {
  const { context, port, sockets } = await stand(t, { sourcePorts: 1 });
  const release = stall(sockets[0]);
  const here = new FarPort(port, context);
  here.deliver(Array.from({ length: 200 }, () => new Uint8Array(100)));
  t.equal(context.pool.used, 128, 'the bytes of those that wait are still needed');
  t.equal(port.stats.droppedFor(drops.PORT_FULL), 72);
  t.equal(port.stats.txPackets, 0, 'none is sent yet');
  release();
  release(Object.assign(new Error('too long'), { code: 'EMSGSIZE' }));
  release(Object.assign(new Error('no route'), { code: 'ENETUNREACH' }));
  t.equal(context.pool.used, 125);
  t.same(
    [drops.TOO_BIG, drops.PORT_ERROR].map((reason) => port.stats.droppedFor(reason)),
    [1, 1],
  );
  let closed = false;
  const closing = port.close().then(() => (closed = true));
  sockets[0].emit('message', new Uint8Array(9), { address: '127.0.0.2', port: 9 });
  await turn();
  t.notOk(closed, 'close waits for what is under way');
  t.equal(context.pool.used, 125);
  while (release());
  await closing;
  t.equal(context.pool.used, 0);
  t.equal(port.stats.txPackets, 126);
  t.equal(port.stats.txBytes, 12600);
});

t.test('a port that fails gives back what waits', async (t) => {
  const { context, port, sockets } = await stand(t, { sourcePorts: 1 });
  const release = stall(sockets[0]);
  new FarPort(port, context).deliver([new Uint8Array(100), new Uint8Array(100)]);
  const errors: string[] = [];
  port.onError = (error) => errors.push(`${error.code}: ${error.message}`);
  sockets[0].emit('error', new Error('the network is gone'));
  t.same(errors, [`IO: UDP port ${port.port} of 127.0.0.1 failed: the network is gone`]);
  t.equal(context.pool.used, 0);
  while (release(Object.assign(new Error('cancelled'), { code: 'ECANCELED' })));
  t.equal(port.stats.droppedFor(drops.PORT_ERROR), 2, 'late callbacks are counted');
  sockets[0].emit('error', new Error('again'));
  t.equal(errors.length, 1);
});

t.test('no name is ever looked up', async (t) => {
  let lookups = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === 'GETADDRINFOREQWRAP' || type === 'GETNAMEINFOREQWRAP') lookups++;
    },
  }).enable();
  const { context, port, far } = await stand(t);
  new FarPort(port, context).deliver([new Uint8Array(100)]);
  let got = 0;
  await until(() => (got += far.collect().length) > 0);
  hook.disable();
  t.same([got, lookups], [1, 0]);
});

t.test('what cannot be opened says why', async (t) => {
  const { host, port } = await stand(t);
  const refuse = async (options: Partial<UdpOptions>, code: string, message: RegExp) => {
    const other = new UdpPort({ address: '127.0.0.1', port: 0, ...options });
    await t.rejects(other.open(host), { name: 'PortError', code, message });
    await t.rejects(other.open(host), { code }, 'and can be tried again');
    await other.close();
  };
  const taken = new RegExp(`^UDP port ${port.port} of 127.0.0.1 is in use: stop what holds it`);
  await refuse({ port: port.port }, 'ADDRESS_IN_USE', taken);
  await refuse({ address: '192.0.2.77' }, 'NO_SUCH_ADDRESS', /this machine has no address 192\.0\.2\.77/);
});

t.test('the sending sockets leave the listening port free', async (t) => {
  const context = testContext({ count: 1 });
  const port = new UdpPort({ address: '127.0.48.16', port: 49152, sourcePorts: 4 });
  const [, sockets] = await spied(() => port.open(testHost(context)));
  t.same(
    sockets.map((socket) => socket.address().port),
    [49153, 49154, 49155, 49156, 49152],
  );
  await port.close();
});

t.test('what the system refuses otherwise', async (t) => {
  const { host } = await stand(t);
  const { createSocket } = dgram;
  t.teardown(() => {
    dgram.createSocket = createSocket;
  });
  for (const [errno, code, message] of [
    ['EACCES', 'PERMISSION', /UDP port 80 of 127\.0\.0\.1 may not be opened by this user/],
    ['ENOBUFS', 'IO', /UDP port 80 of 127\.0\.0\.1 cannot be opened: no luck/],
  ] as const) {
    dgram.createSocket = ((options: dgram.SocketOptions) => {
      const socket = createSocket(options);
      socket.bind = () => {
        setImmediate(() => socket.emit('error', Object.assign(new Error('no luck'), { code: errno })));
        return socket;
      };
      return socket;
    }) as typeof createSocket;
    const port = new UdpPort({ address: '127.0.0.1', port: 80, sourcePorts: 1 });
    await t.rejects(port.open(host), { name: 'PortError', code, message });
  }
});

t.test('closing a port that is about to open', async (t) => {
  const { host } = await stand(t);
  const port = new UdpPort({ address: '127.0.0.1', port: 0 });
  const [, sockets] = await spied(async () => {
    const opening = port.open(host);
    await port.close();
    await t.rejects(opening, { code: 'STATE', message: /closed while it opened/ });
  });
  t.ok(sockets.length > 0);
  for (const socket of sockets) t.throws(() => socket.address(), 'no socket stays behind');
  await port.open(host);
  t.ok(port.port > 0);
  await port.close();
});

t.test('options are checked', async (t) => {
  const refuse = (options: Partial<UdpOptions>, message: RegExp) =>
    t.throws(() => new UdpPort({ address: '127.0.0.1', ...options }), { message });
  refuse({ address: 'localhost' }, /expected an IPv4 or IPv6 address, got "localhost"/);
  refuse({ mtu: 70 }, /"mtu" expected an integer 548\.\.65507, got 70/);
  refuse({ port: 65536 }, /"port" expected an integer 0\.\.65535, got 65536/);
  refuse({ sourcePorts: 0 }, /"sourcePorts" expected an integer 1\.\.64, got 0/);
  refuse({ capacity: 100 }, /"capacity" expected a power of two, got 100/);
  t.equal(new UdpPort({ address: '127.0.0.1' }).mtu, 1472);
  t.equal(new UdpPort({ address: '::1' }).mtu, 1452);
  t.equal(new UdpPort({ address: '::1' }).port, 4789);
});
