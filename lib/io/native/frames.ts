/** What ports have in common whose frames have a virtio header in front (vnet.ts). */
import type { Batch } from '../../core/batch.ts';
import * as drops from '../../core/drop.ts';
import { type Packet, segments } from '../../core/packet.ts';
import { type Port, type PortStats, takes } from '../port.ts';
import { PIECES } from './out-burst.ts';
import * as vnet from './vnet.ts';

/** Adds a frame that was received with its header in front to a batch, or drops it; null is one that no packet was
 * free for. */
export function takeFrame(p: Packet | null, stats: PortStats, batch: Batch): void {
  if (p === null) {
    stats.lost(drops.POOL_DRY);
    return;
  }
  if (!vnet.read(p)) {
    stats.drop(p, drops.MALFORMED);
    return;
  }
  stats.received(p.end - p.start, segments(p));
  batch.add(p);
}

/** Whether a port can send a frame with a header in front and in as many pieces as it has. */
export function takesFrame(port: Port, p: Packet): boolean {
  return takes(port, p) && p.start >= vnet.SIZE && (p.gap === 0 || segments(p) <= PIECES);
}
