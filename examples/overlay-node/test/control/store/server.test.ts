import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Test, test } from 'tap';
import { enroll } from '../../../control/store/enroll.ts';
import { FrameReader, frame } from '../../../control/store/frames.ts';
import { PROTOCOL } from '../../../control/store/protocol.ts';
import {
  nodeIdentity,
  nodeKey,
  parseIdentity,
  tlsOptions,
  tokenIdentity,
} from '../../../control/store/psk.ts';
import { makeToken } from '../../../control/store/token.ts';
import { until } from '../world.ts';
import { Log } from './conformance.ts';
import { cluster, embedded, HOST, hex, master, Served, secret } from './served.ts';

/** A client that says what it likes. */
class Raw {
  readonly got: Record<string, unknown>[] = [];
  closed = false;
  readonly socket: Socket;

  constructor(t: Test, socket: Socket) {
    const reader = new FrameReader(1 << 30);
    this.socket = socket;
    socket.on('data', (piece: Buffer) => this.got.push(...(reader.push(piece) as Record<string, unknown>[])));
    socket.on('error', () => {});
    socket.once('close', () => {
      this.closed = true;
    });
    t.teardown(() => socket.destroy());
  }

  static async open(t: Test, port: number, identity: string, psk: Buffer): Promise<Raw> {
    const options = { ...tlsOptions, checkServerIdentity: () => undefined };
    const socket = connectTls({ ...options, host: HOST, port, pskCallback: () => ({ psk, identity }) });
    const raw = new Raw(t, socket);
    await once(socket, 'secureConnect');
    return raw;
  }

  static async node(t: Test, served: Served): Promise<Raw> {
    const id = hex(12);
    const raw = await Raw.open(t, served.server.port, nodeIdentity(id), nodeKey(master, id));
    raw.say({ id: 1, method: 'hello', asked: { version: PROTOCOL, cluster } });
    await raw.replies(1);
    return raw;
  }

  /** Sends heartbeats, as a client should. */
  lively(): this {
    const timer = setInterval(() => this.socket.write(frame(null)), 100);
    this.socket.once('close', () => clearInterval(timer));
    return this;
  }

  say(message: object): void {
    this.socket.write(frame(message));
  }

  async replies(n: number): Promise<Record<string, unknown>[]> {
    await until(() => this.got.length >= n || this.closed);
    return this.got;
  }

  async end(): Promise<Record<string, unknown>[]> {
    await until(() => this.closed);
    return this.got;
  }
}

test('identities', async (t) => {
  t.strictSame(parseIdentity('token:0123abcd'), { type: 'token', id: '0123abcd' });
  t.strictSame(parseIdentity('node:0123456789ab'), { type: 'node', id: '0123456789ab' });
  for (const text of ['', 'node:', 'node:0123456789AB', 'token:0123456789ab', 'node:0123456789ab\n', 'x']) {
    t.equal(parseIdentity(text), null, JSON.stringify(text));
  }
  // By RFC 5869 in another language: extract with the salt, expand with the node's id.
  const known = '17116ac9afc0f14df2861283faa7043e0f1e642826a0c7a466a3bc6d0d75c00e';
  t.equal(nodeKey(master, '0123456789ab').toString('hex'), known);
});

test('joining: a token gives a key, and nothing else', async (t) => {
  const served = await Served.start(t);
  const id = hex(12);
  served.removed.add(id);
  const { port } = served.server;
  const stranger = served.client({}, id);
  await t.rejects(stranger.get('a'), { code: 'FORBIDDEN' }, 'no node of the cluster');
  const key = await enroll({ host: HOST, port, token: served.printed, nodeId: id });
  t.strictSame(key, nodeKey(master, id));
  const client = served.client({ identity: { node: id, key } });
  await client.put(`nodes/${id}`, '{}');
  t.ok(await client.get(`nodes/${id}`), 'it can write its record');
  served.removed.delete(id);
  await served.client({}, id).get('a');
  await t.rejects(enroll({ host: HOST, port, token: served.printed, nodeId: id }), { code: 'CONFLICT' });
  served.removed.add(id);
  await t.rejects(served.client({}, id).get('a'), { code: 'FORBIDDEN' }, 'once a node, it can be removed');
  await t.rejects(enroll({ host: HOST, port, token: served.printed, nodeId: 'X' }), { code: 'INVALID' });

  const raw = await Raw.open(t, port, tokenIdentity(served.token.id), served.token.key);
  raw.say({ id: 1, method: 'hello', asked: { version: PROTOCOL, cluster } });
  await raw.replies(1);
  raw.say({ id: 2, method: 'get', asked: { key: 'a' } });
  raw.say({ id: 3, method: 'list', asked: { prefix: '' } });
  const [, get, list] = await raw.replies(3);
  t.match(get, { id: 2, error: { code: 'FORBIDDEN' } });
  t.match(list, { id: 3, error: { code: 'FORBIDDEN' } });
  const node = await Raw.node(t, served);
  node.say({ id: 2, method: 'enroll', asked: { node: hex(12) } });
  t.match((await node.replies(2))[1], { error: { code: 'FORBIDDEN' } });
});

test('a wrong token, an old one, and nobody there', async (t) => {
  const served = await Served.start(t);
  const { port } = served.server;
  const old = served.printed;
  const forged = makeToken({ cluster, secret, id: served.token.id, key: Buffer.alloc(32, 9) });
  served.token = { id: '00000002', key: Buffer.alloc(32, 3) };
  const refused = {
    code: 'FORBIDDEN',
    message: /refuses the join token, it is wrong or old: ask for it there/,
  };
  await t.rejects(enroll({ host: HOST, port, token: old, nodeId: hex(12) }), refused);
  await t.rejects(enroll({ host: HOST, port, token: forged, nodeId: hex(12) }), refused);
  const id = hex(12);
  served.removed.add(id);
  t.equal((await enroll({ host: HOST, port, token: served.printed, nodeId: id })).length, 32);
  const other = makeToken({ cluster: 'd'.repeat(32), secret, ...served.token });
  await t.rejects(enroll({ host: HOST, port, token: other, nodeId: hex(12) }), { code: 'CONFLICT' });
  await served.server.close();
  const away = { code: 'AWAY', message: new RegExp(`nobody answers at 127.0.0.1:${port} `) };
  await t.rejects(enroll({ host: HOST, port, token: served.printed, nodeId: hex(12) }), away);
});

test('another version, and what does not begin with hello', async (t) => {
  const served = await Served.start(t);
  const id = hex(12);
  const open = () => Raw.open(t, served.server.port, nodeIdentity(id), nodeKey(master, id));
  const other = await open();
  other.say({ id: 1, method: 'hello', asked: { version: 2, cluster } });
  const [answer, bye] = await other.end();
  t.match(answer, {
    id: 1,
    error: { code: 'VERSION', message: /speaks protocol 1, not 2: use the same version/ },
  });
  t.match(bye, { bye: { code: 'VERSION' } });
  const rude = await open();
  rude.say({ id: 1, method: 'get', asked: { key: 'a' } });
  t.match((await rude.end())[0], { error: { code: 'INVALID' } });
});

test('rubbish, plain TCP and silence', async (t) => {
  const served = await Served.start(t, { limits: { greeting: 1500 } });
  const { port } = served.server;
  const plain = () => new Raw(t, connect(port, HOST));
  const rubbish = plain();
  rubbish.socket.write(Buffer.alloc(1000, 0xff));
  await rubbish.end();
  const web = plain();
  web.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await web.end();
  const quiet = plain();
  // A byte of a handshake now and then buys no time.
  const slow = plain();
  const drip = setInterval(() => slow.socket.write('\x16'), 10);
  t.teardown(() => clearInterval(drip));
  const id = hex(12);
  const mute = await Raw.open(t, port, nodeIdentity(id), nodeKey(master, id));
  const token = await Raw.open(t, port, tokenIdentity(served.token.id), served.token.key);
  token.say({ id: 1, method: 'hello', asked: { version: PROTOCOL, cluster } });
  for (const raw of [quiet, slow]) await raw.end();
  t.strictSame(await mute.end(), [], 'a handshake without hello');
  t.equal((await token.end()).length, 1, 'who joins does not stay');
  t.equal(await served.client().get('a'), null, 'and the server goes on');
});

test('of those who are not known the oldest goes', async (t) => {
  const served = await Served.start(t, { limits: { unknown: 4 } });
  const idle = Array.from({ length: 4 }, () => new Raw(t, connect(served.server.port, HOST)));
  for (const { socket } of idle) if (socket.connecting) await once(socket, 'connect');
  const client = served.client();
  await client.put('a', '1');
  t.strictSame(idle.filter(({ closed }) => closed).length, 1);
  const more = Array.from({ length: 8 }, () => new Raw(t, connect(served.server.port, HOST)));
  await until(() => [...idle, ...more].filter(({ closed }) => closed).length >= 8);
  t.equal((await client.get('a'))?.value, '1', 'one that is known stays');
});

test('a node that is silent is cut, one with nothing to say is not', async (t) => {
  const served = await Served.start(t, { limits: { beat: 100 } });
  const lively = (await Raw.node(t, served)).lively();
  const silent = await Raw.node(t, served);
  await silent.end();
  t.notOk(lively.closed);
});

test('messages that are too large, or are none', async (t) => {
  const served = await Served.start(t);
  const id = hex(12);
  const early = await Raw.open(t, served.server.port, nodeIdentity(id), nodeKey(master, id));
  early.say({ id: 1, method: 'hello', asked: { version: 1, cluster: 'x'.repeat(5000) } });
  t.strictSame(await early.end(), []);
  const header = Buffer.alloc(4);
  header.writeUInt32BE((8 << 20) + 1);
  const list = Buffer.from('\0\0\0\x02"x');
  const torn = Buffer.from('\0\0\0\x02{]');
  for (const bytes of [
    header,
    list,
    torn,
    frame([]),
    frame({ id: 2 }),
    frame({ id: 2, method: 'constructor' }),
  ]) {
    const raw = await Raw.node(t, served);
    raw.socket.write(bytes);
    t.equal((await raw.end()).length, 1, JSON.stringify(bytes.toString('latin1')));
  }
  const wrong: [string, unknown][] = [
    ['get', { key: 1 }],
    ['get', null],
    ['list', {}],
    ['compareAndSet', { conditions: [null], operations: [] }],
    ['compareAndSet', { conditions: [], operations: [{ type: 'put', key: 'a', value: 1 }] }],
    ['compareAndSet', { conditions: [], operations: [{ type: 'put', key: 'a', value: '', lease: 'x' }] }],
    ['watch', { prefix: 1, revision: 0 }],
    ['watch', { prefix: '', revision: 1.5 }],
  ];
  for (const [method, asked] of wrong) {
    const raw = await Raw.node(t, served);
    raw.say({ id: 2, method, asked });
    t.equal((await raw.end()).length, 1, `${method} ${JSON.stringify(asked)}`);
  }
  t.strictSame((await served.store.list('')).entries, []);
});

test('frames in pieces', async (t) => {
  const reader = new FrameReader(100);
  const messages = [{ a: 1 }, { b: 'ä' }, {}, { c: 'x'.repeat(80) }];
  const bytes = Buffer.concat([frame(null), ...messages.flatMap((message) => [frame(message), frame(null)])]);
  for (const size of [1, 2, 3, 5, 7, 64, bytes.length]) {
    const got: object[] = [];
    for (let at = 0; at < bytes.length; at += size) got.push(...reader.push(bytes.subarray(at, at + size)));
    t.strictSame(got, messages, `of ${size} bytes`);
  }
});

test('a watcher that does not read', async (t) => {
  const served = await Served.start(t, { limits: { backlog: 1 << 20 } });
  const raw = (await Raw.node(t, served)).lively();
  const { revision } = await served.store.list('');
  raw.say({ id: 2, method: 'watch', asked: { prefix: 'a', revision } });
  raw.say({ id: 3, method: 'watch', asked: { prefix: 'b', revision } });
  await raw.replies(3);
  raw.socket.pause();
  const good = new Log(served.client(), 'a', revision);
  const value = 'x'.repeat(128 << 10);
  // More than what the kernel keeps for a connection, and the backlog.
  for (let i = 0; i < 400; i++) {
    await served.store.put('a', `${i}${value}`);
    await good.until(() => good.calls.length === i + 1);
  }
  await served.store.put('b', 'small');
  raw.socket.resume();
  await until(() => raw.got.some((reply) => 'end' in reply) && raw.got.some(isOfB));
  const events = raw.got.filter((reply) => reply.watch === 2);
  t.match(events.at(-1), { watch: 2, end: 'away' });
  t.ok(events.length > 1 && events.length < 400, 'it was ended on the way');
  t.strictSame(good.ends, [], 'who reads is not disturbed');
  served.store.put('a', 'after');
  await good.until(() => good.calls.length === 401);
  t.equal(raw.got.filter((reply) => reply.watch === 2).length, events.length);
});

function isOfB(reply: Record<string, unknown>): boolean {
  return reply.watch === 3 && 'events' in reply;
}

test('who asks without reading the answers is not read from', async (t) => {
  const served = await Served.start(t, { limits: { inFlight: 4 } });
  await served.store.put('large', 'x'.repeat(1 << 20));
  const raw = (await Raw.node(t, served)).lively();
  let asked = 0;
  const get = served.store.get.bind(served.store);
  served.store.get = (key) => {
    asked++;
    return get(key);
  };
  raw.socket.pause();
  for (let i = 0; i < 200; i++) raw.say({ id: 10 + i, method: 'get', asked: { key: 'large' } });
  const client = served.client();
  for (let i = 0; i < 50; i++) await client.list('');
  t.ok(asked < 100, `${asked} of 200`);
  raw.socket.resume();
  await raw.replies(201);
  t.equal(asked, 200);
});

test('a store that is frozen', async (t) => {
  const store = await embedded(t);
  const served = await Served.start(t, { store });
  const client = served.client();
  const lease = await client.grant(30);
  const under = client.put('a', '1', lease);
  await under;
  const own = served.server.store.put('b', '1');
  await served.server.freeze();
  t.equal((await store.get('b'))?.value, '1', 'what was under way is made');
  await own;
  const moved = { code: 'AWAY', message: 'the store is being moved' };
  await t.rejects(client.put('a', '2'), moved);
  await t.rejects(client.delete('a'), moved);
  await t.rejects(client.compareAndSet([], [{ type: 'delete', key: 'a' }]), moved);
  await t.rejects(client.grant(10), moved);
  await t.rejects(lease.revoke(), moved);
  await t.rejects(served.server.store.put('a', '2'), moved);
  await lease.keepAlive();
  const log = new Log(client, 'moved', (await client.list('')).revision);
  await store.put('moved', '{}');
  await log.until(() => log.calls.length > 0);
  served.server.thaw();
  await client.put('a', '3', lease);
  await lease.revoke();
  t.equal(await client.get('a'), null);
});

test('a port that is taken', async (t) => {
  const served = await Served.start(t);
  const taken = { code: 'CONFLICT', message: /cannot listen on 127.0.0.1:\d+, it is in use/ };
  const { port } = served.server;
  await t.rejects(Served.start(t, { port }), taken);
  await t.rejects(Served.start(t, { host: '192.0.2.1' }), { code: 'INVALID' });
  const all = await Served.start(t, { host: null });
  t.equal(await all.client().get('a'), null);
});
