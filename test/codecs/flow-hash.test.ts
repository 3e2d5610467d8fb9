import t from 'tap';
import * as ethernet from '../../codecs/ethernet.ts';
import { flowHash } from '../../codecs/flow-hash.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import { Random } from '../../lib/core/random.ts';
import { seed } from '../gen/seed.ts';

const AT = 6;
const SECRET = 0x5eed;

/** A flow; what is not given is the same in all. */
interface Flow {
  lo?: number;
  src?: number;
  dst?: number;
  protocol?: number;
  srcPort?: number;
  dstPort?: number;
}

/** Bytes written one after the other, with something else around them. */
class Frame {
  readonly bytes = new Uint8Array(256).fill(0xa5);
  readonly v = new DataView(this.bytes.buffer);
  end = AT;

  take(bytes: number): number {
    this.end += bytes;
    return this.end - bytes;
  }

  hash(secret = SECRET): number {
    return flowHash(this.v, AT, this.end, secret);
  }
}

function start({ lo = 1 }: Flow, type: number, tags = 0): Frame {
  const f = new Frame();
  ethernet.write(f.v, f.take(14), 0x0242, 0x0a000002, 0x0242, lo, tags > 0 ? ethernet.TYPE_VLAN : type);
  for (let n = tags; n > 0; n--) {
    vlan.write(f.v, f.take(4), n, 0, 100 + n, n > 1 ? ethernet.TYPE_VLAN : type);
  }
  return f;
}

function ports(f: Frame, { srcPort = 1024, dstPort = 53 }: Flow): Frame {
  udp.write(f.v, f.take(8), srcPort, dstPort, 8, 0);
  return f;
}

function frame4(flow: Flow = {}, tags = 0): Frame {
  const f = start(flow, ethernet.TYPE_IPV4, tags);
  const { src = 0x0a000001, dst = 0x0a000002, protocol = 17 } = flow;
  ipv4.write(f.v, f.take(20), 0, 28, 0, 0, 64, protocol, src, dst);
  return ports(f, flow);
}

/** An IPv6 frame; `extensions` are whole headers of 8 bytes whose first byte is the next header. */
function frame6(flow: Flow = {}, next = flow.protocol ?? 17, extensions: number[][] = []): Frame {
  const f = start(flow, ethernet.TYPE_IPV6);
  const { src = 1, dst = 2 } = flow;
  const bytes = 8 * extensions.length + 8;
  ipv6.write(f.v, f.take(40), 0, 0, bytes, next, 64, [0xfd000000, 0, 0, src], [0xfd000000, 0, 0, dst]);
  for (const header of extensions) f.bytes.set(header, f.take(8));
  return ports(f, flow);
}

const OTHERS: Flow[] = [
  { lo: 2 },
  { src: 0x0a000003 },
  { dst: 0x0a000003 },
  { protocol: 6 },
  { protocol: 132 },
  { srcPort: 1025 },
  { dstPort: 54 },
  { srcPort: 53, dstPort: 1024 },
];

t.test('packets of one flow are equal, others differ', async (t) => {
  for (const frame of [frame4, frame6]) {
    t.equal(frame({ lo: 1 }).hash(), frame().hash());
    const all = new Set([frame().hash(), ...OTHERS.map((flow) => frame(flow).hash())]);
    t.equal(all.size, OTHERS.length + 1, `${frame.name}: every field counts`);
    t.not(frame().hash(1), frame().hash(2), 'and the seed');
  }
});

t.test('what is not a mark of the flow does not count', async (t) => {
  const plain = frame4().hash();
  const f = frame4();
  ipv4.setTos(f.v, AT + 14, 0xff);
  ipv4.setId(f.v, AT + 14, 77);
  ipv4.setTtl(f.v, AT + 14, 3);
  ipv4.setFlags(f.v, AT + 14, ipv4.DF);
  t.equal(f.hash(), plain, 'TOS, identification, TTL, DF');
  udp.setLength(f.v, f.end - 8, 8000);
  udp.setChecksum(f.v, f.end - 8, 8000);
  t.equal(f.hash(), plain, 'the rest of the transport header');
  f.take(18);
  t.equal(f.hash(), plain, 'padding');
  for (const tags of [1, 2, 4]) t.equal(frame4({}, tags).hash(), plain, `${tags} VLAN tags`);

  const six = frame6().hash();
  const labelled = frame6();
  ipv6.setFlowLabel(labelled.v, AT + 14, 0x12345);
  t.equal(labelled.hash(), six, 'the flow label');
  const options = [17, 0, 1, 4, 0, 0, 0, 0];
  t.equal(frame6({}, 60, [options]).hash(), six, 'destination options');
  t.equal(frame6({}, 44, [[17, 0, 0, 0, 0, 0, 0, 7]]).hash(), six, 'an atomic fragment header');
});

t.test('all fragments of a packet are equal', async (t) => {
  const fragment = (flow: Flow, flags: number, offset: number) => {
    const f = frame4(flow);
    ipv4.setFlags(f.v, AT + 14, flags);
    ipv4.setFragmentOffset(f.v, AT + 14, offset);
    return f.hash();
  };
  const first = fragment({}, ipv4.MF, 0);
  t.equal(fragment({ srcPort: 7, dstPort: 8 }, ipv4.MF, 1480), first);
  t.equal(fragment({ srcPort: 9, dstPort: 9 }, 0, 2960), first);
  t.not(fragment({ src: 9 }, ipv4.MF, 0), first);

  const options = [17, 0, 1, 4, 0, 0, 0, 0];
  const first6 = frame6({}, 44, [[60, 0, 0, 1, 0, 0, 0, 7], options]).hash();
  t.equal(frame6({ srcPort: 7 }, 44, [[60, 0, 5, 0xa1, 0, 0, 0, 7]]).hash(), first6);
  t.equal(frame6({ srcPort: 8 }, 44, [[60, 0, 9, 0x40, 0, 0, 0, 7]]).hash(), first6);
  t.not(frame6({ src: 9 }, 44, [[60, 0, 0, 1, 0, 0, 0, 7], options]).hash(), first6);
});

t.test('ports that are not there', async (t) => {
  const icmp = (srcPort: number) => frame4({ protocol: 1, srcPort }).hash();
  t.equal(icmp(1), icmp(2), 'ICMP has none');
  const short = (srcPort: number) => {
    const f = frame4({ srcPort });
    ipv4.setTotalLength(f.v, AT + 14, 23);
    return f.hash();
  };
  t.equal(short(1), short(2), 'a payload of 3 bytes and padding');
  const options = (digits: number) => {
    const f = start({}, ethernet.TYPE_IPV4);
    const ip = f.take(28);
    ipv4.write(f.v, ip, 0, 36, 0, 0, 64, 17, 0x0a000001, 0x0a000002);
    ipv4.setHeaderLength(f.v, ip, 28);
    f.bytes.fill(digits, ip + 20, ip + 28);
    return ports(f, {}).hash();
  };
  t.equal(options(1), frame4().hash(), 'they lie behind the options');
  t.equal(options(0), options(1));
});

t.test('what is not IP', async (t) => {
  const arp = start({}, ethernet.TYPE_ARP).hash();
  t.not(start({}, 0x88cc).hash(), arp, 'the EtherType counts');
  t.not(start({ lo: 2 }, ethernet.TYPE_ARP).hash(), arp);
  const llc = start({}, 64);
  llc.take(64);
  const shorter = start({}, 32);
  shorter.take(32);
  t.equal(llc.hash(), shorter.hash(), 'a length is no type');
  const bad = frame4();
  ipv4.setTotalLength(bad.v, AT + 14, 3000);
  t.equal(bad.hash(), start({}, ethernet.TYPE_IPV4).hash(), 'a malformed IP header is not looked at');
});

t.test('never 0', async (t) => {
  const v = new DataView(new ArrayBuffer(64));
  t.not(flowHash(v, 0, 0, 0), 0);
  t.not(flowHash(v, 0, 64, 0), 0);
});

t.test(`bytes around the frame do not count, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const frames = [
    frame4(),
    frame4({}, 1),
    frame6(),
    frame6({}, 44, [[17, 0, 0, 1, 0, 0, 0, 7]]),
    frame6({}, 60, [[17]]),
  ];
  let differences = 0;
  for (let i = 0; i < 20_000; i++) {
    const { bytes, end } = frames[r.below(frames.length)];
    const frame = bytes.slice(AT, AT + r.below(end - AT + 10));
    for (let n = r.below(4); n > 0 && frame.length > 0; n--) frame[r.below(frame.length)] = r.below(256);
    const alone = flowHash(new DataView(frame.buffer), 0, frame.length, SECRET); // reading on would throw
    const slot = new Uint8Array(frame.length + 64).fill(r.below(256));
    slot.set(frame, 32);
    if (flowHash(new DataView(slot.buffer), 32, 32 + frame.length, SECRET) !== alone) differences++;
  }
  t.equal(differences, 0);
});

/** Chi-squared of what falls into 64 equal boxes, by these bits of the hash. */
function chiSquared(hashes: Iterable<number>, shift: number): number {
  const boxes = new Float64Array(64);
  let n = 0;
  for (const h of hashes) {
    boxes[(h >>> shift) & 63]++;
    n++;
  }
  return boxes.reduce((s, count) => s + (count - n / 64) ** 2 / (n / 64), 0);
}

t.test('flows that differ a little are spread evenly', async (t) => {
  const bit = (i: number): Flow[] => [
    { srcPort: i },
    { dstPort: i },
    { src: i << 16 },
    { dst: i },
    { lo: i << 20 },
  ];
  const sets = bit(0).map((_, kind) => {
    const hashes = new Set<number>();
    for (let i = 0; i < 4096; i++) hashes.add(frame4(bit(i)[kind]).hash());
    return hashes;
  });
  const grid = new Set<number>();
  for (let i = 0; i < 64; i++) for (let j = 0; j < 64; j++) grid.add(frame4({ src: i, dst: j }).hash());
  for (const hashes of [...sets, grid]) {
    t.ok(hashes.size >= 4090, `${hashes.size} of 4096 differ`);
    // 63 degrees of freedom: above 130 by chance once in a million. The inputs are fixed, so no run differs.
    const worst = Math.max(...[0, 8, 16, 26].map((shift) => chiSquared(hashes, shift)));
    t.ok(worst < 130, `chi-squared ${worst.toFixed(0)}`);
  }
});
