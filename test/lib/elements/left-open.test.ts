/** Frames as a kernel on the same machine leaves them, and what only resembles them. */
import t from 'tap';
import { hex, viewOf } from '../../../codecs/bytes.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as protocols from '../../../codecs/protocol.ts';
import * as tcp from '../../../codecs/tcp.ts';
import * as udp from '../../../codecs/udp.ts';
import * as vxlan from '../../../codecs/vxlan.ts';
import * as drops from '../../../lib/core/drop.ts';
import { GSO_NONE, GSO_UDP_L4, isTrain, NONE, type Packet, segments } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Coalesce } from '../../../lib/elements/coalesce.ts';
import { COMPLETE, CONTRADICTION, noteLeftOpen, OPEN } from '../../../lib/elements/left-open.ts';
import { Segment } from '../../../lib/elements/segment.ts';
import { CHECKSUM, DATAGRAM, TSO4, TSO6, USO } from '../../../lib/io/port.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { FrameMaker } from '../../gen/frames.ts';
import { seed } from '../../gen/seed.ts';
import {
  type Flow,
  flowOf,
  headersOf,
  networkOf,
  putSuper,
  randomBytes,
  segmentsOf,
  transportOf,
  vxlanHeader,
  type Wish,
} from '../../gen/super-frames.ts';
import { putTrain } from '../../gen/trains.ts';
import { pushAll } from './tunnel.ts';

const MTU = 1450;
const ALL = CHECKSUM | TSO4 | TSO6 | USO;

const KINDS: readonly Wish[] = [
  { family: 4, protocol: tcp.PROTOCOL },
  { family: 6, protocol: tcp.PROTOCOL },
  { family: 4, protocol: udp.PROTOCOL },
  { family: 6, protocol: udp.PROTOCOL },
];
const named = ({ family, protocol }: Wish) =>
  `${protocol === tcp.PROTOCOL ? 'TCP' : 'UDP'} over IPv${family}`;
const hexOf = (frames: readonly Uint8Array[]) => frames.map((bytes) => hex(viewOf(bytes), 0, bytes.length));

/** As it is behind an underlay port: coalesced, and cut again by whoever takes no super-frames. */
function setup() {
  const context = testContext({ count: 256 }, 8);
  const element = new Coalesce(context, 'coalesce', { offloads: ALL, mtu: MTU });
  const segment = new Segment(context, 'segment', { medium: DATAGRAM, mtu: 65536, offloads: 0 });
  const [whole, out] = [new Collector(), new Collector()];
  element.connect('out', whole);
  segment.connect('out', out);
  return {
    context,
    element,
    whole,
    push(...packets: Packet[]): void {
      pushAll(element, packets);
    },
    /** The frames that what came out stands for. */
    cut(): string[] {
      pushAll(segment, whole.packets.splice(0));
      const frames = out.frames();
      out.release();
      return frames;
    },
    home(): number[] {
      whole.release();
      return [...context.pool.leaked, ...context.jumbo.leaked];
    },
  };
}

/** A flow's super-frame, or only segment, as a socket gives it. */
function fromSocket(p: Packet, flow: Flow): Packet {
  const { gsoType, gsoSize } = putSuper(p, flow);
  p.clearOffload();
  if (gsoType === GSO_UDP_L4 && flow.payload.length > gsoSize) {
    p.gsoType = gsoType;
    p.gsoSize = gsoSize;
  }
  return p;
}

/** Bytes of payload of a segment that fills the MTU, as TCP makes them. */
const sizeOf = (flow: Flow) => MTU - (headersOf(flow) - networkOf(flow));

t.comment(`seed ${seed}`);

t.test('a frame whose checksum was left open', async (t) => {
  const r = new Random(seed);
  for (const kind of KINDS) {
    let wrong = 0;
    for (let i = 0; i < 100; i++) {
      const size = 1 + r.below(1300);
      const flow = flowOf(r, { ...kind, size, payload: randomBytes(r, size), ipOptions: new Uint8Array(0) });
      const s = setup();
      s.push(fromSocket(s.context.jumbo.take()!, flow));
      const [p] = s.whole.packets;
      if (p.gsoType !== GSO_NONE || p.csumStart !== p.start + transportOf(flow)) wrong++;
      if (s.cut().join() !== hexOf(segmentsOf(flow)).join()) wrong++;
      t.same(s.home(), []);
    }
    t.equal(wrong, 0, named(kind));
  }
});

t.test('a super-frame that nobody cut', async (t) => {
  const r = new Random(seed);
  for (const kind of KINDS) {
    let wrong = 0;
    for (let i = 0; i < 50; i++) {
      const like = flowOf(r, kind);
      // The size of UDP's segments is told, that of TCP's is not.
      const most = sizeOf(like);
      const size = kind.protocol === tcp.PROTOCOL ? most : 1 + r.below(most);
      const payload = randomBytes(r, size + 1 + r.below(Math.min(60_000, 63 * size)));
      const flow = { ...like, size, payload };
      const s = setup();
      s.push(fromSocket(s.context.jumbo.take()!, flow));
      const all = segmentsOf(flow);
      if (s.whole.packets.length !== 1 || segments(s.whole.packets[0]) !== all.length) wrong++;
      if (s.cut().join() !== hexOf(all).join()) wrong++;
      t.same(s.home(), []);
    }
    t.equal(wrong, 0, named(kind));
  }
});

t.test('datagrams keep their boundaries', async (t) => {
  const r = new Random(seed);
  for (const kind of KINDS.slice(2)) {
    // Small ones that are no more than the MTU together, and one beyond it of which nobody said that it is several.
    for (const [size, bytes, told] of [
      [100, 950, true],
      [3000, 3000, false],
    ] as const) {
      const flow = flowOf(r, { ...kind, size, payload: randomBytes(r, bytes) });
      const s = setup();
      const p = fromSocket(s.context.jumbo.take()!, flow);
      t.equal(isTrain(p), told);
      s.push(p);
      t.same(s.cut(), hexOf(segmentsOf(flow)), `${named(kind)}, ${bytes} bytes in datagrams of ${size}`);
      t.same(s.home(), []);
    }
  }
});

t.test('frames whose checksums are right stay as they are', async (t) => {
  const maker = new FrameMaker(new Random(seed));
  const s = setup();
  let [changed, open] = [0, 0];
  for (let i = 0; i < 5000; i++) {
    const frame = Buffer.concat([vxlanHeader(42), maker.frame()]);
    const p = s.context.pool.take()!.set(frame);
    if (noteLeftOpen(p, p.start + vxlan.SIZE, MTU) === OPEN) open++;
    s.push(p);
    if (s.cut().join() !== hexOf([frame]).join()) changed++;
  }
  t.equal(changed, 0);
  t.ok(open <= 3, `${open} of 5000 have a checksum that is the sum of their pseudo header`);
  t.same(s.home(), []);
});

/** Changes to a frame whose checksum was left open, after which it is none. */
const LIES: readonly [string, Wish, (v: DataView, ip: number, l4: number, p: Packet) => void][] = [
  ['longer', { family: 4 }, (v, ip) => ipv4.setTotalLength(v, ip, ipv4.totalLength(v, ip) + 1)],
  ['shorter', { family: 4 }, (v, ip) => ipv4.setTotalLength(v, ip, ipv4.totalLength(v, ip) - 1)],
  ['longer', { family: 6 }, (v, ip) => ipv6.setPayloadLength(v, ip, ipv6.payloadLength(v, ip) + 1)],
  ['shorter', { family: 6 }, (v, ip) => ipv6.setPayloadLength(v, ip, ipv6.payloadLength(v, ip) - 1)],
  ['0', { family: 6 }, (v, ip) => ipv6.setPayloadLength(v, ip, 0)],
  ['padding', {}, (_v, _ip, _l4, p) => void p.end++],
  ['more fragments', { family: 4 }, (v, ip) => ipv4.setFlags(v, ip, 1)],
  ['a later fragment', { family: 4 }, (v, ip) => ipv4.setFragmentOffset(v, ip, 8)],
  ['options', { family: 4 }, (v, ip) => ipv4.setHeaderLength(v, ip, 24)],
  ['a header of 60 bytes', { family: 4, size: 20 }, (v, ip) => ipv4.setHeaderLength(v, ip, 60)],
  ['another version', {}, (v, ip) => v.setUint8(ip, v.getUint8(ip) ^ 0x10)],
  ['another protocol', { family: 4 }, (v, ip) => v.setUint8(ip + 9, protocols.SCTP)],
  ['another protocol', { family: 6 }, (v, ip) => ipv6.setNextHeader(v, ip, protocols.FRAGMENT)],
  ['no TCP header', { protocol: tcp.PROTOCOL }, (v, _, l4) => v.setUint8(l4 + 12, 0x40)],
  [
    'a TCP header beyond the end',
    { protocol: tcp.PROTOCOL, size: 10, tcpOptions: new Uint8Array(0) },
    (v, _, l4) => v.setUint8(l4 + 12, 0xf0),
  ],
  ['another checksum', {}, (v, _, l4, p) => v.setUint8(l4 + p.csumOffset, v.getUint8(l4 + p.csumOffset) ^ 1)],
];

t.test('what lies is not touched', async (t) => {
  for (const [what, wish, change] of LIES) {
    for (const kind of KINDS) {
      const size = wish.size ?? 100;
      const both = { tags: [], ...kind, ...wish, size, payload: new Uint8Array(size) };
      const flow = flowOf(new Random(1), both);
      if (flow.family !== kind.family || flow.protocol !== kind.protocol) continue;
      const s = setup();
      const p = putSuper(s.context.jumbo.take()!, flow);
      change(p.view, p.start + networkOf(flow), p.start + transportOf(flow), p);
      p.clearOffload();
      const before = hexOf([p.frame()]);
      t.equal(noteLeftOpen(p, p.start + vxlan.SIZE, MTU), COMPLETE, `${what}, ${named(kind)}`);
      t.ok(p.csumStart === NONE && p.gsoType === GSO_NONE);
      t.same(hexOf([p.frame()]), before);
      s.context.jumbo.give(p);
    }
  }
  // A header that ends before it began: its "transport" lies within it.
  const s = setup();
  const p = s.context.pool.take()!.set(new Uint8Array(vxlan.SIZE + 14 + 40));
  const ip = p.start + vxlan.SIZE + 14;
  ipv4.write(p.view, ip, 0, 40, 0, 0, 64, tcp.PROTOCOL, 0, 0);
  p.view.setUint16(ip - 2, 0x800);
  p.view.setUint8(ip, 0x40);
  p.view.setUint8(ip + 12, 0x50);
  p.view.setUint16(ip + 16, 0x5000 + 6 + 40);
  t.equal(noteLeftOpen(p, p.start + vxlan.SIZE, MTU), COMPLETE);
  t.equal(noteLeftOpen(p, p.start + vxlan.SIZE, 1), COMPLETE);
  s.context.pool.give(p);
});

t.test('every truncation', async (t) => {
  for (const kind of KINDS) {
    const flow = flowOf(new Random(1), { ...kind, tags: [7], size: 60, payload: new Uint8Array(60) });
    const s = setup();
    const p = fromSocket(s.context.jumbo.take()!, flow);
    t.equal(noteLeftOpen(p, p.start + vxlan.SIZE, MTU), OPEN);
    for (p.end--; p.end > p.start; p.end--) {
      p.clearOffload();
      if (noteLeftOpen(p, p.start + vxlan.SIZE, MTU) !== COMPLETE) t.fail(`${p.length} bytes`);
    }
    s.context.jumbo.give(p);
  }
});

t.test('trains of datagrams are no super-frames', async (t) => {
  const r = new Random(seed);
  for (const kind of KINDS) {
    const flow = flowOf(r, { ...kind, tags: [], flags: tcp.ACK, size: 200, payload: randomBytes(r, 950) });
    const all = segmentsOf(flow);
    const s = setup();
    s.push(putTrain(s.context.jumbo.take()!, all));
    t.same(s.cut(), hexOf(all), named(kind));
    // One whose first frame is something else, and one of which all checksums were left open.
    const arp = all.map((bytes) => bytes.map((x, i) => (i === vxlan.SIZE + 13 ? 6 : x)));
    s.push(putTrain(s.context.jumbo.take()!, arp));
    t.same(s.cut(), hexOf(arp));
    t.same(s.home(), []);
  }
});

/** A train whose first frame says that it is as long as the whole, its checksum left open. */
function swallowing(kind: Wish, header = vxlanHeader(1)): Uint8Array[] {
  const r = new Random(seed);
  const theirs = { ...kind, tags: [], size: 400, payload: randomBytes(r, 400) };
  const victim = segmentsOf(flowOf(r, { ...theirs, prefix: vxlanHeader(2) }))[0];
  const flow = flowOf(r, { ...theirs, prefix: header });
  const whole = { ...flow, payload: new Uint8Array(400 + 2 * victim.length) };
  const p = putSuper(testContext({ count: 1 }, 1).jumbo.take()!, { ...whole, size: whole.payload.length });
  return [p.frame().slice(0, victim.length), victim, victim];
}

t.test('a frame that claims those behind it gets none of them', async (t) => {
  for (const kind of KINDS) {
    for (const group of [0, 0x88]) {
      const s = setup();
      const header = vxlanHeader(1);
      if (group !== 0) header.set([group, 0, 0, 7]);
      const datagrams = swallowing(kind, header);
      for (const d of datagrams) d[0] |= group;
      s.push(putTrain(s.context.jumbo.take()!, datagrams));
      t.same(s.whole.packets, [], `${named(kind)}, flags ${group}`);
      t.equal(s.element.dropped(drops.MALFORMED), 1);
      t.same(s.home(), []);
    }
  }
});

t.test('nothing within a super-frame is taken for a datagram of another network', async (t) => {
  const r = new Random(seed);
  for (const kind of KINDS.slice(2)) {
    const forged = segmentsOf(
      flowOf(r, { prefix: vxlanHeader(2), tags: [], size: 400, payload: randomBytes(r, 400) }),
    )[0];
    const size = forged.length;
    const base = flowOf(r, { ...kind, tags: [], size, payload: randomBytes(r, 4 * size) });
    // Where a train of datagrams of `size` bytes would have its second and third one.
    base.payload.set(forged, size - headersOf(base));
    base.payload.set(forged, 2 * size - headersOf(base));
    const changes: [string, Partial<Flow>, (p: Packet) => void][] = [
      ['as it is', {}, () => {}],
      ['a complete checksum', {}, (p) => void (p.bytes[p.start + transportOf(base) + 6] ^= 1)],
      ['extension headers', { family: 6, ipOptions: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) }, () => {}],
      [
        'a shorter length',
        {},
        (p) => void (p.bytes[p.start + networkOf(base) + (base.family === 4 ? 3 : 5)] ^= 1),
      ],
    ];
    for (const [what, wish, change] of changes) {
      const flow = { ...base, ...wish };
      if (flow.family !== base.family) continue;
      const s = setup();
      const p = fromSocket(s.context.jumbo.take()!, flow);
      if (flow.ipOptions.length > 0) p.bytes[p.start + networkOf(flow) + ipv6.SIZE] = udp.PROTOCOL;
      change(p);
      t.equal(noteLeftOpen(p, p.start + vxlan.SIZE, MTU), CONTRADICTION, `${what}, ${named(kind)}`);
      s.push(p);
      t.same(s.whole.packets, []);
      t.equal(s.element.dropped(drops.MALFORMED), 1);
      t.same(s.home(), []);
    }
  }
});
