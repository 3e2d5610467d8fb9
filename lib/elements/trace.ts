/**
 * A trace: writes one line about every packet that comes by, and passes it on.
 *
 *     12.345000 trace [3 > remote 5] IP 10.0.0.2 > 10.0.0.3: ICMP echo request, id 1, seq 1, length 64
 *
 * That is the time in seconds, the element, where the packet comes from and goes to, and what it is. For
 * people, so it is slow, and it falls silent after a number of lines.
 *
 * Output: `out`.
 */
import { type FormatOptions, format } from '../../codecs/format.ts';
import { Layers } from '../../codecs/layers.ts';
import type { Batch } from '../core/batch.ts';
import { type Context, Element } from '../core/element.ts';
import { ALL_REMOTES, isRemote, NONE, type Packet, REMOTE } from '../core/packet.ts';

export interface TraceOptions {
  /** Takes a line, without a line feed. */
  readonly write: (line: string) => void;
  /** Lines after which it falls silent, 0 or more. Default 1000. */
  readonly limit?: number;
  /** Which packets get a line; must not change or keep them. Default: all. */
  readonly filter?: (p: Packet) => boolean;
  /** How packets are shown. Default: as Ethernet frames, without their MAC addresses. */
  readonly format?: FormatOptions;
}

const LIMIT = 1000;

export class Trace extends Element {
  readonly #out = this.output('out');
  #options: TraceOptions;
  #format: FormatOptions;
  /** Lines that may still be written. */
  #left: number;

  /** Throws a RangeError for a limit that is none. */
  constructor(context: Context, name: string, options: TraceOptions) {
    const left = limitOf(options);
    super(context, name);
    this.#options = options;
    this.#format = { layers: new Layers(), ...options.format };
    this.#left = left;
  }

  /** Takes over other options and starts counting lines anew. */
  override configure(options: TraceOptions): boolean {
    this.#left = limitOf(options);
    this.#options = options;
    this.#format = { layers: new Layers(), ...options.format };
    return true;
  }

  override push(batch: Batch): void {
    for (let i = 0; i < batch.length && this.#left > 0; i++) this.#trace(batch.packets[i]);
    this.#out.next.push(batch);
  }

  #trace(p: Packet): void {
    const { filter, write } = this.#options;
    if (filter !== undefined && !filter(p)) return;
    this.#left--;
    const seconds = (this.context.clock.now / 1000).toFixed(6);
    const text = format(p.view, p.start, p.end, this.#format);
    write(`${seconds} ${this.name} [${formatPlace(p.port)} > ${formatPlace(p.out)}] ${text}`);
  }
}

/** `3`, `remote 5`, `all remotes`, or `-` for none. */
function formatPlace(place: number): string {
  if (place === NONE) return '-';
  if (place === ALL_REMOTES) return 'all remotes';
  return isRemote(place) ? `remote ${place - REMOTE}` : `${place}`;
}

function limitOf({ limit = LIMIT }: TraceOptions): number {
  if (limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit >= 0)) return limit;
  throw new RangeError(`"limit" expected an integer of at least 0, got ${limit}`);
}
