/** TAP and TUN devices: what their options do to the kernel's device, and what is refused. */
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { Batch } from '../../../lib/core/batch.ts';
import * as drops from '../../../lib/core/drop.ts';
import { CHECKSUM, GAPS, type Port, TSO4, TSO6, USO } from '../../../lib/io/port.ts';
import { type TapOptions, TapPort, TunPort } from '../../../lib/io/tap.ts';
import { testContext, testHost } from '../../gen/context.ts';
import { openDescriptors } from '../../gen/descriptors.ts';
import { until } from '../../gen/far-socket.ts';
import { asNobody, Namespaces } from '../../gen/netns.ts';
import { PacketSocket } from '../../gen/packet-socket.ts';
import { has, noNamespaces, noNative, skip } from '../../gen/skip.ts';

/** A namespace, and what opens ports in it that are closed at the end. */
function stand(t: Test) {
  const namespaces = new Namespaces(t);
  const namespace = namespaces.addQuiet('here');
  const context = testContext();
  const made: Port[] = [];
  t.teardown(async () => {
    for (const port of made) await port.close();
    if (context.pool.used + context.jumbo.used > 0) throw new Error('packets did not come home');
  });
  const open = async (options: TapOptions = {}, Kind: typeof TapPort | typeof TunPort = TapPort) => {
    const port = new Kind({ namespace, ...options });
    made.push(port);
    await port.open(testHost(context));
    return port;
  };
  /** What the system says of a device. */
  const show = (name: string) => {
    const [device] = JSON.parse(namespaces.run('here', `ip -j -d link show ${name}`));
    return { ...device, flags: device.flags.join(' ') };
  };
  const exists = (name: string) => namespaces.run('here', 'ip -br link').includes(`${name} `);
  return { namespaces, namespace, context, open, show, exists };
}

function frame(length = 60): Uint8Array {
  const bytes = new Uint8Array(length).fill(5);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  return bytes;
}

function send(port: Port, { pool }: ReturnType<typeof testContext>, bytes = frame()): void {
  const batch = new Batch();
  batch.add(pool.take()!.set(bytes));
  port.send(batch);
}

/** What a port receives at once. */
function receive(port: Port): number {
  const batch = new Batch();
  const n = port.receive(batch);
  batch.release();
  return n;
}

function options(): void {
  t.test('what is left out', async (t) => {
    const { open, show } = stand(t);
    const [tap, tun] = [await open(), await open({}, TunPort)];
    t.match([tap.name, tun.name], [/^tap\d+$/, /^tun\d+$/], 'a name that is free');
    t.match(show(tap.name), { mtu: 1500, flags: /\bUP/, link_type: 'ether' });
    t.match(show(tun.name), { mtu: 1500, flags: /\bUP/, link_type: 'none' });
    t.same([tap.mtu, tun.mtu], [1514, 1500]);
    t.equal(tap.offloads & ~USO, CHECKSUM | TSO4 | TSO6 | GAPS);
    t.equal(show(tap.name).gso_max_segs, 41, 'a super-frame fits a train');
    const another = await open();
    t.not(another.name, tap.name);
  });

  t.test('what is told', async (t) => {
    const { open, show, exists } = stand(t);
    const mac = Uint8Array.of(2, 3, 4, 5, 6, 7);
    const port = await open({ name: 'x%d', mac, mtu: 9000, up: false, maxSegments: 5, offload: false });
    t.equal(port.name, 'x0');
    const device = show('x0');
    t.match(device, { address: '02:03:04:05:06:07', mtu: 9000, gso_max_segs: 5 });
    t.notOk(/\bUP/.test(device.flags));
    t.equal(port.mtu, 9014);
    t.equal(port.offloads, CHECKSUM | GAPS);
    await port.close();
    t.notOk(exists('x0'), 'it goes with the port');
  });

  t.test('a namespace by its path', async (t) => {
    const { namespace, open, exists } = stand(t);
    await open({ name: 'there', namespace: `/run/netns/${namespace}` });
    t.ok(exists('there'));
    t.equal(spawnSync('ip', ['link', 'show', 'there']).status, 1, 'not here');
  });

  t.test('a persistent device stays, and is taken up again as it is', async (t) => {
    const { open, exists, show } = stand(t);
    const first = await open({ name: 'stays', persistent: true });
    const { address } = show('stays');
    await first.close();
    t.ok(exists('stays'));
    const second = await open({ name: 'stays', mtu: 1400 });
    t.match(show('stays'), { address, mtu: 1400 });
    await second.close();
    t.ok(exists('stays'), 'also after a port that did not make it');
  });

  t.test('two ports are two queues of one device', async (t) => {
    const { namespace, context, open } = stand(t);
    const one = await open({ name: 'many', multiQueue: true });
    const two = await open({ name: 'many', multiQueue: true });
    const far = new PacketSocket(namespace, 'many');
    t.teardown(far.close);
    send(one, context, frame(61));
    send(two, context, frame(62));
    t.same(
      far.collect().map(({ length }) => length),
      [61, 62],
    );
    far.deliver(Array.from({ length: 20 }, () => frame()));
    let got = 0;
    await until(() => (got += receive(one) + receive(two)) >= 20);
    t.equal(got, 20, 'each frame comes to one of them');
    await one.close();
    far.deliver([frame()]);
    await until(() => (got += receive(two)) > 20);
    t.equal(got, 21, 'what is left of the device works on');
  });

  t.test('options are checked', async (t) => {
    const refuse = (options: object, message: RegExp) => t.throws(() => new TapPort(options), { message });
    refuse({ name: 'a name' }, /"name" expected a device's name of 1 to 15 characters, got "a name"/);
    refuse({ name: 'sixteen-bytes-ab' }, /"name" expected/);
    refuse({ name: '' }, /"name" expected/);
    refuse({ name: '..' }, /"name" expected/);
    refuse({ name: 'ä-bytes-and-more' }, /"name" expected/);
    refuse({ mtu: 67 }, /"mtu" expected an integer 68\.\.65521, got 67/);
    refuse({ mac: new Uint8Array(5) }, /"mac" expected six bytes, got 5/);
    refuse({ mac: Uint8Array.of(1, 2, 3, 4, 5, 6) }, /"mac" expected the address of one device/);
    refuse({ maxSegments: 0 }, /"maxSegments" expected an integer 1\.\.65535, got 0/);
  });
}

function refusals(): void {
  t.test('what cannot be opened says why, and leaves no descriptor', async (t) => {
    const { namespaces, open } = stand(t);
    namespaces.run('here', 'ip tuntap add dev other mode tun');
    namespaces.run('here', 'ip tuntap add dev queues mode tap multi_queue');
    namespaces.run('here', 'ip link add veth type veth peer name peer');
    await open({ name: 'busy' });
    const before = openDescriptors();
    const refuse = (options: TapOptions, code: string, message: RegExp) =>
      t.rejects(open(options), { name: 'PortError', code, message });
    for (const name of ['other', 'queues', 'veth']) {
      await refuse({ name }, 'STATE', new RegExp(`^"${name}" exists with other flags than this port needs`));
    }
    await refuse({ name: 'busy' }, 'STATE', /^the device "busy" cannot be made: another program holds it/);
    await refuse(
      { namespace: 'nowhere' },
      'NO_SUCH_DEVICE',
      /namespace of "nowhere" cannot be opened: it does/,
    );
    await refuse({ namespace: '/dev/null' }, 'IO', /namespace "\/dev\/null" cannot be entered/);
    t.equal(openDescriptors(), before);
  });

  t.test('without the privilege', async (t) => {
    const { open } = stand(t);
    const before = openDescriptors();
    const error = await asNobody(() => new TapPort().open(testHost(testContext())).catch((error) => error));
    t.match(error, { name: 'PortError', code: 'PERMISSION', message: /CAP_NET_ADMIN|run as root/ });
    t.equal(openDescriptors(), before);
    t.ok(await open(), 'and with it');
  });

  t.test('a machine without /dev/net/tun', async (t) => {
    if (!has('unshare')) return skip(t, 'unshare is not installed');
    const script = new URL('open-tap.ts', import.meta.url).pathname;
    const node = [process.execPath, ...process.execArgv, script];
    const command = ['-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh', ...node];
    const { stdout, stderr } = spawnSync('unshare', command, { encoding: 'utf8', timeout: 60_000 });
    t.match(stdout, /"code":"NO_SUCH_DEVICE".*\/dev\/net\/tun cannot be opened.*modprobe tun/, stderr);
  });

  t.test('opening and closing leaves no descriptor', async (t) => {
    const { namespace, context } = stand(t);
    const port = new TapPort({ namespace });
    const host = testHost(context);
    const before = openDescriptors();
    for (let i = 0; i < 100; i++) {
      await port.open(host);
      await port.close();
    }
    t.equal(openDescriptors(), before);
  });
}

function troubles(): void {
  t.test('a device that is deleted ends the port', async (t) => {
    const { namespaces, context, open } = stand(t);
    for (const how of ['receive', 'send'] as const) {
      const port = await open({ name: 'gone' });
      const errors: string[] = [];
      port.onError = ({ code, message }) => errors.push(`${code}: ${message}`);
      namespaces.run('here', 'ip link del gone');
      if (how === 'receive') receive(port);
      else send(port, context);
      t.same(errors, ['NO_SUCH_DEVICE: "gone" was deleted'], how);
      send(port, context);
      t.equal(port.stats.droppedFor(drops.CLOSED), 1);
      await port.open(testHost(context));
      send(port, context);
      t.equal(port.stats.txPackets, 1, 'it is made anew');
      await port.close();
    }
  });

  t.test('while a device is down, frames to it are counted', async (t) => {
    const { namespaces, namespace, context, open } = stand(t);
    const port = await open({ name: 'dev0' });
    const far = new PacketSocket(namespace, 'dev0');
    t.teardown(far.close);
    namespaces.run('here', 'ip link set dev0 down');
    for (let i = 0; i < 5; i++) send(port, context);
    t.equal(port.stats.droppedFor(drops.PORT_ERROR), 5);
    t.equal(receive(port), 0);
    namespaces.run('here', 'ip link set dev0 up');
    send(port, context);
    t.equal(port.stats.txPackets, 1, 'up again');
    far.collect();
    far.deliver([frame()]);
    let got = 0;
    await until(() => (got += receive(port)) > 0);
    t.equal(got, 1, 'in both directions');
  });
}

const reason = noNamespaces() ?? noNative();
if (reason !== null) skip(t, reason);
else {
  options();
  refusals();
  troubles();
}
