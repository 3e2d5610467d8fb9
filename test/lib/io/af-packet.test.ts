/** A network device as a port: tags, checksums and super-frames, and devices that come and go. */
import t, { type Test } from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import { dissect } from '../../../codecs/dissect.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import { parse } from '../../../codecs/ip.ts';
import { Layers } from '../../../codecs/layers.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { createContext, portHost } from '../../../lib/core/context.ts';
import * as drops from '../../../lib/core/drop.ts';
import { GSO_UDP_L4, NONE } from '../../../lib/core/packet.ts';
import { completeChecksum } from '../../../lib/core/partial-checksum.ts';
import { Random } from '../../../lib/core/random.ts';
import { type AfPacketOptions, AfPacketPort } from '../../../lib/io/af-packet.ts';
import { UdpNativePort } from '../../../lib/io/udp-native.ts';
import { verify } from '../../gen/checksums.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { openDescriptors } from '../../gen/descriptors.ts';
import { FarSocket, until } from '../../gen/far-socket.ts';
import { asNobody, Namespaces, within } from '../../gen/netns.ts';
import { PacketSocket } from '../../gen/packet-socket.ts';
import { seed } from '../../gen/seed.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { Loop, MOST_SPREAD, spread, stream } from '../../gen/streams.ts';
import { randomBytes } from '../../gen/super-frames.ts';
import { putTrain } from '../../gen/trains.ts';
import { difference } from './conformance.ts';

const random = new Random(seed);
t.comment(`seed ${seed}`);

/** A frame of an experimental type, with tags in front of that. */
function frame(length: number, tags: readonly (readonly [number, number])[] = []): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => i);
  const v = viewOf(bytes);
  ethernet.write(v, 0, 0x0200, 1, 0x0200, 2, 0);
  let at = 12;
  for (const [type, tci] of tags) {
    v.setUint16(at, type);
    v.setUint16(at + 2, tci);
    at += 4;
  }
  v.setUint16(at, 0x88b5);
  return bytes;
}

/** A cable: a port at one end, whatever the test wants at the other. */
async function stand(t: Test, options: Partial<AfPacketOptions> = {}) {
  const namespaces = new Namespaces(t);
  const [here, there] = ['here', 'there'].map((name) => namespaces.addQuiet(name));
  namespaces.cable('here', 'eth0', 'there', 'eth0');
  const test = testContext();
  const warnings: string[] = [];
  const log = { ...test.log, warn: (text: string) => void warnings.push(text) };
  const host = portHost(createContext({ ...test, log }));
  const port = new AfPacketPort({ device: 'eth0', namespace: here, ...options });
  await port.open(host);
  t.teardown(async () => {
    await port.close();
    if (test.pool.used + test.jumbo.used > 0) throw new Error('packets did not come home');
  });
  const batch = new Batch();
  const send = (...frames: Uint8Array[]) => {
    for (const frame of frames) batch.add((frame.length > 1600 ? test.jumbo : test.pool).take()!.set(frame));
    port.send(batch);
  };
  return { namespaces, here, there, context: test, host, port, warnings, batch, send };
}

/** Frames that a port receives until there are `count`. */
async function receive(port: AfPacketPort, count: number): Promise<Uint8Array[]> {
  const batch = new Batch();
  const got: Uint8Array[] = [];
  await until(() => {
    port.receive(batch);
    for (let i = 0; i < batch.length; i++) got.push(batch.packets[i].frame().slice());
    batch.release();
    return got.length >= count;
  });
  return got;
}

function contents(): void {
  t.test('VLAN tags are there in both directions', async (t) => {
    const { there, host, port, send } = await stand(t);
    const far = new PacketSocket(there, 'eth0');
    t.teardown(far.close);
    const other = new AfPacketPort({ device: 'eth0', namespace: there });
    await other.open(host);
    t.teardown(() => other.close());
    const frames = [
      frame(60),
      frame(64, [[0x8100, 0x0007]]),
      frame(65, [[0x8100, 0xffff]]),
      frame(66, [[0x8100, 0x0000]]),
      frame(67, [[0x88a8, 0x2123]]),
      frame(68, [
        [0x88a8, 0x0123],
        [0x8100, 0x6456],
      ]),
      frame(1500, [[0x8100, 0x1001]]),
    ];
    far.deliver(frames);
    t.same(difference(await receive(port, frames.length), frames), null, 'received as they were sent');
    send(...frames);
    t.same(difference(await receive(other, frames.length), frames), null, 'sent as they are');
    t.equal(port.stats.dropped, 0);
  });

  t.test('what leaves by the device does not come in', async (t) => {
    const { namespaces, port, send } = await stand(t);
    send(frame(60));
    namespaces.run('here', 'ip addr add 192.0.2.1/24 dev eth0');
    await namespaces.attempt('here', 'ping -c 1 -W 1 192.0.2.2');
    t.same(await receive(port, 0), []);
    t.equal(port.stats.rxPackets, 0, 'not even questions for an address');
  });

  t.test('checksums of a stack are partial, and right when they are completed', async (t) => {
    const { namespaces, there, context, port, batch } = await stand(t);
    namespaces.run('there', 'ip addr add 192.0.2.2/24 dev eth0');
    namespaces.run('there', 'ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0');
    const far = await within(there, () => FarSocket.at('192.0.2.2'));
    t.teardown(() => far.close());
    const count = 30;
    await far.deliver(
      Array.from({ length: count }, () => randomBytes(random, random.below(1400))),
      { address: '192.0.2.1', port: 9 },
    );
    const layers = new Layers();
    let [partial, right, seen] = [0, 0, 0];
    await until(() => {
      port.receive(batch);
      for (let i = 0; i < batch.length; i++) {
        const p = batch.packets[i];
        if (p.csumStart !== NONE) partial++;
        if (p.csumStart === NONE || completeChecksum(p)) {
          dissect(p.view, p.start, p.end, layers);
          if ([1, 2].every((k) => verify(p.view, layers, k) === true)) right++;
        }
        seen++;
      }
      batch.release();
      return seen >= count;
    });
    t.same([partial, right], [count, count]);
    t.equal(context.pool.used, 0);
  });
}

/** Two namespaces with an address each, joined by cables to a third, where two ports are. */
async function middle(t: Test, options: Partial<AfPacketOptions>) {
  const namespaces = new Namespaces(t);
  const namespace = namespaces.addQuiet('middle');
  const context = testContext({ count: 512 });
  const ports: AfPacketPort[] = [];
  for (const [i, name] of ['a', 'b'].entries()) {
    namespaces.add(name);
    namespaces.cable(name, 'dev0', 'middle', `to-${name}`);
    namespaces.run(name, `ip addr add 10.1.0.${i + 1}/24 dev dev0`);
    namespaces.run(name, `ip addr add fd00::${i + 1}/64 dev dev0 nodad`);
    const port = new AfPacketPort({ device: `to-${name}`, namespace, ...options });
    await port.open(testHost(context));
    ports.push(port);
  }
  t.teardown(async () => {
    for (const port of ports) await port.close();
    if (context.pool.used + context.jumbo.used > 0) throw new Error('packets did not come home');
  });
  return { namespaces, context, a: ports[0], b: ports[1] };
}

function superFrames(): void {
  for (const options of [{}, { bypass: true }]) {
    t.test(`TCP of a stack, super-frame by super-frame ${JSON.stringify(options)}`, async (t) => {
      const { namespaces, a, b } = await middle(t, options);
      const loop = new Loop(a, b);
      for (const address of ['10.1.0.2', 'fd00::2']) {
        t.ok(await stream(namespaces, address, random), `the same bytes arrive at ${address}, seed ${seed}`);
      }
      loop.stop();
      const { supers, partial, largest } = loop.seen;
      t.ok(supers > 20, `${supers} super-frames`);
      t.ok(partial >= supers, `${partial} checksums to be completed`);
      t.ok(largest > 20_000, `of up to ${largest} bytes`);
    });
  }

  t.test('super-frames with gaps', async (t) => {
    const { namespaces, context, a, b } = await middle(t, {});
    namespaces.run('a', `ip link set dev0 gso_max_size ${MOST_SPREAD}`);
    let torn = 0;
    const loop = new Loop(a, b, (p) => {
      const q = spread(p, context.jumbo);
      if (q !== p) torn++;
      return q;
    });
    t.ok(await stream(namespaces, '10.1.0.2', random), `the same bytes arrive, seed ${seed}`);
    loop.stop();
    t.ok(torn > 5, `${torn} came with gaps`);
  });

  t.test('UDP of a stack in super-frames', async (t) => {
    const { namespaces, context, a, b } = await middle(t, {});
    const loop = new Loop(a, b);
    const port = new UdpNativePort({ address: '10.1.0.1', segmentation: true });
    const far = await within(namespaces.real('b'), () => FarSocket.at('10.1.0.2'));
    t.teardown(() => Promise.all([far.close(), port.close()]));
    port.peers.set({ address: parse('10.1.0.2'), port: far.port });
    await within(namespaces.real('a'), () => port.open(testHost(context)));
    const batch = new Batch();
    const train = Array.from({ length: 40 }, (_, i) => randomBytes(random, i === 39 ? 300 : 1400));
    batch.add(Object.assign(putTrain(context.jumbo.take()!, train), { peer: 0 }));
    port.send(batch);
    const got: Uint8Array[] = [];
    await until(() => got.push(...far.collect().map(({ frame }) => frame)) >= train.length);
    loop.stop();
    t.same(difference(got, train), null, `seed ${seed}`);
    t.ok(loop.types.has(GSO_UDP_L4), 'it came whole');
  });
}

function troubles(): void {
  t.test('a device that goes down ends the port, until it is up again', async (t) => {
    const { namespaces, there, host, port, send, batch } = await stand(t);
    const errors: string[] = [];
    port.onError = ({ code, message }) => errors.push(`${code}: ${message}`);
    namespaces.run('here', 'ip link set eth0 down');
    port.receive(batch);
    t.match(errors, [/^NO_SUCH_DEVICE: "eth0" has failed: it is down, or gone.* \(ENETDOWN\)$/]);
    send(frame(60));
    t.equal(port.stats.droppedFor(drops.CLOSED), 1);
    const before = openDescriptors();
    await t.rejects(port.open(host), {
      code: 'NO_SUCH_DEVICE',
      message: /"eth0" cannot be opened: it is down/,
    });
    t.equal(openDescriptors(), before);
    namespaces.run('here', 'ip link set eth0 up');
    await port.open(host);
    const far = new PacketSocket(there, 'eth0');
    t.teardown(far.close);
    send(frame(60));
    t.same(far.collect(), [frame(60)]);
    far.deliver([frame(61)]);
    t.same(await receive(port, 1), [frame(61)]);
    t.equal(errors.length, 1);
  });

  t.test('a device that is deleted ends the port', async (t) => {
    const { namespaces, host, port, send, batch } = await stand(t);
    const errors: string[] = [];
    port.onError = ({ code }) => errors.push(code);
    namespaces.run('here', 'ip link del eth0');
    send(frame(60));
    t.equal(port.stats.droppedFor(drops.PORT_ERROR), 1);
    for (let i = 0; i < 3; i++) port.receive(batch);
    t.same(errors, ['NO_SUCH_DEVICE']);
    await t.rejects(port.open(host), {
      code: 'NO_SUCH_DEVICE',
      message: /^"eth0" cannot be opened: there is no/,
    });
  });

  t.test('what the device refuses, and what comes too fast', async (t) => {
    const { there, port, warnings, send } = await stand(t, { mtu: 9000, receiveBuffer: 1 });
    const far = new PacketSocket(there, 'eth0');
    t.teardown(far.close);
    send(frame(1514), frame(3000), frame(9015), frame(1514));
    t.equal(port.stats.droppedFor(drops.TOO_BIG), 2, 'longer than the device, longer than the port');
    t.match(warnings, [/^"eth0": a frame of 3000 bytes was refused: .* \(EMSGSIZE\)$/]);
    t.equal(far.collect().length, 2, 'those around it leave');
    far.deliver(Array.from({ length: 100 }, () => frame(1000)));
    const got = await receive(port, 1);
    port.tick(2000);
    t.ok(got.length < 100, `${got.length} found room`);
    t.equal(port.stats.droppedFor(drops.PORT_FULL), 100 - got.length, 'the others are counted');
  });

  t.test('promiscuous as long as it is open', async (t) => {
    const { namespaces, port } = await stand(t, { promiscuous: true });
    const promiscuity = () => JSON.parse(namespaces.run('here', 'ip -j -d link show eth0'))[0].promiscuity;
    t.equal(promiscuity(), 1);
    await port.close();
    t.equal(promiscuity(), 0);
  });

  t.test('what cannot be opened says why, and leaves no descriptor', async (t) => {
    const { namespaces, here, host } = await stand(t);
    namespaces.run('here', 'ip tuntap add dev tun0 mode tun');
    namespaces.run('here', 'ip link set tun0 up');
    const before = openDescriptors();
    const refuse = (options: Partial<AfPacketOptions>, code: string, message: RegExp) => {
      const port = new AfPacketPort({ device: 'eth0', namespace: here, ...options });
      return t.rejects(port.open(host), { name: 'PortError', code, message });
    };
    await refuse({ device: 'eth7' }, 'NO_SUCH_DEVICE', /^"eth7" cannot be opened: there is no such device/);
    await refuse(
      { device: 'tun0' },
      'NOT_SUPPORTED',
      /^"tun0" cannot be opened: it carries no Ethernet frames/,
    );
    await refuse({ namespace: 'nowhere' }, 'NO_SUCH_DEVICE', /namespace of "nowhere" cannot be opened/);
    await asNobody(() =>
      t.rejects(new AfPacketPort({ device: 'lo' }).open(host), {
        code: 'PERMISSION',
        message: /CAP_NET_RAW/,
      }),
    );
    const port = new AfPacketPort({ device: 'eth0', namespace: here });
    for (let i = 0; i < 100; i++) {
      await port.open(host);
      await port.close();
    }
    t.equal(openDescriptors(), before);
  });

  t.test('options are checked', async (t) => {
    const refuse = (options: object, message: RegExp) =>
      t.throws(() => new AfPacketPort({ device: 'eth0', ...options }), { message });
    refuse({ device: 'a name' }, /"device" expected a device's name of 1 to 15 characters, got "a name"/);
    refuse({ device: undefined }, /"device" expected/);
    refuse({ mtu: 67 }, /"mtu" expected an integer 68\.\.65521, got 67/);
    refuse({ receiveBuffer: 0 }, /"receiveBuffer" expected an integer 1\.\.1073741824, got 0/);
    const port = new AfPacketPort({ device: 'eth0' });
    t.same([port.name, port.mtu], ['eth0', 1514]);
  });
}

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else {
  contents();
  superFrames();
  troubles();
}
