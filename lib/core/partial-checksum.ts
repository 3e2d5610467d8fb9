/** Checksums that whoever sent a frame left to the network card (CHECKSUM_PARTIAL in the kernel). */
import { finish, finishNonZero, sum } from '../../codecs/checksum.ts';
import { NONE, type Packet } from './packet.ts';

/** Where a UDP header has its checksum, and no other protocol that leaves its own to be completed. */
const UDP_OFFSET = 6;

/**
 * Completes the checksum of an ordinary frame with `csumStart`: the field holds the sum of the pseudo header,
 * and what it is to hold covers everything from `csumStart` to the end. False where the field does not lie
 * in the frame: then the packet must be dropped.
 */
export function completeChecksum(p: Packet): boolean {
  const at = p.csumStart + p.csumOffset;
  if (p.csumStart < p.start || p.csumOffset < 0 || at + 2 > p.end) return false;
  const s = sum(p.view, p.csumStart, p.end);
  p.view.setUint16(at, p.csumOffset === UDP_OFFSET ? finishNonZero(s) : finish(s));
  p.csumStart = NONE;
  p.csumOffset = 0;
  return true;
}
