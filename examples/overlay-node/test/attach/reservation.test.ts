/** Ports that are taken by sockets: all or none, in Docker's words, and what comes to the sockets themselves. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import t from 'tap';
import { freePort } from '../../../../test/gen/free-port.ts';
import { asNobody } from '../../../../test/gen/netns.ts';
import { skip } from '../../../../test/gen/skip.ts';
import { type ReservedPort, reserve } from '../../attach/reservation.ts';

const HERE = '127.0.0.1';

const tcp = (port: number): ReservedPort => ({ protocol: 'tcp', address: HERE, port });

t.test('all or none', async (t) => {
  const [one, two] = [await freePort(), await freePort()];
  const first = await reserve([tcp(two), { ...tcp(two), protocol: 'udp' }]);
  const taken = { code: 'CONFLICT', message: `Bind for ${HERE}:${two} failed: port is already allocated` };
  await t.rejects(reserve([tcp(one), tcp(two)]), taken);
  await t.rejects(reserve([tcp(one), { ...tcp(two), protocol: 'udp' }]), taken);
  await first.close();
  await (await reserve([tcp(one), tcp(two)])).close();
  await (await reserve([])).close();
});

t.test('what the kernel refuses', async (t) => {
  await t.rejects(reserve([{ ...tcp(8080), address: '198.51.100.1' }]), {
    code: 'INVALID',
    message: 'Bind for 198.51.100.1:8080 failed: this host has no such address',
  });
  if (process.getuid?.() !== 0) return skip(t, 'to be somebody without privileges needs root');
  await asNobody(() =>
    t.rejects(reserve([tcp(99)]), {
      code: 'INVALID',
      message: `Bind for ${HERE}:99 failed: ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE`,
    }),
  );
});

t.test('a connection to the socket itself', async (t) => {
  const [port, relayed, nobody] = [await freePort(), await freePort(), await freePort()];
  // Answers when the other side has said all.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let heard = '';
    socket
      .on('error', () => {})
      .on('data', (data) => (heard += data))
      .on('end', () => socket.end(`heard ${heard.length}`));
  });
  await once(server.listen(port, HERE), 'listening');
  t.teardown(() => server.close());
  const to = { host: HERE, port };
  const reservation = await reserve([
    { ...tcp(relayed), relayTo: to },
    { ...tcp(nobody), relayTo: { host: HERE, port: 1 } },
  ]);
  const client = connect({ port: relayed, host: HERE, allowHalfOpen: true });
  client.end('x'.repeat(1 << 20));
  let answer = '';
  for await (const data of client) answer += data;
  t.equal(answer, `heard ${1 << 20}`, 'is relayed, half-closed as it may be');
  const refused = connect(nobody, HERE).resume();
  const [error] = await once(refused, 'error');
  t.equal(error.code, 'ECONNRESET', 'to where nobody listens');
  const lasting = connect(relayed, HERE);
  await once(lasting, 'connect');
  lasting
    .on('error', () => {})
    .resume()
    .write('hi');
  await once(server, 'connection');
  const closed = new Promise((resolve) => lasting.on('close', resolve));
  await reservation.close();
  await closed;
  t.pass('and ends with the reservation');
  const alone = await reserve([tcp(relayed)]);
  const reset = connect(relayed, HERE).resume();
  t.match(await once(reset, 'error'), [{ code: 'ECONNRESET' }], 'or is reset');
  await alone.close();
});
