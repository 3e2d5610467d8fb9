/** Addresses where no etcd is. */
import { once } from 'node:events';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type Test, test } from 'tap';
import { freePort } from '../../../../../test/gen/free-port.ts';
import { skip } from '../../../../../test/gen/skip.ts';
import type { Address } from '../../../control/store/etcd-http.ts';
import { Log } from './conformance.ts';
import { EtcdServer, noEtcd, open } from './etcd-server.ts';

const missing = noEtcd();
const away = { code: 'AWAY' };

test('addresses where nobody is, and where somebody is', async (t) => {
  if (missing) return skip(t, missing);
  const server = await EtcdServer.start(t);
  const nobody = { host: '127.0.0.1', port: await freePort() };
  const store = open(t, [nobody, server.address]);
  t.ok((await store.put('a', '1')) > 0, 'a change goes on where it certainly was not made');
  const alone = open(t, [nobody]);
  await t.rejects(alone.get('a'), { ...away, message: /ECONNREFUSED/ });
  await t.rejects(alone.grant(1), away);
  const named = open(t, [{ host: 'nobody.invalid', port: 2379 }]);
  await t.rejects(named.get('a'), { ...away, message: /nobody\.invalid/ });
});

/** A server of which a test decides what it says. */
async function other(t: Test, answer: (socket: Socket) => void): Promise<Address> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    answer(socket);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

test('somebody else is at the address', async (t) => {
  const http = (answer: (response: ServerResponse) => void) => {
    const server = createHttpServer((_, response) => answer(response));
    return (socket: Socket) => void server.emit('connection', socket);
  };
  const text = (status: number, body: string) => http((response) => response.writeHead(status).end(body));
  const cases: [string, (socket: Socket) => void, RegExp][] = [
    ['no HTTP', (socket) => socket.end('220 mail.example ESMTP\r\n'), /Parse Error/],
    ['a page', text(200, '<html>Welcome</html>'), /not etcd's.*Welcome.*is it an etcd/],
    ['not found', text(404, 'not found'), /404.*is it an etcd/],
    ['an empty object', text(200, '{}'), /not etcd's/],
    ['half an answer', text(200, '{"header":{"revision":"1"'), /not etcd's/],
    ['another JSON', text(200, '[1]'), /not etcd's/],
    ['an answer that breaks off', http((r) => void r.write('{', () => r.destroy())), /aborted|hang up/],
    ['nothing', () => {}, /no answer within/],
    ['a connection that is closed', (socket) => socket.destroy(), /ECONNRESET|hang up/],
  ];
  const refuses = async ([name, answer, message]: (typeof cases)[number]) => {
    // Long enough for what is answered at once, also on a busy machine: some of it is asked for again until then.
    const timeout = name === 'nothing' ? 300 : 4000;
    const store = open(t, [await other(t, answer)], { timeout });
    await t.rejects(store.get('a'), { ...away, message }, name);
    await t.rejects(store.put('a', ''), { ...away, message }, name);
    await t.rejects(store.grant(1), { ...away, message }, name);
    const log = new Log(store, '', 1);
    await log.until(() => log.ends.length > 0);
    t.strictSame([log.ends, log.calls], [['away'], []], name);
    await store.close();
  };
  await Promise.all(cases.map(refuses));
});

test('a watch that never tells anything is given up', async (t) => {
  const server = createHttpServer((request, response) => {
    request.resume();
    response.end('{"result":{"header":{"revision":"9","cluster_id":"1"},"created":true}}\n');
  });
  const address = await other(t, (socket) => void server.emit('connection', socket));
  const log = new Log(open(t, [address]), '', 5);
  await log.until(() => log.ends.length > 0);
  t.strictSame([log.ends, log.calls], [['away'], []]);
});
