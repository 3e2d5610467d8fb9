/** Streams of the kernel's own TCP between namespaces, and a loop that passes packets on between two ports. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { Batch } from '../../lib/core/batch.ts';
import { GSO_NONE, NONE, type Packet } from '../../lib/core/packet.ts';
import type { Random } from '../../lib/core/random.ts';
import type { Port } from '../../lib/io/port.ts';
import { type Namespaces, within } from './netns.ts';
import { randomBytes } from './super-frames.ts';

const BYTES = 8 << 20;

/** What a loop does to a packet before it passes it on: null where it keeps it. */
export type Change = (p: Packet) => Packet;

/** Passes packets between two ports until it is stopped; says what it has seen. */
export class Loop {
  readonly seen = { frames: 0, supers: 0, partial: 0, largest: 0 };
  readonly types = new Set<number>();
  #running = true;
  readonly #change: Change;

  constructor(a: Port, b: Port, change: Change = (p) => p) {
    this.#change = change;
    void this.#run([
      [a, b],
      [b, a],
    ]);
  }

  async #run(ways: Port[][]): Promise<void> {
    const batch = new Batch();
    while (this.#running) {
      for (const [from, to] of ways) {
        from.receive(batch);
        for (let i = 0; i < batch.length; i++) {
          this.#look(batch.packets[i]);
          batch.packets[i] = this.#change(batch.packets[i]);
        }
        to.send(batch);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #look(p: Packet): void {
    this.seen.frames++;
    if (p.gsoType !== GSO_NONE) this.seen.supers++;
    if (p.csumStart !== NONE) this.seen.partial++;
    this.seen.largest = Math.max(this.seen.largest, p.length);
    this.types.add(p.gsoType);
  }

  stop(): void {
    this.#running = false;
  }
}

/** Sends bytes by TCP from namespace a to b, and says whether they are the same there. */
export async function stream(namespaces: Namespaces, address: string, random: Random): Promise<boolean> {
  const given = randomBytes(random, 1 << 18);
  const sent = createHash('sha256');
  const got = createHash('sha256');
  let bytes = 0;
  const server = net.createServer();
  await within(namespaces.real('b'), async () => {
    server.listen(5001, address);
    await once(server, 'listening');
  });
  const connection = once(server, 'connection');
  const socket = await within(namespaces.real('a'), async () => {
    const socket = net.connect(5001, address);
    await once(socket, 'connect');
    return socket;
  });
  const [accepted] = (await connection) as [net.Socket];
  accepted.on('data', (data: Buffer) => {
    got.update(data);
    bytes += data.length;
  });
  for (let i = 0; i < BYTES; i += given.length) {
    sent.update(given);
    if (!socket.write(given)) await once(socket, 'drain');
  }
  socket.end();
  await once(accepted, 'end');
  for (const one of [socket, accepted]) one.destroy();
  server.close();
  return bytes === BYTES && sent.digest('hex') === got.digest('hex');
}

/** Bytes of a super-frame that can be torn apart: there has to be room for the gaps. */
export const MOST_SPREAD = 32_768;

/** A super-frame with its payload torn apart, as it is where segments arrived in pieces. */
export function spread(p: Packet, jumbo: { take(): Packet | null }): Packet {
  const [gap, size] = [40, p.gsoSize];
  const payload = p.length - p.hdrLen;
  const n = Math.ceil(payload / size);
  const to = p.gsoType !== GSO_NONE && p.length + n * gap < 60_000 ? jumbo.take() : null;
  if (to === null) return p;
  to.copyNotes(p);
  to.bytes.set(p.bytes.subarray(p.start, p.start + p.hdrLen), p.start);
  to.end = p.start + p.hdrLen;
  for (let at = p.start + p.hdrLen; at < p.end; at += size) {
    if (at > p.start + p.hdrLen) to.end += gap;
    const piece = p.bytes.subarray(at, Math.min(at + size, p.end));
    to.bytes.set(piece, to.end);
    to.end += piece.length;
  }
  to.gap = gap;
  p.pool.give(p);
  return to;
}
