/** What the codecs say about a frame, as facts under the names of `tcpdump-facts.ts`. */
import * as arp from '../../codecs/arp.ts';
import { dissect } from '../../codecs/dissect.ts';
import * as esp from '../../codecs/esp.ts';
import * as ethernet from '../../codecs/ethernet.ts';
import { OK, TRUNCATED } from '../../codecs/fault.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ip from '../../codecs/ip.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as ipv6 from '../../codecs/ipv6.ts';
import * as layer from '../../codecs/layers.ts';
import * as llc from '../../codecs/llc.ts';
import * as mac from '../../codecs/mac.ts';
import * as nd from '../../codecs/nd.ts';
import * as ndOptions from '../../codecs/nd-options.ts';
import * as sctp from '../../codecs/sctp.ts';
import * as sll from '../../codecs/sll.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as tcpOptions from '../../codecs/tcp-options.ts';
import * as udp from '../../codecs/udp.ts';
import * as vlan from '../../codecs/vlan.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import { verify } from '../gen/checksums.ts';
import { Facts } from './tcpdump-facts.ts';

/** A frame as a capture holds it. */
export interface Frame {
  readonly v: DataView;
  readonly at: number;
  readonly end: number;
  /** Bytes on the wire. */
  readonly original: number;
  readonly linkType: number;
}

/** One layer of a frame. */
interface Layer {
  readonly facts: Facts;
  readonly v: DataView;
  readonly l: layer.Layers;
  readonly i: number;
  readonly at: number;
  readonly end: number;
  /** Bytes of the frame that the capture left out. */
  readonly cut: number;
  /** Whether the checksum is right; undefined where there is none, or not all that it covers. */
  readonly good: boolean | undefined;
}

const READ: Record<number, (of: Layer) => void> = {
  [layer.ETHERNET]: readEthernet,
  [layer.SLL]: readSll,
  [layer.VLAN]: readVlan,
  [layer.LLC]: readLlc,
  [layer.ARP]: readArp,
  [layer.IPV4]: readIpv4,
  [layer.IPV6]: readIpv6,
  [layer.TCP]: readTcp,
  [layer.UDP]: readUdp,
  [layer.SCTP]: ({ facts, v, at }) =>
    facts.add('port', { src: sctp.srcPort(v, at), dst: sctp.dstPort(v, at) }),
  [layer.ICMP]: readIcmp,
  [layer.ICMPV6]: readIcmpv6,
  [layer.ND]: readNd,
  [layer.VXLAN]: ({ facts, v, at }) =>
    facts.add('vxlan', { flags: digits(vxlan.flags(v, at), 2), vni: vxlan.vni(v, at) }),
  [layer.ESP]: readEsp,
  [layer.IKE]: ({ facts }) => facts.add('carried', { what: 'NONESP-encap' }),
  [layer.KEEPALIVE]: ({ facts }) => facts.add('carried', { what: 'isakmp-nat-keep-alive' }),
};

const digits = (value: number, count = 1) => value.toString(16).padStart(count, '0');
const address6 = (v: DataView, at: number) => ip.format(ip.read6(v, at));

/** The facts of one frame. */
export function ownFacts(frame: Frame, l: layer.Layers): Facts {
  const { v, at, end, original, linkType } = frame;
  const facts = new Facts();
  const fault = dissect(v, at, end, l, linkType);
  const cut = original - (end - at);
  // What a capture cut off is nobody's fault, unless it is a header.
  const cutOnly = fault === TRUNCATED && cut > 0 && l.faultAt !== l.payload;
  facts.add('frame', { wrong: fault !== OK && !cutOnly });
  for (let i = 0; i < l.count; i++) {
    const whole = fault !== TRUNCATED || l.kind[i] === layer.UDP || l.kind[i] === layer.IPV4;
    const good = whole ? (verify(v, l, i) ?? undefined) : undefined;
    READ[l.kind[i]]?.({ facts, v, l, i, at: l.start[i], end: l.end[i], cut, good });
  }
  return facts;
}

function readEthernet({ facts, v, at, end, cut }: Layer): void {
  const { src, dst, etherType } = ethernet.decode(v, at);
  const raw = etherType < ethernet.MIN_TYPE;
  const [type, length] = raw ? ['802.3', etherType] : [digits(etherType, 4), end - at + cut];
  facts.add('ether', { src, dst, type, length });
  facts.add('link', { type: raw ? undefined : type });
}

function readSll({ facts, v, at, end, cut }: Layer): void {
  const type = digits(sll.protocol(v, at), 4);
  facts.add('cooked', { type, length: end - at + cut });
  facts.add('link', { type });
}

function readVlan({ facts, v, at }: Layer): void {
  facts.add('vlan', { vid: vlan.vid(v, at), pcp: vlan.pcp(v, at), dei: vlan.dei(v, at) === 1 });
  const type = vlan.etherType(v, at);
  facts.add('link', { type: type < ethernet.MIN_TYPE ? undefined : digits(type, 4) });
}

function readLlc({ facts, v, at, end }: Layer): void {
  const [dsap, ssap] = [llc.dsap(v, at), llc.ssap(v, at)];
  facts.add('llc', {
    dsap: digits(dsap & 0xfe, 2),
    to: (dsap & 1) === 0 ? 'Individual' : 'Group',
    ssap: digits(ssap & 0xfe, 2),
    from: (ssap & 1) === 0 ? 'Command' : 'Response',
    control: digits(llc.control(v, at), 2),
  });
  if (!llc.isSnap(v, at)) return;
  const [oui, pid] = [llc.oui(v, at), digits(llc.protocol(v, at), 4)];
  if (oui === 0) facts.add('link', { type: pid });
  else facts.add('snap', { oui: digits(oui, 6), pid, length: end - at - llc.SNAP_SIZE });
}

function readArp({ facts, v, l, i, at, cut }: Layer): void {
  const { op, sha, spa, tha, tpa } = arp.decode(v, at);
  const length = l.end[i - 1] - at + cut;
  const known = tha === mac.format(0, 0) ? undefined : tha;
  facts.add('arp', op === arp.REQUEST ? { op, tpa, tha: known, spa, length } : { op, spa, sha, length });
}

const FLAGS = ['none', '+', 'DF', '+, DF', 'rsvd', '+, rsvd', 'DF, rsvd', '+, DF, rsvd'];

function readIpv4({ facts, v, at, end, cut, good }: Layer): void {
  const length = ipv4.totalLength(v, at);
  facts.add('ip', { src: ip.format4(ipv4.src(v, at)), dst: ip.format4(ipv4.dst(v, at)) });
  facts.add('ip4', {
    tos: digits(ipv4.tos(v, at)),
    ttl: ipv4.ttl(v, at),
    id: ipv4.id(v, at),
    offset: ipv4.fragmentOffset(v, at),
    flags: FLAGS[ipv4.flags(v, at)],
    protocol: ipv4.protocol(v, at),
    length,
    good,
  });
  const missing = length - (end - at) - cut;
  if (missing > 0) facts.add('ip', { missing });
}

function readIpv6({ facts, v, at, end, cut }: Layer): void {
  const length = ipv6.payloadLength(v, at);
  facts.add('ip', { src: address6(v, at + ipv6.SRC), dst: address6(v, at + ipv6.DST) });
  facts.add('ip6', {
    traffic: digits(ipv6.trafficClass(v, at), 2),
    label: digits(ipv6.flowLabel(v, at), 5),
    hops: ipv6.hopLimit(v, at),
    next: ipv6.nextHeader(v, at),
    length,
  });
  const missing = ipv6.SIZE + length - (end - at) - cut;
  if (missing > 0) facts.add('ip', { missing });
}

function readTcp({ facts, v, l, i, at, good }: Layer): void {
  const flags = tcp.flags(v, at);
  const packet = l.start[i - 1];
  const v4 = l.kind[i - 1] === layer.IPV4;
  // As the sender had it, where the capture has less.
  const end = packet + (v4 ? ipv4.totalLength(v, packet) : ipv6.SIZE + ipv6.payloadLength(v, packet));
  const length = end - at - tcp.headerLength(v, at);
  const numbered = length > 0 || (flags & (tcp.SYN | tcp.FIN | tcp.RST)) !== 0;
  facts.add('port', { src: tcp.srcPort(v, at), dst: tcp.dstPort(v, at) });
  facts.add('tcp', {
    flags: [...'FSRP.UEW'].filter((_, bit) => ((flags >>> bit) & 1) !== 0).join('') || 'none',
    checksum: digits(tcp.checksum(v, at), 4),
    good,
    seq: numbered ? tcp.seq(v, at) : undefined,
    ack: (flags & tcp.ACK) !== 0 ? tcp.ack(v, at) : undefined,
    window: tcp.window(v, at),
    urgent: (flags & tcp.URG) !== 0 ? tcp.urgent(v, at) : undefined,
    options: tcpOptions.format(v, at + tcp.SIZE, at + tcp.headerLength(v, at)),
    length,
  });
}

function readUdp({ facts, v, l, i, at, good }: Layer): void {
  const known = good === undefined ? undefined : good ? 'ok' : 'bad';
  const sum = udp.checksum(v, at) === 0 ? 'no' : known;
  facts.add('port', { src: udp.srcPort(v, at), dst: udp.dstPort(v, at) });
  facts.add('udp', { length: i < l.count - 1 ? undefined : udp.length(v, at) - udp.SIZE, sum });
}

function readEsp({ facts, v, l, i, at, end }: Layer): void {
  if (l.kind[i - 1] === layer.UDP) facts.add('carried', { what: 'UDP-encap' });
  facts.add('esp', { spi: digits(esp.spi(v, at), 8), seq: digits(esp.seq(v, at)), length: end - at });
}

function readIcmp({ facts, v, at, end }: Layer): void {
  const type = icmp.type(v, at);
  const echo = type === icmp.ECHO_REPLY || type === icmp.ECHO_REQUEST;
  facts.add('icmp', { type, length: end - at });
  if (echo) facts.add('icmp', { code: icmp.code(v, at), id: icmp.id(v, at), seq: icmp.seq(v, at) });
}

function readIcmpv6({ facts, v, at, end, good }: Layer): void {
  facts.add('icmp6', { name: NAMES[icmpv6.type(v, at)], length: end - at, good });
}

/** tcpdump's names of the messages that the captures and the made frames have. */
const NAMES: Record<number, string> = {
  [icmpv6.UNREACHABLE]: 'destination unreachable',
  [icmpv6.PACKET_TOO_BIG]: 'packet too big',
  [icmpv6.PARAMETER_PROBLEM]: 'parameter problem',
  [icmpv6.ECHO_REQUEST]: 'echo request',
  [icmpv6.ECHO_REPLY]: 'echo reply',
  [icmpv6.MLD_QUERY]: 'multicast listener query v2',
  [icmpv6.ROUTER_SOLICITATION]: 'router solicitation',
  [icmpv6.ROUTER_ADVERTISEMENT]: 'router advertisement',
  [icmpv6.NEIGHBOR_SOLICITATION]: 'neighbor solicitation',
  [icmpv6.NEIGHBOR_ADVERTISEMENT]: 'neighbor advertisement',
  [icmpv6.REDIRECT]: 'redirect',
  [icmpv6.MLD2_REPORT]: 'multicast listener report v2',
};

function readNd(of: Layer): void {
  const { facts, v, at, end } = of;
  readIcmpv6(of);
  const message = nd.decode(v, at, end);
  facts.add('nd', { target: message.target });
  if (message.type === icmpv6.ROUTER_ADVERTISEMENT) {
    const { hopLimit: hops, lifetime, reachable, retrans } = message;
    facts.add('router', { hops, lifetime, reachable, retrans });
  }
  for (let i = at + nd.sizeOf(message.type); i < end; i = ndOptions.next(v, i, end)) {
    const type = v.getUint8(i);
    if (type === ndOptions.MTU) facts.add('nd', { mtu: ndOptions.mtu(v, i) });
    if (type === ndOptions.SOURCE_LINK || type === ndOptions.TARGET_LINK) {
      facts.add('nd', { link: `${type} ${mac.format(ndOptions.linkHi(v, i), ndOptions.linkLo(v, i))}` });
    }
    if (type !== ndOptions.PREFIX) continue;
    facts.add('prefix', {
      length: ndOptions.length(v, i),
      prefix: address6(v, ndOptions.prefixAt(i)),
      bits: ndOptions.prefixLength(v, i),
      valid: ndOptions.validLifetime(v, i),
      preferred: ndOptions.preferredLifetime(v, i),
    });
  }
}
