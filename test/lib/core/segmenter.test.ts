import t from 'tap';
import { hex, viewOf } from '../../../codecs/bytes.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as protocols from '../../../codecs/protocol.ts';
import * as tcp from '../../../codecs/tcp.ts';
import * as udp from '../../../codecs/udp.ts';
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NONE, type Packet } from '../../../lib/core/packet.ts';
import { DebugPool, JUMBO_SLOT } from '../../../lib/core/pool.ts';
import { Random } from '../../../lib/core/random.ts';
import { Segmenter } from '../../../lib/core/segmenter.ts';
import { seed } from '../../gen/seed.ts';
import {
  type Flow,
  finishChecksum,
  flowOf,
  headersOf,
  networkOf,
  putSuper,
  randomBytes,
  segmentsOf,
  transportOf,
} from '../../gen/super-frames.ts';

const pool = new DebugPool({ count: 2, slot: JUMBO_SLOT });
const segmenter = new Segmenter();

function begin(p: Packet, flow: Flow): boolean {
  const at = p.start + flow.prefix.length;
  return flow.ethernet ? segmenter.begin(p, at) : segmenter.beginIp(p, at);
}

/** The segments, cut by the segmenter, or null where it refuses. */
function cut(p: Packet, flow: Flow): Uint8Array[] | null {
  if (!begin(p, flow)) return null;
  return Array.from({ length: segmenter.count }, (_, i) => {
    const bytes = new Uint8Array(p.hdrLen + segmenter.payloadLength(i));
    segmenter.write(i, viewOf(bytes), 0);
    const at = segmenter.payloadAt(i);
    bytes.set(p.bytes.subarray(at, at + segmenter.payloadLength(i)), p.hdrLen);
    return bytes;
  });
}

const hexOf = (frames: readonly Uint8Array[] | null) =>
  frames?.map((bytes) => hex(viewOf(bytes), 0, bytes.length));

/** Whether the segments are those that the codecs make; keeps the packet as it is. */
function same(flow: Flow, gap = 0): boolean {
  const p = putSuper(pool.take()!, flow, gap);
  const before = Buffer.from(p.bytes).toString('latin1');
  const [is, wanted] = [hexOf(cut(p, flow)), hexOf(segmentsOf(flow))];
  const kept = before === Buffer.from(p.bytes).toString('latin1');
  pool.give(p);
  return kept && is !== undefined && is.join() === wanted!.join();
}

t.test(`segments are those that the codecs make, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  let wrong = 0;
  for (let i = 0; i < 1500; i++) if (!same(flowOf(r), r.chance(0.5) ? r.below(200) : 0)) wrong++;
  t.equal(wrong, 0);
});

t.test(`all flags, options, extension headers, tags and prefixes, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  let wrong = 0;
  for (let i = 0; i < 600; i++) {
    const family = r.chance(0.5) ? 4 : 6;
    const ipOptions = randomBytes(r, 8 * r.below(5));
    // A chain of one header, of the length that it has; or options of IPv4, which are not looked at.
    if (family === 6 && ipOptions.length > 0) ipOptions.set([0, ipOptions.length / 8 - 1]);
    const flow = flowOf(r, {
      family,
      flags: r.below(256),
      urgent: r.below(0x10000),
      tcpOptions: randomBytes(r, 4 * r.below(11)),
      tags: Array.from({ length: r.below(5) }, () => r.below(4096)),
      prefix: randomBytes(r, r.below(20)),
      ethernet: r.chance(0.7),
      ipOptions,
    });
    if (family === 6) ipOptions.set([flow.protocol].slice(0, ipOptions.length));
    if (!same(flow, r.below(2) * r.below(100))) wrong++;
  }
  t.equal(wrong, 0);
});

t.test('FIN and PSH are in the last segment, CWR in the first', async (t) => {
  const r = new Random(1);
  const flags = tcp.ACK | tcp.FIN | tcp.PSH | tcp.CWR | tcp.ECE;
  const flow = flowOf(r, { protocol: tcp.PROTOCOL, family: 4, flags, size: 10, payload: new Uint8Array(25) });
  const p = putSuper(pool.take()!, flow);
  p.gsoType |= GSO_ECN;
  const all = cut(p, flow)!.map((bytes) => tcp.flags(viewOf(bytes), transportOf(flow)));
  t.same(all, [tcp.ACK | tcp.ECE | tcp.CWR, tcp.ACK | tcp.ECE, tcp.ACK | tcp.ECE | tcp.FIN | tcp.PSH]);
  pool.give(p);
});

t.test('identification and sequence number wrap', async (t) => {
  const r = new Random(1);
  const wish = { protocol: tcp.PROTOCOL, family: 4, id: 0xffff, seq: 0xfffffffe, size: 4 } as const;
  const flow = flowOf(r, { ...wish, payload: new Uint8Array(12) });
  const p = putSuper(pool.take()!, flow);
  const all = cut(p, flow)!.map(viewOf);
  t.same(
    all.map((v) => [ipv4.id(v, networkOf(flow)), tcp.seq(v, transportOf(flow))]),
    [
      [0xffff, 0xfffffffe],
      [0, 2],
      [1, 6],
    ],
  );
  pool.give(p);
});

t.test('a UDP checksum that comes out as 0 is sent as 0xffff', async (t) => {
  for (const family of [4, 6] as const) {
    const flow = flowOf(new Random(family), {
      protocol: udp.PROTOCOL,
      family,
      size: 10,
      payload: new Uint8Array(20),
    });
    // What makes the sum of the second segment 0xffff is its checksum.
    const second = segmentsOf(flow)[1];
    const check = udp.checksum(viewOf(second), transportOf(flow));
    flow.payload.set([check >>> 8, check & 0xff], 10);
    const zero = viewOf(segmentsOf(flow)[1]);
    t.equal(udp.checksum(zero, transportOf(flow)), 0xffff);
    t.ok(same(flow));
  }
});

t.test('a segment may be written over the headers of the super-frame', async (t) => {
  const flow = flowOf(new Random(2), { size: 100, payload: randomBytes(new Random(2), 350) });
  const p = putSuper(pool.take()!, flow, headersOf(flow));
  t.ok(begin(p, flow));
  const frames = [0, 1, 2, 3].map((i) => {
    const at = segmenter.payloadAt(i) - p.hdrLen;
    segmenter.write(i, p.view, at);
    return p.bytes.slice(at, at + p.hdrLen + segmenter.payloadLength(i));
  });
  t.same(hexOf(frames), hexOf(segmentsOf(flow)));
  pool.give(p);
});

t.test('one segment, whole or without payload', async (t) => {
  const r = new Random(seed);
  for (const payload of [0, 1, 99, 100])
    t.ok(same(flowOf(r, { size: 100, payload: randomBytes(r, payload) })));
});

/** Whether a super-frame is refused once `spoil` has changed it. */
function refused(flow: Flow, spoil: (p: Packet, v: DataView) => void, gap = 0): boolean {
  const p = putSuper(pool.take()!, flow, gap);
  const { start, end } = p;
  spoil(p, p.view);
  const answer = !begin(p, flow);
  p.start = start;
  p.end = end;
  pool.give(p);
  return answer;
}

t.test('what contradicts itself is refused', async (t) => {
  const r = new Random(3);
  const payload = new Uint8Array(2500);
  const wish = { size: 1000, payload, tags: [], ipOptions: new Uint8Array(0) };
  for (const family of [4, 6] as const) {
    for (const protocol of [tcp.PROTOCOL, udp.PROTOCOL] as const) {
      const flow = flowOf(r, { ...wish, family, protocol });
      const ip = (p: Packet) => p.start + networkOf(flow);
      const l4 = (p: Packet) => p.start + transportOf(flow);
      const says = (what: string, spoil: (p: Packet, v: DataView) => void, gap = 0) =>
        t.ok(refused(flow, spoil, gap), `${what} (IPv${family}, ${protocols.format(protocol)})`);
      t.notOk(refused(flow, () => {}));
      says('another version', (p, v) => v.setUint8(ip(p), (10 - family) << 4));
      says('another EtherType', (p, v) => v.setUint16(ip(p) - 2, 0x0806));
      says('hdrLen too small', (p) => (p.hdrLen -= 4));
      says('hdrLen too large', (p) => (p.hdrLen += 4));
      says('no headers', (p) => (p.hdrLen = 0));
      says('a negative hdrLen', (p) => (p.hdrLen = -1));
      says('hdrLen beyond the end', (p) => (p.hdrLen = p.end - p.start + 1));
      says('gsoSize 0', (p) => (p.gsoSize = 0));
      says('a negative gsoSize', (p) => (p.gsoSize = -5));
      says('a negative gap', (p) => (p.gap = -1));
      says('a byte is missing', (p) => p.end--);
      says('a byte too much', (p) => p.end++);
      says('the end lies in a gap', (p) => (p.end -= 510), 20);
      for (const type of [0, 3, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4]) {
        const right = protocol === udp.PROTOCOL ? GSO_UDP_L4 : family === 4 ? GSO_TCPV4 : GSO_TCPV6;
        if (type !== right) says(`gsoType ${type}`, (p) => (p.gsoType = type));
      }
      if (family === 4) {
        says('a fragment', (p, v) => v.setUint16(ip(p) + 6, 0x2000));
        says('a later fragment', (p, v) => v.setUint16(ip(p) + 6, 1));
        says('a header length of 16', (p, v) => v.setUint8(ip(p), 0x44));
        says('a header length of 24', (p, v) => v.setUint8(ip(p), 0x46));
        says('another protocol', (p, v) => v.setUint8(ip(p) + 9, 1));
        says('another total length', (p, v) => v.setUint16(ip(p) + 2, 2000));
      } else {
        says('another protocol', (p, v) => v.setUint8(ip(p) + 6, 58));
        says('a fragment header', (p, v) => v.setUint8(ip(p) + 6, protocols.FRAGMENT));
        says('another payload length', (p, v) => v.setUint16(ip(p) + 4, 2000));
      }
      if (protocol === udp.PROTOCOL) says('another UDP length', (p, v) => v.setUint16(l4(p) + 4, 1008));
      else says('another data offset', (p, v) => v.setUint8(l4(p) + 12, 0xf0));
    }
  }
});

t.test(`no truncation and no damage makes it read behind the packet, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  let accepted = 0;
  for (let i = 0; i < 3000; i++) {
    const flow = flowOf(r, { size: 50 + r.below(100), tags: [1, 2, 3].slice(0, r.below(4)) });
    const p = putSuper(pool.take()!, flow);
    const end = p.end;
    if (r.chance(0.5)) p.end = p.start + r.below(p.length + 1);
    for (let n = r.below(4); n > 0; n--) p.bytes[p.start + r.below(headersOf(flow))] = r.below(256);
    if (r.chance(0.3)) p.hdrLen = r.below(300);
    if (r.chance(0.3)) p.gsoSize = r.below(100);
    if (r.chance(0.2)) p.gap = r.below(100);
    if (begin(p, flow)) {
      accepted++;
      let bytes = 0;
      const out = new DataView(new ArrayBuffer(p.hdrLen));
      for (let n = 0; n < segmenter.count; n++) {
        segmenter.write(n, out, 0);
        if (segmenter.payloadAt(n) + segmenter.payloadLength(n) > p.end) t.fail('behind the end');
        bytes += segmenter.payloadLength(n);
      }
      if (bytes !== p.end - p.start - p.hdrLen - (segmenter.count - 1) * p.gap) t.fail('payload is lost');
    }
    p.end = end;
    pool.give(p);
  }
  t.ok(accepted > 100, `${accepted} of 3000 were still super-frames`);
});

t.test('the checksum of a segment does not rest on what the super-frame has in its field', async (t) => {
  const flow = flowOf(new Random(5), {
    family: 4,
    protocol: tcp.PROTOCOL,
    size: 10,
    payload: new Uint8Array(35),
  });
  const p = putSuper(pool.take()!, flow);
  tcp.setChecksum(p.view, p.start + transportOf(flow), 0xabcd);
  p.csumStart = NONE;
  const wanted = segmentsOf(flow);
  for (const bytes of wanted) finishChecksum(flow, bytes);
  t.same(hexOf(cut(p, flow)), hexOf(wanted));
  pool.give(p);
});

t.test('everything came home', async (t) => {
  t.same(pool.leaked, []);
});
