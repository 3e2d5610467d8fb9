/** Daemons that refuse, are away, or go away in the middle; and what comes as a stream. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { readCapture } from '../../../../codecs/capture-reader.ts';
import { Client } from '../../cli/client.ts';
import { ControlError } from '../../control/errors.ts';
import { ended, StandIn } from './stand-in.ts';

/** A stream that stays open until it is closed by who reads it. */
function endless(first: string | Buffer): Readable {
  const stream = new Readable({ read() {} });
  stream.push(first);
  return stream;
}

const FRAME = Buffer.from(
  'ffffffffffff0242 0a0001020806 0001080006040001 02420a000102 0a000102 000000000000 0a000103'.replaceAll(
    ' ',
    '',
  ),
  'hex',
);

/** A pcapng file with ARP requests. */
function pcapng(frames: number): Buffer {
  const block = (type: number, body: Buffer) => {
    const all = Buffer.alloc(12 + body.length);
    all.writeUInt32LE(type, 0);
    all.writeUInt32LE(all.length, 4);
    body.copy(all, 8);
    all.writeUInt32LE(all.length, all.length - 4);
    return all;
  };
  const section = Buffer.from('4d3c2b1a01000000ffffffffffffffff', 'hex');
  const ethernet = Buffer.from('0100000000000400', 'hex');
  const packet = Buffer.alloc(20 + Math.ceil(FRAME.length / 4) * 4);
  packet.writeUInt32LE(FRAME.length, 12);
  packet.writeUInt32LE(FRAME.length, 16);
  FRAME.copy(packet, 20);
  return Buffer.concat([
    block(0x0a0d0d0a, section),
    block(1, ethernet),
    ...Array.from({ length: frames }, () => block(6, packet)),
  ]);
}

const DROP = {
  at: 1.5,
  where: 'guard',
  reason: 'spoofed',
  text: 'source is not its own',
  frame: 'ARP who-has',
};

const start = (t: Test) =>
  StandIn.start(t, (server) => {
    server.get('/v1/networks/:name', (_, reply) => {
      return reply.status(409).send({ code: 'CONFLICT', message: 'two begin so' });
    });
    server.get('/v1/networks', (_, reply) => reply.status(502).type('text/plain').send('a proxy\nspeaks'));
    server.get('/v1/nodes', (_, reply) => reply.type('text/plain').send('no JSON'));
    server.get('/v1/peers', (request) => void request.raw.destroy());
    server.get('/v1/info', () => new Promise(() => {}));
    server.get('/v1/containers/web/logs', (_, reply) => reply.send(Readable.from(['one\n', 'two\n'])));
    server.get('/v1/containers/cut/logs', (_, reply) => {
      reply.raw.writeHead(200);
      reply.raw.write('one\n');
      setImmediate(() => reply.raw.destroy());
    });
    server.get('/v1/trace', (_, reply) => {
      reply.send(
        Readable.from([
          `${JSON.stringify(DROP)}\n{"at":`,
          `2500,"where":"b","reason":"r","text":"t","frame":"f"}\n`,
        ]),
      );
    });
    server.get('/v1/capture', (request, reply) => {
      const { what } = request.query as { what: string };
      if (what === 'demo')
        return reply.send(Readable.from([pcapng(2).subarray(0, 50), pcapng(2).subarray(50)]));
      if (what === 'cut') return reply.send(Readable.from([pcapng(2).subarray(0, -5)]));
      if (what === 'text') return reply.send('this is not pcapng at all');
      if (what === 'nope')
        return reply.status(404).send({ code: 'NOT_FOUND', message: 'network nope not found' });
      return reply.send(endless(Buffer.concat([pcapng(3), Buffer.alloc(8, 6)])));
    });
    server.get('/v1/stats', () => ({
      at: 0,
      ports: [
        {
          name: 'web',
          network: 'demo',
          rxPackets: 1234,
          txPackets: 1,
          rxBytes: 1e9,
          txBytes: 60,
          dropped: 0,
        },
      ],
      drops: { spoofed: { count: 3, text: 'source is not its own' }, never: { count: 0, text: '' } },
    }));
  });

t.test('what the daemon refuses is an error with its code', async (t) => {
  const daemon = await start(t);
  const client = new Client(daemon.socket);
  await t.rejects(client.get(['networks', 'a']), new ControlError('CONFLICT', 'two begin so'));
  await t.rejects(client.stream(['capture'], { what: 'nope' }), { code: 'NOT_FOUND' });
  await t.rejects(client.get(['networks']), { message: 'the daemon answered 502: a proxy' });
  await t.rejects(client.get(['nodes']), { message: 'the daemon answered what is not JSON: no JSON' });
  await t.rejects(client.get(['peers']), {
    name: 'NoDaemonError',
    message: /went away before it had answered/,
  });
  await t.rejects(new Client(daemon.socket, 50).get(['info']), { name: 'NoDaemonError', message: /in time/ });
  t.same(await daemon.type('network', 'inspect', 'a'), {
    code: 1,
    stdout: '[]\n',
    stderr: 'packetweave: two begin so\n',
  });
});

t.test('nobody answers', async (t) => {
  const daemon = await start(t);
  const none = /no daemon answers on .*: start it with "sudo packetweave up"/;
  await t.rejects(new Client(join(daemon.folder, 'none')).get(['info']), { message: none });
  const file = join(daemon.folder, 'file');
  writeFileSync(file, '');
  await t.rejects(new Client(file).get(['info']), { message: none });
  const stale = createServer();
  await new Promise<void>((done) => stale.listen(join(daemon.folder, 'stale'), done));
  chmodSync(join(daemon.folder, 'stale'), 0o000);
  t.teardown(() => stale.close());
  if (process.getuid?.() !== 0) {
    await t.rejects(new Client(join(daemon.folder, 'stale')).get(['info']), { message: /with sudo/ });
  }
});

t.test('logs and traces come as they are', async (t) => {
  const daemon = await start(t);
  t.same(await daemon.type('logs', '-f', 'web'), { code: 0, stdout: 'one\ntwo\n', stderr: '' });
  t.equal(daemon.last().url, '/v1/containers/web/logs?follow=true');
  const cut = await daemon.type('logs', 'cut');
  t.match(cut, { code: 1, stdout: 'one\n', stderr: /^packetweave: / });
  daemon.asked.splice(0);
  const { stdout } = await daemon.type('trace', '--count', '2');
  t.equal(daemon.last().url, '/v1/trace?count=2');
  t.match(stdout, /\.001 guard: spoofed \(source is not its own\): ARP who-has\n.*\.500 b: r \(t\): f\n$/);
  t.same(JSON.parse((await daemon.type('trace', '--json')).stdout.split('\n')[0]), DROP);
});

t.test('captures as text, and as files', async (t) => {
  const daemon = await start(t);
  const text = await daemon.type('capture', 'demo', '--decrypt', '-c', '2');
  t.equal(daemon.last().url, '/v1/capture?what=demo&decrypt=true&count=2');
  t.match(text, { code: 0, stderr: '' });
  t.match(text.stdout, /^\d\d:\d\d:00\.000000 .*10\.0\.1\.3.*\n\d\d:/);
  const file = join(daemon.folder, 'a.pcapng');
  t.same(await daemon.type('capture', 'demo', '-w', file), { code: 0, stdout: '', stderr: '' });
  t.same(readFileSync(file), pcapng(2));
  t.match(await daemon.type('capture', 'cut'), { code: 1, stderr: /ended the capture within a packet/ });
  t.match(await daemon.type('capture', 'text'), { code: 1, stderr: /not pcapng/ });
  t.match(await daemon.type('capture', 'nope'), { code: 1, stderr: 'packetweave: network nope not found\n' });
  t.match(await daemon.type('capture', 'demo', '-w', '/nope/a'), { code: 1, stderr: /ENOENT.*\/nope\/a/ });
});

t.test('Ctrl-C ends a capture, and the file is whole', async (t) => {
  const daemon = await start(t);
  const file = join(daemon.folder, 'endless.pcapng');
  const child = daemon.start(['capture', 'endless', '-w', file]);
  const size = pcapng(3).length;
  const written = () => {
    try {
      return readFileSync(file).length === size;
    } catch {
      return false;
    }
  };
  while (!written()) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill('SIGINT');
  t.same(await ended(child), { code: 0, stdout: '', stderr: '' });
  t.equal(readCapture(readFileSync(file)).packets.length, 3);
});

t.test('statistics once', async (t) => {
  const daemon = await start(t);
  t.same((await daemon.type('stats', '--once')).stdout.split('\n'), [
    'PORT      NETWORK   RX PACKETS   RX BYTES   TX PACKETS   TX BYTES   DROPPED',
    'web       demo      1.23k        1.00G      1            60         0',
    '',
    'DROPPED FOR   PACKETS   MEANING',
    'spoofed       3         source is not its own',
    '',
    '',
  ]);
});
