/**
 * A frame as one line for people, close to what `tcpdump -n -S` prints (`-e` with `link`):
 *
 *     IP 192.0.2.1.49153 > 192.0.2.2.4789: VXLAN, flags [I] (0x08), vni 100: IP 10.0.0.1 > 10.0.0.2: ICMP ...
 *
 * Odd: where tcpdump knows the protocol of a payload (DNS, BGP), this says UDP or TCP and the length. It starts
 * a new line for the frame inside VXLAN, this does not.
 */
import * as arp from './arp.ts';
import { dissect } from './dissect.ts';
import * as esp from './esp.ts';
import * as ethernet from './ethernet.ts';
import { FAULTS, OK } from './fault.ts';
import * as icmp from './icmp.ts';
import * as icmpv6 from './icmpv6.ts';
import * as ip from './ip.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import * as extensions from './ipv6-extensions.ts';
import * as layer from './layers.ts';
import { Layers } from './layers.ts';
import * as linktype from './linktype.ts';
import * as llc from './llc.ts';
import * as nd from './nd.ts';
import * as protocols from './protocol.ts';
import * as sctp from './sctp.ts';
import * as sll from './sll.ts';
import * as tcp from './tcp.ts';
import * as udp from './udp.ts';
import * as vlan from './vlan.ts';
import * as vxlan from './vxlan.ts';

export interface FormatOptions {
  /** Whether MAC addresses, EtherTypes and VLAN tags are shown where a higher layer is too. Default false. */
  readonly link?: boolean;
  /** What the frame starts with, of `linktype.ts`. Default Ethernet. */
  readonly linkType?: number;
  /** Bytes that the frame had on the wire, where a capture holds less. Default: as many as there are. */
  readonly original?: number;
  /** Used for the walk: says which ports are VXLAN's, and holds the layers afterwards. */
  readonly layers?: Layers;
}

/** What the functions below need to know of the frame as a whole. */
interface Frame {
  readonly v: DataView;
  readonly layers: Layers;
  readonly link: boolean;
  /** Bytes that the capture left out at the frame's end. */
  readonly cut: number;
}

/** The frame `at..end` as one line. Never throws, whatever the bytes are. */
export function format(v: DataView, at: number, end: number, options: FormatOptions = {}): string {
  const layers = options.layers ?? new Layers();
  dissect(v, at, end, layers, options.linkType ?? linktype.ETHERNET);
  const link = options.link === true || layers.count === 0 || isLink(layers.kind[layers.count - 1]);
  const cut = Math.max(0, (options.original ?? 0) - (end - at));
  const frame: Frame = { v, layers, link, cut };
  let text = '';
  for (let i = 0; i < layers.count; i++) text += formatLayer(frame, i);
  return `${text} ${formatRest(frame)}`
    .replace(/ +/g, ' ')
    .replace(/[:, ]+$/, '')
    .trim();
}

function isLink(kind: layer.Kind): boolean {
  return kind >= layer.ETHERNET && kind <= layer.VLAN;
}

function formatLayer(frame: Frame, i: number): string {
  const { v, layers: l, link } = frame;
  const at = l.start[i];
  const end = l.end[i];
  switch (l.kind[i]) {
    case layer.ETHERNET:
    case layer.SLL:
    case layer.SLL2:
    case layer.VLAN:
      return link ? formatLink(frame, i) : '';
    case layer.LLC:
      return `${llc.format(v, at)}${llc.isSnap(v, at) ? `, length ${end - at - llc.SNAP_SIZE}` : ''}: `;
    case layer.ARP: {
      const text = arp.format(v, at, l.end[i - 1] + frame.cut);
      return link ? text.replace('ARP, ', '') : text;
    }
    case layer.IPV4:
    case layer.IPV6:
      return formatIp(frame, i);
    case layer.UDP:
      return i === l.count - 1 ? udp.format(v, at) : '';
    case layer.TCP:
      return tcp.format(v, at, end + beyond(v, l, i - 1));
    case layer.SCTP:
      return sctp.format(v, at, end);
    case layer.ICMP:
      return icmp.format(v, at, end);
    case layer.ICMPV6:
      return icmpv6.format(v, at, end);
    case layer.ND:
      return nd.format(v, at, end);
    case layer.VXLAN:
      return `${vxlan.format(v, at)}: `;
    case layer.ESP:
      return (
        (l.kind[i - 1] === layer.UDP ? 'UDP-encap: ' : '') + esp.format(v, at, end + beyond(v, l, i - 1))
      );
    case layer.IKE:
      return 'NONESP-encap: isakmp';
    default:
      return 'isakmp-nat-keep-alive';
  }
}

/** Bytes that the IP packet in layer `i` claims beyond what there is; 0 for another layer. */
function beyond(v: DataView, l: Layers, i: number): number {
  const at = l.start[i];
  const there = l.end[i] - at;
  if (l.kind[i] === layer.IPV4) return ipv4.totalLength(v, at) - there;
  return l.kind[i] === layer.IPV6 ? ipv6.SIZE + ipv6.payloadLength(v, at) - there : 0;
}

/** `... > ..., ethertype IPv4 (0x0800), length 98: `: the frame's length, in 802.3 that of its payload. */
function formatLink({ v, layers: l, cut }: Frame, i: number): string {
  const at = l.start[i];
  const inner = i + 1 < l.count ? l.kind[i + 1] : layer.NONE;
  const bytes = inner === layer.LLC ? l.end[i] - at - ethernet.SIZE : l.end[i] - at + cut;
  switch (l.kind[i]) {
    case layer.ETHERNET:
      return `${ethernet.format(v, at)}, length ${bytes}: `;
    case layer.SLL:
      return `${sll.format(v, at)} ${ethernet.formatType(sll.protocol(v, at))}, length ${bytes}: `;
    case layer.SLL2:
      return `${sll.format2(v, at)} ${ethernet.formatType(sll.protocol2(v, at))}, length ${bytes}: `;
    default:
      return `${vlan.format(v, at)}${inner === layer.LLC ? ': ' : ', '}`;
  }
}

/** `IP 10.0.0.1.53 > 10.0.0.2.1024: `; without `IP` where an EtherType was shown. */
function formatIp({ v, layers: l, link, cut }: Frame, i: number): string {
  const v4 = l.kind[i] === layer.IPV4;
  const at = l.start[i];
  const missing = beyond(v, l, i) - cut;
  const chain = v4 ? '' : formatExtensions(v, at, l.end[i]);
  const ports = formatPorts(v, l, i + 1);
  const [src, dst] = v4
    ? [ip.format4(ipv4.src(v, at)), ip.format4(ipv4.dst(v, at))]
    : [ip.format(ip.read6(v, at + ipv6.SRC)), ip.format(ip.read6(v, at + ipv6.DST))];

  let text = v4 ? 'IP ' : 'IP6 ';
  if (link && (i === 0 || isLink(l.kind[i - 1]))) text = i === 0 ? 'ip: ' : '';
  if (missing > 0) text += `truncated-${v4 ? 'ip' : 'ip6'} - ${missing} bytes missing! `;
  if (ports === null) return `${text}${src} > ${dst}: ${chain}`;
  if (chain !== '') return `${text}${src} > ${dst}: ${chain}${ports[0]} > ${ports[1]}: `;
  return `${text}${src}.${ports[0]} > ${dst}.${ports[1]}: `;
}

/** Source and destination port of layer `i`, which UDP, TCP and SCTP have at the same place. */
function formatPorts(v: DataView, l: Layers, i: number): [number, number] | null {
  const kind = i < l.count ? l.kind[i] : layer.NONE;
  if (kind !== layer.UDP && kind !== layer.TCP && kind !== layer.SCTP) return null;
  return [udp.srcPort(v, l.start[i]), udp.dstPort(v, l.start[i])];
}

/** `HBH frag (1448|520) `: the extension headers; empty where they are malformed. */
function formatExtensions(v: DataView, at: number, end: number): string {
  const u = extensions.upper(v, at, end);
  const stop = u < 0 ? at : at + extensions.upperOffset(u);
  let text = '';
  let protocol = ipv6.nextHeader(v, at);
  for (let i = at + ipv6.SIZE; i < stop; ) {
    const bytes = extensions.headerLength(v, i, protocol);
    text += formatExtension(v, i, protocol, end - i - bytes);
    protocol = v.getUint8(i);
    i += bytes;
  }
  return text;
}

function formatExtension(v: DataView, i: number, protocol: number, behind: number): string {
  switch (protocol) {
    case protocols.HOP_BY_HOP:
      return 'HBH ';
    case protocols.ROUTING: {
      const type = v.getUint8(i + 2) === 0 ? '0 [Deprecated]' : v.getUint8(i + 2);
      return `RT6 (len=${v.getUint8(i + 1)}, type=${type}, segleft=${v.getUint8(i + 3)}) `;
    }
    case protocols.FRAGMENT:
      return `frag (${v.getUint16(i + 2) & 0xfff8}|${behind}) `;
    case protocols.AH:
      return 'AH ';
    default:
      return 'DSTOPT ';
  }
}

/** Why the walk ended early, or what follows the last layer where that layer's text does not say it. */
function formatRest({ v, layers: l }: Frame): string {
  if (l.fault !== OK && l.faultAt === l.payload) return `[|${layer.KINDS[l.faultKind]}] (${FAULTS[l.fault]})`;
  const bytes = l.payloadEnd - l.payload;
  const last = l.count - 1;
  const at = l.start[last];
  if (l.kind[last] === layer.LLC && !llc.isSnap(v, at)) return `length ${bytes}`;
  if (l.kind[last] === layer.IPV4) return formatPayload(ipv4.protocol(v, at), bytes, l.fragment);
  if (l.kind[last] !== layer.IPV6 || l.fragment) return '';
  return formatPayload(extensions.upperProtocol(extensions.upper(v, at, l.end[last])), bytes, false);
}

/** `IGMP (2), length 8`; of a later fragment only the number. */
function formatPayload(protocol: number, bytes: number, fragment: boolean): string {
  if (fragment) return `ip-proto-${protocol}`;
  if (protocol === protocols.NO_NEXT_HEADER) return protocols.format(protocol).replace(/ \(.*/, '');
  return `${protocols.format(protocol)}, length ${bytes}`;
}
