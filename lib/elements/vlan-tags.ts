/** VLAN tags (IEEE 802.1Q and 802.1ad) of Ethernet frames: looking behind them, and taking them off. */
import * as ethernet from '../../codecs/ethernet.ts';
import { isTag, SIZE as TAG } from '../../codecs/vlan.ts';
import { GSO_NONE, type Packet } from '../core/packet.ts';

/** The most tags that are looked behind. */
const MAX_TAGS = 2;

/**
 * Offset of what follows the EtherType of an Ethernet frame of at least 14 bytes, behind at most two tags.
 * The EtherType lies two bytes in front of it.
 */
export function networkOf(v: DataView, at: number, end: number): number {
  const l3 = at + ethernet.SIZE;
  return isTag(v.getUint16(l3 - 2)) ? behindTags(v, l3, end) : l3;
}

function behindTags(v: DataView, at: number, end: number): number {
  let l3 = at;
  for (let n = 0; n < MAX_TAGS && l3 + TAG <= end && isTag(v.getUint16(l3 - 2)); n++) l3 += TAG;
  return l3;
}

/**
 * Takes all tags off a frame of at least 14 bytes; false where it ends inside one. The addresses move, and
 * nothing behind the tags does.
 */
export function stripTags(p: Packet): boolean {
  const v = p.view;
  while (isTag(ethernet.etherType(v, p.start))) {
    if (p.length < ethernet.SIZE + TAG) return false;
    const at = p.start;
    for (let i = 8; i >= 0; i -= 4) v.setInt32(at + TAG + i, v.getInt32(at + i));
    p.start += TAG;
    if (p.gsoType !== GSO_NONE) p.hdrLen -= TAG;
  }
  return true;
}
