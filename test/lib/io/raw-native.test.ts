/** Raw IP sockets: the contract of ports, and what the system does to headers. */
import t, { type Test } from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import { parse } from '../../../codecs/ip.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { createContext, portHost } from '../../../lib/core/context.ts';
import * as drops from '../../../lib/core/drop.ts';
import { type RawNativeOptions, RawNativePort } from '../../../lib/io/raw-native.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { openDescriptors } from '../../gen/descriptors.ts';
import { until } from '../../gen/far-socket.ts';
import { asNobody, within } from '../../gen/netns.ts';
import { noNamespaces, noNative, skip } from '../../gen/skip.ts';
import { ADDRESSES, ESP, type Family, packet, Wire } from '../../gen/wire.ts';
import { difference } from './conformance.ts';

/** An open port on a wire, and what is logged. */
async function stand(t: Test, family: Family, options: Partial<RawNativeOptions> = {}) {
  const wire = new Wire(t);
  const test = testContext();
  const warnings: string[] = [];
  const log = { ...test.log, warn: (text: string) => void warnings.push(text) };
  const port = new RawNativePort({ address: ADDRESSES[family][0], ...options });
  await within(wire.here, () => port.open(portHost(createContext({ ...test, log }))));
  t.teardown(() => port.close());
  const batch = new Batch();
  const send = (...frames: Uint8Array[]) => {
    for (const frame of frames) batch.add((frame.length > 1600 ? test.jumbo : test.pool).take()!.set(frame));
    port.send(batch);
  };
  const receive = async (count: number) => {
    const got: Uint8Array[] = [];
    await until(() => {
      port.receive(batch);
      for (let i = 0; i < batch.length; i++) got.push(batch.packets[i].frame().slice());
      batch.release();
      return got.length >= count;
    });
    return got;
  };
  const collect = async (count: number, protocol = ESP) => {
    const got: Uint8Array[] = [];
    await until(() => got.push(...wire.collect(protocol)) >= count);
    return got;
  };
  return { wire, context: test, port, warnings, send, receive, collect };
}

function headers(): void {
  for (const family of [4, 6] as const) {
    const [here, there] = ADDRESSES[family];
    t.test(`IPv${family}: headers come as they are on the wire`, async (t) => {
      const { wire, send, receive, collect, port } = await stand(t, family);
      const kinds = [
        { tos: 0, label: 0, hops: 1 },
        { tos: 0xff, label: 0xfffff, hops: 255 },
        { tos: 3, label: 0, hops: 64 },
        { tos: 0, label: 1, hops: 64 },
      ];
      const into = kinds.map((kind, i) => packet(family, [there, here], 60 + i, i + 1, kind));
      wire.deliver(into);
      t.same(difference(await receive(into.length), into), null, 'received');
      const out = kinds.map((kind, i) => packet(family, [here, there], 60 + i, i + 1, kind));
      send(...out);
      t.same(difference(await collect(out.length), out), null, 'sent');
      t.equal(port.stats.dropped, 0);
    });

    t.test(`IPv${family}: what is for others does not come in`, async (t) => {
      const { wire, receive } = await stand(t, family);
      const second = family === 4 ? '192.0.2.9' : '2001:db8::9';
      wire.namespaces.run(
        'here',
        `ip addr add ${second}/${family === 4 ? 24 : 64} dev eth0 ${family === 6 ? 'nodad' : ''}`,
      );
      const mine = packet(family, [there, here], 80);
      wire.deliver([
        packet(family, [there, second], 81),
        packet(family, [there, here], 82, 1, { protocol: 51 }),
        mine,
      ]);
      t.same(difference(await receive(1), [mine]), null);
      t.same(await receive(0), [], 'nothing else');
    });

    t.test(`IPv${family}: a socket for all addresses, and another protocol`, async (t) => {
      const { wire, receive } = await stand(t, family, {
        address: family === 4 ? '0.0.0.0' : '::',
        protocol: 253,
      });
      const mine = packet(family, [there, here], 80, 9, { protocol: 253 });
      wire.deliver([packet(family, [there, here], 81), mine]);
      t.same(difference(await receive(1), [mine]), null, 'the address is that on the wire');
    });
  }

  t.test('IPv4: the system fills checksum and identification', async (t) => {
    const { send, collect } = await stand(t, 4);
    const bytes = packet(4, ADDRESSES[4], 60);
    const v = viewOf(bytes);
    ipv4.setId(v, 0, 0);
    ipv4.setChecksum(v, 0, 0x1234);
    send(bytes);
    const [got] = await collect(1);
    t.ok(ipv4.verifyChecksum(viewOf(got), 0));
    t.same(got.subarray(12), bytes.subarray(12));
  });

  t.test('IPv4: fragments are put together', async (t) => {
    const { wire, receive } = await stand(t, 4);
    const [here, there] = ADDRESSES[4];
    const whole = packet(4, [there, here], 3020);
    const pieces = [0, 1480, 2960].map((from) => {
      const payload = whole.subarray(20 + from, Math.min(20 + from + 1480, whole.length));
      const piece = new Uint8Array(20 + payload.length);
      piece.set(payload, 20);
      const more = from < 2960 ? 1 : 0;
      const [src, dst] = [parse(there), parse(here)].map(({ words }) => words[3] | 0);
      ipv4.write(viewOf(piece), 0, 0, piece.length, 7, 0, 64, ESP, src, dst);
      viewOf(piece).setUint16(6, (more << 13) | (from >> 3));
      ipv4.fillChecksum(viewOf(piece), 0);
      return piece;
    });
    wire.deliver(pieces);
    const [got] = await receive(1);
    t.equal(got?.length, 3020, 'longer than an ordinary packet');
    t.same(got?.subarray(20), whole.subarray(20));
  });
}

function troubles(): void {
  for (const family of [4, 6] as const) {
    t.test(`IPv${family}: what the system refuses`, async (t) => {
      const { wire, context, port, warnings, send, collect } = await stand(t, family, { mtu: 9000 });
      const fits = packet(family, ADDRESSES[family], 1500);
      send(fits, packet(family, ADDRESSES[family], 1501), packet(family, ADDRESSES[family], 9001), fits);
      t.same((await collect(2)).length, 2, 'those around it leave');
      t.equal(port.stats.droppedFor(drops.TOO_BIG), 2, 'longer than the device, longer than the port');
      t.match(warnings, [/^"raw": a packet of 1501 bytes was refused: .* \(EMSGSIZE\)$/]);
      wire.namespaces.run('here', 'ip link set eth0 mtu 1400');
      send(fits);
      t.equal(port.stats.droppedFor(drops.TOO_BIG), 3, 'the MTU shrank');
      t.equal(warnings.length, 1, 'told once in ten seconds');
      const nowhere = family === 4 ? '198.51.100.1' : '2001:db8:1::1';
      send(packet(family, [ADDRESSES[family][0], nowhere], 100));
      t.equal(port.stats.droppedFor(drops.PORT_ERROR), 1, 'no route');
      const other = family === 4 ? 6 : 4;
      send(packet(other, ADDRESSES[other], 100), fits.subarray(0, 19), new Uint8Array(0));
      t.equal(port.stats.droppedFor(drops.MALFORMED), 3, 'another version, and none');
      t.equal(port.stats.txPackets, 2);
      t.equal(context.pool.used, 0);
    });
  }

  t.test('a send buffer that is full', async (t) => {
    const { wire, port, send, context } = await stand(t, 4, { sendBuffer: 1 });
    wire.namespaces.run('there', 'ip addr flush dev eth0');
    wire.namespaces.run('here', 'ip neigh flush dev eth0');
    for (let i = 0; i < 50; i++) send(packet(4, ADDRESSES[4], 1000));
    const { txPackets } = port.stats;
    t.ok(txPackets > 0 && txPackets < 50, `${txPackets} wait`);
    t.equal(port.stats.droppedFor(drops.PORT_FULL), 50 - txPackets);
    t.equal(context.pool.used, 0);
  });

  t.test('what cannot be opened says why, and leaves no descriptor', async (t) => {
    const host = testHost(testContext());
    const before = openDescriptors();
    const refuse = (address: string, code: string, message: RegExp) =>
      t.rejects(new RawNativePort({ address }).open(host), { name: 'PortError', code, message });
    await refuse('192.0.2.77', 'NO_SUCH_ADDRESS', /192\.0\.2\.77 cannot be opened: this machine has no such/);
    await refuse('2001:db8::77', 'NO_SUCH_ADDRESS', /2001:db8::77 cannot be opened/);
    await asNobody(() =>
      refuse('127.0.0.1', 'PERMISSION', /^no raw socket for protocol 50 can be had: .*CAP_NET_RAW/),
    );
    const port = new RawNativePort({ address: '127.0.0.1' });
    for (let i = 0; i < 100; i++) {
      await port.open(host);
      await port.close();
    }
    t.equal(openDescriptors(), before);
  });

  t.test('options are checked', async (t) => {
    const refuse = (options: object, message: RegExp) =>
      t.throws(() => new RawNativePort({ address: '127.0.0.1', ...options }), { message });
    refuse({ address: 'localhost' }, /expected an IPv4 or IPv6 address, got "localhost"/);
    refuse({ mtu: 70 }, /"mtu" expected an integer 576\.\.65535, got 70/);
    refuse({ protocol: 255 }, /"protocol" expected an integer 1\.\.254, got 255/);
    refuse({ sendBuffer: 0 }, /"sendBuffer" expected an integer 1\.\.1073741824, got 0/);
    const port = new RawNativePort({ address: '::1' });
    t.same([port.mtu, port.protocol, port.name], [1500, 50, 'raw']);
  });
}

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else {
  headers();
  troubles();
}
