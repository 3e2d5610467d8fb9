/**
 * A trace on a port: writes one line about every packet that comes in or goes out, and changes nothing.
 *
 *     12.345000 tap0 in IP 10.0.0.2 > 10.0.0.3: ICMP echo request, id 1, seq 1, length 64
 *     12.345000 udp out 192.0.2.7: VXLAN, flags [I] (0x08), vni 100: IP 10.0.0.2 > 10.0.0.3: ICMP ...
 *
 * That is the time in seconds, the port, the direction and what it is; on a DATAGRAM port the peer, too. What
 * goes out has a line before the port decides whether it sends or drops it. For people, so it is slow, and it
 * falls silent after a number of lines.
 */
import type { FormatOptions } from '../../../codecs/format.ts';
import { Layers } from '../../../codecs/layers.ts';
import type { Batch } from '../../core/batch.ts';
import type { Packet } from '../../core/packet.ts';
import type { Port, PortHost } from '../port.ts';
import { describe } from './describe.ts';
import { Wrapper } from './wrapper.ts';

export interface PortTraceOptions {
  /** Takes a line, without a line feed. */
  readonly write: (line: string) => void;
  /** Lines after which it falls silent, 0 or more. Default 1000. */
  readonly limit?: number;
  /** Which packets get a line; must not change or keep them. Default: all. */
  readonly filter?: (p: Packet) => boolean;
  /** How frames are shown. Default: by the port's medium, without MAC addresses. */
  readonly format?: FormatOptions;
}

export class PortTrace extends Wrapper {
  readonly #options: PortTraceOptions;
  #left: number;
  #host: PortHost | null = null;

  /** Throws a RangeError for a limit that is none. */
  constructor(inner: Port, options: PortTraceOptions) {
    const { limit = 1000 } = options;
    if (!(limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit >= 0))) {
      throw new RangeError(`"limit" expected an integer of at least 0, got ${limit}`);
    }
    super(inner);
    this.#options = { ...options, format: { layers: new Layers(), ...options.format } };
    this.#left = limit;
  }

  override async open(host: PortHost): Promise<void> {
    await super.open(host);
    this.#host = host;
  }

  override receive(batch: Batch): number {
    const n = super.receive(batch);
    for (let i = 0; i < n && this.#left > 0; i++) this.#trace(batch.packets[i], 'in');
    return n;
  }

  override send(batch: Batch): void {
    for (let i = 0; i < batch.length && this.#left > 0; i++) this.#trace(batch.packets[i], 'out');
    super.send(batch);
  }

  protected override release(): void {
    this.#host = null;
  }

  #trace(p: Packet, direction: string): void {
    const { filter, write } = this.#options;
    if (this.#host === null || (filter !== undefined && !filter(p))) return;
    this.#left--;
    const seconds = (this.#host.clock.now / 1000).toFixed(6);
    write(
      `${seconds} ${this.name} ${direction} ${describe(p, this.medium, this.peers, this.#options.format)}`,
    );
  }
}
