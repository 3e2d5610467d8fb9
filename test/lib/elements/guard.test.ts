import t, { type Test } from 'tap';
import * as arp from '../../../codecs/arp.ts';
import { fromHex, viewOf } from '../../../codecs/bytes.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as icmpv6 from '../../../codecs/icmpv6.ts';
import * as ip from '../../../codecs/ip.ts';
import * as ipv4 from '../../../codecs/ipv4.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as mac from '../../../codecs/mac.ts';
import * as nd from '../../../codecs/nd.ts';
import * as options from '../../../codecs/nd-options.ts';
import * as protocol from '../../../codecs/protocol.ts';
import * as udp from '../../../codecs/udp.ts';
import { Batch } from '../../../lib/core/batch.ts';
import { MALFORMED, SPOOFED_ADDRESS, SPOOFED_MAC } from '../../../lib/core/drop.ts';
import { NONE, remote } from '../../../lib/core/packet.ts';
import { Random } from '../../../lib/core/random.ts';
import { Guard } from '../../../lib/elements/guard.ts';
import { Collector, testContext } from '../../gen/context.ts';
import { seed } from '../../gen/seed.ts';

const MAC = '02:42:8a:00:00:02';
const OTHER_MAC = '02:42:8a:00:00:03';
const IP4 = '10.0.0.2';
const IP6 = 'fd00::2';
/** The EUI-64 of MAC. */
const LINK_LOCAL = 'fe80::42:8aff:fe00:2';
const OTHERS = ['10.0.0.3', 'fd00::3', 'fe80::42:8aff:fe00:3'];

// Ports by what the guard knows of them.
const BOTH = 1;
const MACS = 2;
const ADDRESSES = 3;

function setup() {
  const context = testContext();
  const macs = [mac.parse(MAC)];
  const addresses = [ip.parse(IP4), ip.parse(IP6)];
  const ports = [
    { place: BOTH, macs, addresses },
    { place: MACS, macs },
    { place: ADDRESSES, addresses },
  ];
  const guard = new Guard(context, 'guard', { ports });
  const out = new Collector();
  guard.connect('out', out);
  /** Why a frame from a port is dropped: a reason, or NONE where it passes as it is. */
  const send = (frame: Uint8Array, port = BOTH): number => {
    const before = [MALFORMED, SPOOFED_MAC, SPOOFED_ADDRESS].map((reason) => guard.dropped(reason));
    const batch = new Batch();
    const p = context.pool.take()!.set(frame);
    p.port = port;
    batch.add(p);
    guard.push(batch);
    const same = out.packets.length === 1 && Buffer.compare(out.packets[0].frame(), frame) === 0;
    out.release();
    if (same) return NONE;
    return [MALFORMED, SPOOFED_MAC, SPOOFED_ADDRESS].find((reason, i) => guard.dropped(reason) > before[i])!;
  };
  return { context, guard, ports, out, send };
}

/** A frame with `payload`; tags are given as types and the 16 bits behind them. */
function frame(type: number, payload: Uint8Array, src = MAC, tags = ''): Uint8Array {
  const bytes = new Uint8Array(12 + fromHex(tags).length + 2 + payload.length);
  const v = viewOf(bytes);
  const { hi, lo } = mac.parse(src);
  ethernet.setSrc(v, 0, hi, lo);
  bytes.set(fromHex(tags), 12);
  v.setUint16(bytes.length - payload.length - 2, type);
  bytes.set(payload, bytes.length - payload.length);
  return bytes;
}

function arpFrame(op: number, sha: string, spa: string, tpa: string, src = MAC, tags = ''): Uint8Array {
  const bytes = new Uint8Array(arp.SIZE);
  const fields = { op, sha, spa, tha: '00:00:00:00:00:00', tpa };
  arp.encode(fields, viewOf(bytes), 0);
  return frame(ethernet.TYPE_ARP, bytes, src, tags);
}

function ipv4Frame(
  src: string,
  next = 17,
  payload: Uint8Array = new Uint8Array(8),
  dst = '10.0.0.9',
  tags = '',
): Uint8Array {
  const bytes = new Uint8Array(ipv4.SIZE + payload.length);
  const words = [ip.parse(src).words[3], ip.parse(dst).words[3]];
  ipv4.write(viewOf(bytes), 0, 0, bytes.length, 0, 0, 64, next, words[0], words[1]);
  bytes.set(payload, ipv4.SIZE);
  return frame(ethernet.TYPE_IPV4, bytes, MAC, tags);
}

function ipv6Frame(src: string, next: number, payload: Uint8Array, from = MAC, tags = ''): Uint8Array {
  const bytes = new Uint8Array(ipv6.SIZE + payload.length);
  const [s, d] = [ip.parse(src).words, ip.parse('ff02::1').words];
  ipv6.write(viewOf(bytes), 0, 0, 0, payload.length, next, 255, s, d);
  bytes.set(payload, ipv6.SIZE);
  return frame(ethernet.TYPE_IPV6, bytes, from, tags);
}

function datagram(srcPort: number, dstPort: number, bytes = 20): Uint8Array {
  const payload = new Uint8Array(bytes);
  udp.write(viewOf(payload), 0, srcPort, dstPort, bytes, 0);
  return payload;
}

/** A message of neighbor discovery with link-layer address options: type and address. */
function message(type: number, target: string, ...links: (readonly [number, string])[]): Uint8Array {
  const size = nd.sizeOf(type);
  const bytes = new Uint8Array(size + links.length * options.SIZE);
  const v = viewOf(bytes);
  icmpv6.write(v, 0, type, 0, 0);
  if (size >= nd.SIZE) nd.setTarget(v, 0, ...ip.parse(target).words);
  for (const [i, [option, address]] of links.entries()) {
    const { hi, lo } = mac.parse(address);
    options.writeLink(v, size + i * options.SIZE, option, hi, lo);
  }
  return bytes;
}

const NS = icmpv6.NEIGHBOR_SOLICITATION;
const NA = icmpv6.NEIGHBOR_ADVERTISEMENT;
const ndFrame = (src: string, bytes: Uint8Array) => ipv6Frame(src, icmpv6.PROTOCOL, bytes);

/** Whether the pool is whole again. */
const home = (t: Test, { pool }: { pool: { used: number } }) => t.equal(pool.used, 0);

t.test('the source MAC address', async (t) => {
  const { context, send } = setup();
  const plain = new Uint8Array(46);
  t.equal(send(frame(0x88b5, plain)), NONE);
  t.equal(send(frame(0x88b5, plain, OTHER_MAC)), SPOOFED_MAC);
  t.equal(send(frame(0x88b5, plain, OTHER_MAC), MACS), SPOOFED_MAC);
  t.equal(send(frame(0x88b5, plain, OTHER_MAC), ADDRESSES), NONE, 'not guarded');
  for (const place of [4, NONE, remote(BOTH)]) t.equal(send(frame(0x88b5, plain, OTHER_MAC), place), NONE);
  home(t, context);
});

t.test('IPv4', async (t) => {
  const { context, send } = setup();
  t.equal(send(ipv4Frame(IP4)), NONE);
  t.equal(send(ipv4Frame('10.0.0.3')), SPOOFED_ADDRESS);
  t.equal(send(ipv4Frame('10.0.0.3'), ADDRESSES), SPOOFED_ADDRESS);
  t.equal(send(ipv4Frame('10.0.0.3'), MACS), NONE, 'not guarded');
  t.equal(send(ipv4Frame('255.255.255.255')), SPOOFED_ADDRESS);
  const padded = new Uint8Array(60);
  padded.set(ipv4Frame(IP4));
  t.equal(send(padded), NONE, 'padding is not the packet');
  home(t, context);
});

t.test('a DHCP client has no address yet', async (t) => {
  const { context, send } = setup();
  const all = '255.255.255.255';
  t.equal(send(ipv4Frame('0.0.0.0', 17, datagram(68, 67), all)), NONE);
  t.equal(send(ipv4Frame('0.0.0.0', 17, datagram(68, 67), '10.0.0.1')), SPOOFED_ADDRESS, 'not broadcast');
  t.equal(send(ipv4Frame('0.0.0.0', 17, datagram(67, 68), all)), SPOOFED_ADDRESS, 'a server');
  t.equal(send(ipv4Frame('0.0.0.0', 6, datagram(68, 67), all)), SPOOFED_ADDRESS, 'TCP');
  t.equal(send(ipv4Frame('0.0.0.0', 17, new Uint8Array(4), all)), SPOOFED_ADDRESS, 'no header');
  const fragment = ipv4Frame('0.0.0.0', 17, datagram(68, 67), all);
  ipv4.setFlags(viewOf(fragment), 14, ipv4.MF);
  t.equal(send(fragment), SPOOFED_ADDRESS, 'a fragment');
  home(t, context);
});

t.test('ARP', async (t) => {
  const { context, send } = setup();
  for (const op of [arp.REQUEST, arp.REPLY]) {
    t.equal(send(arpFrame(op, MAC, IP4, '10.0.0.3')), NONE);
    t.equal(send(arpFrame(op, MAC, IP4, IP4)), NONE, 'an announcement');
    t.equal(send(arpFrame(op, OTHER_MAC, IP4, '10.0.0.3')), SPOOFED_MAC);
    t.equal(send(arpFrame(op, MAC, '10.0.0.3', '10.0.0.4')), SPOOFED_ADDRESS);
    t.equal(send(arpFrame(op, MAC, '10.0.0.3', IP4)), SPOOFED_ADDRESS);
    t.equal(send(arpFrame(op, MAC, '10.0.0.3', IP4), MACS), NONE, 'addresses are not guarded');
    t.equal(send(arpFrame(op, OTHER_MAC, IP4, '10.0.0.3', OTHER_MAC), ADDRESSES), NONE);
  }
  t.equal(send(arpFrame(arp.REQUEST, MAC, '0.0.0.0', IP4)), NONE, 'a probe for its own address');
  t.equal(send(arpFrame(arp.REQUEST, MAC, '0.0.0.0', '10.0.0.3')), SPOOFED_ADDRESS, 'for that of another');
  t.equal(send(arpFrame(arp.REPLY, MAC, '0.0.0.0', IP4)), SPOOFED_ADDRESS, 'no probe');
  home(t, context);
});

t.test('IPv6 source addresses', async (t) => {
  const { context, send } = setup();
  const data = datagram(1000, 2000);
  t.equal(send(ipv6Frame(IP6, 17, data)), NONE);
  t.equal(send(ipv6Frame(LINK_LOCAL, 17, data)), NONE, 'the link-local address of its MAC');
  for (const other of ['fd00::3', 'fe80::2', OTHERS[2], 'fe80:0:0:1:42:8aff:fe00:2', '::1', '::']) {
    t.equal(send(ipv6Frame(other, 17, data)), SPOOFED_ADDRESS, other);
    t.equal(send(ipv6Frame(other, 17, data), MACS), NONE, `${other}, not guarded`);
  }
  t.equal(send(ipv6Frame(OTHERS[2], 17, data, OTHER_MAC), ADDRESSES), NONE, 'that of whatever MAC it has');
  home(t, context);
});

t.test('messages without a source address', async (t) => {
  const { context, send } = setup();
  const { ROUTER_SOLICITATION, MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT, ECHO_REQUEST } = icmpv6;
  const from = (type: number) => send(ndFrame('::', Uint8Array.from([type, 0, 0, 0, 0, 0, 0, 0])));
  for (const type of [ROUTER_SOLICITATION, MLD_REPORT, MLD_DONE, MLD2_REPORT]) t.equal(from(type), NONE);
  for (const type of [MLD_QUERY, ECHO_REQUEST]) t.equal(from(type), SPOOFED_ADDRESS);
  for (const own of [IP6, LINK_LOCAL])
    t.equal(send(ndFrame('::', message(NS, own))), NONE, `is ${own} free?`);
  for (const other of OTHERS.slice(1))
    t.equal(send(ndFrame('::', message(NS, other))), SPOOFED_ADDRESS, other);
  t.equal(send(ndFrame('::', message(NA, IP6))), SPOOFED_ADDRESS);
  // With a hop-by-hop router alert in front, as reports have it (RFC 3810 section 5).
  const report = fromHex(`3a 00 0502 0000 0100 ${'8f000000 00000000'}`);
  t.equal(send(ipv6Frame('::', protocol.HOP_BY_HOP, report)), NONE);
  home(t, context);
});

t.test('neighbor discovery speaks of the port alone', async (t) => {
  const { context, send } = setup();
  const { SOURCE_LINK, TARGET_LINK } = options;
  const ok = (bytes: Uint8Array, text: string) => t.equal(send(ndFrame(LINK_LOCAL, bytes)), NONE, text);
  const refused = (reason: number, bytes: Uint8Array, text: string) =>
    t.equal(send(ndFrame(LINK_LOCAL, bytes)), reason, text);
  ok(message(NS, 'fd00::3', [SOURCE_LINK, MAC]), 'who is fd00::3?');
  refused(SPOOFED_MAC, message(NS, 'fd00::3', [SOURCE_LINK, OTHER_MAC]), 'with the address of another');
  refused(SPOOFED_MAC, message(NS, 'fd00::3', [SOURCE_LINK, MAC], [SOURCE_LINK, OTHER_MAC]), 'as the second');
  ok(message(NA, IP6, [TARGET_LINK, MAC]), 'I am');
  ok(message(NA, LINK_LOCAL, [TARGET_LINK, MAC]), 'I am that too');
  refused(SPOOFED_MAC, message(NA, IP6, [TARGET_LINK, OTHER_MAC]), 'the other is');
  refused(SPOOFED_ADDRESS, message(NA, 'fd00::3', [TARGET_LINK, MAC]), 'I am the other');
  refused(SPOOFED_MAC, message(icmpv6.ROUTER_SOLICITATION, '', [SOURCE_LINK, OTHER_MAC]), 'solicitation');
  refused(SPOOFED_MAC, message(icmpv6.ROUTER_ADVERTISEMENT, '', [SOURCE_LINK, OTHER_MAC]), 'advertisement');
  ok(message(icmpv6.REDIRECT, 'fe80::9', [TARGET_LINK, OTHER_MAC]), 'a redirect names another node');
  refused(SPOOFED_MAC, message(icmpv6.REDIRECT, 'fe80::9', [SOURCE_LINK, OTHER_MAC]), 'and never the sender');
  const na = ndFrame('fd00::9', message(NA, 'fd00::9', [TARGET_LINK, MAC]));
  t.equal(send(na, MACS), NONE, 'addresses are not guarded');
  home(t, context);
});

t.test('a tag hides nothing', async (t) => {
  const { context, send } = setup();
  const other6 = ipv6Frame('fd00::3', 17, datagram(1, 2)).subarray(14);
  for (const tags of ['8100 0005', '88a8 0005 8100 0006', '8100 0005 8100 0000']) {
    t.equal(send(ipv4Frame(IP4, 17, datagram(1, 2), '10.0.0.9', tags)), NONE, tags);
    t.equal(send(ipv4Frame('10.0.0.3', 17, datagram(1, 2), '10.0.0.9', tags)), SPOOFED_ADDRESS);
    t.equal(send(arpFrame(arp.REPLY, MAC, '10.0.0.3', IP4, MAC, tags)), SPOOFED_ADDRESS);
    t.equal(send(frame(ethernet.TYPE_IPV6, other6, MAC, tags)), SPOOFED_ADDRESS);
  }
  t.equal(send(ipv4Frame(IP4, 17, datagram(1, 2), '10.0.0.9', '8100 0001 8100 0001 8100 0001')), MALFORMED);
  t.equal(send(frame(ethernet.TYPE_VLAN, new Uint8Array(3))), MALFORMED, 'half a tag');
  // SNAP: the 802.3 length, aa-aa-03, OUI 0, EtherType (RFC 1042).
  const snap = (src: string) => {
    const packet = ipv4Frame(src).subarray(14);
    return frame(packet.length + 8, Uint8Array.from([...fromHex('aaaa03 000000 0800'), ...packet]));
  };
  t.equal(send(snap(IP4)), NONE);
  t.equal(send(snap('10.0.0.3')), SPOOFED_ADDRESS);
  t.equal(
    send(frame(38, fromHex(`424203${'00'.repeat(35)}`))),
    NONE,
    'a spanning tree, for the bridge to drop',
  );
  home(t, context);
});

t.test('what cannot be read is malformed', async (t) => {
  const { context, send } = setup();
  const malformed = (bytes: Uint8Array, text: string) => {
    for (const port of [BOTH, MACS]) t.equal(send(bytes, port), MALFORMED, text);
  };
  const v4 = ipv4Frame(IP4);
  const v6 = ipv6Frame(IP6, 17, datagram(1, 2));
  malformed(v4.subarray(0, 13), 'no frame');
  malformed(v4.subarray(0, 33), 'half an IPv4 header');
  malformed(v4.subarray(0, v4.length - 1), 'less than its total length');
  malformed(v6.subarray(0, 53), 'half an IPv6 header');
  malformed(frame(ethernet.TYPE_IPV4, v6.subarray(14)), 'IPv6 as IPv4');
  malformed(frame(ethernet.TYPE_IPV6, v4.subarray(14)), 'IPv4 as IPv6');
  malformed(arpFrame(1, MAC, IP4, IP4).subarray(0, 41), 'half an ARP packet');
  const hardware = arpFrame(1, MAC, IP4, IP4);
  hardware[15] = 6;
  malformed(hardware, 'ARP for IEEE 802 hardware');
  malformed(frame(1501, new Uint8Array(1501)), 'neither length nor type');
  malformed(frame(2, new Uint8Array(46)), 'LLC in two bytes');
  malformed(ndFrame(LINK_LOCAL, message(NS, IP6).subarray(0, 23)), 'half a solicitation');
  const empty = message(NA, IP6, [options.TARGET_LINK, MAC]);
  empty[25] = 0;
  malformed(ndFrame(LINK_LOCAL, empty), 'an option of length 0');
  malformed(ipv6Frame(IP6, protocol.DESTINATION_OPTIONS, fromHex('3a03 0000 0000 0000')), 'a cut extension');
  const chain = new Uint8Array(17 * 8).fill(0);
  for (let i = 0; i < chain.length; i += 8) chain[i] = protocol.DESTINATION_OPTIONS;
  malformed(ipv6Frame(IP6, protocol.DESTINATION_OPTIONS, chain), 'extension headers without end');
  const atomic = Uint8Array.from([...fromHex('3a00 0000 00000001'), ...message(NA, IP6)]);
  malformed(ipv6Frame(IP6, protocol.FRAGMENT, atomic), 'neighbor discovery in a fragment');
  home(t, context);
});

t.test('options change while it runs', async (t) => {
  const { context, guard, ports, send } = setup();
  t.equal(send(ipv4Frame('10.0.0.3')), SPOOFED_ADDRESS);
  t.ok(guard.configure({ ports: [{ place: BOTH, addresses: [ip.parse('10.0.0.3')] }] }));
  t.equal(send(ipv4Frame('10.0.0.3')), NONE);
  t.equal(send(ipv4Frame(IP4)), SPOOFED_ADDRESS);
  t.throws(() => guard.configure({ ports: [ports[0], ports[0]] }), { name: 'RangeError' });
  t.equal(send(ipv4Frame(IP4)), SPOOFED_ADDRESS, 'refused options change nothing');
  t.throws(() => new Guard(context, 'other', { ports: [{ place: BOTH, macs: [] }] }), {
    message: /is empty/,
  });
  home(t, context);
});

t.test('packets of a batch keep their order', async (t) => {
  const { context, guard, out } = setup();
  const batch = new Batch();
  const frames = [ipv4Frame(IP4), ipv4Frame('10.0.0.3'), arpFrame(1, MAC, IP4, IP4), new Uint8Array(3)];
  for (const [i, bytes] of [...frames, ipv6Frame(IP6, 17, datagram(1, 2))].entries()) {
    const p = context.pool.take()!.set(bytes);
    p.port = BOTH;
    p.hash = i;
    batch.add(p);
  }
  guard.push(batch);
  t.equal(batch.length, 0);
  t.same(
    out.packets.map((p) => p.hash),
    [0, 2, 4],
  );
  out.release();
  home(t, context);
});

t.test(`any bytes get an answer that no byte outside the frame changes, seed ${seed}`, async (t) => {
  const { context, guard, out } = setup();
  const random = new Random(seed);
  const samples = [
    ipv4Frame('0.0.0.0', 17, datagram(68, 67), '255.255.255.255', '8100 0005'),
    arpFrame(arp.REQUEST, MAC, IP4, IP4),
    ndFrame(LINK_LOCAL, message(NA, IP6, [options.TARGET_LINK, MAC])),
    ipv6Frame('::', protocol.HOP_BY_HOP, fromHex('3a00 0502 0000 0100 8f00 0000 0000 0000')),
    frame(38, fromHex(`aaaa03 000000 0800 ${'45'.repeat(30)}`)),
  ];
  const batch = new Batch();
  let differ = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = Uint8Array.from(samples[random.below(samples.length)]);
    for (let n = random.below(4); n > 0; n--) bytes[12 + random.below(bytes.length - 12)] = random.below(256);
    const length = random.chance(0.5) ? bytes.length : random.below(bytes.length + 1);
    for (const around of [0x00, 0xff]) {
      const p = context.pool.take()!;
      p.bytes.fill(around);
      p.set(bytes.subarray(0, length));
      p.port = 1 + (i % 3);
      batch.add(p);
    }
    guard.push(batch);
    if (out.packets.length === 1) differ++;
    out.release();
  }
  t.equal(differ, 0);
  home(t, context);
});
