/** A packet in words, whatever its port's frames start with. For people, so it is slow. */
import * as esp from '../../../codecs/esp.ts';
import { type FormatOptions, format } from '../../../codecs/format.ts';
import { format as formatIp } from '../../../codecs/ip.ts';
import * as linktype from '../../../codecs/linktype.ts';
import * as vxlan from '../../../codecs/vxlan.ts';
import type { Packet } from '../../core/packet.ts';
import type { VtepTable } from '../../tables/vtep.ts';
import { ETHERNET, IP, type Medium } from '../port.ts';

/** What datagrams of a DATAGRAM port carry. */
export type Payload = 'vxlan' | 'esp';

/** The packet `p`, of its bytes those before `end`; `peers` are those of a DATAGRAM port. Never throws. */
export function describe(
  p: Packet,
  medium: Medium,
  peers: VtepTable | undefined,
  options: FormatOptions = {},
  payload: Payload = 'vxlan',
  end = p.end,
): string {
  const { view, start } = p;
  if (medium === ETHERNET) return format(view, start, end, options);
  if (medium === IP) return format(view, start, end, { linkType: linktype.RAW, ...options });
  const peer = peers?.get(p.peer);
  const who = peer === undefined ? 'unknown peer' : formatIp(peer.address);
  const what = payload === 'esp' ? formatEsp(view, start, end) : formatVxlan(view, start, end, options);
  return `${who}: ${what}`;
}

/** The frame within, where the datagram looks like VXLAN (RFC 7348 section 5). */
function formatVxlan(v: DataView, at: number, end: number, options: FormatOptions): string {
  const isVxlan = vxlan.check(v, at, end) === 0 && vxlan.flags(v, at) === vxlan.FLAG_VNI;
  if (!isVxlan) return `UDP, length ${end - at}`;
  return `${vxlan.format(v, at)}: ${format(v, at + vxlan.SIZE, end, options)}`;
}

/** What shares the port with ESP too (RFC 3948 section 2). */
function formatEsp(v: DataView, at: number, end: number): string {
  const carried = esp.carried(v, at, end);
  if (carried === esp.CARRIED_ESP) return esp.format(v, at, end);
  if (carried === esp.CARRIED_KEEPALIVE) return 'keepalive';
  return `${carried === esp.CARRIED_IKE ? 'message about keys' : 'UDP'}, length ${end - at}`;
}
