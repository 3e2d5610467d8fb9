/**
 * An encrypted network over an underlay that loses, duplicates, corrupts and reorders: what arrives is exactly
 * what was sent, once, and for every packet that is missing a counter says why.
 */
import t from 'tap';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as udp from '../../codecs/udp.ts';
import type { Packet } from '../../lib/core/packet.ts';
import { type FaultOptions, Faults } from '../../lib/io/wrap/faults.ts';
import { add, EncryptedWorld } from '../gen/encrypted.ts';
import { seed } from '../gen/seed.ts';
import { endpoint, identity } from '../gen/world.ts';

const HOSTS = ['192.0.2.1', '192.0.2.2'];
const COUNT = 10_000;
/** Datagrams a tick of 10 ms. */
const BURST = 20;

/** What a run came to. */
interface Run {
  /** How often each datagram arrived. */
  readonly copies: Uint8Array;
  /** Frames that arrived and are not, bit for bit, what was sent. */
  readonly wrong: number;
  readonly arrived: number;
  readonly inOrder: boolean;
  /** What was done to packets on the way. */
  readonly faults: Record<string, number>;
  /** What died, at both hosts together. */
  readonly drops: Record<string, number>;
  readonly leaked: number;
}

/** Sends numbered datagrams from one host to the other over a faulty way. */
async function send(wanted: Omit<FaultOptions, 'seed'>, period?: number): Promise<Run> {
  const faults: Faults[] = [];
  const world = new EncryptedWorld({
    hosts: HOSTS,
    packets: 16_384,
    wrap(port, host) {
      if (host === 1) return port;
      faults.push(new Faults(port, { seed, direction: 'send', ...wanted }));
      return faults[0];
    },
    ...(period === undefined ? {} : { esp: { period } }),
  });
  const ends = [endpoint(2, { mtu: 1400 }), endpoint(3, { mtu: 1400 })];
  for (const [host, end] of ends.entries()) await world.start(host, end);
  const addresses = identity(3).addresses;
  world.run(100);
  for (const address of addresses) await world.until(ends[0].resolve(address));

  const copies = new Uint8Array(COUNT);
  let wrong = 0;
  let arrived = 0;
  let last = -1;
  let inOrder = true;
  ends[1].onFrame = (p) => {
    const number = numberOf(p);
    arrived++;
    if (number < 0) wrong++;
    else copies[number]++;
    if (number < last) inOrder = false;
    last = number;
  };
  for (let i = 0; i < COUNT; i++) {
    ends[0].sendUdp(addresses[i & 1], 9, payload(i));
    if (i % BURST === BURST - 1) world.run(10);
  }
  world.run(6000);
  const drops: Record<string, number> = {};
  for (const overlay of world.overlays) add(drops, overlay.drops());
  const counts = { ...faults[0].counts };
  return { copies, wrong, arrived, inOrder, faults: counts, drops, leaked: await world.end() };
}

/** What datagram `number` carries: the number, and bytes that follow from it. */
function payload(number: number): Uint8Array {
  const bytes = Uint8Array.from({ length: 4 + (number % 300) }, (_, i) => (number * 31 + i) & 0xff);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** The number of the datagram in a frame, or -1 where not every byte of the payload is right. */
function numberOf({ view: v, bytes, start, end }: Packet): number {
  const l3 = ethernet.etherType(v, start) === ethernet.TYPE_IPV4 ? ipv4.SIZE : ipv6.SIZE;
  const at = start + ethernet.SIZE + l3 + udp.SIZE;
  if (end - at < 4) return -1;
  const number = v.getUint32(at);
  return number < COUNT && Buffer.compare(bytes.subarray(at, end), payload(number)) === 0 ? number : -1;
}

const sumOf = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
const distinct = (copies: Uint8Array) => copies.reduce((sum, n) => sum + (n > 0 ? 1 : 0), 0);

t.comment(`seed ${seed}`);

t.test('loss, duplication and reordering by up to 500', async (t) => {
  const run = await send({ drop: 0.05, duplicate: 0.05, reorder: { probability: 0.1, depth: 500 } });
  const { dropped, duplicated, reordered } = run.faults;
  t.ok(dropped > 0 && duplicated > 0 && reordered > 0 && !run.inOrder);
  t.equal(run.wrong, 0, 'what arrives is what was sent');
  t.equal(Math.max(...run.copies), 1, 'once');
  t.equal(run.arrived, COUNT - dropped, 'all that was not lost');
  t.same(
    run.drops,
    { 'fault-injected': dropped, replayed: duplicated },
    'each lost packet and each copy is counted, and nothing else is',
  );
  t.equal(run.leaked, 0);
});

t.test('corruption beside them', async (t) => {
  const run = await send({
    drop: 0.05,
    duplicate: 0.05,
    corrupt: 0.05,
    reorder: { probability: 0.1, depth: 500 },
  });
  const { dropped, duplicated, corrupted } = run.faults;
  const { 'bad-icv': badIcv = 0, 'unknown-spi': unknownSpi = 0, replayed = 0, ...others } = run.drops;
  const { 'too-old': tooOld = 0, 'fault-injected': injected = 0, ...rest } = others;
  t.equal(run.wrong, 0, 'what arrives is what was sent');
  t.equal(Math.max(...run.copies), 1, 'once');
  t.same(rest, {}, 'of nothing else did a packet die');
  t.equal(injected, dropped);
  const found = badIcv + unknownSpi + replayed + tooOld;
  t.equal(run.arrived, COUNT + duplicated - dropped - found, 'every packet arrived or was counted');
  // A flipped bit of the number may make it one that was seen, or one left of the window.
  t.ok(badIcv > 0 && badIcv + unknownSpi <= corrupted && tooOld <= corrupted);
  t.ok(found <= corrupted + duplicated, 'no packet was refused that was whole and new');
  t.ok(found >= corrupted, 'no packet passed that was not whole');
  t.equal(distinct(run.copies), run.arrived);
  t.equal(run.leaked, 0);
});

t.test('new keys every 2 s beside all of them', async (t) => {
  const run = await send(
    { drop: 0.05, duplicate: 0.05, corrupt: 0.05, reorder: { probability: 0.1, depth: 500 } },
    2000,
  );
  const { dropped, duplicated, corrupted } = run.faults;
  const found = sumOf(run.drops) - dropped;
  t.equal(run.wrong, 0, 'what arrives is what was sent');
  t.equal(Math.max(...run.copies), 1, 'once');
  t.notOk(run.drops['no-sa'], 'there is always a key to seal with');
  t.equal(run.arrived, COUNT + duplicated - dropped - found, 'every packet arrived or was counted');
  t.ok(found >= corrupted && found <= corrupted + duplicated, 'none was refused for its age or its key');
  t.equal(run.leaked, 0);
});

t.test('what comes later than the replay window reaches is refused', async (t) => {
  // Up to 5 s late, at 2000 packets a second: far more than 2048 others may pass. With extended sequence
  // numbers what is left of the window is taken for one of the next 2^32, and so its ICV is wrong (RFC 4303
  // appendix A2.2).
  const run = await send({ delay: { min: 0, max: 5000 }, capacity: 16_384, duplicate: 0.02 });
  const { 'bad-icv': badIcv = 0, replayed = 0, ...others } = run.drops;
  t.same(others, {});
  t.ok(badIcv > 0 && replayed > 0);
  t.equal(run.wrong, 0);
  t.equal(Math.max(...run.copies), 1, 'what is let through comes once');
  t.equal(run.arrived, COUNT + run.faults.duplicated - badIcv - replayed, 'the rest is counted');
  t.equal(run.leaked, 0);
});
