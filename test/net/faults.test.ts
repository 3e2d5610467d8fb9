/**
 * Two hosts over an underlay that loses, duplicates, corrupts, reorders and delays: what arrives is what was
 * sent, what does not arrive has a reason, nothing leaks, and the overlay goes on.
 */
import t from 'tap';
import * as checksum from '../../codecs/checksum.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK } from '../../codecs/fault.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as udp from '../../codecs/udp.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { Random } from '../../lib/core/random.ts';
import { type FaultOptions, Faults } from '../../lib/io/wrap/faults.ts';
import { seed } from '../gen/seed.ts';
import { endpoint, identity, World } from '../gen/world.ts';

const HOSTS = ['192.0.2.1', '192.0.2.2'];
const COUNT = 3000;

type Wanted = Omit<FaultOptions, 'seed'>;

/** What a run came to. */
interface Run {
  /** Numbers of the datagrams with right checksums, as they arrived. */
  readonly arrived: readonly number[];
  /** How many of them carried other bytes than were sent. */
  readonly wrong: number;
  /** Frames that arrived, whatever was in them. */
  readonly frames: number;
  /** What was done to packets, at both hosts together. */
  readonly faults: Record<string, number>;
  /** What died, at both hosts together. */
  readonly drops: Record<string, number>;
  readonly answered: boolean;
  readonly leaked: number;
}

/** Sends numbered datagrams from one host to the other. `wanted` are the faults at each host's underlay. */
async function send(wanted: readonly Wanted[], runSeed = seed): Promise<Run> {
  const world = new World(4096, { random: new Random(runSeed) });
  const ends = [endpoint(2), endpoint(3)];
  const faults: Faults[] = [];
  for (const [i, address] of HOSTS.entries()) {
    const remote = HOSTS[1 - i];
    const networks = [
      {
        vni: 1,
        remotes: [remote],
        ports: [{ port: ends[i], ...identity(2 + i) }],
        // So that nothing but the datagrams is on the underlay.
        static: [{ ...identity(3 - i), remote }],
      },
    ];
    await world.host(address, networks, (port) => {
      const wrapped = new Faults(port, { seed: runSeed + i, ...wanted[i] });
      faults.push(wrapped);
      return wrapped;
    });
  }
  const [from, to] = ends;
  const addresses = identity(3).addresses;
  for (const address of addresses) await world.until(from.resolve(address));

  const arrived: number[] = [];
  let wrong = 0;
  to.onFrame = (p) => {
    const at = payloadOf(p);
    if (at < 0) return;
    const number = p.view.getUint32(at);
    arrived.push(number);
    if (Buffer.compare(p.bytes.subarray(at, at + payload(number).length), payload(number)) !== 0) wrong++;
  };
  for (let i = 0; i < COUNT; i++) {
    from.sendUdp(addresses[i & 1], 9, payload(i));
    if (i % 20 === 19) world.run(10);
  }
  world.run(2000);
  to.onFrame = null;
  const { frames } = to.counts;
  const sum: Record<string, number> = {};
  for (const { counts } of faults) add(sum, { ...counts });
  const drops: Record<string, number> = {};
  for (const overlay of world.overlays) add(drops, overlay.drops());

  let answered = false;
  for (let i = 0; i < 300 && !answered; i++)
    answered = (await world.until(from.ping(addresses[i & 1]))) !== null;
  return { arrived, wrong, frames, faults: sum, drops, answered, leaked: await world.end() };
}

function add(sum: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [key, n] of Object.entries(more)) sum[key] = (sum[key] ?? 0) + n;
}

/** What datagram `number` carries: the number, and bytes that follow from it. */
function payload(number: number): Uint8Array {
  const bytes = Uint8Array.from({ length: 4 + (number % 200) }, (_, i) => (number * 31 + i) & 0xff);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** Where the payload of a UDP datagram with right checksums starts, or -1. */
function payloadOf({ view: v, start, end }: Packet): number {
  const l3 = start + ethernet.SIZE;
  const type = ethernet.etherType(v, start);
  let l4 = l3 + ipv6.SIZE;
  if (type === ethernet.TYPE_IPV4) {
    if (ipv4.check(v, l3, end) !== OK || !ipv4.verifyChecksum(v, l3)) return -1;
    l4 = l3 + ipv4.headerLength(v, l3);
    if (ipv4.protocol(v, l3) !== udp.PROTOCOL || udp.check(v, l4, end) !== OK) return -1;
  } else {
    if (type !== ethernet.TYPE_IPV6 || ipv6.check(v, l3, end) !== OK) return -1;
    if (ipv6.nextHeader(v, l3) !== udp.PROTOCOL || udp.check(v, l4, end) !== OK) return -1;
  }
  const pseudo = type === ethernet.TYPE_IPV4 ? checksum.pseudo4 : checksum.pseudo6;
  const right = udp.verifyChecksum(v, l4, pseudo(v, l3, udp.PROTOCOL, udp.length(v, l4)));
  return right ? l4 + udp.SIZE : -1;
}

const sumOf = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
const copiesOf = (numbers: readonly number[]) => {
  const copies = new Uint8Array(COUNT);
  for (const number of numbers) copies[number]++;
  return copies;
};

const RUNS: Record<string, readonly Wanted[]> = {
  'nothing at all': [{}, {}],
  loss: [{ drop: 0.1 }, { drop: 0.1 }],
  duplication: [{ duplicate: 0.2 }, { duplicate: 0.1 }],
  reordering: [{ reorder: { probability: 0.3, depth: 8 } }, {}],
  delay: [{ delay: { min: 1, max: 80 } }, { delay: { min: 0, max: 5 } }],
  'all but corruption': [
    { drop: 0.05, duplicate: 0.1, reorder: { probability: 0.2, depth: 30 }, delay: { min: 0, max: 40 } },
    { drop: 0.05, duplicate: 0.1, reorder: { probability: 0.2, depth: 3 } },
  ],
};

for (const [name, wanted] of Object.entries(RUNS)) {
  t.test(`${name}, seed ${seed}`, async (t) => {
    const { arrived, wrong, frames, faults, drops, answered, leaked } = await send(wanted);
    const { dropped, duplicated } = faults;
    t.equal(wrong, 0, 'what arrived is what was sent');
    t.equal(arrived.length, frames, 'all of it is right');
    t.equal(drops['fault-injected'] ?? 0, dropped);
    t.equal(sumOf(drops), dropped, 'nothing died of anything else');
    t.equal(frames, COUNT + duplicated - dropped, 'the rest is there');
    const copies = copiesOf(arrived);
    t.ok(Math.max(...copies) <= (duplicated > 0 ? 4 : 1), 'nothing comes more often than it was copied');
    const inOrder = arrived.every((number, i) => i === 0 || arrived[i - 1] <= number);
    t.equal(inOrder, !('reorder' in wanted[0] || 'delay' in wanted[0]), 'in order unless that is a fault');
    for (const [fault, n] of Object.entries(faults)) {
      const asked = wanted.some((options) => NAMES[fault] in options);
      t.equal(n > 0, asked, `${fault}: ${n}`);
    }
    t.ok(answered, 'afterwards it goes on');
    t.equal(leaked, 0);
  });
}

/** The option that asks for what a fault's counter counts. */
const NAMES: Record<string, string> = {
  dropped: 'drop',
  duplicated: 'duplicate',
  corrupted: 'corrupt',
  delayed: 'delay',
  reordered: 'reorder',
};

t.test(`corruption is found by checksums, seed ${seed}`, async (t) => {
  // At one host only: of two flipped bits the Internet checksum may miss both.
  const { arrived, wrong, frames, faults, drops, answered, leaked } = await send([
    { corrupt: 0.5, drop: 0.05, duplicate: 0.05 },
    { drop: 0.05, delay: { min: 0, max: 20 } },
  ]);
  const { dropped, duplicated, corrupted } = faults;
  t.equal(wrong, 0, 'what passes its checksums is what was sent');
  t.equal(frames + sumOf(drops), COUNT + duplicated, 'everything arrived or died of something');
  t.ok(
    corrupted > COUNT / 3 && arrived.length < frames,
    `of ${corrupted}, ${frames - arrived.length} were found out`,
  );
  t.ok(arrived.length >= COUNT + duplicated - dropped - corrupted, 'what was not corrupted arrived');
  t.ok(drops['unknown-vni'] > 0, 'some came with another VNI, and died of that');
  t.ok(answered, 'afterwards it goes on');
  t.equal(leaked, 0);
});

t.test(`equal seeds do the same, seed ${seed}`, async (t) => {
  const wanted = [...RUNS['all but corruption']];
  wanted[0] = { ...wanted[0], corrupt: 0.1 };
  const [one, same, other] = [await send(wanted), await send(wanted), await send(wanted, seed + 2)];
  t.same(same, one);
  t.notSame(other.arrived, one.arrived);
});
