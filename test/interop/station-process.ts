/**
 * A user of the network as a process of its own, for tests that run it in a network namespace: it serves and fetches
 * over HTTP, and echoes datagrams. Told by messages what to do; answers each with `{ id, result }` or `{ id, error }`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { IPPROTO_UDP, UDP_SEGMENT } from '../../lib/io/native/constants.ts';
import { libc } from '../../lib/io/native/libc.ts';
import { setter } from '../../lib/io/native/socket-options.ts';

export interface Download {
  readonly bytes: number;
  /** SHA-256 of what came, and what the server says of what it sent. */
  readonly got: string;
  readonly sent: string;
}

/** What the process can be asked. */
export interface Requests {
  /** Serves bytes that are never the same on a TCP port, and echoes on the UDP port of the same number. */
  serve(port: number): Promise<void>;
  /** `host` as in a URL. */
  download(host: string, port: number, bytes: number): Promise<Download>;
  /** Sends a datagram of each length and waits for its echo; returns the lengths that did not come back as they were. */
  echo(address: string, port: number, lengths: readonly number[]): Promise<number[]>;
  /** Sends datagrams of one length in one piece (UDP_SEGMENT), the last one half as long; returns how many echoes came
   * back as they were. Needs native code. */
  echoTrain(address: string, port: number, length: number, count: number): Promise<number>;
}

const PIECE = 1 << 20;
/** Milliseconds without a byte after which a download has failed, and for one datagram's way and back. */
const QUIET = 30_000;
const ROUND_TRIP = 1000;
/** How often a datagram is sent: one may be lost, though none should be. */
const TRIES = 5;

/** Sends as many bytes as are asked for, and their hash as a trailer. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash('sha256');
  response.on('error', () => {});
  response.writeHead(200, { trailer: 'x-sha256' });
  const pattern = randomBytes(PIECE);
  for (let left = Number(request.url!.slice(1)), n = 0; left > 0; left -= PIECE, n++) {
    const piece = Buffer.from(pattern.subarray(0, Math.min(left, PIECE)));
    piece.writeInt32BE(n, Math.max(0, (n * 4) % (piece.length - 3)));
    hash.update(piece);
    if (!response.write(piece)) await once(response, 'drain');
  }
  response.addTrailers({ 'x-sha256': hash.digest('hex') });
  response.end();
}

function download(host: string, port: number, wanted: number): Promise<Download> {
  return new Promise((resolve, reject) => {
    const request = get(`http://${host}:${port}/${wanted}`, { timeout: QUIET, agent: false }, (response) => {
      const hash = createHash('sha256');
      let bytes = 0;
      response.on('data', (piece: Buffer) => {
        hash.update(piece);
        bytes += piece.length;
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve({ bytes, got: hash.digest('hex'), sent: response.trailers['x-sha256'] ?? 'nothing' });
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no byte for ${QUIET} ms`)));
    request.on('error', reject);
  });
}

async function cameBack(socket: Socket, address: string, port: number, length: number): Promise<boolean> {
  const sent = randomBytes(length);
  for (let i = 0; i < TRIES; i++) {
    const echoed = new Promise<boolean>((resolve) => {
      const end = (same: boolean) => {
        clearTimeout(timer);
        socket.off('message', take);
        resolve(same);
      };
      const take = (got: Buffer) => end(got.equals(sent));
      const timer = setTimeout(() => end(false), ROUND_TRIP);
      socket.on('message', take);
    });
    socket.send(sent, port, address);
    if (await echoed) return true;
  }
  return false;
}

const handlers: Requests = {
  async serve(port) {
    const server = createServer((request, response) => void answer(request, response));
    server.listen(port, '::');
    await once(server, 'listening');
    const socket = createSocket({ type: 'udp6', recvBufferSize: 1 << 20 });
    socket.on('message', (message, from) => socket.send(message, from.port, from.address));
    socket.bind(port, '::');
    await once(socket, 'listening');
  },
  download,
  async echo(address, port, lengths) {
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
    socket.on('error', () => {});
    const lost: number[] = [];
    for (const length of lengths) if (!(await cameBack(socket, address, port, length))) lost.push(length);
    socket.close();
    return lost;
  },
  async echoTrain(address, port, length, count) {
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
    socket.bind(0);
    await once(socket, 'listening');
    // biome-ignore lint/suspicious/noExplicitAny: Node.js has no other way to the descriptor
    setter(libc(), (socket as any)._handle.fd)(IPPROTO_UDP, UDP_SEGMENT, length);
    const sent = randomBytes(length * (count - 1) + (length >> 1));
    const pieces = Array.from({ length: count }, (_, i) => sent.subarray(i * length, (i + 1) * length));
    const missing = new Set(pieces.map((piece) => piece.toString('hex')));
    socket.on('message', (message) => void missing.delete(message.toString('hex')));
    for (let i = 0; i < TRIES && missing.size > 0; i++) {
      socket.send(sent, port, address);
      const end = performance.now() + ROUND_TRIP;
      while (missing.size > 0 && performance.now() < end) await sleep(5);
    }
    socket.close();
    return count - missing.size;
  },
};

process.on('message', async ({ id, name, args }: { id: number; name: keyof Requests; args: unknown[] }) => {
  try {
    const call = handlers[name] as (...args: unknown[]) => Promise<unknown>;
    process.send!({ id, result: await call(...args) });
  } catch (error) {
    process.send!({ id, error: (error as Error).message });
  }
});
process.on('disconnect', () => process.exit());
