/**
 * Hands each packet to the local port that `p.out` names. The outputs are numbered: `connect('17', port)`
 * leads to place 17, `connect('17', null)` takes the output away. A packet for a place that is not connected
 * is dropped as such.
 *
 * Places are one space for all networks of a dataplane, so one dispatch serves them all. It keeps a reference
 * for each place up to the highest that was ever connected.
 */
import type { Batch } from '../core/batch.ts';
import { NOT_CONNECTED } from '../core/drop.ts';
import { type Context, Element, type Output, type Sink } from '../core/element.ts';
import { MAX_PORTS, type Packet } from '../core/packet.ts';

export class Dispatch extends Element {
  readonly #ways: (Output | null)[] = [];
  /** Outputs that hold packets of the batch at hand: at most one a packet. */
  readonly #dirty: Output[] = [];
  #dirtyCount = 0;

  /** It has no options. */
  constructor(context: Context, name: string, _options: object = {}) {
    super(context, name);
  }

  /** Throws a RangeError where `output` is not the number of a local place. */
  override connect(output: string, next: Sink | null): void {
    const place = placeOf(output);
    if (next !== null) super.connect(output, next);
    else if (this.#ways[place]) {
      this.#ways[place] = null;
      this.removeOutput(output);
    }
  }

  override push(batch: Batch): void {
    if (batch.length === 0) return;
    const whole = this.#together(batch);
    if (whole !== null) {
      whole.next.push(batch);
      return;
    }
    for (let i = 0; i < batch.length; i++) this.#sort(batch.packets[i]);
    batch.clear();
    while (this.#dirtyCount > 0) this.#dirty[--this.#dirtyCount].flush();
  }

  protected override addOutput(name: string): Output {
    const place = placeOf(name);
    while (this.#ways.length <= place) this.#ways.push(null);
    const way = this.output(name);
    this.#ways[place] = way;
    return way;
  }

  /** Where all packets go, if that is one place: a train passes without being taken apart. */
  #together(batch: Batch): Output | null {
    const { packets, length } = batch;
    const place = packets[0].out;
    for (let i = 1; i < length; i++) if (packets[i].out !== place) return null;
    return this.#way(place);
  }

  #sort(p: Packet): void {
    const way = this.#way(p.out);
    if (way === null) {
      this.drop(p, NOT_CONNECTED);
      return;
    }
    if (way.batch.length === 0) this.#dirty[this.#dirtyCount++] = way;
    way.add(p);
  }

  #way(place: number): Output | null {
    return place >= 0 && place < this.#ways.length ? this.#ways[place] : null;
  }
}

function placeOf(output: string): number {
  const place = Number(output);
  if (/^(0|[1-9]\d*)$/.test(output) && place < MAX_PORTS) return place;
  throw new RangeError(`an output of a dispatch is a local place 0..${MAX_PORTS - 1}, got "${output}"`);
}
