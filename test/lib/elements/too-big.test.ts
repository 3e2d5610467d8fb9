import t from 'tap';
import { viewOf } from '../../../codecs/bytes.ts';
import { pseudo6 } from '../../../codecs/checksum.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import { OK } from '../../../codecs/fault.ts';
import * as icmp from '../../../codecs/icmp.ts';
import * as icmpv6 from '../../../codecs/icmpv6.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as udp from '../../../codecs/udp.ts';
import { TOO_BIG } from '../../../lib/core/drop.ts';
import { GSO_TCPV4, NONE, type Packet, remote } from '../../../lib/core/packet.ts';
import { JUMBO_SLOT } from '../../../lib/core/pool.ts';
import { Random } from '../../../lib/core/random.ts';
import { TooBig, type TooBigOptions } from '../../../lib/elements/too-big.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';
import { FAMILIES, type Family, frame, packetOf, pushAll, randomFrame, udpFrame } from './tunnel.ts';

const PORT = 5;

function setup(options: Partial<TooBigOptions> = {}, slot = 2048) {
  const context = testContext({ count: 64, slot });
  const base: TooBigOptions = { mtu: 1450, ...options };
  const tooBig = new TooBig(context, 'too-big', base);
  const out = new Collector();
  const reply = new Collector();
  tooBig.connect('out', out);
  tooBig.connect('reply', reply);
  const send = (bytes: Uint8Array, change?: (p: Packet) => void): string => {
    const p = packetOf(context.pool, bytes);
    p.port = PORT;
    change?.(p);
    const before = tooBig.dropped(TOO_BIG);
    pushAll(tooBig, [p]);
    const fate = [out.packets.length && 'passed', reply.packets.length && 'answered'].filter(Boolean);
    if (tooBig.dropped(TOO_BIG) > before) fate.push('dropped');
    return fate.join();
  };
  const release = () => {
    out.release();
    reply.release();
  };
  return { context, base, tooBig, out, reply, send, release };
}

/** A frame with an IP packet of this many bytes. */
const sized = (family: Family, bytes: number) => udpFrame(family, 7, 0, bytes - (family === 4 ? 28 : 48));

t.test('what fits passes, what does not is answered', async (t) => {
  for (const family of FAMILIES) {
    const { context, tooBig, out, send, release } = setup();
    const fits = sized(family, 1450);
    t.equal(send(fits), 'passed');
    t.same(out.frames(), [Buffer.from(fits).toString('hex')], 'as it was');
    release();
    t.equal(send(sized(family, 1451)), 'answered,dropped');
    release();
    t.equal(context.counters.get(tooBig.name, `answered${family}`), 1);
    const tagged = new Uint8Array([...fits.slice(0, 12), 0x81, 0, 0, 1, ...fits.slice(12)]);
    t.equal(send(tagged), 'passed', 'a tag is not counted');
    release();
    t.equal(context.pool.used, 0);
  }
  const { context, send, release } = setup();
  t.equal(send(frame(0x88b5, new Uint8Array(1450))), 'passed');
  release();
  t.equal(send(frame(0x88b5, new Uint8Array(1451))), 'dropped', 'nobody can be told');
  release();
  t.equal(context.pool.used, 0);
});

t.test('Fragmentation Needed', async (t) => {
  const { context, reply, send, release } = setup();
  for (const flags of [0, ipv4.DF]) {
    const bytes = sized(4, 1500);
    const sent = viewOf(bytes);
    ipv4.setFlags(sent, 14, flags);
    ipv4.fillChecksum(sent, 14);
    send(bytes);
    const [p] = reply.packets;
    const v = p.view;
    const at = p.start;
    t.same([p.out, p.port, p.peer], [PORT, NONE, NONE]);
    t.equal(p.length, 14 + 576);
    t.same(ethernet.decode(v, at), { dst: '02:00:00:00:00:01', src: '02:00:00:00:00:02', etherType: 0x0800 });
    t.equal(ipv4.check(v, at + 14, p.end), OK);
    const header = ipv4.decode(v, at + 14);
    t.same([header.src, header.dst, header.protocol, header.totalLength], ['10.0.0.2', '10.0.0.1', 1, 576]);
    t.ok(ipv4.verifyChecksum(v, at + 14));
    t.ok(icmp.verifyChecksum(v, at + 34, p.end));
    t.equal(
      icmp.format(v, at + 34, p.end),
      'ICMP 10.0.0.2 unreachable - need to frag (mtu 1450), length 556',
    );
    t.same(p.frame().slice(42), bytes.slice(14, 14 + 548), 'what is quoted');
    release();
  }
  const long = new Uint8Array(setup().base.mtu + 1);
  t.equal(send(frame(0x0800, long)), 'dropped', 'not IPv4 at all');
  t.equal(context.pool.used, 0);
});

t.test('Packet Too Big', async (t) => {
  const { context, reply, send, release } = setup();
  const bytes = sized(6, 1500);
  send(bytes);
  const [p] = reply.packets;
  const v = p.view;
  const at = p.start;
  t.same([p.out, p.port], [PORT, NONE]);
  t.equal(p.length, 14 + 1280);
  t.same(ethernet.decode(v, at), { dst: '02:00:00:00:00:01', src: '02:00:00:00:00:02', etherType: 0x86dd });
  t.equal(ipv6.check(v, at + 14, p.end), OK);
  t.same(ipv6.decode(v, at + 14), {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: 1240,
    nextHeader: 58,
    hopLimit: 64,
    src: 'fd00::2',
    dst: 'fd00::1',
  });
  t.ok(icmpv6.verifyChecksum(v, at + 54, p.end, pseudo6(v, at + 14, 58, 1240)));
  t.equal(icmpv6.format(v, at + 54, p.end), 'ICMP6, packet too big, mtu 1450, length 1240');
  t.same(p.frame().slice(62), bytes.slice(14, 14 + 1232), 'what is quoted');
  release();
  t.equal(context.pool.used, 0);
});

t.test('an answer has the tags of the question, and quotes no more than there is', async (t) => {
  for (const family of FAMILIES) {
    const { context, reply, send, release } = setup({ mtu: 100 });
    const plain = sized(family, 120);
    const tags = [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2];
    send(new Uint8Array([...plain.slice(0, 12), ...tags, ...plain.slice(12), 1, 2, 3]));
    const [p] = reply.packets;
    t.same([...p.frame().slice(12, 20)], tags);
    const headers = 8 + (family === 4 ? 20 : 40);
    t.same(p.frame().slice(22 + headers), plain.slice(14), 'without what is behind the packet');
    t.equal(p.length, 22 + headers + 120);
    release();
    t.equal(context.pool.used, 0);
  }
});

t.test('a super-frame is as big as its segments', async (t) => {
  const { context, reply, send, release } = setup({}, JUMBO_SLOT);
  const note = (gsoSize: number) => (p: Packet) => {
    p.gsoType = GSO_TCPV4;
    p.gsoSize = gsoSize;
    p.hdrLen = 54;
    p.csumStart = p.start + 34;
    p.csumOffset = 16;
  };
  t.equal(send(sized(4, 60000), note(1410)), 'passed');
  release();
  t.equal(send(sized(4, 60000), note(1411)), 'answered,dropped');
  const [p] = reply.packets;
  t.same([p.gsoType, p.gsoSize, p.hdrLen, p.csumStart], [0, 0, 0, NONE], 'the answer is no super-frame');
  t.equal(p.length, 590);
  release();
  t.equal(send(sized(4, 1000), note(5000)), 'passed', 'shorter than one segment');
  release();
  t.equal(context.pool.used, 0);
});

t.test('what is not answered', async (t) => {
  const quiet = (text: string, bytes: Uint8Array, change?: (p: Packet) => void) => {
    const { context, send } = setup();
    t.equal(send(bytes, change), 'dropped', text);
    t.equal(context.pool.used, 0);
  };
  const on4 = (text: string, change: (v: DataView) => void, answered = false) => {
    const bytes = sized(4, 1500);
    change(viewOf(bytes));
    ipv4.fillChecksum(viewOf(bytes), 14);
    const { context, send, release } = setup();
    t.equal(send(bytes), answered ? 'answered,dropped' : 'dropped', text);
    release();
    t.equal(context.pool.used, 0);
  };
  const from = (address: number) => (v: DataView) => ipv4.setSrc(v, 14, address);
  const to = (address: number) => (v: DataView) => ipv4.setDst(v, 14, address);
  on4('from 0.0.0.0', from(0));
  on4('from loopback', from(0x7f000001));
  on4('from a group', from(0xe0000001));
  on4('from broadcast', from(0xffffffff));
  on4('to a group', to(0xe0000001));
  on4('to broadcast', to(0xffffffff));
  on4('a later fragment', (v) => ipv4.setFragmentOffset(v, 14, 8));
  on4('a first fragment is', (v) => ipv4.setFlags(v, 14, ipv4.MF), true);
  for (const type of [3, 4, 5, 11, 12, 0, 8]) {
    const icmpOf = (v: DataView) => {
      ipv4.setProtocol(v, 14, 1);
      icmp.setType(v, 34, type);
    };
    on4(`ICMP type ${type}`, icmpOf, type === 0 || type === 8);
  }
  const wrong = sized(4, 1500);
  viewOf(wrong).setUint16(24, 1);
  quiet('a wrong header checksum', wrong);

  const on6 = (text: string, change: (v: DataView) => void, answered = false) => {
    const bytes = sized(6, 1500);
    change(viewOf(bytes));
    const { context, send, release } = setup();
    t.equal(send(bytes), answered ? 'answered,dropped' : 'dropped', text);
    release();
    t.equal(context.pool.used, 0);
  };
  on6('from ::', (v) => ipv6.setSrc(v, 14, 0, 0, 0, 0));
  on6('from a group', (v) => ipv6.setSrc(v, 14, 0xff020000, 0, 0, 1));
  on6('to a group', (v) => ipv6.setDst(v, 14, 0xff020000, 0, 0, 1));
  for (const type of [1, 2, 3, 4, 127, 137, 128, 135]) {
    const icmpOf = (v: DataView) => {
      ipv6.setNextHeader(v, 14, 58);
      icmpv6.setType(v, 54, type);
    };
    on6(`ICMPv6 type ${type}`, icmpOf, type === 128 || type === 135);
  }
  const fragment = (word: number) => (v: DataView) => {
    ipv6.setNextHeader(v, 14, 44);
    v.setUint32(54, (17 << 24) | word);
  };
  on6('a later fragment', fragment(8));
  on6('a first fragment is', fragment(1), true);
  on6('a chain that is cut', (v) => {
    ipv6.setNextHeader(v, 14, 60);
    v.setUint16(54, 0x3cff);
  });

  quiet('to a group of Ethernet', udpFrameTo('01:00:5e:00:00:01'));
  quiet('to all of Ethernet', udpFrameTo('ff:ff:ff:ff:ff:ff'));
  quiet('from a remote endpoint', sized(4, 1500), (p) => {
    p.port = remote(1);
  });
  quiet('from an element here', sized(4, 1500), (p) => {
    p.port = NONE;
  });
  quiet('without room for headers', sized(4, 1500), (p) => {
    p.bytes.copyWithin(47, p.start, p.end);
    p.end = 47 + p.length;
    p.start = 47;
  });
});

function udpFrameTo(dst: string): Uint8Array {
  return frame(ethernet.TYPE_IPV4, sized(4, 1500).slice(14), dst);
}

t.test('answers have a rate', async (t) => {
  const { context, base, tooBig, reply, send, release } = setup({ perSecond: 10, burst: 3 });
  const many = (n: number) => {
    for (let i = 0; i < n; i++) send(sized(4, 1500));
    const answered = reply.packets.length;
    release();
    return answered;
  };
  t.equal(many(10), 3, 'the burst');
  t.equal(context.counters.get(tooBig.name, 'limited'), 7);
  t.equal(tooBig.dropped(TOO_BIG), 10, 'all of them are gone');
  context.clock.advance(99);
  t.equal(many(1), 0);
  context.clock.advance(1);
  t.equal(many(2), 1);
  context.clock.advance(100_000);
  t.equal(many(10), 3, 'no more than the burst');
  t.ok(tooBig.configure({ ...base, perSecond: 0 }));
  context.clock.advance(100_000);
  t.equal(many(10), 0);
  t.ok(tooBig.configure({ mtu: 1500 }));
  t.equal(send(sized(4, 1500)), 'passed', 'another MTU');
  release();
  t.equal(context.pool.used, 0);
});

t.test('whoever watches drops sees the frame, not the answer', async (t) => {
  const { context, send, release } = setup();
  const seen: number[] = [];
  context.onDrop = (p, reason, where) => {
    if (reason === TOO_BIG && where === 'too-big') seen.push(udp.srcPort(p.view, p.start + 34));
  };
  send(sized(4, 1500));
  release();
  t.same(seen, [7]);
});

t.test(`whatever comes, nothing is thrown or lost, seed ${seed}`, async (t) => {
  const r = new Random(seed);
  const { context, tooBig, out, release } = setup({ mtu: 68, perSecond: 1e9, burst: 1e9 });
  let kept = 0;
  for (let i = 0; i < 3000; i++) {
    const p = packetOf(context.pool, randomFrame(r));
    p.port = PORT;
    if (r.chance(0.3)) p.bytes[p.start] &= 0xfe;
    if (r.chance(0.1)) p.end = p.start + r.below(p.length + 1);
    pushAll(tooBig, [p]);
    kept += out.packets.length;
    release();
  }
  t.equal(kept + tooBig.dropped(TOO_BIG), 3000);
  t.equal(context.pool.used, 0);
});

t.test('wrong options are refused where they are given', async (t) => {
  const refused = (options: Partial<TooBigOptions>, message: RegExp) =>
    t.throws(() => setup(options), { message });
  refused({ mtu: 67 }, /"mtu" expected an integer 68\.\.65535, got 67/);
  refused({ mtu: 1450.5 }, /"mtu" expected/);
  refused({ perSecond: -1 }, /"perSecond" expected a number of at least 0, got -1/);
  refused({ burst: 0 }, /"burst" expected a number of at least 1, got 0/);
});
