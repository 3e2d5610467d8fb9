import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'tap';
import { nodeKey } from '../../../control/store/psk.ts';
import { conformance, Log } from './conformance.ts';
import { embedded, HOST, hex, master, Relay, Served } from './served.ts';

test('conformance, over a relay that can be cut', async (t) => {
  conformance(t, async (t) => {
    const store = await embedded(t, { commits: 600 });
    const served = await Served.start(t, { store });
    const relay = await Relay.to(t, served.server.port);
    return {
      store: served.client({ port: relay.port, backOff: 10 }),
      other: async () => served.client(),
      cut: () => relay.cut(),
      compact: () => store.compact(),
      ttl: 3,
    };
  });
});

test('a server that goes and comes back: the same store object goes on', async (t) => {
  const store = await embedded(t);
  const served = await Served.start(t, { store });
  const { port } = served.server;
  const client = served.client({ backOff: 10 });
  t.equal(client.name, `embedded at ${HOST}:${port}`);
  const lease = await client.grant(30);
  await client.put('alive/1', 'x', lease);
  const log = new Log(client, '', (await client.list('')).revision);
  await client.put('a', '1');
  await log.until(() => log.calls.length > 0);
  await served.server.close();
  await log.until(() => log.ends.length > 0);
  t.strictSame(log.ends, ['away']);
  await t.rejects(client.get('a'), {
    code: 'AWAY',
    message: new RegExp(`nobody answers at ${HOST}:${port}`),
  });
  await t.rejects(lease.keepAlive(), { code: 'AWAY' });
  await served.restart({ port });
  t.equal((await client.get('a'))?.value, '1');
  await lease.keepAlive();
  t.equal((await client.get('alive/1'))?.value, 'x', 'the lease is the same');
  const again = new Log(client, '', (await client.list('')).revision);
  await lease.revoke();
  await again.until(() => again.calls.length > 0);
  t.strictSame(again.lines, ['-alive/1']);
  t.equal(log.calls.length, 1, 'the first watch is over');
});

test('a call that is under way when the connection goes', async (t) => {
  const served = await Served.start(t);
  const relay = await Relay.to(t, served.server.port);
  const client = served.client({ port: relay.port, backOff: 1 });
  await client.put('a', '1');
  const under = t.rejects(client.put('a', '2'), { code: 'AWAY' });
  relay.cut();
  await under;
  relay.mend();
  t.equal((await client.list('')).entries.length, 1);
});

test('a server that falls silent is noticed', async (t) => {
  const served = await Served.start(t, { limits: { beat: 50 } });
  const relay = await Relay.to(t, served.server.port);
  const client = served.client({ port: relay.port, beat: 50 });
  const log = new Log(client, '', (await client.list('')).revision);
  await client.put('a', '1');
  await log.until(() => log.calls.length > 0);
  relay.hold();
  await log.until(() => log.ends.length > 0);
  t.strictSame(log.ends, ['away']);
  t.equal((await client.get('a'))?.value, '1', 'and the next connection is a new one');
});

test('who answers nothing, and who is something else', async (t) => {
  const silent = createServer((socket) => socket.on('error', () => {}).resume());
  const web = createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const closing = createServer((socket) => socket.destroy());
  const served = await Served.start(t);
  for (const [server, timeout, message] of [
    [silent, 200, /:\d+ did not answer for 200 ms|no answer for 200 ms/],
    [web, 5000, /answers, but is not the store of a cluster/],
    [closing, 5000, /nobody answers at 127.0.0.1:\d+/],
  ] as const) {
    server.listen(0, HOST);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const client = served.client({ port, timeout });
    await t.rejects(client.get('a'), { code: 'AWAY', message });
    const log = new Log(client, '', 1);
    await log.until(() => log.ends.length > 0);
    t.strictSame(log.ends, ['away']);
    await client.close();
    server.close();
  }
});

test('a wrong key, and a node that was removed', async (t) => {
  const served = await Served.start(t, { limits: { review: 20 } });
  const [node, id] = [hex(12), hex(12)];
  const wrong = served.client({ identity: { node, key: nodeKey(master, id) } });
  await t.rejects(wrong.get('a'), { code: 'FORBIDDEN', message: /refuses the key of this node.*join again/ });
  t.match(served.said.lines, ['the store refuses 127.0.0.1: its join token or key is wrong or old']);
  const client = served.client({ backOff: 1 }, node);
  await client.put('a', '1');
  const log = new Log(client, '', (await client.list('')).revision);
  await client.put('a', '2');
  served.removed.add(node);
  await log.until(() => log.ends.length > 0);
  t.strictSame(log.ends, ['away'], 'its connection ends');
  await t.rejects(client.get('a'), { code: 'FORBIDDEN', message: /was removed from the cluster/ });
  served.removed.delete(node);
  t.equal((await client.get('a'))?.value, '2');
});

test('another cluster', async (t) => {
  const served = await Served.start(t);
  const client = served.client({ cluster: 'd'.repeat(32) });
  await t.rejects(client.get('a'), { code: 'CONFLICT', message: /the store carries cluster c{32}/ });
});

test('closed while it connects', async (t) => {
  const served = await Served.start(t);
  const client = served.client();
  const under = t.rejects(client.get('a'), { code: 'AWAY', message: 'the store is closed' });
  await client.close();
  await under;
});
