/** Questions for neighbors, right and wrong: ARP requests and neighbor solicitations. */
import * as arp from '../../../codecs/arp.ts';
import { viewOf } from '../../../codecs/bytes.ts';
import { pseudo6 } from '../../../codecs/checksum.ts';
import * as ethernet from '../../../codecs/ethernet.ts';
import * as icmpv6 from '../../../codecs/icmpv6.ts';
import * as ip from '../../../codecs/ip.ts';
import * as ipv6 from '../../../codecs/ipv6.ts';
import * as mac from '../../../codecs/mac.ts';
import * as nd from '../../../codecs/nd.ts';

/** Who asks. */
export const ASKER = '02:00:00:00:00:0a';

function link(dst: string, src: string, type: number, bytes: number): { frame: Uint8Array; v: DataView } {
  const frame = new Uint8Array(14 + bytes);
  const v = viewOf(frame);
  const [to, from] = [mac.parse(dst), mac.parse(src)];
  ethernet.write(v, 0, to.hi, to.lo, from.hi, from.lo, type);
  return { frame, v };
}

/** What differs from an ordinary request. */
export interface Arp {
  dst?: string;
  sha?: string;
  spa?: string;
  op?: number;
}

export function arpFrame(
  tpa: string,
  { dst = 'ff:ff:ff:ff:ff:ff', sha = ASKER, spa = '10.0.0.5', op = arp.REQUEST }: Arp = {},
): Uint8Array {
  const { frame, v } = link(dst, sha, ethernet.TYPE_ARP, 46); // padded to 60 bytes
  arp.encode({ op, sha, spa, tha: '00:00:00:00:00:00', tpa }, v, 14);
  return frame;
}

/** What differs from an ordinary solicitation. */
export interface Ns {
  src?: string;
  dst?: string;
  linkDst?: string;
  linkSrc?: string;
  hopLimit?: number;
  type?: number;
  code?: number;
  options?: { type: number; value: string }[];
}

/** A source link-layer option. */
export const slla = (text: string) => ({ type: 1, value: text.replaceAll(':', '') });

export function nsFrame(target: string, given: Ns = {}): Uint8Array {
  const { src = 'fd00::5', linkSrc = ASKER, hopLimit = 255, type = 135, code = 0 } = given;
  const options = given.options ?? (src === '::' ? [] : [slla(linkSrc)]);
  const low = ip.parse(target).words[3] & 0xffffff;
  const dst = given.dst ?? ip.format6(0xff020000, 0, 1, (0xff000000 | low) >>> 0);
  const bytes = 24 + options.reduce((sum, { value }) => sum + 2 + value.length / 2, 0);
  const linkDst = given.linkDst ?? mac.format(0x3333, (0xff000000 | low) >>> 0);
  const { frame, v } = link(linkDst, linkSrc, ethernet.TYPE_IPV6, 40 + bytes);
  ipv6.encode(
    { trafficClass: 0xc0, flowLabel: 5, payloadLength: bytes, nextHeader: 58, hopLimit, src, dst },
    v,
    14,
  );
  nd.encode({ type: 135, code, checksum: 0, target, options }, v, 54);
  icmpv6.setType(v, 54, type);
  icmpv6.fillChecksum(v, 54, frame.length, pseudo6(v, 14, 58, bytes));
  return frame;
}
