/** Pieces of a packet that become packets of their own, copied. */
import type { Context } from '../core/context.ts';
import { HEADROOM, NONE, type Packet } from '../core/packet.ts';

/**
 * An ordinary packet of `length` bytes with everything noted on `from`, its bytes still to be written; null
 * where no packet is free.
 */
export function takeLike(context: Context, from: Packet, length: number): Packet | null {
  const { pool, jumbo } = context;
  const p = (length <= pool.maxFrame ? pool : jumbo).take();
  if (p === null) return null;
  const { start, end } = p;
  p.copyNotes(from);
  p.start = start;
  p.end = end + length;
  p.clearOffload();
  const shift = HEADROOM - from.start;
  if (p.l3 !== NONE) p.l3 += shift;
  if (p.l4 !== NONE) p.l4 += shift;
  return p;
}

/** The bytes `at..end` of a packet as a packet of their own; null where none is free. */
export function copyPiece(context: Context, from: Packet, at: number, end: number): Packet | null {
  const p = takeLike(context, from, end - at);
  if (p !== null) p.pool.copy(from, at, end, p, p.start);
  return p;
}
