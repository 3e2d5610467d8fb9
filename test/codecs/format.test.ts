import t from 'tap';
import { fromHex, viewOf } from '../../codecs/bytes.ts';
import { type FormatOptions, format } from '../../codecs/format.ts';
import { Layers, UDP } from '../../codecs/layers.ts';
import * as linktype from '../../codecs/linktype.ts';
import { Random } from '../../lib/core/random.ts';
import { FrameMaker } from '../gen/frames.ts';
import { seed } from '../gen/seed.ts';

const line = (bytes: string, options?: FormatOptions) => {
  const all = fromHex(bytes);
  return format(viewOf(all), 0, all.length, options);
};

// Frames 1 and 2 of tcpdump's tests/vxlan.pcap.
const ECHO = `00163e0871cf36dc851eb340 0800 45000086d2c04000401151 52 c0a8cb01c0a8ca01
  b05d12b500720000 0800000000006400
  00308801000200163e37f604 0800 45000054000040004001 2335 c0a8cb03c0a8cb05 0800f6f2 050c0001
  fcc1975100000000 c3 aa0c0000000000 101112131415161718191a1b1c1d1e1f
  202122232425262728292a2b2c2d2e2f3031323334353637`;
const ARP = `36dc851eb34000163e0871cf 0800 4500004e00004000401124 4b c0a8ca01c0a8cb01
  a6d612b5003a0000 0800000000006400
  ffffffffffff003088010002 0806 0001080006040001 003088010002c0a8cb05 000000000000c0a8cb03`;
const UDP4 = '4500 001e 0000 0000 40 11 0000 c0000201 c0000202 d431 0035 000a 0000 aabb';
const ETHER = '020000000002 020000000001 0800';

t.test('VXLAN, as tcpdump prints it', async (t) => {
  t.equal(
    line(ECHO, { link: true }),
    '36:dc:85:1e:b3:40 > 00:16:3e:08:71:cf, ethertype IPv4 (0x0800), length 148: ' +
      '192.168.203.1.45149 > 192.168.202.1.4789: VXLAN, flags [I] (0x08), vni 100: ' +
      '00:16:3e:37:f6:04 > 00:30:88:01:00:02, ethertype IPv4 (0x0800), length 98: ' +
      '192.168.203.3 > 192.168.203.5: ICMP echo request, id 1292, seq 1, length 64',
  );
  t.equal(
    line(ECHO),
    'IP 192.168.203.1.45149 > 192.168.202.1.4789: VXLAN, flags [I] (0x08), vni 100: ' +
      'IP 192.168.203.3 > 192.168.203.5: ICMP echo request, id 1292, seq 1, length 64',
  );
  t.equal(
    line(ARP),
    'IP 192.168.202.1.42710 > 192.168.203.1.4789: VXLAN, flags [I] (0x08), vni 100: ' +
      'ARP, Request who-has 192.168.203.3 tell 192.168.203.5, length 28',
  );
  const layers = new Layers({ vxlanPorts: [8472] });
  t.equal(line(ARP, { layers }), 'IP 192.168.202.1.42710 > 192.168.203.1.4789: UDP, length 50');
  t.equal(layers.find(UDP), 2, 'the layers can be used afterwards');
});

t.test('link layers', async (t) => {
  const macs = '02:00:00:00:00:01 > 02:00:00:00:00:02';
  const text = '192.0.2.1.54321 > 192.0.2.2.53: UDP, length 2';
  const tagged = `${ETHER.slice(0, 26)} 8100 3005 0800 ${UDP4}`;
  t.equal(line(`${ETHER} ${UDP4}`), `IP ${text}`);
  t.equal(
    line(tagged, { link: true }),
    `${macs}, ethertype 802.1Q (0x8100), length 48: vlan 5, p 1, DEI, ethertype IPv4 (0x0800), ${text}`,
  );
  t.equal(line(tagged), `IP ${text}`);
  t.equal(
    line(`${ETHER.slice(0, 26)} 88b5 0102`),
    `${macs}, ethertype Unknown (0x88b5), length 16`,
    'shown where there is nothing else',
  );
  const stp = 'LLC, dsap STP (0x42) Individual, ssap STP (0x42) Command, ctrl 0x03: length 2';
  t.equal(line(`${ETHER.slice(0, 26)} 0005 424203 0102 0000`), `${macs}, 802.3, length 5: ${stp}`);
  const snap = 'LLC, dsap SNAP (0xaa) Individual, ssap SNAP (0xaa) Command, ctrl 0x03: oui';
  t.equal(
    line(`${ETHER.slice(0, 26)} 000a aaaa03 00000c 2000 0102`),
    `${macs}, 802.3, length 10: ${snap} Unknown (0x00000c), pid Unknown (0x2000), length 2`,
  );
  t.equal(line(UDP4, { linkType: linktype.RAW }), `IP ${text}`);
  t.equal(line(UDP4, { linkType: linktype.RAW, link: true }), `ip: ${text}`);
  const sll = `0004 0001 0006 0200000000010000 0800 ${UDP4}`;
  t.equal(line(sll, { linkType: linktype.LINUX_SLL }), `IP ${text}`);
  t.equal(
    line(sll, { linkType: linktype.LINUX_SLL, link: true }),
    `Out ethertype IPv4 (0x0800), length 46: ${text}`,
  );
  const sll2 = `0800 0000 00000003 0001 00 06 0200000000010000 ${UDP4}`;
  t.equal(
    line(sll2, { linkType: linktype.LINUX_SLL2, link: true }),
    `In ethertype IPv4 (0x0800), length 50: ${text}`,
  );
  t.equal(line(UDP4, { linkType: 147 }), '[|payload] (a type field has a value that is not understood)');
});

t.test('payloads', async (t) => {
  const ip = (protocol: string, payload: string, fragment = '0000') => {
    const total = (20 + fromHex(payload).length).toString(16).padStart(4, '0');
    return line(`${ETHER} 4500 ${total} 0000 ${fragment} 40 ${protocol} 0000 c0000201 c0000202 ${payload}`);
  };
  const addresses = 'IP 192.0.2.1 > 192.0.2.2:';
  t.equal(ip('02', '1100eeff00000000'), `${addresses} IGMP (2), length 8`);
  t.equal(ip('fd', 'aabb'), `${addresses} unknown (253), length 2`);
  t.equal(ip('11', 'aabb', '0001'), `${addresses} ip-proto-17`, 'a later fragment');
  t.equal(ip('32', '12345678 00000001 aabb'), `${addresses} ESP(spi=0x12345678,seq=0x1), length 10`);
  const on4500 = 'IP 192.0.2.1.4500 > 192.0.2.2.4500:';
  t.equal(
    ip('11', '1194 1194 0012 0000 12345678 00000001 aabb'),
    `${on4500} UDP-encap: ESP(spi=0x12345678,seq=0x1), length 10`,
  );
  t.equal(ip('11', '1194 1194 000e 0000 00000000 aabb'), `${on4500} NONESP-encap: isakmp`);
  t.equal(ip('11', '1194 1194 0009 0000 ff'), `${on4500} isakmp-nat-keep-alive`);
  t.equal(
    ip('06', '0001 0002 00000009 00000000 5002 0010 0000 0000 aa'),
    'IP 192.0.2.1.1 > 192.0.2.2.2: Flags [S], seq 9:10, win 16, length 1',
  );
  t.equal(
    ip('84', '0001 0002 00000003 00000000 0b000004'),
    'IP 192.0.2.1.1 > 192.0.2.2.2: sctp (1) [COOKIE ACK]',
  );
});

t.test('IPv6 and its extension headers', async (t) => {
  const ip6 = (next: string, payload: string) => {
    const bytes = fromHex(payload).length.toString(16).padStart(4, '0');
    const addresses = '20010db8000000000000000000000001 20010db8000000000000000000000002';
    return line(`${ETHER.slice(0, 26)} 86dd 60000000 ${bytes} ${next} 40 ${addresses} ${payload}`);
  };
  const addresses = 'IP6 2001:db8::1 > 2001:db8::2:';
  const udp = '0001 0002 000a 0000 aabb';
  t.equal(ip6('11', udp), 'IP6 2001:db8::1.1 > 2001:db8::2.2: UDP, length 2');
  t.equal(ip6('3b', ''), `${addresses} no next header`);
  t.equal(ip6('fd', 'aa'), `${addresses} unknown (253), length 1`);
  t.equal(
    ip6('00', `2b00 010400000000 3c00 0000 00000000 1100 010400000000 ${udp}`),
    `${addresses} HBH RT6 (len=0, type=0 [Deprecated], segleft=0) DSTOPT 1 > 2: UDP, length 2`,
  );
  t.equal(
    ip6('2b', `1100 0401 00000000 ${udp}`),
    `${addresses} RT6 (len=0, type=4, segleft=1) 1 > 2: UDP, length 2`,
  );
  t.equal(ip6('33', `1101 0000 00000001 00000001 ${udp}`), `${addresses} AH 1 > 2: UDP, length 2`);
  t.equal(ip6('2c', `1100 0001 00000001 ${udp}`), `${addresses} frag (0|10) 1 > 2: UDP, length 2`);
  t.equal(ip6('2c', `1100 0008 00000001 ${udp}`), `${addresses} frag (8|10)`);
  t.equal(ip6('2c', '1100'), `${addresses} [|ip6] (a length in the header claims more bytes than there are)`);
  t.equal(
    ip6('3a', `8700 0000 00000000 fe800000000000000000000000000001`),
    `${addresses} ICMP6, neighbor solicitation, who has fe80::1, length 24`,
  );
  t.equal(
    ip6('3a', '8700 0000 00000000'),
    `${addresses} ICMP6, neighbor solicitation, length 8 [|nd] (the frame ends inside the header)`,
  );
});

t.test('frames that are cut', async (t) => {
  const short = `${ETHER} ${UDP4.replace('001e', '0050').replace('000a', '003c')}`;
  t.equal(line(short), 'IP truncated-ip - 50 bytes missing! 192.0.2.1.54321 > 192.0.2.2.53: UDP, length 52');
  t.equal(
    line(short, { original: 94 }),
    'IP 192.0.2.1.54321 > 192.0.2.2.53: UDP, length 52',
    'by the capture',
  );
  t.match(line(short, { original: 94, link: true }), /, length 94: 192/);
  t.match(line(short, { original: 60 }), /truncated-ip - 34 bytes missing!/, 'and on the wire');
  const v6 = `60000000 0018 06 40 ${'00'.repeat(32)} 0001 0002 00000009 00000000 5002 0010 0000 0000`;
  t.equal(
    line(v6, { linkType: linktype.IPV6 }),
    'IP6 truncated-ip6 - 4 bytes missing! ::.1 > ::.2: Flags [S], seq 9:13, win 16, length 4',
  );
  t.equal(
    line(`${ETHER} ${UDP4.slice(0, 56)}`, { original: 44 }),
    'IP 192.0.2.1 > 192.0.2.2: [|udp] (the frame ends inside the header)',
  );
  t.equal(
    line(ETHER),
    '02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 14: [|ip] (the frame ends inside the header)',
  );
});

t.test(`no frame, however cut, throws: seed ${seed}`, async (t) => {
  const maker = new FrameMaker(new Random(seed));
  const wrong: string[] = [];
  for (let n = 0; n < 40; n++) {
    const frame = maker.frame();
    for (let size = 0; size < frame.length; size++) {
      const cut = frame.slice(0, size); // of its own, so that a read behind it throws
      const text = format(viewOf(cut), 0, size, { link: true, original: frame.length });
      if (/undefined|NaN|\[object/.test(text)) wrong.push(text);
    }
  }
  t.same(wrong, []);
});
