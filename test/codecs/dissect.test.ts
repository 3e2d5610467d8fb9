import t from 'tap';
import { fromHex, hex, viewOf } from '../../codecs/bytes.ts';
import { dissect } from '../../codecs/dissect.ts';
import { LENGTH, OK, OPTIONS, SHORT, TOO_DEEP, TRUNCATED, TYPE, VERSION } from '../../codecs/fault.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as layer from '../../codecs/layers.ts';
import { KINDS, Layers } from '../../codecs/layers.ts';
import * as linktype from '../../codecs/linktype.ts';
import * as udp from '../../codecs/udp.ts';
import { Random } from '../../lib/core/random.ts';
import { verify } from '../gen/checksums.ts';
import { FrameMaker } from '../gen/frames.ts';
import { seed } from '../gen/seed.ts';

const MACS = '020000000002 020000000001';
const IP4 = 'c0000201 c0000202';
const IP6 = '20010db8000000000000000000000001 20010db8000000000000000000000002';

/** Kinds and what is left, or where and why it stopped: `ethernet ip udp +4`, `ethernet ip !udp 4`. */
function walk(bytes: string, options: { linkType?: number; layers?: Layers } = {}): string {
  const all = fromHex(bytes);
  const l = options.layers ?? new Layers();
  const fault = dissect(viewOf(all), 0, all.length, l, options.linkType);
  const names = Array.from({ length: l.count }, (_, i) => KINDS[l.kind[i]]);
  if (fault !== OK) names.push(`!${KINDS[l.faultKind]} ${fault}`);
  if (fault === OK || fault === TRUNCATED) names.push(`+${l.payloadEnd - l.payload}`);
  return names.join(' ');
}

/** An IPv4 header in front of a payload, without checksum. */
function ip4(protocol: number, payload: string, fragment = 0): string {
  const total = (20 + fromHex(payload).length).toString(16).padStart(4, '0');
  const of = fragment.toString(16).padStart(4, '0');
  return `4500 ${total} 0000 ${of} 40 ${protocol.toString(16).padStart(2, '0')} 0000 ${IP4} ${payload}`;
}

function ip6(protocol: number, payload: string): string {
  const bytes = fromHex(payload).length.toString(16).padStart(4, '0');
  return `60000000 ${bytes} ${protocol.toString(16).padStart(2, '0')} 40 ${IP6} ${payload}`;
}

function datagram(src: number, dst: number, payload: string): string {
  const bytes = [src, dst, 8 + fromHex(payload).length, 0];
  return bytes.map((n) => n.toString(16).padStart(4, '0')).join('') + payload;
}

const ETH4 = `${MACS} 0800`;
const ETH6 = `${MACS} 86dd`;
const ARP = `0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202`;
const SYN = '0001 0002 00000000 00000000 5002 0000 0000 0000';

t.test('each kind of header', async (t) => {
  const inner = `${ETH4} ${ip4(17, datagram(1, 2, 'aabb'))}`;
  for (const [bytes, expected] of [
    [`${MACS} 88b5 0102`, 'ethernet +2'],
    [`${MACS} 0806 ${ARP} 0000`, 'ethernet arp +0'],
    [`${MACS} 8100 2005 0806 ${ARP}`, 'ethernet vlan arp +0'],
    [`${MACS} 88a8 0064 8100 2005 0806 ${ARP}`, 'ethernet vlan vlan arp +0'],
    [`${MACS} 0005 424203 0102 000000`, 'ethernet llc +2'],
    [`${MACS} 8100 2005 0005 424203 0102 000000`, 'ethernet vlan llc +2'],
    [`${MACS} 000a aaaa03 00000c 2000 0102`, 'ethernet llc +2'],
    [`${MACS} 0024 aaaa03 000000 0806 ${ARP} 0000`, 'ethernet llc arp +0'],
    [`${MACS} 000a aaaa03 000000 0003 424203`, 'ethernet llc +2'], // a length behind SNAP is none
    [`${ETH4} ${ip4(253, '0102')} 0000`, 'ethernet ip +2'],
    [`${ETH4} ${ip4(17, datagram(1, 2, 'aabb'))} 0000`, 'ethernet ip udp +2'],
    [`${ETH4} ${ip4(6, `${SYN} 010203`)} 0000`, 'ethernet ip tcp +3'],
    [`${ETH4} ${ip4(6, SYN.replace('5002', '6002'))} 01010101`.replace('0028', '002c'), 'ethernet ip tcp +0'],
    [`${ETH4} ${ip4(132, '0001 0002 00000003 00000000 0b000004')}`, 'ethernet ip sctp +4'],
    [`${ETH4} ${ip4(1, '0800 0000 0001 0002 aabbcc')}`, 'ethernet ip icmp +3'],
    [`${ETH4} ${ip4(58, '8000 0000 0001 0002 aabbcc')}`, 'ethernet ip +11'],
    [`${ETH4} ${ip4(50, '00000100 00000001 0102')}`, 'ethernet ip esp +2'],
    [`${ETH4} ${ip4(4, ip4(17, datagram(1, 2, '')))}`, 'ethernet ip ip udp +0'],
    [`${ETH4} ${ip4(41, ip6(17, datagram(1, 2, '')))}`, 'ethernet ip ip6 udp +0'],
    [`${ETH6} ${ip6(17, datagram(1, 2, 'aabb'))} 0000`, 'ethernet ip6 udp +2'],
    [`${ETH6} ${ip6(1, '0800 0000 0001 0002')}`, 'ethernet ip6 +8'],
    [`${ETH6} ${ip6(58, '8000 0000 0001 0002 aabbcc')}`, 'ethernet ip6 icmp6 +3'],
    [`${ETH6} ${ip6(58, `8700 0000 00000000 ${IP6.slice(0, 32)} 0101 020000000001`)}`, 'ethernet ip6 nd +8'],
    [`${ETH6} ${ip6(59, '')} 0000`, 'ethernet ip6 +0'],
    [`${ETH6} ${ip6(0, `3c00 010400000000 0600 010400000000 ${SYN}`)}`, 'ethernet ip6 tcp +0'],
    [
      `${ETH4} ${ip4(17, datagram(50000, 4789, `08000000 000064 00 ${inner}`))}`,
      'ethernet ip udp vxlan ethernet ip udp +2',
    ],
    [`${ETH4} ${ip4(17, datagram(4789, 50000, `08000000 000064 00 ${inner}`))}`, 'ethernet ip udp +52'],
  ]) {
    t.equal(walk(bytes), expected, bytes.replaceAll(' ', '').slice(24, 80));
  }
});

t.test('where layers start and end', async (t) => {
  const frame = fromHex(`${MACS} 8100 2005 0800 ${ip4(17, datagram(1, 2, 'aabb'))} 000000`);
  const l = new Layers();
  t.equal(dissect(viewOf(frame), 0, frame.length, l), OK);
  t.same([...l.kind.slice(0, l.count)], [layer.ETHERNET, layer.VLAN, layer.IPV4, layer.UDP]);
  t.same([...l.start.slice(0, l.count)], [0, 14, 18, 38]);
  t.same([...l.end.slice(0, l.count)], [51, 51, 48, 48], 'padding belongs to the link');
  t.same([l.payload, l.payloadEnd], [46, 48]);
  t.equal(l.find(layer.UDP), 3);
  t.equal(l.find(layer.TCP), -1);
  t.equal(l.find(layer.ETHERNET, 1), -1, 'from the second on');
});

t.test('VXLAN', async (t) => {
  const inner = `${MACS} 88b5 01`;
  const on = (port: number, header: string) => `${ETH4} ${ip4(17, datagram(50000, port, header + inner))}`;
  const legacy = new Layers({ vxlanPorts: [4789, 8472] });
  t.equal(walk(on(8472, '0800000000006400')), 'ethernet ip udp +23');
  t.equal(walk(on(8472, '0800000000006400'), { layers: legacy }), 'ethernet ip udp vxlan ethernet +1');
  t.equal(walk(on(4789, '0800000000006400'), { layers: legacy }), 'ethernet ip udp vxlan ethernet +1');
  t.equal(
    walk(on(4789, '0800ffff000064ff')),
    'ethernet ip udp vxlan ethernet +1',
    'reserved bits are ignored',
  );
  t.equal(walk(on(4789, '0000000000006400')), `ethernet ip udp !vxlan ${TYPE}`, 'no VNI');
  t.equal(walk(on(4789, '0c00000400006400')), `ethernet ip udp !vxlan ${TYPE}`, 'GPE is not followed');
  t.equal(walk(on(4790, '0c00000400006400')), 'ethernet ip udp +23');
  t.equal(walk(`${ETH4} ${ip4(17, datagram(1, 4789, '080000'))}`), `ethernet ip udp !vxlan ${SHORT}`);
  t.throws(() => new Layers({ vxlanPorts: [0] }), {
    message: '"vxlanPorts" expected integers 1..65535, got 0',
  });
});

t.test('what shares port 4500', async (t) => {
  const on = (src: number, dst: number, payload: string) =>
    walk(`${ETH4} ${ip4(17, datagram(src, dst, payload))}`);
  t.equal(on(4500, 4500, '00000100 00000001 aa'), 'ethernet ip udp esp +1');
  t.equal(on(4500, 1025, '00000100 00000001 aa'), 'ethernet ip udp esp +1', 'behind a NAT');
  t.equal(on(1025, 4500, '00000000 aabb'), 'ethernet ip udp isakmp +2');
  t.equal(on(4500, 4500, 'ff'), 'ethernet ip udp nat-keep-alive +0');
  t.equal(on(4500, 4500, '000001'), `ethernet ip udp !esp ${SHORT}`);
  t.equal(walk(`${ETH4} ${ip4(50, '00000000 00000001 aa')}`), `ethernet ip !esp ${TYPE}`, 'SPI 0');
});

t.test('fragments', async (t) => {
  const l = new Layers();
  const whole = datagram(1, 2, 'aabb');
  const first = datagram(1, 2, '').replace('0008', '0200'); // of a datagram of 512 bytes
  for (const [bytes, expected, fragment] of [
    [`${ETH4} ${ip4(17, whole, 0x4000)}`, 'ethernet ip udp +2', false],
    [`${ETH4} ${ip4(17, first, 0x2000)}`, 'ethernet ip udp +0', true],
    [`${ETH4} ${ip4(17, whole, 0x2001)}`, 'ethernet ip +10', true],
    [`${ETH4} ${ip4(17, whole, 0x0001)}`, 'ethernet ip +10', true],
    [`${ETH6} ${ip6(44, `1100 0000 00000001 ${whole}`)}`, 'ethernet ip6 udp +2', false], // RFC 6946
    [`${ETH6} ${ip6(44, `1100 0001 00000001 ${first}`)}`, 'ethernet ip6 udp +0', true],
    [`${ETH6} ${ip6(44, `1100 0008 00000001 ${whole}`)}`, 'ethernet ip6 +10', true],
  ] as const) {
    t.equal(walk(bytes, { layers: l }), expected);
    t.equal(l.fragment, fragment);
  }
  t.equal(walk(`${ETH4} ${ip4(17, first)}`), `ethernet ip udp !udp ${TRUNCATED} +0`, 'no fragment');
});

t.test('link types', async (t) => {
  const v4 = ip4(17, datagram(1, 2, 'aabb'));
  const v6 = ip6(17, datagram(1, 2, 'aabb'));
  const sll = (type: string) => `0000 0001 0006 0200000000010000 ${type}`;
  for (const [linkType, bytes, expected] of [
    [linktype.ETHERNET, `${ETH4} ${v4}`, 'ethernet ip udp +2'],
    [linktype.RAW, v4, 'ip udp +2'],
    [linktype.RAW, v6, 'ip6 udp +2'],
    [linktype.RAW, '', `!ip ${SHORT}`],
    [linktype.IPV4, v4, 'ip udp +2'],
    [linktype.IPV6, v6, 'ip6 udp +2'],
    [linktype.IPV6, v4, `!ip6 ${SHORT}`],
    [linktype.LINUX_SLL, `${sll('0800')} ${v4}`, 'sll ip udp +2'],
    [linktype.LINUX_SLL, `${sll('86dd')} ${v6}`, 'sll ip6 udp +2'],
    [linktype.LINUX_SLL, '0000', `!sll ${SHORT}`],
    [linktype.LINUX_SLL2, `0806 0000 00000003 0001 00 06 0200000000010000 ${ARP}`, 'sll2 arp +0'],
    [linktype.LINUX_SLL2, '0800', `!sll2 ${SHORT}`],
    [147, v4, `!payload ${TYPE}`],
  ] as const) {
    t.equal(walk(bytes, { linkType }), expected, linktype.format(linkType));
  }
});

t.test('what is wrong, and where', async (t) => {
  const v4 = ip4(17, datagram(1, 2, 'aabb'));
  for (const [bytes, expected] of [
    [MACS, `!ethernet ${SHORT}`],
    [`${MACS} 05dd 00`, `!ethernet ${LENGTH}`],
    [`${MACS} 0008 424203 01`, `ethernet llc !ethernet ${TRUNCATED} +1`],
    [`${MACS} 0002 4242 0300`, `ethernet !llc ${SHORT}`],
    [`${MACS} 8100 20`, `ethernet !vlan ${SHORT}`],
    [`${MACS} 8100 2005 05dd`, `ethernet !vlan ${LENGTH}`],
    [`${MACS} 0806 ${ARP.replace('0800', '0801')}`, `ethernet !arp ${TYPE}`],
    [`${MACS} 0806 ${ARP.replace('06 04', '07 04')}`, `ethernet !arp ${LENGTH}`],
    [`${ETH4} 45`, `ethernet !ip ${SHORT}`],
    [`${ETH4} ${v4.replace('4500', '5500')}`, `ethernet !ip ${VERSION}`],
    [`${ETH4} ${v4.replace('4500', '4400')}`, `ethernet !ip ${LENGTH}`],
    [`${ETH4} ${v4.replace('4500', '4f00').replace('001e', '003c')}`, `ethernet !ip ${TRUNCATED} +30`],
    [`${ETH4} ${v4.replace('001e', '001f')}`, `ethernet ip udp !ip ${TRUNCATED} +2`],
    [`${ETH4} ${v4.replace('001e', '0100').slice(0, -4)}`, `ethernet ip udp !ip ${TRUNCATED} +0`],
    [`${ETH4} ${ip4(17, datagram(1, 2, '').replace('0008', '0007'))}`, `ethernet ip !udp ${LENGTH}`],
    [`${ETH4} ${ip4(17, '0001')}`, `ethernet ip !udp ${SHORT}`],
    [`${ETH4} ${ip4(6, SYN.replace('5002', '4002'))}`, `ethernet ip !tcp ${LENGTH}`],
    [`${ETH4} ${ip4(6, '0001')}`, `ethernet ip !tcp ${SHORT}`],
    [`${ETH4} ${ip4(132, '0001')}`, `ethernet ip !sctp ${SHORT}`],
    [`${ETH4} ${ip4(1, '0800')}`, `ethernet ip !icmp ${SHORT}`],
    [`${ETH6} ${ip6(58, '8000')}`, `ethernet ip6 !icmp6 ${SHORT}`],
    [
      `${ETH6} ${ip6(58, `8700 0000 00000000 ${IP6.slice(0, 32)} 0100 020000000001`)}`,
      `ethernet ip6 icmp6 !nd ${OPTIONS}`,
    ],
    [`${ETH6} ${ip6(58, '8700 0000 00000000')}`, `ethernet ip6 icmp6 !nd ${SHORT}`],
    [`${ETH6} ${ip6(0, '1101 010400000000')}`, `ethernet ip6 !ip6 ${TRUNCATED} +8`],
    [`${ETH6} ${ip6(0, '0000 010400000000 1100 010400000000')}`, `ethernet ip6 !ip6 ${OPTIONS}`],
    [`${ETH6} ${ip6(60, '3c00 010400000000'.repeat(17))}`, `ethernet ip6 !ip6 ${TOO_DEEP}`],
    [
      `${MACS} ${'8100 0001'.repeat(8)} 0800`,
      `${'ethernet vlan vlan vlan vlan vlan vlan vlan'} !vlan ${TOO_DEEP}`,
    ],
  ]) {
    t.equal(walk(bytes), expected, bytes.replaceAll(' ', '').slice(24, 80));
  }
  const l = new Layers();
  walk(`${ETH4} ${ip4(17, '0001')}`, { layers: l });
  t.same([l.faultKind, l.faultAt], [layer.UDP, 34]);
  walk(`${MACS} 88b5`, { layers: l });
  t.same([l.fault, l.faultKind, l.count], [OK, layer.NONE, 1], 'nothing is left of the frame before');
});

t.test(`random frames, seed ${seed}`, async (t) => {
  const maker = new FrameMaker(new Random(seed));
  const l = new Layers();
  const seen = new Set<number>();
  const wrong: string[] = [];
  for (let n = 0; n < 2000; n++) {
    const frame = maker.frame();
    const v = viewOf(frame);
    const fault = dissect(v, 0, frame.length, l);
    let ok = fault === OK || (fault === TOO_DEEP && l.count === layer.MAX_LAYERS);
    for (let i = 0; i < l.count; i++) {
      seen.add(l.kind[i]);
      ok &&= verify(v, l, i) !== false;
      ok &&= i === 0 || (l.start[i] > l.start[i - 1] && l.end[i] <= l.end[i - 1]);
      ok &&= l.start[i] < l.payload && l.payload <= l.payloadEnd && l.payloadEnd <= l.end[i];
    }
    if (!ok) wrong.push(hex(v, 0, frame.length));
  }
  t.same(wrong, [], 'no fault, layers inside each other, right checksums');
  t.equal(seen.size, KINDS.length - 3, 'all kinds but payload and the two cooked ones');
});

t.test(`truncated at every length, seed ${seed}`, async (t) => {
  const maker = new FrameMaker(new Random(seed));
  const whole = new Layers();
  const part = new Layers();
  const wrong: string[] = [];
  for (let n = 0; n < 150; n++) {
    const frame = maker.frame();
    dissect(viewOf(frame), 0, frame.length, whole);
    for (let size = 0; size < frame.length; size++) {
      const cut = frame.slice(0, size); // of its own, so that a read behind it throws
      const fault = dissect(viewOf(cut), 0, size, part);
      let ok = part.payloadEnd <= size && part.count <= whole.count;
      for (let i = 0; i < part.count; i++) {
        // What is cut within neighbor discovery is ICMPv6 still.
        const kind = part.kind[i] === layer.ICMPV6 && whole.kind[i] === layer.ND ? layer.ND : part.kind[i];
        ok &&= kind === whole.kind[i] && part.start[i] === whole.start[i] && part.end[i] <= size;
      }
      if (part.count < whole.count) ok &&= fault !== OK;
      if (!ok) wrong.push(`${size} of ${hex(viewOf(frame), 0, frame.length)}`);
    }
  }
  t.same(wrong, []);
});

t.test('the example in the module', async (t) => {
  const frame = fromHex(`${ETH4} ${ip4(17, datagram(1, 2, 'aabb'))}`);
  const v = viewOf(frame);
  const l = new Layers();
  t.equal(dissect(v, 0, frame.length, l), OK);
  t.equal(udp.dstPort(v, l.start[l.find(layer.UDP)]), 2);
  t.equal(ipv4.ttl(v, l.start[l.find(layer.IPV4)]), 64);
});
