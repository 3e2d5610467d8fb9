/**
 * Published ports: what they cost in the whole way of a packet between two hosts. 64 flows by UDP over IPv4, with
 * checksums, from a client on one host to a server on the other and back, through everything that an overlay has:
 * memory port, guard, suppression, bridge, too-big, encapsulation, underlay, decapsulation, bridge, dispatch.
 *
 *     nat.way.without       the server publishes nothing
 *     nat.way.others        it publishes a port and a range, and the packets are for another port of its own
 *     nat.way.published     the packets are for the published port
 *
 * `nat.cost.*` is what that adds, as a ratio to the way without: one call of each in turn, and the median of the
 * ratios. Read "ns" as parts of a thousand: 1,050 is 5% more.
 */

import { pseudo4 } from '../codecs/checksum.ts';
import * as ethernet from '../codecs/ethernet.ts';
import * as ipv4 from '../codecs/ipv4.ts';
import * as mac from '../codecs/mac.ts';
import * as udp from '../codecs/udp.ts';
import { BATCH, Batch } from '../lib/core/batch.ts';
import { VirtualClock } from '../lib/core/clock.ts';
import { createContext, portHost } from '../lib/core/context.ts';
import type { Packet } from '../lib/core/packet.ts';
import { Pool } from '../lib/core/pool.ts';
import { Random } from '../lib/core/random.ts';
import { MemoryUnderlay, memoryPair } from '../lib/io/memory.ts';
import type { Port } from '../lib/io/port.ts';
import { Overlay, type PublishedConfig } from '../lib/overlay.ts';
import type { Bench } from './bench.ts';

const OPS = 1 << 13;
const HOSTS = ['192.0.2.1', '192.0.2.2'];
const MACS = ['02:42:0a:00:00:01', '02:42:0a:00:00:02'];
const ADDRESSES = ['10.0.0.1', '10.0.0.2'];
const FRAME = 64;
const PUBLISHED: readonly PublishedConfig[] = [
  { protocol: 'udp', published: 5353, port: 53 },
  { protocol: 'udp', published: 20_000, port: 30_000, count: 1000 },
];

type Kind = 'without' | 'others' | 'published';

/** One frame of a flow, kept: the client asks, or the server answers. */
function put(p: Packet, from: number, srcPort: number, dstPort: number): void {
  const v = p.view;
  const [src, dst] = [from, 1 - from].map((i) => mac.parse(MACS[i]));
  ethernet.write(v, p.start, dst.hi, dst.lo, src.hi, src.lo, ethernet.TYPE_IPV4);
  const ip = p.start + ethernet.SIZE;
  const bytes = FRAME - ethernet.SIZE;
  ipv4.write(v, ip, 0, bytes, 0, 0, 64, udp.PROTOCOL, 0x0a000001 + from, 0x0a000002 - from);
  udp.write(v, ip + ipv4.SIZE, srcPort, dstPort, bytes - ipv4.SIZE, 0);
  udp.fillChecksum(v, ip + ipv4.SIZE, pseudo4(v, ip, udp.PROTOCOL, bytes - ipv4.SIZE));
  p.end = p.start + FRAME;
}

/** Two hosts; returns a call that has `OPS` packets go half there and half back, and says how many arrived. */
async function way(kind: Kind): Promise<() => number> {
  const pool = new Pool({ count: 512 });
  const clock = new VirtualClock();
  const context = createContext({ pool, clock });
  const network = new MemoryUnderlay();
  const fars: Port[] = [];
  const overlays = HOSTS.map((address, i) => {
    const [near, far] = memoryPair();
    fars.push(far);
    const published = i === 1 && kind !== 'without' ? PUBLISHED : [];
    const ports = [{ port: near, mac: MACS[i], addresses: [ADDRESSES[i]], published }];
    const networks = [{ vni: 42, remotes: [HOSTS[1 - i]], ports }];
    const local = { address, underlay: network.port(address) };
    return new Overlay({ local, networks }, { pool, clock, random: new Random(1) });
  });
  for (const far of fars) await far.open(portHost(context));
  for (const overlay of overlays) await overlay.open();
  const [asked, answering] = { without: [53, 53], others: [99, 99], published: [5353, 53] }[kind];
  const questions = Array.from({ length: BATCH }, () => pool.take()!);
  for (const [i, p] of questions.entries()) put(p, 0, 6000 + i, asked);
  const answers = Array.from({ length: BATCH }, () => pool.take()!);
  for (const [i, p] of answers.entries()) put(p, 1, answering, 6000 + i);
  const batch = new Batch();
  const go = (templates: readonly Packet[], from: number): number => {
    for (const template of templates) batch.add(pool.clone(template)!);
    fars[from].send(batch);
    while (overlays[from].step() + overlays[1 - from].step() > 0);
    const n = fars[1 - from].receive(batch);
    batch.release();
    return n;
  };
  return () => {
    let arrived = 0;
    for (let n = 0; n < OPS; n += 2 * BATCH) arrived += go(questions, 0) + go(answers, 1);
    if (arrived !== OPS) throw new Error(`${arrived} of ${OPS} frames arrived`);
    return arrived;
  };
}

const WARM = 200;
const ROUNDS = 600;

/** The median of the ratios of two ways, taken in turns. */
async function cost(kind: Kind): Promise<number> {
  const [one, other] = [await way('without'), await way(kind)];
  for (let i = 0; i < WARM; i++) one() + other();
  const time = (call: () => number): number => {
    const before = performance.now();
    call();
    return performance.now() - before;
  };
  const ratios = Array.from({ length: ROUNDS }, (_, i) => {
    if (i % 2 === 0) return 1 / (time(one) / time(other));
    return time(other) / time(one);
  });
  return ratios.sort((a, b) => a - b)[ROUNDS >> 1] * 1000;
}

export const benches: readonly Bench[] = [
  ...(['without', 'others', 'published'] as const).map((kind) => ({
    name: `nat.way.${kind}`,
    ops: OPS,
    prepare: () => way(kind),
  })),
  ...(['others', 'published'] as const).map((kind) => ({
    name: `nat.cost.${kind}`,
    ops: 1,
    prepare: () => cost(kind),
  })),
];
