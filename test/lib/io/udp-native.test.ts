/** The native UDP port: peers, source ports, TOS, and what the system refuses. */
import t, { type Test } from 'tap';
import * as ethernet from '../../../codecs/ethernet.ts';
import { format, parse } from '../../../codecs/ip.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { createContext, portHost } from '../../../lib/core/context.ts';
import * as drops from '../../../lib/core/drop.ts';
import type { Packet } from '../../../lib/core/packet.ts';
import { libc } from '../../../lib/io/native/libc.ts';
import { testTrains } from '../../../lib/io/native/self-test.ts';
import { type UdpNativeOptions, UdpNativePort } from '../../../lib/io/udp-native.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { openDescriptors } from '../../gen/descriptors.ts';
import { FarSocket, hasIpv6, turn, until } from '../../gen/far-socket.ts';
import { Namespaces, within } from '../../gen/netns.ts';
import { PacketSocket } from '../../gen/packet-socket.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { putTrain } from '../../gen/trains.ts';

/** A port, far sockets that are its peers 0, 1 and so on, and what is logged. */
async function stand(t: Test, options: Partial<UdpNativeOptions> = {}, farAddresses = ['127.0.0.2']) {
  const test = testContext({ count: 512 });
  const warnings: string[] = [];
  const log = { ...test.log, warn: (text: string) => void warnings.push(text) };
  const context = createContext({ ...test, log });
  const port = new UdpNativePort({ address: '127.0.0.1', port: 0, ...options });
  const fars: FarSocket[] = [];
  for (const address of farAddresses) {
    const far = await FarSocket.at(address);
    fars.push(far);
    port.peers.set({ address: parse(address), port: far.port });
  }
  await port.open(portHost(context));
  t.teardown(async () => {
    await port.close();
    for (const far of fars) await far.close();
    const { leaked } = test.pool;
    if (leaked.length > 0 || test.jumbo.used > 0) throw new Error(`packets did not come home: ${leaked}`);
  });
  return { context: test, port, far: fars[0], fars, warnings };
}

/** Sends one packet of `bytes` zeros. */
function send(
  port: UdpNativePort,
  from: { take(): Packet | null },
  bytes: number,
  notes: Partial<Packet> = {},
) {
  const batch = new Batch();
  const p = from.take()!.set(new Uint8Array(bytes));
  p.peer = 0;
  batch.add(Object.assign(p, notes));
  port.send(batch);
}

/** What the port receives until there are `count` packets. */
async function receive(port: UdpNativePort, count: number): Promise<{ bytes: number; tos: number }[]> {
  const batch = new Batch();
  const got: { bytes: number; tos: number }[] = [];
  await until(() => {
    port.receive(batch);
    for (let i = 0; i < batch.length; i++)
      got.push({ bytes: batch.packets[i].length, tos: batch.packets[i].tos });
    batch.release();
    return got.length >= count;
  });
  return got;
}

async function sources(): Promise<void> {
  await t.test('a flow always leaves from one source port, many flows from many', async (t) => {
    const { context, port, far } = await stand(t, { sourcePorts: 4 });
    const ports = async (hashes: readonly number[]) => {
      const got = new Map<number, number>();
      for (const [i, hash] of hashes.entries()) send(port, context.pool, 20 + i, { hash });
      await until(() => {
        for (const { frame, port } of far.collect()) got.set(frame.length - 20, port);
        return got.size >= hashes.length;
      });
      return hashes.map((_, i) => got.get(i)!);
    };
    const hashes = [0, 1, 2, 3, -1, -2, 0x7fffffff, -0x80000000];
    const first = await ports(hashes);
    t.equal(new Set(first).size, 4);
    t.ok(
      first.every((port) => port >= 49152 && port <= 65535),
      'RFC 7348 section 5',
    );
    t.notOk(first.includes(port.port), 'not the listening port');
    t.same(await ports(hashes), first, 'the same again');
  });

  await t.test('one source port is the listening port', async (t) => {
    const { context, port, far } = await stand(t, { sourcePorts: 1 });
    send(port, context.pool, 20);
    const got: number[] = [];
    await until(() => got.push(...far.collect().map((from) => from.port)) > 0);
    t.same(got, [port.port]);
  });
}

async function peers(): Promise<void> {
  await t.test('only peers are received from, whatever their source port', async (t) => {
    const { context, port } = await stand(t);
    const [stranger, second] = [await FarSocket.at('127.0.0.3'), await FarSocket.at('127.0.0.2')];
    t.teardown(() => Promise.all([stranger.close(), second.close()]));
    await stranger.deliver([new Uint8Array(30), new Uint8Array(30)], port);
    await second.deliver([new Uint8Array(31)], port);
    t.same(await receive(port, 1), [{ bytes: 31, tos: 0 }]);
    t.equal(port.stats.droppedFor(drops.UNKNOWN_PEER), 2);
    const other = new UdpNativePort({ address: '127.0.0.3', port: 0, sourcePorts: 1, segmentation: true });
    other.peers.set({ address: parse('127.0.0.1'), port: port.port });
    await other.open(testHost(context));
    const batch = new Batch();
    batch.add(
      putTrain(
        context.jumbo.take()!,
        Array.from({ length: 7 }, () => new Uint8Array(100)),
      ),
    );
    batch.packets[0].peer = 0;
    other.send(batch);
    await until(() => receiveNothing(port) && port.stats.dropped >= 9);
    t.equal(port.stats.droppedFor(drops.UNKNOWN_PEER), 9, 'a train counts for its datagrams');
    await other.close();
    port.peers.set({ address: parse('127.0.0.3'), port: 1 });
    await stranger.deliver([new Uint8Array(32)], port);
    t.same(await receive(port, 1), [{ bytes: 32, tos: 0 }], 'a new peer is known at once');
  });

  await t.test('peers that cannot be reached, and one that moves', async (t) => {
    const { context, port, warnings } = await stand(t);
    const six = port.peers.set({ address: parse('2001:db8::1'), port: 4789 });
    const zero = port.peers.set({ address: parse('127.0.0.9'), port: 0 });
    const broadcast = port.peers.set({ address: parse('255.255.255.255'), port: 4789 });
    for (const peer of [six, zero, broadcast]) send(port, context.pool, 20, { peer });
    t.equal(port.stats.droppedFor(drops.UNKNOWN_PEER), 2, 'another family, and a port that there is not');
    t.equal(port.stats.droppedFor(drops.PORT_ERROR), 1, 'what the system refuses');
    t.match(warnings, [/^"udp": a datagram of 20 bytes to 255\.255\.255\.255 was refused: .* \(EACCES\)$/]);
    send(port, context.pool, 20, { peer: broadcast });
    t.equal(warnings.length, 1, 'told once in ten seconds');
    const moved = await FarSocket.at('127.0.0.2');
    t.teardown(() => moved.close());
    port.peers.set({ address: parse('127.0.0.2'), port: moved.port });
    send(port, context.pool, 33);
    let got = 0;
    await until(() => (got += moved.collect().length) > 0);
    t.equal(got, 1, 'is found there');
  });

  await t.test('nobody listens: later datagrams leave all the same', async (t) => {
    const { context, port } = await stand(t, { sourcePorts: 1 }, []);
    const far = await FarSocket.at('127.0.0.2');
    const { port: gone } = far;
    await far.close();
    port.peers.set({ address: parse('127.0.0.2'), port: gone });
    for (let i = 0; i < 10; i++) {
      send(port, context.pool, 20);
      receiveNothing(port);
      await turn();
    }
    t.equal(port.stats.txPackets, 10, 'the answers by ICMP are no errors of ours');
    t.equal(port.stats.dropped, 0, `nobody at ${gone}`);
  });
}

function receiveNothing(port: UdpNativePort): boolean {
  const batch = new Batch();
  port.receive(batch);
  if (batch.length > 0) throw new Error('something was received');
  return true;
}

/** Bytes behind the Ethernet header of the frames of the loopback device that are for a UDP port. */
function datagramsFor(port: number, frames: readonly Uint8Array[], family: 4 | 6): Uint8Array[] {
  const at = family === 4 ? 20 : 40;
  return frames
    .map((frame) => frame.subarray(ethernet.SIZE))
    .filter(
      (ip) => ip[0] >> 4 === family && new DataView(ip.buffer, ip.byteOffset).getUint16(at + 2) === port,
    );
}

async function types(family: 4 | 6): Promise<void> {
  await t.test(`TOS and Don't Fragment over IPv${family}`, async (t) => {
    const [here, there] = family === 4 ? ['127.0.0.1', '127.0.0.2'] : ['::1', '::1'];
    const { context, port } = await stand(t, { address: here }, []);
    const other = new UdpNativePort({ address: there, port: 0 });
    await other.open(testHost(context));
    t.teardown(() => other.close());
    port.peers.set({ address: parse(there), port: other.port });
    other.peers.set({ address: parse(here), port: port.port });
    const wire = new PacketSocket('/proc/self/ns/net', 'lo');
    t.teardown(wire.close);
    const values = [0, 1, 2, 3, 0xb8, 0xba, 0xff];
    for (const tos of values) send(port, context.pool, 50 + tos, { tos });
    const got = await receive(other, values.length);
    const byBytes = (a: { bytes: number }, b: { bytes: number }) => a.bytes - b.bytes;
    t.same(
      got.sort(byBytes),
      values.map((tos) => ({ bytes: 50 + tos, tos })),
    );
    const seen = datagramsFor(other.port, wire.collect(), family);
    const v = seen.map((ip) => new DataView(ip.buffer, ip.byteOffset));
    const tosOf = (v: DataView) => (family === 4 ? v.getUint8(1) : (v.getUint16(0) >> 4) & 0xff);
    t.same(v.map(tosOf).sort(), [...values].sort(), 'on the wire');
    if (family === 4)
      t.ok(
        v.every((v) => (v.getUint16(6) & 0x4000) !== 0),
        'DF (RFC 7348 section 4.3)',
      );
  });
}

async function limits(): Promise<void> {
  await t.test('a path whose MTU shrinks', async (t) => {
    const { namespaces, context, port, warnings } = await onVeth(t, {});
    send(port, context.pool, 1400);
    t.equal(port.stats.txPackets, 1, 'fits');
    namespaces.run('a', 'ip link set eth0 mtu 1000');
    send(port, context.pool, 1400);
    t.equal(port.stats.droppedFor(drops.TOO_BIG), 1, 'EMSGSIZE');
    const batch = new Batch();
    batch.add(
      putTrain(
        context.jumbo.take()!,
        Array.from({ length: 9 }, () => new Uint8Array(1400)),
      ),
    );
    batch.packets[0].peer = 0;
    port.send(batch);
    t.equal(port.stats.droppedFor(drops.TOO_BIG), 10, 'all of a train');
    send(port, context.pool, 972);
    t.equal(port.stats.txPackets, 2, 'what fits passes');
    t.match(warnings, [/^"udp": a datagram of 1400 bytes to 192\.0\.2\.2 was refused/]);
    t.same([context.pool.used, context.jumbo.used], [0, 0]);
  });

  await t.test('a send buffer that is full', async (t) => {
    // Nobody answers for the address: what is sent waits in the kernel.
    const { namespaces, context, port } = await onVeth(t, { sendBuffer: 1, sourcePorts: 1 });
    namespaces.run('b', 'ip addr flush dev eth0');
    namespaces.run('a', 'ip neigh flush dev eth0');
    for (let i = 0; i < 50; i++) send(port, context.pool, 1000);
    const { txPackets } = port.stats;
    t.ok(txPackets > 0 && txPackets < 50, `${txPackets} wait`);
    t.equal(port.stats.droppedFor(drops.PORT_FULL), 50 - txPackets, 'the others are counted');
    t.equal(context.pool.used, 0, 'and none is kept');
  });
}

async function overload(): Promise<void> {
  await t.test('what comes too fast is counted', async (t) => {
    const { port, far } = await stand(t, { receiveBuffer: 1 });
    await far.deliver(
      Array.from({ length: 100 }, () => new Uint8Array(1000)),
      port,
    );
    port.tick(10_000);
    const missed = port.stats.droppedFor(drops.PORT_FULL);
    t.ok(missed > 0, `${missed} found no room`);
    t.equal((await receive(port, 100 - missed)).length, 100 - missed, 'the others are received');
    await far.deliver(
      Array.from({ length: 100 }, () => new Uint8Array(1000)),
      port,
    );
    await port.close();
    t.ok(port.stats.droppedFor(drops.PORT_FULL) > missed, 'also those of the end');
  });
}

/** A port in a namespace that is joined to another. */
async function onVeth(t: Test, options: Partial<UdpNativeOptions>) {
  const namespaces = new Namespaces(t);
  for (const name of ['a', 'b']) namespaces.addQuiet(name);
  namespaces.cable('a', 'eth0', 'b', 'eth0');
  namespaces.run('a', 'ip addr add 192.0.2.1/24 dev eth0');
  namespaces.run('b', 'ip addr add 192.0.2.2/24 dev eth0');
  const test = testContext({ count: 64 });
  const warnings: string[] = [];
  const log = { ...test.log, warn: (text: string) => void warnings.push(text) };
  const port = new UdpNativePort({ address: '192.0.2.1', ...options });
  port.peers.set({ address: parse('192.0.2.2'), port: 4789 });
  await within(namespaces.real('a'), () => port.open(portHost(createContext({ ...test, log }))));
  t.teardown(() => port.close());
  return { namespaces, context: test, port, warnings };
}

async function refusals(): Promise<void> {
  await t.test('what cannot be opened says why, and leaves no descriptor', async (t) => {
    const { port } = await stand(t);
    const host = testHost(testContext());
    // What koffi and the self-test of trains open stays.
    const before = openDescriptors();
    const refuse = async (options: Partial<UdpNativeOptions>, code: string, message: RegExp) => {
      const other = new UdpNativePort({ address: '127.0.0.1', port: 0, ...options });
      await t.rejects(other.open(host), { name: 'PortError', code, message });
      await t.rejects(other.open(host), { code }, 'and can be tried again');
      await other.close();
    };
    const taken = new RegExp(`^UDP port ${port.port} of 127.0.0.1 is in use: stop what holds it`);
    await refuse({ port: port.port }, 'ADDRESS_IN_USE', taken);
    await refuse({ address: '192.0.2.77' }, 'NO_SUCH_ADDRESS', /this machine has no address 192\.0\.2\.77/);
    for (let i = 0; i < 100; i++) {
      const other = new UdpNativePort({ address: '127.0.0.1', port: 0, sourcePorts: 64 });
      await other.open(host);
      await other.close();
    }
    t.equal(openDescriptors(), before);
  });

  await t.test('the sending sockets leave the listening port free', async (t) => {
    const port = new UdpNativePort({ address: '127.0.48.17', port: 49152, sourcePorts: 4 });
    await port.open(testHost(testContext({ count: 1 })));
    t.equal(port.port, 49152);
    await port.close();
  });

  t.test('options are checked', async (t) => {
    const refuse = (options: object, message: RegExp) =>
      t.throws(() => new UdpNativePort({ address: '127.0.0.1', ...options }), { message });
    refuse({ address: 'localhost' }, /expected an IPv4 or IPv6 address, got "localhost"/);
    refuse({ mtu: 70 }, /"mtu" expected an integer 548\.\.65507, got 70/);
    refuse({ port: 65536 }, /"port" expected an integer 0\.\.65535, got 65536/);
    refuse({ sourcePorts: 65 }, /"sourcePorts" expected an integer 1\.\.64, got 65/);
    refuse({ receiveBuffer: -1 }, /"receiveBuffer" expected an integer 1\.\.1073741824, got -1/);
    refuse({ segmentation: 'yes' }, /"segmentation" expected true, false or "auto", got yes/);
    t.equal(new UdpNativePort({ address: '127.0.0.1' }).mtu, 1472);
    t.equal(new UdpNativePort({ address: '::1' }).mtu, 1452);
  });
}

async function selfTest(): Promise<void> {
  await t.test('the test of trains', async (t) => {
    const native = libc();
    for (const family of [4, 6] as const) {
      if (family === 6 && !(await hasIpv6())) continue;
      t.equal(testTrains(family, native), true, 'this kernel carries them whole');
      const lies = { ...native, sendmmsg: () => 1 };
      t.equal(testTrains(family, lies), false, 'nothing arrives');
      const refuses = { ...native, sendmmsg: () => -1, errno: () => 22 };
      t.equal(testTrains(family, refuses), false, 'no such option');
      const unreachable = { ...native, sendmmsg: () => -1, errno: () => 101 };
      t.equal(testTrains(family, unreachable), null, `no way to ${format(parse('::1'))}`);
      const loses: typeof native = {
        ...native,
        read: (fd, to, bytes) => native.read(fd, to, bytes) && native.read(fd, to, bytes),
      };
      t.equal(testTrains(family, loses), false, 'others than were sent');
      t.equal(testTrains(family, { ...native, read: () => 199 }), false, 'of another length');
      t.equal(testTrains(family, { ...native, socket: () => -1 }), null, 'no socket');
    }
  });
}

const reason = noNative();
if (reason !== null) skip(t, reason);
else {
  await sources();
  await peers();
  await refusals();
  await overload();
  await selfTest();
  const unable = noNamespaces();
  if (unable !== null) skip(t, unable);
  else {
    await types(4);
    if (await hasIpv6()) await types(6);
    await limits();
  }
}
