/** Published ports in whole overlays: a server on one host, clients beside it and on another host. */
import t from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as mac from '../../codecs/mac.ts';
import { UDP } from '../../codecs/protocol.ts';
import * as udp from '../../codecs/udp.ts';
import type { Packet } from '../../lib/core/packet.ts';
import type { Endpoint } from '../../lib/io/endpoint.ts';
import type { NetworkConfig, PortConfig } from '../../lib/overlay.ts';
import { endpoint, identity, World } from '../gen/world.ts';
import { frameOf } from '../lib/elements/nat-frames.ts';

const A = '192.0.2.1';
const B = '192.0.2.2';
const SERVER = 2;
const published = [
  { protocol: 'udp', published: 5353, port: 53 },
  { protocol: 'udp', published: 20_000, port: 30_000, count: 10_000 },
] as const;

/** Notes ports of what an endpoint gets by UDP, "from > to", and sends it back where `echo` says so. */
function listen(station: Endpoint, echo = false): string[] {
  const seen: string[] = [];
  station.onFrame = ({ view: v, start }: Packet) => {
    const six = ethernet.etherType(v, start) === ethernet.TYPE_IPV6;
    const header = start + ethernet.SIZE;
    const next = six ? ipv6.nextHeader(v, header) : ipv4.protocol(v, header);
    if (next !== udp.PROTOCOL) return;
    const l4 = header + (six ? ipv6.SIZE : ipv4.SIZE);
    const [from, to] = [udp.srcPort(v, l4), udp.dstPort(v, l4)];
    seen.push(`${from} > ${to}`);
    const src = six ? ip.format(ip.read6(v, header + ipv6.SRC)) : ip.format4(ipv4.src(v, header));
    if (echo) station.sendUdp(src, from, new Uint8Array(20), to);
  };
  return seen;
}

interface Place {
  readonly world: World;
  readonly server: Endpoint;
  readonly beside: Endpoint;
  readonly far: Endpoint;
  networks(server: Partial<PortConfig>): NetworkConfig[];
}

/** The server and one client on host A, another client on host B; all know each other's MAC addresses. */
async function place(mtu?: number): Promise<Place> {
  const world = new World();
  const [server, beside, far] = [endpoint(SERVER), endpoint(3), endpoint(4, { mtu: 1450 })];
  const networks = (more: Partial<PortConfig>): NetworkConfig[] => [
    {
      vni: 1,
      remotes: [B],
      ...(mtu !== undefined && { mtu }),
      ports: [
        { port: server, ...identity(SERVER), ...more },
        { port: beside, ...identity(3) },
      ],
    },
  ];
  await world.host(A, networks({ published }));
  await world.host(B, [{ vni: 1, remotes: [A], ports: [{ port: far, ...identity(4) }] }]);
  for (const client of [beside, far]) {
    for (const address of identity(SERVER).addresses) await world.until(client.ping(address));
    for (const address of client.addresses) await world.until(server.ping(ip.format(address)));
  }
  return { world, server, beside, far, networks };
}

t.test('a published port leads to the one behind it, from this host and from another', async (t) => {
  const { world, server, beside, far } = await place();
  const arrived = listen(server, true);
  for (const client of [beside, far]) {
    const answers = listen(client);
    const to = [5353, 53, 20_000, 29_999, 9];
    const behind = [53, 53, 30_000, 39_999, 9];
    for (const address of identity(SERVER).addresses) {
      for (const [i, port] of to.entries()) client.sendUdp(address, port, new Uint8Array(10), 6000 + i);
    }
    world.run(10);
    const both = (list: string[]) => [...list, ...list];
    t.same(arrived.splice(0), both(behind.map((port, i) => `${6000 + i} > ${port}`)));
    t.same(answers, both(to.map((port, i) => `${port} > ${6000 + i}`)));
  }
  t.same(
    world.overlays.map((overlay) => overlay.drops()),
    [{}, {}],
  );
  t.equal(world.overlays[0].flows.size, 16, 'the last is none');
  t.equal(world.overlays[1].flows.size, 0);
  t.ok(world.overlays[0].counters()['1.10.0.0.2.nat'].translated > 0);
  t.equal(await world.end(), 0);
});

t.test('a range costs nothing: a graph is as large with ten thousand ports as with one', async (t) => {
  const { world, networks } = await place();
  const { graph } = world.overlays[0].engine;
  const many = graph.names;
  await world.change(world.overlays[0], A, networks({ published: [published[0]] }));
  t.same(graph.names.sort(), many.sort());
  t.same(many.filter((name) => name.endsWith('nat')).sort(), ['1.10.0.0.2.nat', '1.nat']);
  await world.change(world.overlays[0], A, networks({}));
  t.same(
    graph.names.filter((name) => name.endsWith('nat')),
    [],
  );
  t.equal(await world.end(), 0);
});

t.test('what changes while it runs: ports that are published, and are so no longer', async (t) => {
  const { world, server, far, networks } = await place();
  const arrived = listen(server, true);
  const answers = listen(far);
  const ask = (port: number, from: number) => {
    far.sendUdp('10.0.0.2', port, new Uint8Array(10), from);
    world.run(10);
    return [arrived.splice(0), answers.splice(0)];
  };
  t.same(ask(5353, 7000), [['7000 > 53'], ['5353 > 7000']]);
  const next = [{ protocol: 'udp', published: 99, port: 53 }] as const;
  await world.change(world.overlays[0], A, networks({ published: next }));
  t.same(ask(5353, 7001), [['7001 > 5353'], ['5353 > 7001']]);
  t.same(ask(99, 7002), [['7002 > 53'], ['99 > 7002']]);
  await world.change(world.overlays[0], A, networks({}));
  t.same(ask(99, 7003), [['7003 > 99'], ['99 > 7003']]);
  await world.change(world.overlays[0], A, [{ vni: 1, remotes: [B] }]);
  t.equal(world.overlays[0].flows.size, 0, 'flows of a port that is gone are forgotten');
  t.equal(await world.end(), 0);
});

t.test('a flow by a port that was published once is not in the way of another', async (t) => {
  const { world, server, far, networks } = await place();
  const { flows } = world.overlays[0];
  const arrived = listen(server, true);
  const answers = listen(far);
  const ask = (port: number, from = 7000) => {
    far.sendUdp('10.0.0.2', port, new Uint8Array(10), from);
    world.run(10);
    return [arrived.splice(0), answers.splice(0)];
  };
  ask(5353);
  ask(20_000, 7001);
  const others = [
    { protocol: 'udp', published: 99, port: 53 },
    { protocol: 'udp', published: 20_000, port: 30_000, count: 10_000 },
  ] as const;
  for (const next of [others, []]) {
    await world.change(world.overlays[0], A, networks({ published: next }));
    t.equal(flows.size, next.length / 2, 'what is published still stays');
    t.same(ask(53), [['7000 > 53'], ['53 > 7000']]);
    await world.change(world.overlays[0], A, networks({ published }));
    t.same(ask(53), [['7000 > 53'], ['53 > 7000']]);
    t.same(ask(20_000, 7001), [['7001 > 30000'], ['20000 > 7001']]);
  }
  t.equal(await world.end(), 0);
});

t.test('flows are forgotten in time', async (t) => {
  const { world, far } = await place();
  far.sendUdp('10.0.0.2', 5353, new Uint8Array(10));
  world.run(10);
  const { flows } = world.overlays[0];
  t.equal(flows.size, 1);
  for (let s = 0; s < 299; s++) world.run(1000);
  t.equal(flows.size, 1);
  for (let s = 0; s < 3; s++) world.run(1000);
  t.equal(flows.size, 0);
  t.equal(world.overlays[0].counters().ageing['expired-flows'], 1);
  t.equal(await world.end(), 0);
});

t.test('an answer that is too big is answered by an error about what the server sent', async (t) => {
  const { world, server, far } = await place(1000);
  const quoted: number[] = [];
  far.sendUdp('10.0.0.2', 5353, new Uint8Array(10), 7000);
  world.run(10);
  server.onFrame = ({ view: v, start }) => {
    const icmp = start + ethernet.SIZE + ipv4.SIZE;
    if (ipv4.protocol(v, start + ethernet.SIZE) === 1) quoted.push(udp.srcPort(v, icmp + 8 + ipv4.SIZE));
  };
  server.sendUdp('10.0.0.4', 7000, new Uint8Array(1200), 53);
  world.run(10);
  t.same(quoted, [53]);
  t.equal(server.pathMtu, 1000);
  t.same(world.overlays[0].drops(), { 'too-big': 1 });
  t.equal(await world.end(), 0);
});

t.test(
  'the guard sees what was sent: an answer from another address is dropped, not translated',
  async (t) => {
    const { world, server, far } = await place();
    far.sendUdp('10.0.0.2', 5353, new Uint8Array(10), 7000);
    world.run(10);
    const answers = listen(far);
    server.onFrame = null;
    const answer = frameOf({ protocol: UDP, src: '10.0.0.77', dst: '10.0.0.4', srcPort: 53, dstPort: 7000 });
    const { hi, lo } = mac.parse(identity(SERVER).mac);
    ethernet.setSrc(viewOf(answer), 0, hi, lo);
    server.sendFrame(answer);
    world.run(10);
    t.same(answers, []);
    t.same(world.overlays[0].drops(), { 'spoofed-address': 1 });
    t.equal(await world.end(), 0);
  },
);
