/**
 * Finds the headers of a frame: Ethernet, LLC, VLAN tags, ARP, IPv4, IPv6 with its extension headers, UDP,
 * TCP, SCTP, ICMP, ICMPv6, ESP, VXLAN and the frame inside it.
 *
 *     const layers = new Layers();                        // once
 *     if (dissect(v, start, end, layers) === OK) {
 *       const i = layers.find(UDP);
 *       if (i >= 0) port = udp.dstPort(v, layers.start[i]);
 *     }
 *
 * Every layer has passed its codec's `check`, so its accessors are safe. What follows the last layer is the
 * payload.
 *
 * Odd: a length that claims more bytes than there are is noted as TRUNCATED and the walk goes on with what is
 * there, since that is what captures with a snap length hold; `layers.end` is then where the frame ends, and
 * a checksum over the whole cannot be verified. The same holds, without a fault, for UDP in a fragment. Any
 * other fault ends the walk, and what was found before it stays valid. An IPv6 header whose chain of extension
 * headers is malformed is a layer still, without its extension headers.
 */
import * as arp from './arp.ts';
import * as esp from './esp.ts';
import * as ethernet from './ethernet.ts';
import { type Fault, OK, SHORT, TOO_DEEP, TRUNCATED, TYPE } from './fault.ts';
import * as icmp from './icmp.ts';
import * as icmpv6 from './icmpv6.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import * as extensions from './ipv6-extensions.ts';
import {
  ARP,
  ESP,
  ETHERNET,
  ICMP,
  ICMPV6,
  IKE,
  IPV4,
  IPV6,
  KEEPALIVE,
  type Kind,
  type Layers,
  LLC,
  MAX_LAYERS,
  ND,
  NONE,
  SCTP,
  SLL,
  SLL2,
  TCP,
  UDP,
  VLAN,
  VXLAN,
} from './layers.ts';
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

/** Walks the frame `at..end` and answers with `layers.fault`. Allocates nothing. */
export function dissect(
  v: DataView,
  at: number,
  end: number,
  layers: Layers,
  linkType: number = linktype.ETHERNET,
): Fault {
  layers.count = 0;
  layers.payload = at;
  layers.payloadEnd = end;
  layers.fault = OK;
  layers.faultKind = NONE;
  layers.faultAt = at;
  layers.fragment = false;
  let kind = first(v, layers, linkType);
  while (kind !== NONE) {
    if (layers.count === MAX_LAYERS) kind = stop(layers, TOO_DEEP, kind);
    else kind = step(v, layers, kind);
  }
  return layers.fault;
}

function first(v: DataView, l: Layers, linkType: number): Kind {
  switch (linkType) {
    case linktype.ETHERNET:
      return ETHERNET;
    case linktype.RAW:
      if (l.payload === l.payloadEnd) return stop(l, SHORT, IPV4);
      return v.getUint8(l.payload) >>> 4 === 6 ? IPV6 : IPV4;
    case linktype.LINUX_SLL:
      return SLL;
    case linktype.LINUX_SLL2:
      return SLL2;
    case linktype.IPV4:
      return IPV4;
    case linktype.IPV6:
      return IPV6;
    default:
      return stop(l, TYPE, NONE);
  }
}

/** Reads the header of a kind at `l.payload`, adds it, and answers with the kind of what follows. */
function step(v: DataView, l: Layers, kind: Kind): Kind {
  switch (kind) {
    case ETHERNET:
      return stepEthernet(v, l);
    case SLL:
      return stepSll(v, l);
    case SLL2:
      return stepSll2(v, l);
    case LLC:
      return stepLlc(v, l);
    case VLAN:
      return stepVlan(v, l);
    case ARP:
      return stepArp(v, l);
    case IPV4:
      return stepIpv4(v, l);
    case IPV6:
      return stepIpv6(v, l);
    case UDP:
      return stepUdp(v, l);
    case TCP:
      return stepTcp(v, l);
    case SCTP:
      return leaf(l, SCTP, sctp.check(v, l.payload, l.payloadEnd), sctp.SIZE);
    case ICMP:
      return leaf(l, ICMP, icmp.check(v, l.payload, l.payloadEnd), icmp.SIZE);
    case ICMPV6:
      return stepIcmpv6(v, l);
    case VXLAN:
      return stepVxlan(v, l);
    case ESP:
      return leaf(l, ESP, esp.check(v, l.payload, l.payloadEnd), esp.SIZE);
    case IKE:
      return leaf(l, IKE, OK, esp.NON_ESP_MARKER);
    default:
      return leaf(l, KEEPALIVE, OK, 1);
  }
}

/** Adds the header of `bytes` at `l.payload`, which covers what lies before `end`, and steps behind it. */
function add(l: Layers, kind: Kind, bytes: number, end: number): void {
  const n = l.count++;
  l.kind[n] = kind;
  l.start[n] = l.payload;
  l.end[n] = end;
  l.payload += bytes;
  l.payloadEnd = end;
}

/** Ends the walk in front of the header at `l.payload`. */
function stop(l: Layers, fault: Fault, kind: Kind): Kind {
  l.fault = fault;
  l.faultKind = kind;
  l.faultAt = l.payload;
  return NONE;
}

/** Notes that a header claims more than there is. */
function noteTruncated(l: Layers, kind: Kind): void {
  if (l.fault === OK) stop(l, TRUNCATED, kind);
}

/** A header behind which nothing is followed. */
function leaf(l: Layers, kind: Kind, fault: Fault, bytes: number): Kind {
  if (fault !== OK) return stop(l, fault, kind);
  add(l, kind, bytes, l.payloadEnd);
  return NONE;
}

function stepEthernet(v: DataView, l: Layers): Kind {
  const fault = ethernet.check(v, l.payload, l.payloadEnd);
  if (fault !== OK && fault !== TRUNCATED) return stop(l, fault, ETHERNET);
  const type = ethernet.etherType(v, l.payload);
  add(l, ETHERNET, ethernet.SIZE, l.payloadEnd);
  return byEtherType(l, type);
}

function stepSll(v: DataView, l: Layers): Kind {
  const fault = sll.check(v, l.payload, l.payloadEnd);
  if (fault !== OK) return stop(l, fault, SLL);
  const type = sll.protocol(v, l.payload);
  add(l, SLL, sll.SIZE, l.payloadEnd);
  return byEtherType(l, type);
}

function stepSll2(v: DataView, l: Layers): Kind {
  const fault = sll.check2(v, l.payload, l.payloadEnd);
  if (fault !== OK) return stop(l, fault, SLL2);
  const type = sll.protocol2(v, l.payload);
  add(l, SLL2, sll.SIZE2, l.payloadEnd);
  return byEtherType(l, type);
}

function stepVlan(v: DataView, l: Layers): Kind {
  const fault = vlan.check(v, l.payload, l.payloadEnd);
  if (fault !== OK && fault !== TRUNCATED) return stop(l, fault, VLAN);
  const type = vlan.etherType(v, l.payload);
  add(l, VLAN, vlan.SIZE, l.payloadEnd);
  return byEtherType(l, type);
}

function stepLlc(v: DataView, l: Layers): Kind {
  const fault = llc.check(v, l.payload, l.payloadEnd);
  if (fault !== OK) return stop(l, fault, LLC);
  const type = llc.etherType(v, l.payload);
  add(l, LLC, llc.headerLength(v, l.payload), l.payloadEnd);
  return type >= ethernet.MIN_TYPE ? byEtherType(l, type) : NONE;
}

/** What an EtherType announces. A length (802.3 section 3.2.6) announces LLC and says where the frame ends. */
function byEtherType(l: Layers, type: number): Kind {
  if (type === ethernet.TYPE_IPV4) return IPV4;
  if (type === ethernet.TYPE_IPV6) return IPV6;
  if (type === ethernet.TYPE_ARP) return ARP;
  if (type === ethernet.TYPE_VLAN || type === ethernet.TYPE_QINQ) return VLAN;
  if (type > ethernet.MAX_LENGTH) return NONE;
  const last = l.count - 1;
  const end = l.payload + type;
  if (end > l.payloadEnd) noteTruncated(l, l.kind[last]);
  else l.end[last] = l.payloadEnd = end;
  return LLC;
}

function stepArp(v: DataView, l: Layers): Kind {
  const fault = arp.check(v, l.payload, l.payloadEnd);
  if (fault !== OK) return stop(l, fault, ARP);
  add(l, ARP, arp.SIZE, l.payload + arp.SIZE);
  return NONE;
}

function stepIpv4(v: DataView, l: Layers): Kind {
  const at = l.payload;
  const fault = ipv4.check(v, at, l.payloadEnd);
  if (fault !== OK && fault !== TRUNCATED) return stop(l, fault, IPV4);
  const header = ipv4.headerLength(v, at);
  if (header > l.payloadEnd - at) return stop(l, TRUNCATED, IPV4);
  if (fault === TRUNCATED) noteTruncated(l, IPV4);
  l.fragment = ipv4.isFragment(v, at);
  add(l, IPV4, header, Math.min(at + ipv4.totalLength(v, at), l.payloadEnd));
  return ipv4.isLaterFragment(v, at) ? NONE : byProtocol(ipv4.protocol(v, at), protocols.ICMP, ICMP);
}

function stepIpv6(v: DataView, l: Layers): Kind {
  const at = l.payload;
  const fault = ipv6.check(v, at, l.payloadEnd);
  if (fault !== OK && fault !== TRUNCATED) return stop(l, fault, IPV6);
  if (fault === TRUNCATED) noteTruncated(l, IPV6);
  const end = Math.min(ipv6.payloadEnd(v, at), l.payloadEnd);
  const u = extensions.upper(v, at, end);
  if (u < 0) {
    add(l, IPV6, ipv6.SIZE, end);
    return stop(l, -u, IPV6);
  }
  l.fragment = extensions.isFragment(u);
  add(l, IPV6, extensions.upperOffset(u), end);
  if (extensions.isLaterFragment(u)) return NONE;
  return byProtocol(extensions.upperProtocol(u), protocols.ICMPV6, ICMPV6);
}

/** `icmpProtocol` and `icmpKind` are those of the IP version: the other's ICMP means nothing in it. */
function byProtocol(protocol: number, icmpProtocol: number, icmpKind: Kind): Kind {
  if (protocol === icmpProtocol) return icmpKind;
  switch (protocol) {
    case protocols.UDP:
      return UDP;
    case protocols.TCP:
      return TCP;
    case protocols.SCTP:
      return SCTP;
    case protocols.ESP:
      return ESP;
    case protocols.IPIP:
      return IPV4;
    case protocols.IPV6:
      return IPV6;
    default:
      return NONE;
  }
}

function stepIcmpv6(v: DataView, l: Layers): Kind {
  const at = l.payload;
  const fault = icmpv6.check(v, at, l.payloadEnd);
  const type = fault === OK ? icmpv6.type(v, at) : 0;
  if (!nd.isNd(type)) return leaf(l, ICMPV6, fault, icmpv6.SIZE);
  const malformed = nd.check(v, at, l.payloadEnd);
  if (malformed === OK) return leaf(l, ND, OK, nd.sizeOf(type));
  add(l, ICMPV6, icmpv6.SIZE, l.payloadEnd);
  return stop(l, malformed, ND);
}

function stepTcp(v: DataView, l: Layers): Kind {
  const fault = tcp.check(v, l.payload, l.payloadEnd);
  if (fault !== OK) return stop(l, fault, TCP);
  add(l, TCP, tcp.headerLength(v, l.payload), l.payloadEnd);
  return NONE;
}

function stepUdp(v: DataView, l: Layers): Kind {
  const at = l.payload;
  const fault = udp.check(v, at, l.payloadEnd);
  if (fault !== OK && fault !== TRUNCATED) return stop(l, fault, UDP);
  // The length is that of the whole datagram, of which a fragment is a part.
  if (fault === TRUNCATED && !l.fragment) noteTruncated(l, UDP);
  add(l, UDP, udp.SIZE, Math.min(at + udp.length(v, at), l.payloadEnd));
  const port = udp.dstPort(v, at);
  for (let i = 0; i < l.vxlanPorts.length; i++) if (l.vxlanPorts[i] === port) return VXLAN;
  return port === esp.UDP_PORT || udp.srcPort(v, at) === esp.UDP_PORT ? carriedOn4500(v, l) : NONE;
}

function carriedOn4500(v: DataView, l: Layers): Kind {
  switch (esp.carried(v, l.payload, l.payloadEnd)) {
    case esp.CARRIED_ESP:
      return ESP;
    case esp.CARRIED_IKE:
      return IKE;
    case esp.CARRIED_KEEPALIVE:
      return KEEPALIVE;
    default:
      return stop(l, SHORT, ESP);
  }
}

function stepVxlan(v: DataView, l: Layers): Kind {
  const fault = vxlan.check(v, l.payload, l.payloadEnd);
  if (fault !== OK) return stop(l, fault, VXLAN);
  add(l, VXLAN, vxlan.SIZE, l.payloadEnd);
  return ETHERNET;
}
