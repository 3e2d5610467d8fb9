/**
 * Many hosts in full mesh, with networks that use the same addresses, while hosts and endpoints come, go and
 * move. Those that stay lose nothing at any step, those that moved are found, and no frame crosses networks.
 */
import t from 'tap';
import * as ethernet from '../../codecs/ethernet.ts';
import * as mac from '../../codecs/mac.ts';
import { Random } from '../../lib/core/random.ts';
import type { Endpoint } from '../../lib/io/endpoint.ts';
import type { NetworkConfig, Overlay } from '../../lib/overlay.ts';
import { seed } from '../gen/seed.ts';
import { endpoint, identity, World } from '../gen/world.ts';

const VNIS = [10, 11, 5_000_000];
/** Endpoints of a network are numbered from 1 to here. */
const MOST = 30;
const TEST_TYPE = 0x88b5; // IEEE local experimental

/** An endpoint in its place. */
interface Placed {
  readonly vni: number;
  /** Says which addresses it has; other networks use the same. */
  readonly number: number;
  readonly host: string;
  readonly port: Endpoint;
}

class Cluster {
  readonly world = new World(4096);
  /** Frames that came out in another network than they were sent in. */
  crossed = 0;
  readonly #r: Random;
  readonly #hosts = new Map<string, Overlay>();
  #placed: Placed[] = [];
  /** How often each probe has arrived where it was meant to. */
  readonly #arrived: number[] = [];
  #hostsMade = 0;

  constructor(r: Random) {
    this.#r = r;
  }

  get hosts(): string[] {
    return [...this.#hosts.keys()];
  }

  get placed(): readonly Placed[] {
    return this.#placed;
  }

  async addHost(): Promise<string> {
    const n = ++this.#hostsMade;
    const address = `192.0.2.${n}`;
    this.#hosts.set(address, await this.world.host(address, []));
    return address;
  }

  /** The host is gone, with all that is on it; the others are told afterwards. */
  async removeHost(address: string): Promise<void> {
    const overlay = this.#hosts.get(address)!;
    await overlay.stop();
    this.world.overlays.splice(this.world.overlays.indexOf(overlay), 1);
    this.#hosts.delete(address);
    this.#placed = this.#placed.filter(({ host }) => host !== address);
  }

  /** Puts an endpoint somewhere; from where it was it is gone. The hosts are told afterwards. */
  place(vni: number, number: number, host: string): Placed {
    this.take(vni, number);
    const placed = { vni, number, host, port: endpoint(number, { name: `${number}` }) };
    const own = mac.parse(identity(number).mac);
    placed.port.onFrame = ({ view: v, start }) => {
      if (ethernet.etherType(v, start) !== TEST_TYPE) return;
      if (v.getUint32(start + 14) !== vni) this.crossed++;
      const mine = ethernet.dstHi(v, start) === own.hi && ethernet.dstLo(v, start) === own.lo;
      if (mine) this.#arrived[v.getUint32(start + 18)]++;
    };
    this.#placed.push(placed);
    return placed;
  }

  take(vni: number, number: number): void {
    this.#placed = this.#placed.filter((other) => other.vni !== vni || other.number !== number);
  }

  /** Tells every host what it has to be, in any order, and calls `between` after each. */
  async apply(between: () => void = () => {}): Promise<void> {
    const left = this.hosts;
    while (left.length > 0) {
      const [address] = left.splice(this.#r.below(left.length), 1);
      await this.world.change(this.#hosts.get(address)!, address, this.#networks(address));
      between();
      this.world.run(10);
    }
  }

  /** What a host has to be: in the networks of its endpoints, with all other hosts that are in them. */
  #networks(address: string): NetworkConfig[] {
    return VNIS.filter((vni) => this.#members(vni).has(address)).map((vni) => ({
      vni,
      remotes: [...this.#members(vni)].filter((host) => host !== address),
      ports: this.#placed
        .filter((placed) => placed.vni === vni && placed.host === address)
        .map(({ port, number }) => ({ port, ...identity(number) })),
    }));
  }

  #members(vni: number): Set<string> {
    return new Set(this.#placed.filter((placed) => placed.vni === vni).map(({ host }) => host));
  }

  /** Up to `count` pairs of endpoints that are in one network. */
  pairs(count: number, among: readonly Placed[] = this.#placed): [Placed, Placed][] {
    const out: [Placed, Placed][] = [];
    for (let i = 0; i < 4 * count && out.length < count && among.length > 0; i++) {
      const from = among[this.#r.below(among.length)];
      const to = among[this.#r.below(among.length)];
      if (from.vni === to.vni && from !== to) out.push([from, to]);
    }
    return out;
  }

  /** An endpoint and each of the others in its network. */
  everybodyTo(to: Placed): [Placed, Placed][] {
    const others = this.#placed.filter((from) => from.vni === to.vni && from !== to);
    return others.map((from) => [from, to]);
  }

  /** Sends a frame from one to the other and returns its number. */
  probe(from: Placed, to: Placed): number {
    const id = this.#arrived.push(0) - 1;
    from.port.sendFrame(frame(identity(to.number).mac, from, id));
    return id;
  }

  /** Tells the network of an endpoint where it is now, as a host does that has moved. */
  announce(placed: Placed): void {
    placed.port.sendFrame(frame('ff:ff:ff:ff:ff:ff', placed, 0));
    this.world.run(10);
  }

  /** The probes that did not arrive exactly once. */
  lost(probes: readonly number[]): number[] {
    return probes.filter((id) => this.#arrived[id] !== 1);
  }
}

function frame(to: string, { number, vni }: Placed, id: number): Uint8Array {
  const bytes = new Uint8Array(60);
  const v = new DataView(bytes.buffer);
  const [dst, src] = [mac.parse(to), mac.parse(identity(number).mac)];
  ethernet.write(v, 0, dst.hi, dst.lo, src.hi, src.lo, TEST_TYPE);
  v.setUint32(14, vni);
  v.setUint32(18, id);
  return bytes;
}

for (const { hosts, steps } of [
  { hosts: 5, steps: 60 },
  { hosts: 20, steps: 12 },
]) {
  t.test(`${hosts} hosts, ${steps} changes, seed ${seed}`, async (t) => {
    const r = new Random(seed + hosts);
    const cluster = new Cluster(r);
    const { world } = cluster;
    const pick = <T>(list: readonly T[]): T => list[r.below(list.length)];
    const anywhere = () => cluster.place(pick(VNIS), 1 + r.below(MOST), pick(cluster.hosts));
    for (let i = 0; i < hosts; i++) await cluster.addHost();
    for (let i = 0; i < 2 * hosts; i++) anywhere();
    await cluster.apply();
    for (const placed of cluster.placed) cluster.announce(placed);

    const lost: string[] = [];
    let probes = 0;
    let moves = 0;
    for (let step = 0; step < steps; step++) {
      // No address moves more often than it may (RFC 7432 section 15.1).
      world.clock.advance(45_000);
      const before = cluster.placed;
      const kind = step % 10;
      let come: Placed | null = null;
      if (kind <= 2) come = anywhere();
      else if (kind <= 6 && before.length > 0) {
        const { vni, number } = pick(before);
        come = cluster.place(vni, number, pick(cluster.hosts));
        moves++;
      } else if (kind === 7 && before.length > 0) {
        const { vni, number } = pick(before);
        cluster.take(vni, number);
      } else if (kind === 8) {
        const host = await cluster.addHost();
        come = cluster.place(pick(VNIS), 1 + r.below(MOST), host);
      } else if (cluster.hosts.length > 2) await cluster.removeHost(pick(cluster.hosts));

      const stay = before.filter((placed) => cluster.placed.includes(placed));
      const sent: number[] = [];
      await cluster.apply(() => {
        for (const [from, to] of cluster.pairs(4, stay)) sent.push(cluster.probe(from, to));
      });
      if (cluster.lost(sent).length > 0)
        lost.push(`step ${step}, kind ${kind}: ${cluster.lost(sent).length}`);

      if (come !== null) cluster.announce(come);
      const now: number[] = [];
      const pairs = cluster.pairs(20);
      if (come !== null) pairs.push(...cluster.everybodyTo(come));
      for (const [from, to] of pairs) now.push(cluster.probe(from, to));
      world.run(10);
      if (cluster.lost(now).length > 0)
        lost.push(`after step ${step}, kind ${kind}: ${cluster.lost(now).length}`);
      for (const [from, to] of cluster.pairs(2)) {
        const ms = await world.until(from.port.ping(pick(identity(to.number).addresses)));
        if (ms === null) lost.push(`after step ${step}, kind ${kind}: a ping`);
      }
      probes += sent.length + now.length;
    }
    t.same(lost, []);
    t.ok(probes > 20 * steps, `${probes} probes`);
    t.ok(moves > 0, `${moves} moves`);
    t.equal(cluster.crossed, 0, 'no frame crossed into another network');
    t.equal(await world.end(), 0, 'every packet came home');
  });
}

t.test('who is not listed is refused', async (t) => {
  const world = new World();
  const [A, B, C] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
  const ends = [1, 2, 3].map((n) => [endpoint(n), endpoint(n)]);
  const network = (vni: number, remotes: string[], port: Endpoint): NetworkConfig => ({
    vni,
    remotes,
    ports: [{ port }],
  });
  // Host C says that it is in network 2, and nobody else does; in network 1 it is.
  const one = await world.host(A, [network(1, [B, C], ends[0][0]), network(2, [B], ends[0][1])]);
  const two = await world.host(B, [network(1, [A, C], ends[1][0]), network(2, [A], ends[1][1])]);
  await world.host(C, [network(1, [A, B], ends[2][0]), network(2, [A, B], ends[2][1])]);
  const all = 'ff:ff:ff:ff:ff:ff';
  ends[2][1].sendFrame(frame(all, { vni: 2, number: 3, host: C, port: ends[2][1] }, 0));
  world.run(10);
  t.equal(ends[0][1].counts.frames + ends[1][1].counts.frames, 0);
  t.same([one.drops(), two.drops()], [{ 'unknown-peer': 1 }, { 'unknown-peer': 1 }]);

  ends[2][0].sendFrame(frame(all, { vni: 1, number: 3, host: C, port: ends[2][0] }, 0));
  world.run(10);
  t.equal(ends[0][0].counts.frames + ends[1][0].counts.frames, 2, 'where it is listed it is heard');

  // Host D is listed nowhere: its datagrams end at the underlay.
  const stranger = endpoint(4);
  await world.host('192.0.2.4', [network(1, [A, B, C], stranger)]);
  stranger.sendFrame(frame(all, { vni: 1, number: 4, host: 'D', port: stranger }, 0));
  world.run(10);
  t.equal(ends[0][0].counts.frames + ends[1][0].counts.frames, 2);
  t.same([one.drops(), two.drops()], [{ 'unknown-peer': 2 }, { 'unknown-peer': 2 }]);
  t.equal(await world.end(), 0);
});
