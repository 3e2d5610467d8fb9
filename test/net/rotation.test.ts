/**
 * New keys every 2 s under load, while hosts restart at random: nothing is lost to keys, no key seals two
 * packets with one nonce, and nothing of the payload is on the wire. 40 epochs; for more
 * `ROTATIONS=1000 npx tap --timeout 3600 test/net/rotation.test.ts`.
 */
import t from 'tap';
import * as espHeader from '../../codecs/esp.ts';
import { IV } from '../../crypto/aead.ts';
import type { LoggedKey } from '../../crypto/epoch.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { Random } from '../../lib/core/random.ts';
import { Faults } from '../../lib/io/wrap/faults.ts';
import type { Overlay } from '../../lib/overlay.ts';
import { add, EncryptedWorld, Tap } from '../gen/encrypted.ts';
import { seed } from '../gen/seed.ts';
import { endpoint, identity } from '../gen/world.ts';

const ROTATIONS = Number(process.env.ROTATIONS ?? 40);
const HOSTS = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
/** Length of an epoch, in ms. */
const PERIOD = 2000;
const TICK = 10;
/** The longest that a packet is under way, in ms, and a tick for each end. */
const DELAY = 30;
const LEAVING = DELAY + 2 * TICK;
/** Datagrams of all hosts that are offered at each tick, at most. */
const LOAD = 24;
/** Ethernet, IPv4 and UDP. */
const HEADERS = 14 + 20 + 8;
/** Number, and the mark over and over. */
const PAYLOAD = 4 + 60;

t.comment(`seed ${seed}, ${ROTATIONS} epochs`);

/** Sees what hosts put on the wire, and knows the keys. */
class Wire {
  packets = 0;
  /** Messages about keys, behind the non-ESP marker. */
  messages = 0;
  /** Packets with a part of the payload in clear. */
  clear = 0;
  /** Packets whose number was not above that of the one before with the same key, or whose key is unknown. */
  repeated = 0;
  /** Keys that were derived more than once by those who seal with them. */
  derivedAgain = 0;
  readonly #mark: Buffer;
  readonly #keymats = new Set<string>();
  /** Numbers used so far by sender and SPI, of the newest key with that SPI. The number is the IV. */
  readonly #used = new Map<string, bigint>();

  constructor(mark: Buffer) {
    this.#mark = mark;
  }

  get keys(): number {
    return this.#keymats.size;
  }

  learn(host: number, { from, spi, keymat }: LoggedKey): void {
    if (from !== HOSTS[host]) return;
    const text = Buffer.from(keymat).toString('base64');
    if (this.#keymats.has(text)) this.derivedAgain++;
    this.#keymats.add(text);
    this.#used.set(`${host} ${spi}`, 0n);
  }

  see(host: number, { view: v, bytes, start, end }: Packet): void {
    if (Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).includes(this.#mark)) this.clear++;
    const carried = espHeader.carried(v, start, end);
    if (carried === espHeader.CARRIED_IKE) this.messages++;
    if (carried === espHeader.CARRIED_IKE || carried === espHeader.CARRIED_KEEPALIVE) return;
    this.packets++;
    const key = `${host} ${espHeader.spi(v, start)}`;
    const iv = v.getBigUint64(start + espHeader.SIZE);
    const used = this.#used.get(key);
    if (used === undefined || iv <= used) this.repeated++;
    this.#used.set(key, iv);
  }
}

/** Hosts in full mesh, what they send each other, and what came of it. */
class Mesh {
  readonly random = new Random(seed);
  readonly mark = Buffer.from(Array.from({ length: 8 }, () => this.random.int32() & 0xff));
  readonly wire = new Wire(this.mark);
  readonly world: EncryptedWorld;
  readonly ends = HOSTS.map((_, host) => endpoint(host + 2, { mtu: 1400 }));
  /** Null while a host is down. */
  readonly overlays: (Overlay | null)[] = HOSTS.map(() => null);
  /** When each host goes down or comes up next. */
  readonly due = HOSTS.map(() => Number.POSITIVE_INFINITY);
  /** Datagrams that had to arrive, and how many of them did, and of all. */
  counted = 0;
  missing = 0;
  offered = 0;
  wrong = 0;
  restarts = 0;
  readonly drops: Record<string, number> = {};
  /** Numbers of the datagrams that have still to arrive, and until when. */
  readonly #awaited = new Map<number, number>();

  constructor(inBand: boolean) {
    this.world = new EncryptedWorld({
      hosts: HOSTS,
      packets: 8192,
      wrap: (port, host) => {
        const options = { seed: seed + host, delay: { min: 0, max: DELAY }, direction: 'send' as const };
        return new Tap(new Faults(port, options), (p) => this.wire.see(host, p));
      },
      onKeys: (host, key) => this.wire.learn(host, key),
      esp: { period: PERIOD },
      inBand,
    });
  }

  async start(): Promise<void> {
    for (const [host, end] of this.ends.entries()) {
      end.onFrame = (p) => this.#arrived(host, p);
      this.overlays[host] = await this.world.start(host, end);
    }
    this.world.run(3000);
    for (const from of this.ends) {
      for (const [host, to] of this.ends.entries()) {
        if (to !== from) await this.world.until(from.resolve(identity(host + 2).addresses[0]));
      }
    }
  }

  /** Sends at most so many datagrams between any hosts, and lets a tick pass. */
  load(most: number): void {
    for (let n = this.random.below(most + 1); n > 0; n--) {
      const from = this.random.below(HOSTS.length);
      this.#offer(from, (from + 1 + this.random.below(HOSTS.length - 1)) % HOSTS.length);
    }
    this.world.run(TICK);
    const { now } = this.world.clock;
    // In the order in which they were sent.
    for (const [number, until] of this.#awaited) {
      if (until > now) break;
      this.#awaited.delete(number);
      this.missing++;
    }
  }

  /** Takes hosts down and up again whose time has come; others get one by chance. */
  async restart(): Promise<void> {
    const { now } = this.world.clock;
    for (const [host, overlay] of this.overlays.entries()) {
      if (now < this.due[host]) {
        const chance =
          this.due[host] === Number.POSITIVE_INFINITY && this.random.below((3 * PERIOD) / TICK) === 0;
        if (chance) this.due[host] = now + LEAVING;
      } else if (overlay === null) {
        this.overlays[host] = await this.world.start(host, this.ends[host]);
        this.due[host] = Number.POSITIVE_INFINITY;
        this.restarts++;
      } else {
        await this.#stop(host, overlay);
        this.due[host] = now + this.random.below(2 * PERIOD);
      }
    }
  }

  /** Stops everything and returns how many packets did not come home. */
  async end(): Promise<number> {
    for (const [host, overlay] of this.overlays.entries())
      if (overlay !== null) await this.#stop(host, overlay);
    return this.world.pool.used;
  }

  async #stop(host: number, overlay: Overlay): Promise<void> {
    add(this.drops, overlay.drops());
    await this.world.stop(overlay);
    this.overlays[host] = null;
  }

  /** Whether what is sent now has to arrive: both are up, know each other and stay for as long as it takes. */
  #counts(from: number, to: number): boolean {
    const knows = (host: number, other: number) =>
      this.due[host] === Number.POSITIVE_INFINITY &&
      this.overlays[host]?.encryptedPeers().find(({ address }) => address === HOSTS[other])?.ready === true;
    return knows(from, to) && knows(to, from);
  }

  #offer(from: number, to: number): void {
    const number = this.offered;
    const payload = new Uint8Array(PAYLOAD);
    new DataView(payload.buffer).setUint32(0, number);
    for (let at = 4; at < PAYLOAD; at++) payload[at] = this.mark[at % this.mark.length];
    const counts = this.#counts(from, to);
    if (!this.ends[from].sendUdp(identity(to + 2).addresses[0], 9, payload)) return;
    this.offered++;
    if (!counts) return;
    this.counted++;
    this.#awaited.set(number, this.world.clock.now + LEAVING);
  }

  #arrived(host: number, { view: v, bytes, start, end }: Packet): void {
    const at = start + HEADERS;
    if (end - at !== PAYLOAD) return;
    const right = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).includes(this.mark);
    if (!right || bytes[start + 5] !== host + 2) this.wrong++;
    this.#awaited.delete(v.getUint32(at));
  }
}

t.equal(IV, 8, 'the IV is what is looked at');

for (const inBand of [false, true]) {
  const way = inBand ? 'announced in band' : 'announced in process';
  t.test(`new keys under load, ${way}: nothing dies`, async (t) => {
    const mesh = new Mesh(inBand);
    await mesh.start();
    const end = mesh.world.clock.now + ROTATIONS * PERIOD;
    while (mesh.world.clock.now < end) mesh.load(LOAD);
    for (let i = 0; i < LEAVING / TICK; i++) mesh.load(0);
    const { wire } = mesh;
    t.equal(mesh.counted, mesh.offered, 'all that was sent counts');
    t.equal(mesh.missing, 0, `of ${mesh.counted} datagrams`);
    t.equal(mesh.wrong, 0);
    t.equal(wire.packets, mesh.offered);
    t.equal(wire.messages > 0, inBand, `${wire.messages} messages about keys`);
    t.ok(wire.keys >= HOSTS.length * ROTATIONS, `${wire.keys} keys`);
    t.equal(wire.derivedAgain, 0, 'no key is derived twice');
    t.equal(wire.repeated, 0, 'no number is used twice with a key');
    t.equal(wire.clear, 0, 'nothing of the payload is on the wire');
    t.equal(await mesh.end(), 0);
    t.same(mesh.drops, {}, 'not one packet died');
  });

  t.test(`and while hosts restart, ${way}`, async (t) => {
    const mesh = new Mesh(inBand);
    await mesh.start();
    const end = mesh.world.clock.now + ROTATIONS * PERIOD;
    while (mesh.world.clock.now < end) {
      mesh.load(LOAD);
      await mesh.restart();
    }
    for (let i = 0; i < LEAVING / TICK; i++) mesh.load(0);
    const { wire, counted, offered } = mesh;
    t.ok(mesh.restarts > ROTATIONS / 20, `${mesh.restarts} restarts`);
    t.ok(counted > offered / 4 && counted < offered, `${counted} of ${offered} datagrams count`);
    t.equal(mesh.missing, 0, 'none of them is lost');
    t.equal(mesh.wrong, 0);
    t.equal(wire.derivedAgain, 0, 'no key is derived twice');
    t.equal(wire.repeated, 0, 'no number is used twice with a key');
    t.equal(wire.clear, 0, 'nothing of the payload is on the wire');
    t.equal(await mesh.end(), 0);
    // What did not count was sent before there were keys, to a host that was down, or from another life.
    const { 'no-sa': _, closed: __, 'unknown-peer': ___, 'unknown-spi': ____, ...others } = mesh.drops;
    t.same(others, {});
  });
}
