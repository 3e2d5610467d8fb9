/** The checksums of a dissected frame, whatever the layers are. */
import * as checksum from '../../codecs/checksum.ts';
import * as icmp from '../../codecs/icmp.ts';
import * as icmpv6 from '../../codecs/icmpv6.ts';
import * as ipv4 from '../../codecs/ipv4.ts';
import * as layer from '../../codecs/layers.ts';
import * as sctp from '../../codecs/sctp.ts';
import * as tcp from '../../codecs/tcp.ts';
import * as udp from '../../codecs/udp.ts';

/**
 * Whether the checksum of layer `i` is right; null where it has none, or where not all that it covers is there,
 * as in a fragment.
 */
export function verify(v: DataView, l: layer.Layers, i: number): boolean | null {
  const at = l.start[i];
  const end = l.end[i];
  if (l.fragment && i > 0 && i > l.count - 2 && isIp(l.kind[i - 1])) return null;
  switch (l.kind[i]) {
    case layer.IPV4:
      return ipv4.verifyChecksum(v, at);
    case layer.UDP:
      if (udp.checksum(v, at) === 0 || udp.length(v, at) > end - at) return null;
      return udp.verifyChecksum(v, at, pseudo(v, l, i, udp.PROTOCOL, udp.length(v, at)));
    case layer.TCP:
      return tcp.verifyChecksum(v, at, end, pseudo(v, l, i, tcp.PROTOCOL, end - at));
    case layer.SCTP:
      return sctp.verifyChecksum(v, at, end);
    case layer.ICMP:
      return icmp.verifyChecksum(v, at, end);
    case layer.ICMPV6:
    case layer.ND:
      return icmpv6.verifyChecksum(v, at, end, pseudo(v, l, i, icmpv6.PROTOCOL, end - at));
    default:
      return null;
  }
}

function isIp(kind: layer.Kind): boolean {
  return kind === layer.IPV4 || kind === layer.IPV6;
}

/** Fills the checksum of layer `i`, if it has one. Fill inner ones first. */
export function fill(v: DataView, l: layer.Layers, i: number): void {
  const at = l.start[i];
  const end = l.end[i];
  switch (l.kind[i]) {
    case layer.IPV4:
      ipv4.fillChecksum(v, at);
      break;
    case layer.UDP:
      udp.fillChecksum(v, at, pseudo(v, l, i, udp.PROTOCOL, udp.length(v, at)));
      break;
    case layer.TCP:
      tcp.fillChecksum(v, at, end, pseudo(v, l, i, tcp.PROTOCOL, end - at));
      break;
    case layer.SCTP:
      sctp.fillChecksum(v, at, end);
      break;
    case layer.ICMP:
      icmp.fillChecksum(v, at, end);
      break;
    case layer.ICMPV6:
    case layer.ND:
      icmpv6.fillChecksum(v, at, end, pseudo(v, l, i, icmpv6.PROTOCOL, end - at));
      break;
  }
}

function pseudo(v: DataView, l: layer.Layers, i: number, protocol: number, length: number): number {
  const of = l.kind[i - 1] === layer.IPV4 ? checksum.pseudo4 : checksum.pseudo6;
  return of(v, l.start[i - 1], protocol, length);
}
