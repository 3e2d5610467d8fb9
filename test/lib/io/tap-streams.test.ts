/**
 * Streams of the kernel's own TCP through two TAPs of two namespaces, joined by a loop that passes packets on as
 * they come: super-frames come out of one stack and go into the other, checksums never completed on the way.
 */
import t, { type Test } from 'tap';
import { parse } from '../../../codecs/ip.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { GSO_UDP_L4 } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { USO } from '../../../lib/io/port.ts';
import { type TapOptions, TapPort, TunPort } from '../../../lib/io/tap.ts';
import { UdpNativePort } from '../../../lib/io/udp-native.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { FarSocket, until } from '../../gen/far-socket.ts';
import { Namespaces, within } from '../../gen/netns.ts';
import { seed } from '../../gen/seed.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { Loop, MOST_SPREAD, spread, stream } from '../../gen/streams.ts';
import { randomBytes } from '../../gen/super-frames.ts';
import { putTrain } from '../../gen/trains.ts';

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
        t.ok(await stream(namespaces, address, random), `the same bytes arrive at ${address}, seed ${seed}`);
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
    namespaces.run('a', `ip link set dev0 gso_max_size ${MOST_SPREAD}`);
    let torn = 0;
    const loop = new Loop(a, b, (p) => {
      const q = spread(p, context.jumbo);
      if (q !== p) torn++;
      return q;
    });
    for (const address of ['10.1.0.2', 'fd00::2']) {
      t.ok(await stream(namespaces, address, random), `the same bytes arrive at ${address}, seed ${seed}`);
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
