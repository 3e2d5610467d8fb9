/** The elements around a tunnel allocate nothing a packet: whatever they do with it, and over every medium. */
import t from 'tap';
import { viewOf } from '../../codecs/bytes.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as mac from '../../codecs/mac.ts';
import { BATCH, Batch } from '../../lib/core/batch.ts';
import { createContext } from '../../lib/core/context.ts';
import type { Sink } from '../../lib/core/element.ts';
import { ALL_REMOTES, remote } from '../../lib/core/packet.ts';
import { Pool } from '../../lib/core/pool.ts';
import { NeighborSuppress } from '../../lib/elements/neighbor-suppress.ts';
import { TooBig } from '../../lib/elements/too-big.ts';
import { VxlanDecap } from '../../lib/elements/vxlan-decap.ts';
import { VxlanEncap } from '../../lib/elements/vxlan-encap.ts';
import { DATAGRAM, IP } from '../../lib/io/port.ts';
import { NeighborTable } from '../../lib/tables/neighbor.ts';
import { bytesPerPacket, MOST } from '../gen/heap.ts';
import { arpFrame, nsFrame } from '../lib/elements/questions.ts';
import { FAMILIES, type Family, MEDIA, NAMES, udpFrame, vtep, vtepsOf } from '../lib/elements/tunnel.ts';

/** A word beyond 31 bits is an object where it is not kept in a register. */
const OWNER = mac.parse('fe:00:fe:00:00:02');
const ASKER = 'fe:00:fe:00:00:01';

const VNI = 100;

const pool = new Pool({ count: 512 });
const context = createContext({ pool });
const home: Sink = { push: (batch) => batch.release() };
const batch = new Batch();

/** Pushes copies of a frame; `out` is where they go. */
function pushing(next: Sink, frame: Uint8Array, out: number): (n: number) => void {
  const p = pool.take()!.set(frame);
  p.out = out;
  p.port = 1;
  return (n) => {
    for (let i = 0; i < n; i += BATCH) {
      while (!batch.full) batch.add(pool.clone(p)!);
      next.push(batch);
    }
  };
}

/** The frame with addresses beyond 31 bits. */
function high(frame: Uint8Array): Uint8Array {
  const v = viewOf(frame);
  ethernet.setDst(v, 0, OWNER.hi, OWNER.lo);
  if (ethernet.etherType(v, 0) === ethernet.TYPE_IPV4) {
    ipv4.setSrc(v, 14, 0xc0a80001);
    ipv4.setDst(v, 14, 0xc0a80002);
    ipv4.fillChecksum(v, 14);
  }
  return frame;
}

let made = 0;

/** One host's encapsulator and the decapsulator of the other. */
function tunnel(medium: (typeof MEDIA)[number], family: Family): VxlanEncap {
  const common = { medium, udpChecksum: true };
  const [local, far] = [vtep(1, family), vtep(2, family)];
  const encap = new VxlanEncap(context, `encap ${made++}`, {
    ...common,
    vni: VNI,
    vteps: vtepsOf([2, 3, 4], family),
    remotes: [0, 1, 2],
    local,
    seed: 1,
  });
  const decap = new VxlanDecap(context, `decap ${made++}`, {
    ...common,
    vteps: vtepsOf([1], family),
    local: far,
    networks: [{ vni: VNI, peers: 'any-known' }],
  });
  decap.connect(String(VNI), home);
  encap.connect('out', decap);
  return encap;
}

const parts: Record<string, (n: number) => void> = {};
for (const medium of MEDIA) {
  for (const family of FAMILIES) {
    const frame = high(udpFrame(family, 1000, 1));
    const name = `${NAMES[medium]}, IPv${family}`;
    parts[`${name}: to one endpoint and out of the tunnel`] = pushing(
      tunnel(medium, family),
      frame,
      remote(0),
    );
    parts[`${name}: to all endpoints`] = pushing(tunnel(medium, family), frame, ALL_REMOTES);
  }
}
const plain = high(udpFrame(4));
const tagged = new Uint8Array([...plain.slice(0, 12), 0x81, 0, 0, 1, ...plain.slice(12)]);
parts['a tag that is taken off'] = pushing(tunnel(DATAGRAM, 4), tagged, remote(0));
parts['a frame to nobody'] = pushing(tunnel(IP, 6), plain, remote(9));

const neighbors = new NeighborTable();
neighbors.set(1, ip.parse('192.168.0.2'), OWNER);
neighbors.set(1, ip.parse('fd00::ff00:2'), OWNER);
const suppress = new NeighborSuppress(context, 'suppress', { domain: 1, neighbors });
suppress.connect('out', home);
suppress.connect('reply', home);
parts['suppress: other traffic'] = pushing(suppress, plain, 0);
parts['suppress: an ARP request'] = pushing(
  suppress,
  arpFrame('192.168.0.2', { sha: ASKER, spa: '192.168.0.1' }),
  0,
);
parts['suppress: a solicitation'] = pushing(suppress, nsFrame('fd00::ff00:2', { linkSrc: ASKER }), 0);

const tooBig = new TooBig(context, 'too-big', { mtu: 500, perSecond: 1e9, burst: 1e9 });
tooBig.connect('out', home);
tooBig.connect('reply', home);
parts['too-big: what fits'] = pushing(tooBig, plain, 0);
parts['too-big: Fragmentation Needed'] = pushing(tooBig, high(udpFrame(4, 1, 0, 1000)), 0);
parts['too-big: Packet Too Big'] = pushing(tooBig, high(udpFrame(6, 1, 0, 1000)), 0);

for (const [name, run] of Object.entries(parts)) {
  t.test(name, async (t) => {
    const bytes = bytesPerPacket(run, 1024);
    t.ok(bytes < MOST, `${bytes.toFixed(2)} bytes a packet`);
  });
}

t.test('all of this did what it is about', async (t) => {
  const count = (name: string, counter: string) => context.counters.get(name, counter);
  t.ok(count('suppress', 'answered4') > 0 && count('suppress', 'answered6') > 0);
  t.ok(count('too-big', 'answered4') > 0 && count('too-big', 'answered6') > 0);
  const drops = new Set<string>();
  for (const block of Object.values(context.counters.snapshot())) {
    for (const name of Object.keys(block)) if (name.startsWith('drop.')) drops.add(name);
  }
  // Endpoint 1 of the flood list is not who the far side says it is, and endpoint 9 is nobody.
  t.same([...drops].sort(), ['drop.not-for-us', 'drop.too-big', 'drop.unknown-peer']);
});
