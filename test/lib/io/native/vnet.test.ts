/** The header in front of frames of TAP, TUN and packet sockets: what it says is believed only where it can be true. */
import t from 'tap';
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  HEADROOM,
  NONE,
  type Packet,
} from '../../../../lib/core/packet.ts';
import { DebugPool, JUMBO_SLOT } from '../../../../lib/core/pool.ts';
import { Random } from '../../../../lib/core/random.ts';
import * as vnet from '../../../../lib/io/native/vnet.ts';
import { seed } from '../../../gen/seed.ts';
import { flowOf, headersOf, putSuper, randomBytes } from '../../../gen/super-frames.ts';

const pool = new DebugPool({ count: 1, slot: JUMBO_SLOT });
const random = new Random(seed);
t.comment(`seed ${seed}`);

/** Fields of the header. */
interface Header {
  flags: number;
  type: number;
  headerLength: number;
  size: number;
  start: number;
  offset: number;
}

function write(p: Packet, h: Header): void {
  const at = p.start - vnet.SIZE;
  p.view.setUint8(at, h.flags);
  p.view.setUint8(at + 1, h.type);
  p.view.setUint16(at + 2, h.headerLength, true);
  p.view.setUint16(at + 4, h.size, true);
  p.view.setUint16(at + 6, h.start, true);
  p.view.setUint16(at + 8, h.offset, true);
}

function headerOf(p: Packet): Header {
  const v = new DataView(p.bytes.buffer, p.bytes.byteOffset + p.start - vnet.SIZE, vnet.SIZE);
  const word = (at: number) => v.getUint16(at, true);
  const [flags, type] = [v.getUint8(0), v.getUint8(1)];
  return { flags, type, headerLength: word(2), size: word(4), start: word(6), offset: word(8) };
}

/** What is wrong with the notes on a packet that was read, or null. */
function fault(p: Packet): string | null {
  const field = p.csumStart + p.csumOffset;
  const partial = p.csumStart !== NONE;
  if (partial && (p.csumStart < p.start || p.csumOffset < 0 || field + 2 > p.end)) return 'checksum outside';
  if (p.gap !== 0) return 'gap';
  if (p.gsoType === GSO_NONE) return p.gsoSize === 0 && p.hdrLen === 0 ? null : 'notes of a super-frame';
  if (!partial) return 'a super-frame with a complete checksum';
  if (![GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4].includes(p.gsoType & ~GSO_ECN)) return `type ${p.gsoType}`;
  if (p.gsoSize < 1 || p.hdrLen < p.csumStart - p.start + 8) return 'short headers';
  return p.start + p.hdrLen + p.gsoSize < p.end ? null : 'less than two segments';
}

t.test('every super-frame is what it was', async (t) => {
  for (let i = 0; i < 500; i++) {
    const flow = flowOf(random, { prefix: new Uint8Array(0) });
    const p = putSuper(pool.take()!, flow);
    if (random.chance(0.2) && p.gsoType !== GSO_UDP_L4) p.gsoType |= GSO_ECN;
    const segments = flow.payload.length > flow.size;
    const want = [p.csumStart, p.csumOffset, ...(segments ? [p.gsoType, p.gsoSize, p.hdrLen] : [0, 0, 0])];
    vnet.write(p);
    t.equal(headerOf(p).headerLength, headersOf(flow));
    p.clearOffload();
    if (!vnet.read(p)) t.fail(`refused, seed ${seed}`);
    const got = [p.csumStart, p.csumOffset, p.gsoType, p.gsoSize, p.hdrLen];
    if (got.join() !== want.join()) t.same(got, want, `seed ${seed}`);
    pool.give(p);
  }
});

t.test('an ordinary frame', async (t) => {
  const p = pool.take()!.set(new Uint8Array(60));
  vnet.write(p);
  t.same(headerOf(p), { flags: 0, type: 0, headerLength: 0, size: 0, start: 0, offset: 0 });
  t.ok(vnet.read(p));
  t.equal(p.csumStart, NONE);
  write(p, { flags: 2, type: 0, headerLength: 99, size: 9, start: 9, offset: 9 });
  t.ok(vnet.read(p), 'valid data (VIRTIO_NET_HDR_F_DATA_VALID) is as good as complete');
  t.equal(p.csumStart, NONE);
  pool.give(p);
});

t.test('each field out of range', async (t) => {
  const size = 100;
  const flow = flowOf(random, {
    family: 4,
    protocol: 6,
    tags: [],
    prefix: new Uint8Array(0),
    size,
    payload: randomBytes(random, 1000),
  });
  const p = putSuper(pool.take()!, flow);
  vnet.write(p);
  const good = headerOf(p);
  const { length } = p;
  const read = (change: Partial<Header>): boolean => {
    p.clearOffload();
    write(p, { ...good, ...change });
    const taken = vnet.read(p);
    if (taken) t.equal(fault(p), null, JSON.stringify(change));
    return taken;
  };
  t.ok(read({}));
  const refused: [string, Partial<Header>][] = [
    ['a super-frame without a partial checksum', { flags: 0 }],
    ['one of valid data', { flags: 2 }],
    ['a checksum that starts at the end', { start: length }],
    ['and beyond', { start: length + 1 }],
    ['and far beyond', { start: 0xffff }],
    ['a field that begins at the end', { offset: length - good.start }],
    ['a field that ends one beyond', { offset: length - good.start - 1 }],
    ['a field far beyond', { offset: 0xffff }],
    ['a field that is not of TCP', { offset: 6 }],
    ['no size', { size: 0 }],
    ['fragments, as UFO made them', { type: 3 }],
    ['a type that there is not', { type: 2 }],
    ['another', { type: 0x7f }],
    ['only ECN', { type: 0x80 }],
    ['a TCP header that does not fit', { start: length - 18 }],
  ];
  for (const [what, change] of refused) t.notOk(read(change), what);
  t.ok(read({ headerLength: 0xffff }), 'the header length is a hint');
  t.ok(read({ size: 0xffff }), 'one segment');
  t.equal(p.gsoType, GSO_NONE, 'is an ordinary frame');
  for (const [offset, what] of [
    [0x10, 'a TCP header of 4 bytes'],
    [0x00, 'of none'],
  ] as const) {
    p.view.setUint8(HEADROOM + good.start + 12, offset);
    t.notOk(read({}), what);
  }
  p.end = p.start + good.start + 60;
  p.view.setUint8(HEADROOM + good.start + 12, 0xf0);
  t.notOk(read({}), 'a TCP header without payload');
  pool.give(p);
});

t.test('nothing at all', async (t) => {
  const p = pool.take()!;
  for (const flags of [0, 1]) {
    write(p, { flags, type: 0, headerLength: 0, size: 0, start: 0, offset: 0 });
    t.equal(vnet.read(p), flags === 0);
  }
  pool.give(p);
});

t.test('random headers never lead out of the frame', async (t) => {
  const types = [0, 1, 3, 4, 5, 0x80, 0x81, 0x84, 0x85];
  let taken = 0;
  for (let i = 0; i < 200_000; i++) {
    const p = pool.at(0);
    p.reset();
    p.end = p.start + random.below(random.chance(0.5) ? 120 : 2000);
    const near = () => (random.chance(0.8) ? random.below(p.length + 4) : random.below(0x10000));
    const start = near();
    p.view.setUint8(Math.min(p.start + start + 12, p.bytes.length - 1), random.below(256));
    write(p, {
      flags: random.chance(0.9) ? 1 : random.below(256),
      type: random.chance(0.9) ? types[random.below(types.length)] : random.below(256),
      headerLength: random.below(0x10000),
      size: near(),
      start,
      offset: random.chance(0.7) ? [6, 16][random.below(2)] : near(),
    });
    if (!vnet.read(p)) continue;
    taken++;
    const wrong = fault(p);
    if (wrong !== null) return void t.fail(`${wrong}: ${JSON.stringify(headerOf(p))}, seed ${seed}`);
  }
  t.ok(taken > 1000, `${taken} could be true`);
});
