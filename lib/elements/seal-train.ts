/**
 * Seals a super-frame: cuts it into its segments and seals each (RFC 4303), one behind the other in a packet for
 * super-frames, so that what leaves is a train of ESP packets that are equally long but for the last.
 */
import * as udp from '../../codecs/udp.ts';
import * as vxlan from '../../codecs/vxlan.ts';
import * as esp from '../../crypto/esp.ts';
import { NO_ROOM, OK, type Result } from '../../crypto/result.ts';
import type { OutboundSa } from '../../crypto/sa.ts';
import type { Context } from '../core/context.ts';
import { GSO_UDP_L4, HEADROOM, type Packet } from '../core/packet.ts';
import { Segmenter } from '../core/segmenter.ts';
import * as transport from './transport-udp.ts';

export class TrainSealer {
  /** Segments of the super-frame that was begun, and how many of them are sealed. */
  count = 0;
  done = 0;
  readonly #context: Context;
  readonly #segmenter = new Segmenter();
  /** Segments that fit a train. */
  #most = 0;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Begins with a super-frame in VXLAN; false where it contradicts itself. */
  begin(p: Packet, sa: OutboundSa): boolean {
    if (!this.#segmenter.begin(p, p.start + vxlan.SIZE)) return false;
    const bytes = esp.HEADER + esp.sealedEnd(sa, 0, udp.SIZE + p.hdrLen + p.gsoSize);
    this.#most = Math.max(Math.floor(udp.MAX_PAYLOAD / bytes), 1);
    this.count = this.#segmenter.count;
    this.done = 0;
    return true;
  }

  /** A train with as many of the next segments as fit, all still to be sealed; null where no packet is free. */
  take(p: Packet): Packet | null {
    const train = this.#context.jumbo.take();
    if (train === null) return null;
    train.peer = p.peer;
    train.hash = p.hash;
    train.tos = p.tos;
    train.start = HEADROOM;
    train.end = HEADROOM;
    return train;
  }

  /**
   * Seals the next segments into a train until it is full or there are none left. Anything but OK, and the train
   * must not leave. `port` is VXLAN's inside of ESP, `addresses` what {@link transport.AddressSums} has.
   */
  fill(train: Packet, p: Packet, sa: OutboundSa, port: number, addresses: number): Result {
    const segmenter = this.#segmenter;
    const { bytes, view } = train;
    const last = Math.min(this.done + this.#most, this.count);
    const several = last - this.done > 1;
    for (; this.done < last; this.done++) {
      const start = train.end + esp.HEADER;
      const at = start + udp.SIZE;
      const end = at + p.hdrLen + segmenter.payloadLength(this.done);
      if (end > bytes.length) return NO_ROOM;
      segmenter.copy(this.done, p, train, at);
      transport.write(view, at, end, p.hash, port, addresses);
      const result = esp.seal(sa, bytes, view, start, end, udp.PROTOCOL);
      if (result !== OK) return result;
      train.end = esp.sealedEnd(sa, start, end);
      if (several && train.gsoSize === 0) {
        train.gsoType = GSO_UDP_L4;
        train.gsoSize = train.end - train.start;
      }
    }
    return OK;
  }
}
