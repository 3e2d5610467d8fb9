/**
 * Which ports of one endpoint are published: ranges of ports that others see, and the endpoint's own ports behind
 * them. A range is one entry, however long it is. It never changes; another list makes another one.
 *
 * A key is (protocol << 16) | port, so that one sorted list serves all protocols. Ports that are published as
 * themselves need no change and are left out.
 */
import { SCTP, TCP, UDP } from '../../codecs/protocol.ts';
import { NONE } from '../core/packet.ts';

/** Ports `published` to `published + count - 1` lead to `port` to `port + count - 1`. */
export interface Publication {
  /** IP protocol number of TCP, UDP or SCTP. */
  readonly protocol: number;
  /** The first port that others see, 1..65535. */
  readonly published: number;
  /** The first of the endpoint's own ports, 1..65535. */
  readonly port: number;
  /** How many; each range ends at 65535 or before. Default 1. */
  readonly count?: number;
}

export class Published {
  /** First and last key of each range that others see, in order. */
  readonly #outside: Int32Array;
  /** What to add to a port of the range to get the one behind it. */
  readonly #shift: Int32Array;
  /** First and last key of the endpoint's own ports, in order, without overlaps. */
  readonly #inside: Int32Array;
  /** A bit for each 32 ports, of whatever protocol: whether one of them is published, or behind such a one. */
  readonly #near = new Int32Array(64);
  /** A bit for each protocol that has a range, by its number modulo 32, in which ICMP's and these differ. */
  readonly #protocols: number = 0;

  /** Throws a RangeError for ports that are none, and where two ranges that others see overlap. */
  constructor(publications: readonly Publication[]) {
    for (const publication of publications) check(publication);
    const sorted = [...publications].sort((a, b) => keyOf(a) - keyOf(b));
    const overlap = sorted.findIndex(
      (p, i) => i > 0 && keyOf(p) < keyOf(sorted[i - 1]) + countOf(sorted[i - 1]),
    );
    if (overlap > 0) {
      throw new RangeError(`"published" expected each port once, got ${sorted[overlap].published} twice`);
    }
    const changed = sorted.filter(({ published, port }) => published !== port);
    this.#outside = Int32Array.from(changed.flatMap((p) => [keyOf(p), keyOf(p) + countOf(p) - 1]));
    this.#shift = Int32Array.from(changed.map(({ published, port }) => port - published));
    this.#inside = Int32Array.from(merged(changed));
    for (const { protocol } of changed) this.#protocols |= 1 << protocol;
    for (const p of changed)
      for (const first of [p.published, p.port]) this.#mark(first, first + countOf(p) - 1);
  }

  #mark(first: number, last: number): void {
    for (let i = first >>> 5; i <= last >>> 5; i++) this.#near[i >>> 5] |= 1 << (i & 31);
  }

  /** Whether some port of the protocol may be published; if not, none is. */
  concerns(protocol: number): boolean {
    return (this.#protocols & (1 << protocol)) !== 0;
  }

  /** Whether a port may be published, or behind a published one; if not, it is neither. Takes no search. */
  isNear(port: number): boolean {
    return (this.#near[port >>> 10] & (1 << ((port >>> 5) & 31))) !== 0;
  }

  /** The endpoint's own port behind a published one, or NONE where that is not published. */
  behind(protocol: number, port: number): number {
    const i = search(this.#outside, (protocol << 16) | port);
    return i === NONE ? NONE : port + this.#shift[i];
  }

  /** The endpoint's port that a packet to a port is for, if a published one leads there; else NONE. */
  ownPort(protocol: number, port: number): number {
    const behind = this.behind(protocol, port);
    if (behind !== NONE) return behind;
    return this.isBehind(protocol, port) ? port : NONE;
  }

  /** Whether both publish the same. */
  equals(other: Published): boolean {
    return isSame(this.#outside, other.#outside) && isSame(this.#shift, other.#shift);
  }

  /** Whether some published port leads to this one of the endpoint's own. */
  isBehind(protocol: number, port: number): boolean {
    return search(this.#inside, (protocol << 16) | port) !== NONE;
  }
}

/** The number of the range that holds the key, or NONE. Ranges are two numbers each, in order. */
function search(ranges: Int32Array, key: number): number {
  let low = 0;
  let high = ranges.length >> 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[2 * middle + 1] < key) low = middle + 1;
    else high = middle;
  }
  return 2 * low < ranges.length && ranges[2 * low] <= key ? low : NONE;
}

function isSame(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((word, i) => word === b[i]);
}

/** First and last key of the ports behind, those that touch joined. */
function merged(publications: readonly Publication[]): number[] {
  const starts = publications.map((p) => [(p.protocol << 16) | p.port, countOf(p)] as const);
  const out: number[] = [];
  for (const [first, count] of starts.sort(([a], [b]) => a - b)) {
    const last = first + count - 1;
    if (out.length > 0 && first <= out[out.length - 1] + 1)
      out[out.length - 1] = Math.max(out[out.length - 1], last);
    else out.push(first, last);
  }
  return out;
}

function keyOf({ protocol, published }: Publication): number {
  return (protocol << 16) | published;
}

function countOf({ count = 1 }: Publication): number {
  return count;
}

function check({ protocol, published, port, count = 1 }: Publication): void {
  const whole = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most;
  if (protocol !== TCP && protocol !== UDP && protocol !== SCTP) {
    throw new RangeError(`"protocol" expected ${TCP} (TCP), ${UDP} (UDP) or ${SCTP} (SCTP), got ${protocol}`);
  }
  if (!whole(published, 65535))
    throw new RangeError(`"published" expected a port 1..65535, got ${published}`);
  if (!whole(port, 65535)) throw new RangeError(`"port" expected a port 1..65535, got ${port}`);
  const most = 65536 - Math.max(published, port);
  if (!whole(count, most)) throw new RangeError(`"count" expected an integer 1..${most}, got ${count}`);
}
