/**
 * Which of its places an element was told about: small dense indices for sparse place numbers, so that what
 * is kept for a place lies in typed arrays that are as long as there are places. It never changes; another
 * list makes another one.
 */
import { MAX_PORTS, NONE } from '../core/packet.ts';
import { mix } from './hash.ts';

export class Places {
  readonly count: number;
  /** Two words a slot: the place, and its index + 1 where the slot is taken. At most half of them are. */
  readonly #slots: Int32Array;
  readonly #mask: number;

  /** `places` are local and each occurs once; throws a RangeError that names `field` where not. */
  constructor(places: readonly number[], field = 'places') {
    this.count = places.length;
    const size = 2 ** Math.ceil(Math.log2(Math.max(places.length * 2, 2)));
    this.#slots = new Int32Array(size * 2);
    this.#mask = size - 1;
    for (const [i, place] of places.entries()) {
      checkPlace(field, place);
      if (this.lookup(place) !== NONE) throw new RangeError(`"${field}" names the place ${place} twice`);
      this.#insert(place, i);
    }
  }

  /** The position of a place in the list, or NONE. */
  lookup(place: number): number {
    const slots = this.#slots;
    for (let i = mix(place) & this.#mask; ; i = (i + 1) & this.#mask) {
      const index = slots[2 * i + 1] - 1;
      if (index < 0 || slots[2 * i] === place) return index;
    }
  }

  #insert(place: number, index: number): void {
    let i = mix(place) & this.#mask;
    while (this.#slots[2 * i + 1] !== 0) i = (i + 1) & this.#mask;
    this.#slots[2 * i] = place;
    this.#slots[2 * i + 1] = index + 1;
  }
}

/** Returns a local place as it is; throws a RangeError for any other number. */
export function checkPlace(field: string, place: number): number {
  if (Number.isInteger(place) && place >= 0 && place < MAX_PORTS) return place;
  throw new RangeError(`"${field}" expected a local place 0..${MAX_PORTS - 1}, got ${place}`);
}
