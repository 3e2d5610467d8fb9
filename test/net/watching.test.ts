/** Whole overlays that are watched while they run: captures of networks, ports and underlays, and what is dropped. */
import t from 'tap';
import { fromHex } from '../../codecs/bytes.ts';
import { INBOUND, OUTBOUND } from '../../codecs/capture.ts';
import { readCapture } from '../../codecs/capture-reader.ts';
import { format } from '../../codecs/format.ts';
import type { Port } from '../../lib/io/port.ts';
import { Faults } from '../../lib/io/wrap/faults.ts';
import type { CaptureRequest, OnBytes } from '../../lib/overlay/capture.ts';
import type { DropSeen, Overlay } from '../../lib/overlay.ts';
import { EncryptedWorld } from '../gen/encrypted.ts';
import { endpoint, identity, World } from '../gen/world.ts';

const HOSTS = ['192.0.2.1', '192.0.2.2'];

/** A capture into memory. */
async function capture(overlay: Overlay, request: CaptureRequest) {
  const parts: Uint8Array[] = [];
  const running = await overlay.capture(request, (bytes) => void parts.push(bytes));
  const read = () => {
    const { packets, interfaces, error } = readCapture(Buffer.concat(parts));
    if (error !== null) throw error;
    return packets.map(({ bytes, flags, interface: n }) => {
      const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const way = { [INBOUND]: 'in', [OUTBOUND]: 'out' }[flags] ?? '?';
      return `${interfaces[n].name} ${way} ${format(v, 0, v.byteLength)}`;
    });
  };
  return { running, read, parts };
}

/** Two hosts, on each of which is one endpoint of network 42; on the first another of network 43. */
async function plain() {
  const world = new World();
  const ends = [2, 3, 4].map((n) => endpoint(n, { name: `end${n}` }));
  const network = (n: number) => ({
    vni: 42,
    remotes: [HOSTS[1 - n]],
    ports: [{ port: ends[n], ...identity(n + 2) }],
  });
  const networks = [network(0), { vni: 43, ports: [{ port: ends[2] }] }];
  const a = await world.host(HOSTS[0], networks);
  const b = await world.host(HOSTS[1], [network(1)]);
  const ping = () => world.until(ends[0].ping('10.0.0.3'));
  return { world, ends, a, b, ping, networks };
}

/** UDP from 10.0.0.3, as endpoint 3, to 10.0.0.2. */
const FRAME =
  '02420a000002' +
  '02420a000003' +
  '0800' +
  '4500001c00000000401166cb' +
  '0a000003' +
  '0a000002' +
  '03e807d000080000';

const ECHO = /ICMP echo (request|reply)/;

t.test('a network, a port, the underlay', async (t) => {
  const { world, a, ping, networks, ends } = await plain();
  const before = a.engine.graph.names;
  const network = await capture(a, { what: { network: 42 } });
  const port = await capture(a, { what: { port: 'end2' } });
  const other = await capture(a, { what: { network: 43 } });
  const underlay = await capture(a, { what: 'underlay' });
  await ping();
  t.same(await network.running.stop(), await network.running.ended);
  const seen = network.read();
  t.match(
    seen.filter((line) => ECHO.test(line)),
    [
      /^end2 in IP 10\.0\.0\.2 > 10\.0\.0\.3: ICMP echo request/,
      /^end2 out IP 10\.0\.0\.3 > 10\.0\.0\.2: ICMP echo reply/,
    ],
  );
  await underlay.running.stop();
  t.match(
    underlay.read().filter((line) => ECHO.test(line)),
    [
      /^underlay out IP 192\.0\.2\.1\.4789 > 192\.0\.2\.2\.4789: VXLAN, .*vni 42: IP 10\.0\.0\.2 > 10\.0\.0\.3: ICMP echo request/,
      /^underlay in IP 192\.0\.2\.2\.4789 > 192\.0\.2\.1\.4789: VXLAN, .*vni 42: IP 10\.0\.0\.3 > 10\.0\.0\.2: ICMP echo reply/,
    ],
  );
  await ping();
  t.equal(network.read().length, seen.length, 'nothing comes after the end');
  await world.change(a, HOSTS[0], [
    networks[0],
    { vni: 43, ports: [{ port: ends[2] }, { port: endpoint(5, { name: 'end5' }) }] },
  ]);
  const late = a.engine.graph.port('43.end5') as (typeof ends)[0];
  await world.until(ends[2].ping('10.0.0.5'));
  t.equal(late.mtu, ends[2].mtu);
  const counts = await other.running.stop();
  t.ok(
    other.read().some((line) => /^end5 out .*echo request/.test(line)),
    'a port that came later is in it',
  );
  t.match(counts, { why: 'stopped', error: null, packets: other.read().length, dropped: 0 });
  t.equal(counts.bytes, Buffer.concat(other.parts).length);
  world.run(200);
  t.equal(port.read().filter((line) => ECHO.test(line)).length, 4, 'bytes come without an end, too');
  await a.stop();
  t.match(await port.running.ended, { why: 'closed' });
  world.overlays.shift();
  t.equal(await world.end(), 0);
  t.same(before.includes('watch'), false);
});

t.test('some ports, by other names', async (t) => {
  const { world, a, ends, ping } = await plain();
  const request = { what: { ports: ['end2', 'end4'] }, names: { end2: 'web', toString: 'nobody' } };
  const { running, read } = await capture(a, request);
  await ping();
  ends[2].sendFrame(fromHex(FRAME));
  world.run(10);
  await running.stop();
  t.same(new Set(read().map((line) => line.split(' ')[0])), new Set(['web', 'end4']));
  await world.end();
});

t.test('nothing is left in the graph of who does not watch any more', async (t) => {
  const { world, a } = await plain();
  const before = a.engine.graph.names;
  const { running } = await capture(a, { what: 'underlay', decrypt: true });
  const trace = await a.trace(() => {});
  t.ok(a.context.onDrop);
  await running.stop();
  await trace.stop();
  world.run(10);
  await world.change(a, HOSTS[0], []);
  t.same(
    a.engine.graph.names.filter((name) => !before.includes(name)),
    [],
  );
  t.equal(a.context.onDrop, null);
  await world.end();
});

t.test('limits, and what makes no sense', async (t) => {
  const { world, a, ping } = await plain();
  const three = await capture(a, { what: { network: 42 }, limit: { packets: 3 } });
  const few = await capture(a, { what: { network: 42 }, limit: { bytes: 500 }, snaplen: 128 });
  for (let i = 0; i < 5; i++) await ping();
  t.match(await three.running.ended, { why: 'limit', packets: 3 });
  t.equal(three.read().length, 3);
  const { why, bytes } = await few.running.ended;
  t.equal(why, 'limit');
  t.ok(bytes >= 500 && bytes < 800, `${bytes} bytes`);
  const refuse = (request: unknown, error: RegExp) =>
    t.rejects(
      a.capture(request as CaptureRequest, () => {}),
      error,
    );
  await refuse({ what: { network: 44 } }, /^no network has the VNI 44$/);
  await refuse({ what: { port: 'nope' } }, /^no port is called "nope"$/);
  await refuse({ what: { ports: ['end2', 'nope'] } }, /^no port is called "nope"$/);
  await refuse({ what: { ports: [] } }, /^"what" expected .* a network or ports/);
  await refuse({ what: 'underlay', names: 'end2' }, /^"names" expected an object, got "end2"$/);
  await refuse({ what: 'all' }, /^"what" expected .* got "all"$/);
  await refuse({ what: 'underlay', snaplen: 7 }, /^"snaplen" expected an integer 128..262144, got 7$/);
  await refuse({ what: 'underlay', limit: { packets: 0 } }, /^"limit.packets" expected an integer 1/);
  await t.rejects(
    a.trace(() => {}, { limit: 0 }),
    { message: '"limit" expected an integer 1..10000, got 0' },
  );
  await world.end();
});

t.test("a reader that is slow, or throws, is in nobody's way", async (t) => {
  const { world, a, ends, ping } = await plain();
  const broken: OnBytes[] = [
    () => {
      throw new Error('no more');
    },
    () => Promise.reject(new Error('no more')),
  ];
  for (const onBytes of broken) {
    const running = await a.capture({ what: { network: 42 } }, onBytes);
    await ping();
    world.run(200);
    t.match(await running.ended, { why: 'failed', error: /no more/ });
  }
  let handed = 0;
  const slow = await a.capture({ what: { network: 42 } }, ({ length }) => {
    handed += length;
    return new Promise(() => {});
  });
  let sent = 0;
  while (sent < 8000) {
    for (let i = 0; i < 500; i++) sent += ends[0].sendUdp('10.0.0.3', 1000, new Uint8Array(1300)) ? 1 : 0;
    world.run(10);
  }
  const { dropped, packets, bytes } = await slow.stop();
  t.equal(dropped + packets, 8000);
  t.ok(dropped > 0 && bytes === handed && bytes > 8 << 20 && bytes < 9 << 20, `${bytes} bytes`);
  t.equal(ends[1].counts.datagrams, 8000, 'all have arrived');
  t.equal(await world.end(), 0);
});

t.test('ESP as it is, and what it carries', async (t) => {
  const world = new EncryptedWorld({ hosts: HOSTS });
  const ends = [endpoint(2), endpoint(3)];
  const overlays = [await world.start(0, ends[0]), await world.start(1, ends[1])];
  world.run(20_000);
  const sealed = await capture(overlays[0], { what: 'underlay' });
  const clear = await capture(overlays[0], { what: 'underlay', decrypt: true });
  await world.until(ends[0].ping('10.0.0.3'));
  for (const { running } of [sealed, clear]) await running.stop();
  t.ok(sealed.read().length >= 2);
  for (const line of sealed.read()) t.match(line, /^esp-underlay (in|out) IP 192.*\.4500 > .*\.4500: .*ESP/);
  t.match(
    clear.read().filter((line) => ECHO.test(line)),
    [
      /^esp out IP 192\.0\.2\.1\.4789 > 192\.0\.2\.2\.4789: VXLAN, .*vni 2: IP 10\.0\.0\.2 > 10\.0\.0\.3: ICMP echo request/,
      /^esp in IP 192\.0\.2\.2\.4789 > 192\.0\.2\.1\.4789: VXLAN, .*vni 2: IP 10\.0\.0\.3 > 10\.0\.0\.2: ICMP echo reply/,
    ],
  );
  await world.until(ends[0].ping('10.0.0.3'));
  t.equal(await world.end(), 0);
});

/** Drops of an overlay in words. */
async function trace(overlay: Overlay, limit?: number) {
  const drops: DropSeen[] = [];
  let leftOut = 0;
  const running = await overlay.trace(
    (seen, more) => {
      drops.push(...seen);
      leftOut += more;
    },
    limit === undefined ? {} : { limit },
  );
  return { running, drops, leftOut: () => leftOut };
}

t.test('drops of elements and ports in words, so many a second', async (t) => {
  const world = new World();
  const ends = [2, 3].map((n) => endpoint(n, { name: `end${n}` }));
  const network = (n: number) => ({
    vni: 42,
    remotes: [HOSTS[1 - n]],
    ports: [{ port: ends[n], ...identity(n + 2) }],
  });
  const faulty = (port: Port) => new Faults(port, { seed: 1, drop: 1, direction: 'receive' });
  const a = await world.host(HOSTS[0], [network(0)], faulty);
  const b = await world.host(HOSTS[1], [network(1)]);
  const first = await trace(a, 3);
  const all = await trace(a);
  const other = await trace(b);
  // Somebody else's MAC address, in an ARP request.
  const forged = fromHex(
    `ffffffffffff020000000099 0806 0001080006040001 020000000099 0a000063 000000000000 0a000003`.replaceAll(
      ' ',
      '',
    ),
  );
  for (let i = 0; i < 5; i++) ends[0].sendFrame(forged);
  world.run(500);
  t.equal(first.drops.length, 3);
  t.equal(first.leftOut(), 2);
  t.equal(all.drops.length, 5);
  t.match(all.drops[0], {
    where: '42.guard',
    reason: 'spoofed-mac',
    text: 'the source MAC address is not one of the port',
    frame: /^ARP, Request who-has 10\.0\.0\.3 .*tell 10\.0\.0\.99/,
  });
  t.ok(
    all.drops[0].at >= a.context.clock.origin &&
      all.drops[0].at <= a.context.clock.origin + a.context.clock.now,
  );
  world.run(1000);
  ends[1].sendFrame(fromHex(FRAME));
  world.run(200);
  t.match(all.drops[5], {
    where: 'underlay',
    reason: 'fault-injected',
    frame: /^192\.0\.2\.2: VXLAN, .*vni 42: IP 10\.0\.0\.3\.1000 > 10\.0\.0\.2\.2000: UDP, length 0/,
  });
  t.equal(first.drops.length, 4, 'another second, room for more');
  t.same(other.drops, []);
  await first.running.stop();
  await all.running.stop();
  ends[0].sendFrame(forged);
  world.run(200);
  t.equal(all.drops.length, 6);
  await a.trace(() => {});
  await world.end();
  t.equal(a.context.onDrop, null, 'none outlives its overlay');
});

t.test('drops of ESP in words', async (t) => {
  const world = new EncryptedWorld({ hosts: HOSTS, secrets: { 1: 'another secret than everybody has' } });
  const ends = [endpoint(2), endpoint(3)];
  const overlays = [await world.start(0, ends[0]), await world.start(1, ends[1])];
  world.run(20_000);
  const [here, there] = [await trace(overlays[0]), await trace(overlays[1])];
  ends[1].sendFrame(fromHex(FRAME));
  world.run(200);
  t.same(here.drops, []);
  t.match(there.drops, [
    {
      where: 'esp-seal',
      reason: 'no-sa',
      frame: /^192\.0\.2\.1: VXLAN, .*vni 2: IP 10\.0\.0\.3\.1000 > 10\.0\.0\.2\.2000: UDP, length 0$/,
    },
  ]);
  await world.end();
});
