/**
 * Streams of the kernel's own TCP through two TAPs of two namespaces, joined by a loop that passes packets on as
 * they come: super-frames come out of one stack and go into the other, checksums never completed on the way.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { parse } from '../../../codecs/ip.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { GSO_NONE, GSO_UDP_L4, NONE, type Packet } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { USO } from '../../../lib/io/port.ts';
import { type TapOptions, TapPort, TunPort } from '../../../lib/io/tap.ts';
import { UdpNativePort } from '../../../lib/io/udp-native.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { FarSocket, until } from '../../gen/far-socket.ts';
import { Namespaces, within } from '../../gen/netns.ts';
import { seed } from '../../gen/seed.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { randomBytes } from '../../gen/super-frames.ts';
import { putTrain } from '../../gen/trains.ts';

const BYTES = 8 << 20;
const random = new Random(seed);
t.comment(`seed ${seed}`);

/** Two namespaces with an address each, and what passes between them. */
async function cable(t: Test, options: TapOptions, Kind: typeof TapPort | typeof TunPort = TapPort) {
  const namespaces = new Namespaces(t);
  const context = testContext({ count: 512, slot: 10_240 });
  const [a, b] = ['a', 'b'].map((name) => {
    namespaces.add(name);
    return new Kind({ name: 'dev0', namespace: namespaces.real(name), ...options });
  });
  t.teardown(async () => {
    await a.close();
    await b.close();
    if (context.pool.used + context.jumbo.used > 0) throw new Error('packets did not come home');
  });
  for (const port of [a, b]) await port.open(testHost(context));
  for (const [i, name] of ['a', 'b'].entries()) {
    namespaces.run(name, `ip addr add 10.1.0.${i + 1}/24 dev dev0`);
    namespaces.run(name, `ip addr add fd00::${i + 1}/64 dev dev0 nodad`);
  }
  return { namespaces, context, a, b };
}

/** What a loop does to a packet before it passes it on: null where it keeps it. */
type Change = (p: Packet) => Packet;

/** Passes packets between two ports until it is stopped; says what it has seen. */
class Loop {
  readonly seen = { frames: 0, supers: 0, partial: 0, largest: 0 };
  readonly types = new Set<number>();
  #running = true;
  readonly #change: Change;

  constructor(a: TapPort | TunPort, b: TapPort | TunPort, change: Change = (p) => p) {
    this.#change = change;
    void this.#run([
      [a, b],
      [b, a],
    ]);
  }

  async #run(ways: (TapPort | TunPort)[][]): Promise<void> {
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
async function stream(namespaces: Namespaces, address: string): Promise<boolean> {
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

/** A super-frame with its payload torn apart, as it is where segments arrived in pieces. */
function spread(p: Packet, jumbo: { take(): Packet | null }): Packet {
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

function streams(): void {
  const kinds: [string, TapOptions, typeof TapPort | typeof TunPort][] = [
    ['taps', {}, TapPort],
    ['taps, MTU 9000', { mtu: 9000 }, TapPort],
    ['taps without offloads', { offload: false }, TapPort],
    ['tuns', {}, TunPort],
  ];
  for (const [name, options, Kind] of kinds) {
    t.test(`TCP through ${name}`, async (t) => {
      const { namespaces, a, b } = await cable(t, options, Kind);
      const loop = new Loop(a, b);
      for (const address of ['10.1.0.2', 'fd00::2']) {
        t.ok(await stream(namespaces, address), `the same bytes arrive at ${address}, seed ${seed}`);
      }
      loop.stop();
      const { supers, partial, largest } = loop.seen;
      t.equal(supers > 20, options.offload !== false, `${supers} super-frames`);
      t.ok(partial > 0, `${partial} checksums to be completed`);
      if (supers > 0) t.ok(largest > 30_000, `of up to ${largest} bytes`);
    });
  }

  t.test('super-frames with gaps', async (t) => {
    const { namespaces, context, a, b } = await cable(t, {});
    let torn = 0;
    const loop = new Loop(a, b, (p) => {
      const q = spread(p, context.jumbo);
      if (q !== p) torn++;
      return q;
    });
    for (const address of ['10.1.0.2', 'fd00::2']) {
      t.ok(await stream(namespaces, address), `the same bytes arrive at ${address}, seed ${seed}`);
    }
    loop.stop();
    t.ok(torn > 5, `${torn} came with gaps`);
  });

  t.test('UDP in super-frames', async (t) => {
    const { namespaces, context, a, b } = await cable(t, {});
    const loop = new Loop(a, b);
    const port = new UdpNativePort({ address: '10.1.0.1', segmentation: true });
    const far = await within(namespaces.real('b'), () => FarSocket.at('10.1.0.2'));
    t.teardown(() => Promise.all([far.close(), port.close()]));
    port.peers.set({ address: parse('10.1.0.2'), port: far.port });
    await within(namespaces.real('a'), () => port.open(testHost(context)));
    const batch = new Batch();
    const given: Uint8Array[] = [];
    const got: Uint8Array[] = [];
    for (let round = 0; round < 20; round++) {
      const train = Array.from({ length: 40 }, (_, i) => randomBytes(random, i === 39 ? 300 : 1400));
      given.push(...train);
      batch.add(Object.assign(putTrain(context.jumbo.take()!, train), { peer: 0 }));
      port.send(batch);
      await until(() => got.push(...far.collect().map(({ frame }) => frame)) >= given.length);
    }
    loop.stop();
    t.equal(Buffer.compare(Buffer.concat(got), Buffer.concat(given)), 0, `as they were sent, seed ${seed}`);
    t.equal(got.length, given.length);
    t.equal(loop.types.has(GSO_UDP_L4), (a.offloads & USO) !== 0, 'whole where the kernel has USO');
  });
}

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else streams();
