/** Hosts that share a secret and nothing else: their announcements travel in band, beside ESP. */
import t from 'tap';
import * as ipv4 from '../../codecs/ipv4.ts';
import { Batch } from '../../lib/core/batch.ts';
import { FAULT_INJECTED } from '../../lib/core/drop.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { Random } from '../../lib/core/random.ts';
import type { Endpoint } from '../../lib/io/endpoint.ts';
import { MemoryUnderlay, memoryPair } from '../../lib/io/memory.ts';
import { ETHERNET, IP, type Medium, type Port } from '../../lib/io/port.ts';
import { Wrapper } from '../../lib/io/wrap/wrapper.ts';
import { Overlay } from '../../lib/overlay.ts';
import { type EncryptedOptions, EncryptedWorld, Tap } from '../gen/encrypted.ts';
import { seed } from '../gen/seed.ts';
import { endpoint, identity, World } from '../gen/world.ts';

const HOSTS = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
const SECRET = 'a secret of all hosts, 32 bytes.';
/** How the messages begin: non-ESP marker and what they are. */
const MARK = Buffer.from('000000005042', 'hex');

t.comment(`seed ${seed}`);

const isMessage = ({ view: v, start, end }: Packet) => end - start > 4 && v.getUint32(start) === 0;

/** Somebody on the way of a host's packets: keeps its messages, loses some, and sends others in its name. */
class Way extends Wrapper {
  /** The messages that the host has sent. */
  readonly messages: Uint8Array[] = [];
  /** Whether a message of the host is lost. */
  loses = () => false;
  lost = 0;
  /** Numbers of peers, of which the first is sent all that is for the second, and is taken for it. */
  exchange: [number, number] | null = null;
  readonly #batch = new Batch();

  override send(batch: Batch): void {
    let n = 0;
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      if (isMessage(p)) {
        this.messages.push(p.frame().slice());
        if (this.exchange !== null && p.peer === this.exchange[1]) p.peer = this.exchange[0];
        if (this.loses()) {
          this.lost++;
          this.stats.drop(p, FAULT_INJECTED);
          continue;
        }
      }
      batch.packets[n++] = p;
    }
    batch.length = n;
    super.send(batch);
  }

  override receive(batch: Batch): number {
    super.receive(batch);
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      if (this.exchange !== null && p.peer === this.exchange[0] && isMessage(p)) p.peer = this.exchange[1];
    }
    return batch.length;
  }

  /** Sends bytes to the host's first peer as if the host had. */
  say(world: World, bytes: Uint8Array): void {
    const p = world.pool.take()!.set(bytes);
    p.peer = 0;
    this.#batch.add(p);
    this.inner.send(this.#batch);
  }
}

/** The first `count` hosts run, with endpoints 2, 3 ..., and have had some time. */
async function setup(count: number, options: Partial<EncryptedOptions> = {}) {
  const ways: Way[] = [];
  const wrap = (port: Port, host: number) => {
    ways[host] = new Way(port);
    return ways[host];
  };
  const hosts = HOSTS.slice(0, Math.max(count, 2));
  const world = new EncryptedWorld({ hosts, inBand: true, wrap, ...options });
  const ends = hosts.map((_, host) => endpoint(host + 2, { mtu: 1400 }));
  for (let host = 0; host < count; host++) await world.start(host, ends[host]);
  world.run(3000);
  return { world, ends, ways };
}

const ready = (overlay: Overlay) => overlay.encryptedPeers().map((peer) => peer.ready);
/** What the exchange of keys has counted at a host. */
const counted = (overlay: Overlay) => overlay.counters()['esp-keys'] ?? {};

/** Sends so many datagrams each way, one a tick, and says how many did not arrive. */
function missing({ world, ends }: { world: World; ends: Endpoint[] }, count: number): number {
  const before = ends.map((end) => end.counts.datagrams);
  for (let i = 0; i < count; i++) {
    ends[0].sendUdp('10.0.0.3', 9, new Uint8Array(100));
    ends[1].sendUdp('10.0.0.2', 9, new Uint8Array(100));
    world.run(10);
  }
  return ends.slice(0, 2).reduce((sum, { counts }, i) => sum + count - (counts.datagrams - before[i]), 0);
}

t.test('two hosts that share only a secret', async (t) => {
  const both = await setup(2);
  const { world, ends, ways } = both;
  t.same(world.overlays.map(ready), [[true], [true]]);
  for (const address of identity(3).addresses) t.not(await world.until(ends[0].ping(address)), null);
  for (const address of identity(2).addresses) t.not(await world.until(ends[1].ping(address)), null);
  const { messages } = ways[0];
  t.ok(messages.every((message) => MARK.equals(message.subarray(0, MARK.length))));
  const before = messages.length;
  t.ok(before <= 4, `${before} messages`);
  world.run(60_000);
  t.equal(messages.length, before, 'then there is silence');
  for (const overlay of world.overlays) t.same(overlay.drops(), {});
  t.equal(await world.end(), 0);
});

t.test(`a third of the messages is lost, keys are replaced every 4 s, seed ${seed}`, async (t) => {
  const both = await setup(2, { esp: { period: 4000 } });
  const { world, ends, ways } = both;
  for (const [i, end] of ends.entries()) await world.until(end.resolve(identity(3 - i).addresses[0]));
  const r = new Random(seed);
  for (const way of ways) way.loses = () => r.chance(0.3);
  t.equal(missing(both, 20_000), 0, 'of 40000 datagrams');
  const keys = world.overlays.map((overlay) => counted(overlay).learned);
  t.ok(Math.min(...keys) > 40, `learned ${keys.join(' and ')} times`);
  t.ok(ways[0].lost + ways[1].lost > 20);
  for (const overlay of world.overlays) t.same(Object.keys(overlay.drops()), ['fault-injected']);
  t.equal(await world.end(), 0);
});

t.test('strangers find each other although a third of the messages is lost', async (t) => {
  const r = new Random(seed);
  const wrap = (port: Port) => Object.assign(new Way(port), { loses: () => r.chance(0.3) });
  const { world } = await setup(2, { wrap });
  for (let s = 0; s < 300 && !world.overlays.flatMap(ready).every(Boolean); s++) world.run(1000);
  t.same(world.overlays.map(ready), [[true], [true]], `after ${world.clock.now} ms`);
  t.equal(await world.end(), 0);
});

t.test('a restarted host is found again, and its recorded messages change nothing', async (t) => {
  let derived = 0;
  const onKeys = (host: number) => void (derived += host);
  const both = await setup(2, { onKeys });
  const { world, ends, ways } = both;
  for (const [i, end] of ends.entries()) await world.until(end.resolve(identity(3 - i).addresses[0]));
  t.equal(missing(both, 10), 0);
  const recorded: Uint8Array[] = [];
  for (let life = 0; life < 3; life++) {
    recorded.push(...ways[0].messages);
    const [old] = world.overlays.splice(0, 1);
    await old.stop();
    await world.start(0, ends[0]);
    world.overlays.reverse();
    world.run(3000);
    t.equal(missing(both, 10), 0, 'it is found again');
  }
  const other = world.overlays[1];
  const before = { derived, answered: counted(other).answered };
  let lost = 0;
  for (const message of [...recorded, ...recorded.reverse()]) {
    ways[0].say(world, message);
    lost += missing(both, 15);
  }
  t.ok(recorded.length >= 6, `${recorded.length} messages shown again`);
  t.ok(counted(other).answered > before.answered, 'they are answered');
  t.equal(derived, before.derived, 'no keys are made of them');
  t.equal(lost, 0);
  t.equal(await world.end(), 0);
});

t.test('who does not know the secret gets no keys', async (t) => {
  const warnings: string[] = [];
  const log = { debug() {}, info() {}, error() {}, warn: (text: string) => void warnings.push(text) };
  const { world, ends } = await setup(2, { log, secrets: { 1: 'another secret of 32 bytes......' } });
  world.run(120_000);
  t.same(world.overlays.map(ready), [[false], [false]]);
  t.equal(await world.until(ends[0].ping('10.0.0.3'), 20_000), null);
  t.equal(ends[1].counts.frames, 0);
  const [drops] = world.overlays.map((overlay) => overlay.drops());
  t.ok(drops.forged > 3 && drops['no-sa'] > 0);
  t.match(warnings.join('\n'), /message about keys from 192\.0\.2\.2 is refused/);
  t.equal(await world.end(), 0);
});

t.test('forged and truncated messages are counted, and few are looked at', async (t) => {
  const { world, ways } = await setup(2);
  const [, other] = world.overlays;
  const [message] = ways[0].messages;
  const before = counted(other);
  for (let n = 5; n < message.length; n++) {
    ways[0].say(world, message.slice(0, n));
    world.run(20);
  }
  for (let at = MARK.length + 1; at < message.length; at++) {
    const copy = message.slice();
    copy[at] ^= 1 << (at & 7);
    ways[0].say(world, copy);
    world.run(20);
  }
  const { 'drop.malformed': malformed, 'drop.forged': forged, learned } = counted(other);
  t.equal(malformed + forged, 2 * message.length - 5 - MARK.length - 1, 'each is counted');
  t.ok(malformed > 50 && forged > message.length / 2);
  t.equal(learned, before.learned, 'none is believed');
  for (let i = 0; i < 1000; i++)
    ways[0].say(
      world,
      Uint8Array.from(message, (byte, n) => byte ^ +(n > 40)),
    );
  world.run(10);
  t.ok(counted(other)['drop.forged'] <= forged + 1, 'of a flood one in 10 ms is looked at');
  t.ok(counted(other).ignored >= 999);
  t.same(world.overlays.map(ready), [[true], [true]]);
  t.equal(await world.end(), 0);
});

t.test('a host that does not answer is named, with its network', async (t) => {
  const warnings: string[] = [];
  const log = { debug() {}, info() {}, error() {}, warn: (text: string) => void warnings.push(text) };
  const { world } = await setup(1, { log });
  world.run(15_000);
  t.same(warnings, ['192.0.2.2 has announced no keys: nothing is sent to it in encrypted network 2']);
  t.equal(await world.end(), 0);
});

t.test('nobody who knows the secret is taken for another', async (t) => {
  const { world, ways, ends } = await setup(3);
  t.same(world.overlays.map(ready), [
    [true, true],
    [true, true],
    [true, true],
  ]);
  // The second host is gone; what the first says to it goes to the third, and the answers seem to be its own.
  await world.stop(world.overlays[1]);
  await world.stop(world.overlays[0]);
  const first = await world.start(0, ends[0]);
  const [second, third] = [1, 2].map((host) =>
    first.encryptedPeers().findIndex(({ address }) => address === HOSTS[host]),
  );
  ways[0].exchange = [third, second];
  world.run(5000);
  t.equal(ready(first)[second], false);
  ways[0].exchange = null;
  world.run(60_000);
  t.equal(ready(first)[third], true);
  t.equal(await world.end(), 0);
});

t.test('a port that shows outer headers', async (t) => {
  const world = new World();
  const plain = memoryPair();
  const sealed = memoryPair({ medium: IP, mtu: 1500 });
  const ends = [endpoint(2, { mtu: 1400 }), endpoint(3, { mtu: 1400 })];
  for (const host of [0, 1]) {
    const esp = { secret: SECRET, provider: 'node' as const, underlay: sealed[host] };
    const ports = [{ port: ends[host], ...identity(host + 2) }];
    const overlay = new Overlay(
      {
        local: { address: HOSTS[host], mac: identity(9 + host).mac, underlay: plain[host], esp },
        networks: [{ vni: 2, encrypted: true, remotes: [HOSTS[1 - host]], ports }],
      },
      { pool: world.pool, clock: world.clock },
    );
    world.overlays.push(overlay);
    await overlay.open();
  }
  world.run(3000);
  t.same(world.overlays.map(ready), [[true], [true]]);
  t.not(await world.until(ends[0].ping('10.0.0.3')), null);
  t.same(world.overlays[0].drops(), {});
  t.equal(await world.end(), 0);
});

/** Two hosts whose ESP is on IP protocol 50, and their messages about keys on a network of datagrams. */
async function apart({ family = 4, medium = IP }: { family?: 4 | 6; medium?: Medium } = {}) {
  const world = new World();
  const plain = memoryPair();
  const cable = memoryPair({ medium, mtu: medium === IP ? 1500 : 1514 });
  const network = new MemoryUnderlay();
  const hosts = family === 4 ? HOSTS : ['2001:db8::1', '2001:db8::2'];
  const ends = [endpoint(2, { mtu: 1380 }), endpoint(3, { mtu: 1380 })];
  const ways: Way[] = [];
  /** What the first host has put on the cable. */
  const sealed: Uint8Array[] = [];
  const macs = [9, 10].map((n) => identity(n).mac);
  for (const host of [0, 1]) {
    ways[host] = new Way(network.port(hosts[host]));
    const underlay = new Tap(cable[host], (p) => void (host === 0 && sealed.push(p.frame().slice())));
    const esp = { secret: SECRET, provider: 'node', carrier: 'ip', underlay, control: ways[host] } as const;
    const ports = [{ port: ends[host], ...identity(host + 2) }];
    const remotes = [{ address: hosts[1 - host], mac: macs[1 - host] }];
    const overlay = new Overlay(
      {
        local: { address: hosts[host], mac: macs[host], underlay: plain[host], esp },
        networks: [{ vni: 2, encrypted: true, remotes, ports }],
      },
      { pool: world.pool, clock: world.clock },
    );
    world.overlays.push(overlay);
    await overlay.open();
  }
  return { world, ends, ways, sealed };
}

t.test('ESP on IP protocol 50, with a port for messages', async (t) => {
  for (const family of [4, 6] as const) {
    for (const medium of [IP, ETHERNET] as const) {
      const both = await apart({ family, medium });
      const { world, ends, ways } = both;
      world.run(3000);
      t.same(world.overlays.map(ready), [[true], [true]], `IPv${family}, medium ${medium}`);
      for (const address of identity(3).addresses) t.not(await world.until(ends[0].ping(address)), null);
      for (const address of identity(2).addresses) t.not(await world.until(ends[1].ping(address)), null);
      t.equal(missing(both, 100), 0);
      const [one] = world.overlays;
      const sent = Object.fromEntries(one.ports().map(({ name, txPackets }) => [name, txPackets]));
      t.equal(sent['esp-control'], ways[0].messages.length, 'messages alone go by it');
      t.ok(sent['esp-control'] <= 4 && sent['esp-underlay'] > 100);
      t.same(one.drops(), {});
      t.equal(one.mtu(2), family === 4 ? 1416 : 1396);
      t.equal(await world.end(), 0);
    }
  }
});

t.test('without the port for messages there are no keys, and nothing leaves', async (t) => {
  const { world, ends, ways } = await apart();
  for (const way of ways) way.loses = () => true;
  world.run(60_000);
  t.same(world.overlays.map(ready), [[false], [false]]);
  t.equal(await world.until(ends[0].ping('10.0.0.3'), 20_000), null);
  t.equal(ends[1].counts.frames, 0);
  const [one] = world.overlays;
  t.equal(one.ports().find(({ name }) => name === 'esp-underlay')!.txPackets, 0);
  t.ok(one.drops()['no-sa'] > 0);
  for (const way of ways) way.loses = () => false;
  world.run(90_000);
  t.same(world.overlays.map(ready), [[true], [true]], 'when it works again, there are');
  t.equal(await world.end(), 0);
});

t.test('the port for messages takes no ESP', async (t) => {
  const both = await apart();
  const { world, ends, ways, sealed } = both;
  world.run(3000);
  for (const [i, end] of ends.entries()) await world.until(end.resolve(identity(3 - i).addresses[0]));
  t.equal(missing(both, 10), 0);
  const [, other] = world.overlays;
  const before = ends[1].counts.frames;
  t.ok(sealed.length >= 10);
  for (const bytes of sealed) ways[0].say(world, bytes.subarray(ipv4.SIZE));
  ways[0].say(world, Uint8Array.of(0xff));
  ways[0].say(world, Uint8Array.of(1, 2));
  world.run(20);
  t.equal(ends[1].counts.frames, before);
  const { 'esp-control-open': counts } = other.counters();
  const expected = { 'drop.unknown-spi': sealed.length, keepalives: 1, 'drop.malformed': 1 };
  t.match(counts, expected, 'each is counted');
  t.equal(counts.opened, undefined);
  t.equal(await world.end(), 0);
});

for (const carrier of ['udp', 'ip'] as const) {
  const what = carrier === 'udp' ? 'ESP and messages' : 'messages alone';
  t.test(`over UDP sockets: ${what}`, async (t) => {
    const addresses = ['127.0.0.1', '127.0.0.2'];
    const ends = [endpoint(2, { mtu: 1380 }), endpoint(3, { mtu: 1380 })];
    const cable = memoryPair({ medium: IP, mtu: 1500 });
    const overlays = addresses.map((address, host) => {
      const esp = {
        secret: SECRET,
        port: 14802,
        carrier,
        ...(carrier === 'ip' && { underlay: cable[host] }),
      };
      const remotes = [addresses[1 - host]];
      const ports = [{ port: ends[host], ...identity(host + 2) }];
      const local = { address, port: 14801, esp };
      return new Overlay({ local, networks: [{ vni: 2, encrypted: true, remotes, ports }] });
    });
    t.teardown(() => Promise.all(overlays.map((overlay) => overlay.stop())));
    for (const overlay of overlays) await overlay.start();
    const deadline = performance.now() + 20_000;
    while (!overlays.flatMap(ready).every(Boolean) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    t.same(overlays.map(ready), [[true], [true]]);
    t.not(await ends[0].ping('10.0.0.3', { timeout: 10_000 }), null);
    t.not(await ends[1].ping('fd00::2', { timeout: 10_000 }), null);
  });
}
