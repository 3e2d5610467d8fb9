/**
 * Tunnel endpoints (VTEPs): small numbers for underlay addresses. Packets carry a peer's number, never its
 * address.
 */
import { format, type Ip } from '../../codecs/ip.ts';
import { NONE } from '../core/packet.ts';
import { Rows } from './rows.ts';

export interface Vtep {
  /** Underlay address. */
  readonly address: Ip;
  /** UDP port that it listens on. */
  readonly port: number;
  /** MAC address on the way to it, where the underlay is Ethernet. */
  readonly mac?: { readonly hi: number; readonly lo: number };
}

export class VtepTable {
  /** Grows with every change, so that what was derived from the table can be cached. */
  version = 0;
  readonly #rows: Rows;
  readonly #vteps: (Vtep | undefined)[] = [];

  /** `capacity` is the most endpoints that can be held at once, 1..65536. Throws a RangeError for others. */
  constructor(capacity = 4096) {
    // The forwarding database has room for as many remote places.
    if (capacity > 0x10000) throw new RangeError(`"capacity" expected an integer 1..65536, got ${capacity}`);
    this.#rows = new Rows(capacity);
  }

  get capacity(): number {
    return this.#rows.capacity;
  }

  /** The endpoint of a number, or undefined. */
  get(peer: number): Vtep | undefined {
    return this.#vteps[peer];
  }

  /** All endpoints with their numbers, in the order of these. */
  *entries(): Generator<[number, Vtep]> {
    for (const [peer, vtep] of this.#vteps.entries()) if (vtep !== undefined) yield [peer, vtep];
  }

  /** The number of an address given as four words (IPv4 mapped), or NONE. */
  lookup(a: number, b: number, c: number, d: number): number {
    return this.#rows.find(0, a, b, c, d);
  }

  /** Adds an endpoint, or changes the port and MAC of one, and returns its number. Throws a RangeError when
   * full. */
  set(vtep: Vtep): number {
    const peer = this.#rows.add(0, ...vtep.address.words);
    if (peer === NONE) {
      throw new RangeError(
        `no room for the tunnel endpoint ${format(vtep.address)}: ${this.capacity} are known`,
      );
    }
    this.version++;
    this.#vteps[peer] = vtep;
    return peer;
  }

  /** Forgets an endpoint. Its number is used again. */
  remove(peer: number): void {
    if (this.#vteps[peer] === undefined) return;
    this.version++;
    this.#vteps[peer] = undefined;
    this.#rows.remove(peer);
  }
}
