/**
 * Flows to and from endpoints that publish ports: by which port each client came, so that answers leave by the same.
 * One table serves all networks of a dataplane.
 *
 * A flow is found by what the endpoint sees: its place, protocol, own address and port, and the client's address
 * and port. Where a client uses one port of its own to two ports that lead to the same port of the endpoint, the
 * endpoint could not tell the second flow from the first: there it sees another port of the client, and an alias
 * leads from what the client sends to that port. An alias without a port notes that the endpoint itself uses a port
 * that is published, for a connection of its own.
 *
 * A row is 16 words, a cache line:
 *
 *     word 0      place (16), port of the endpoint (16): its own, or of an alias that which the client uses
 *     word 1      protocol (8), 6 zeros, alias (1), IPv6 (1), port of the client (16), as the endpoint sees it
 *     word 2, 3   addresses of client and endpoint; of IPv6 ones the last words
 *     word 4..9   the other words of IPv6 addresses
 *     word 10     port that the client uses (16), port of the client (16), as the client sees them; of an alias the
 *                 port of the client that the endpoint sees, or 0
 *     word 11     what was seen: flags, see below
 *     word 12     second in which the flow was last seen
 *
 * Flows are forgotten when nothing was seen of them for as long as RFC 5382 (TCP), RFC 4787 (UDP) and RFC 7857 ask.
 * Where the table is full, or a place has half of it, flows that never got further than their first packets, or have
 * ended, make room for new ones.
 */
import { TCP, UDP } from '../../codecs/protocol.ts';
import { MAX_PORTS, NONE } from '../core/packet.ts';
import { Random } from '../core/random.ts';
import { keyed2 } from './hash.ts';
import type { Published } from './publish.ts';
import { Quota } from './quota.ts';

// What was seen of a flow.

/** A packet from the client. */
export const ASKED = 1;
/** A packet from the endpoint. */
export const ANSWERED = 2;
/** A packet from the client after one from the endpoint. */
export const ESTABLISHED = 4;
/** The end of what the client sends: FIN. */
export const CLIENT_DONE = 8;
/** The end of what the endpoint sends: FIN. */
export const ENDPOINT_DONE = 16;
/** Both ends at once: RST, ABORT. */
export const DONE = CLIENT_DONE | ENDPOINT_DONE;
/** A new connection, with which all that was seen before is over: SYN, INIT. */
export const BEGUN = 32;

const BOTH = ANSWERED | ESTABLISHED;

/** In the second word of a key: addresses are IPv6. */
export const SIX = 0x10000;
/** In the second word of a key: an alias. */
export const ALIAS = 0x20000;

/** Seconds that a flow lives unseen: UDP, TCP and SCTP that is not established or has ended, and established. */
const UDP_LIFE = 300;
const SHORT_LIFE = 240;
const LONG_LIFE = 7440;

const WORDS = 16;
const LINK = 10;
const SEEN = 11;
const SECOND = 12;
/** How many rows are kept at hand, a power of two. */
const RECENT = 8192;
/** Rows that are looked at where room is needed. */
const RECLAIM = 64;
/** Ports of the client that are tried where a flow needs another. */
const TRIES = 32;

export interface FlowTableOptions {
  /** The most flows, 1..4,194,304. */
  readonly capacity: number;
  /** What the hash is keyed by: any integer that strangers do not know. */
  readonly seed: number;
}

/** One flow, for people: words as they stand in the row. */
export interface FlowEntry {
  readonly place: number;
  readonly protocol: number;
  readonly alias: boolean;
  readonly port: number;
  readonly clientPort: number;
  readonly link: number;
  readonly seen: number;
}

export class FlowTable {
  readonly capacity: number;
  /** Flows and aliases. */
  size = 0;
  /** Flows that were forgotten before their time, since others needed the room. */
  displaced = 0;
  readonly #rows: Int32Array;
  /** Row + 1 by hash of the key; 0 is free. Linear probing, never more than half full. */
  readonly #index: Int32Array;
  /** Rows that were given back, the last of them `#freed - 1`. */
  readonly #free: Int32Array;
  #freed = 0;
  /** Rows that were ever used. */
  #used = 0;
  /** Rows that were met lately, by few bits of what either side sends. What is there may be another, or none any more. */
  readonly #recent = new Int32Array(RECENT);
  /** The key that is looked for, as in a row. */
  readonly #key = new Int32Array(LINK);
  /** The same, while another is looked for. */
  readonly #kept = new Int32Array(LINK);
  readonly #places = new Quota('place', MAX_PORTS);
  readonly #most: number = 0;
  readonly #random: Random;
  /** Key the hash. */
  readonly #secret: number = 0;
  readonly #other: number = 0;
  /** The search for room: in which second, among the flows of which place, and how many rows were looked at. */
  #soughtAt = 0;
  #soughtFor = 0;
  #sought = 0;
  /** Where the search for room goes on, and where ageing does. */
  #seeker = 0;
  #cursor = 0;

  /** Throws a RangeError for options out of range. Nothing is allocated afterwards. */
  constructor({ capacity, seed }: FlowTableOptions) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 0x400000) {
      throw new RangeError(`"capacity" expected an integer 1..4194304, got ${capacity}`);
    }
    if (!Number.isInteger(seed)) throw new RangeError(`"seed" expected an integer, got ${seed}`);
    this.capacity = capacity;
    this.#rows = new Int32Array(capacity * WORDS);
    this.#index = new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
    this.#free = new Int32Array(capacity);
    this.#most = Math.max(capacity >> 1, 16);
    this.#random = new Random(seed);
    this.#secret = this.#random.int32() | 1;
    this.#other = this.#random.int32() | 1;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#rows.byteLength + this.#index.byteLength + this.#free.byteLength + this.#places.bytes;
  }

  /**
   * The row of a key, or NONE. `a` and `b` are the first words of a row; the addresses of client and endpoint lie in `v`
   * at `client` and `own`, and are IPv6 ones where `b` has {@link SIX}.
   */
  find(v: DataView, client: number, own: number, a: number, b: number): number {
    const key = this.#key;
    key[0] = a;
    key[1] = b;
    if ((b & SIX) !== 0) return this.#find6(v, client, own);
    const c = v.getInt32(client);
    const d = v.getInt32(own);
    key[2] = c;
    key[3] = d;
    const index = this.#index;
    const rows = this.#rows;
    const mask = index.length - 1;
    // What #slot does, by numbers at hand.
    for (let i = hash4(a, b, c, d, this.#secret, this.#other) & mask; ; i = (i + 1) & mask) {
      const row = index[i] - 1;
      if (row < 0) return NONE;
      const at = row * WORDS;
      if (rows[at + 2] === c && rows[at + 1] === b && rows[at] === a && rows[at + 3] === d) return row;
    }
  }

  #find6(v: DataView, client: number, own: number): number {
    const key = this.#key;
    key[2] = v.getInt32(client + 12);
    key[3] = v.getInt32(own + 12);
    for (let i = 0; i < 3; i++) {
      key[4 + i] = v.getInt32(client + 4 * i);
      key[7 + i] = v.getInt32(own + 4 * i);
    }
    return this.#index[this.#slot()] - 1;
  }

  /**
   * The row of a flow that was met lately by what its client sends, or NONE, which says nothing. `kind` is the second
   * word of the key without the port, `link` as in {@link add}. It spares what makes {@link find} slow: a hash that
   * strangers cannot foresee, and the search among what is published.
   */
  recallAsked(v: DataView, client: number, own: number, place: number, kind: number, link: number): number {
    const last = (kind & SIX) === 0 ? 0 : 12;
    const c = v.getInt32(client + last);
    const row = this.#recent[recentOf(c, link)];
    const at = row * WORDS;
    const rows = this.#rows;
    if (rows[at + LINK] !== link || rows[at + 2] !== c || rows[at + 3] !== v.getInt32(own + last))
      return NONE;
    if ((rows[at + 1] & ~0xffff) !== kind || rows[at] >>> 16 !== place) return NONE;
    return last === 0 || this.#isOf6(at, v, client, own) ? row : NONE;
  }

  /** The same by what the endpoint sends: `a` and `b` are the words of the key. */
  recallAnswered(v: DataView, client: number, own: number, a: number, b: number): number {
    const last = (b & SIX) === 0 ? 0 : 12;
    const c = v.getInt32(client + last);
    const row = this.#recent[recentOf(c, (a << 16) | (b & 0xffff))];
    const at = row * WORDS;
    const rows = this.#rows;
    if (rows[at + 1] !== b || rows[at] !== a) return NONE;
    if (rows[at + 2] !== c || rows[at + 3] !== v.getInt32(own + last)) return NONE;
    return last === 0 || this.#isOf6(at, v, client, own) ? row : NONE;
  }

  /** Has both find a row, which is no alias. */
  remember(row: number): void {
    const at = row * WORDS;
    const rows = this.#rows;
    const c = rows[at + 2];
    this.#recent[recentOf(c, rows[at + LINK])] = row;
    this.#recent[recentOf(c, (rows[at] << 16) | (rows[at + 1] & 0xffff))] = row;
  }

  #isOf6(at: number, v: DataView, client: number, own: number): boolean {
    const rows = this.#rows;
    for (let i = 0; i < 3; i++) {
      if (rows[at + 4 + i] !== v.getInt32(client + 4 * i) || rows[at + 7 + i] !== v.getInt32(own + 4 * i))
        return false;
    }
    return true;
  }

  /** Makes a row for the key that {@link find} was asked for last and did not find; NONE where there is no room. */
  add(link: number, flags: number, second: number): number {
    const place = this.#key[0] >>> 16;
    if (!this.#hasRoom(place) && !this.#reclaim(place, second)) return NONE;
    const row = this.#freed > 0 ? this.#free[--this.#freed] : this.#used++;
    const at = row * WORDS;
    const rows = this.#rows;
    for (let i = 0; i < LINK; i++) rows[at + i] = this.#key[i];
    rows[at + LINK] = link;
    rows[at + SEEN] = flags;
    rows[at + SECOND] = second;
    this.#index[this.#slot()] = row + 1;
    this.#places.add(place);
    this.size++;
    return row;
  }

  /**
   * Makes a flow that the endpoint sees from another port of the client, and the alias that leads to it; `a` and `b` are
   * those of the flow as they would be without, `link` as in {@link add}. NONE where no port or no room is left.
   */
  addAliased(
    v: DataView,
    client: number,
    own: number,
    a: number,
    b: number,
    link: number,
    second: number,
  ): number {
    for (let n = 0; n < TRIES; n++) {
      // The upper quarter of all ports, where clients get theirs (RFC 6335 section 6).
      const port = 0xc000 | (this.#random.int32() & 0x3fff);
      if (this.find(v, client, own, a, (b & ~0xffff) | port) !== NONE) continue;
      const row = this.add(link, ASKED, second);
      if (row === NONE) return NONE;
      this.find(v, client, own, (a & ~0xffff) | (link >>> 16), b | ALIAS);
      const alias = this.add(port, ASKED, second);
      // The search for room takes no row that was seen just now, so that the flow is there still.
      if (alias === NONE) this.#release(row);
      return alias === NONE ? NONE : row;
    }
    return NONE;
  }

  /** Ports of a flow as the client sends them, the published one in the upper half. */
  asked(row: number): number {
    const link = this.#rows[row * WORDS + LINK];
    return (link << 16) | (link >>> 16);
  }

  /** Ports of a flow as they are sent to the endpoint, the client's in the upper half. */
  inside(row: number): number {
    const at = row * WORDS;
    return (this.#rows[at + 1] << 16) | (this.#rows[at] & 0xffff);
  }

  /** What a row leads to: word 10. */
  link(row: number): number {
    return this.#rows[row * WORDS + LINK];
  }

  /** Port of the client that the endpoint sees. */
  clientPort(row: number): number {
    return this.#rows[row * WORDS + 1] & 0xffff;
  }

  /** Whether both sides have said that they are done. */
  isDone(row: number): boolean {
    return (this.#rows[row * WORDS + SEEN] & DONE) === DONE;
  }

  /** Notes that a packet of the flow was seen, and what it said. */
  see(row: number, flags: number, second: number): void {
    const at = row * WORDS;
    const rows = this.#rows;
    const before = rows[at + SEEN];
    rows[at + SECOND] = second;
    // Most packets say nothing new.
    if ((before & flags) !== flags || (before & BOTH) === ANSWERED)
      rows[at + SEEN] = seenAfter(before, flags);
  }

  /** Forgets a flow, with its alias. */
  remove(row: number): void {
    const at = row * WORDS;
    const rows = this.#rows;
    const b = rows[at + 1];
    const link = rows[at + LINK];
    const aliased = (b & ALIAS) === 0 && (link & 0xffff) !== (b & 0xffff);
    if (aliased) {
      for (let i = 0; i < LINK; i++) this.#key[i] = rows[at + i];
      this.#key[0] = (rows[at] & ~0xffff) | (link >>> 16);
      this.#key[1] = (b & ~0xffff) | ALIAS | (link & 0xffff);
      const alias = this.#index[this.#slot()] - 1;
      if (alias !== NONE) this.#release(alias);
    }
    this.#release(row);
  }

  /** Forgets all flows of a place and returns how many rows those were. Walks the whole table where it has any. */
  flushPlace(place: number): number {
    const before = this.size;
    for (let row = 0; row < this.#used && this.#places.count(place) > 0; row++) {
      if (this.#isTaken(row) && this.#rows[row * WORDS] >>> 16 === place) this.#release(row);
    }
    return before - this.size;
  }

  /** Forgets the flows of a place that do not come by what is published now, and returns how many rows those were. */
  keepPublished(place: number, published: Published): number {
    const before = this.size;
    for (let row = 0; row < this.#used && this.#places.count(place) > 0; row++) {
      const at = row * WORDS;
      if (!this.#isTaken(row) || this.#rows[at] >>> 16 !== place) continue;
      if (!isPublished(published, this.#rows[at], this.#rows[at + 1], this.#rows[at + LINK]))
        this.remove(row);
    }
    return before - this.size;
  }

  /** Forgets flows that were not seen for too long, looking at `budget` rows from where the last call stopped, and
   * returns how many rows those were. */
  age(now: number, budget = 1024): number {
    const before = this.size;
    const second = Math.floor(now * 0.001) | 0;
    for (let n = Math.min(budget, this.#used); n > 0; n--) {
      const row = this.#next();
      if (this.#isTaken(row) && this.#isOver(row, second)) this.remove(row);
    }
    return before - this.size;
  }

  /** How many rows a place has. */
  countPlace(place: number): number {
    return this.#places.count(place);
  }

  /** All rows, in no order. The table must not change meanwhile. */
  *entries(): Generator<FlowEntry> {
    for (let row = 0; row < this.#used; row++) {
      if (!this.#isTaken(row)) continue;
      const [a, b] = this.#rows.subarray(row * WORDS);
      yield {
        place: a >>> 16,
        protocol: b >>> 24,
        alias: (b & ALIAS) !== 0,
        port: a & 0xffff,
        clientPort: b & 0xffff,
        link: this.link(row) >>> 0,
        seen: this.#rows[row * WORDS + SECOND] * 1000,
      };
    }
  }

  #hasRoom(place: number): boolean {
    return this.size < this.capacity && this.#places.admits(place, this.#most);
  }

  /** Takes one row from flows that are over, have ended or never began; from the place itself if it has too many. */
  #reclaim(place: number, second: number): boolean {
    const any = this.#places.admits(place, this.#most);
    const scope = any ? NONE : place;
    if (second !== this.#soughtAt || scope !== this.#soughtFor) {
      this.#soughtAt = second;
      this.#soughtFor = scope;
      this.#sought = 0;
    }
    // Nothing gets idle within a second, so that one round is enough: a flood of new flows must not cost more than that.
    for (let n = Math.min(RECLAIM, this.#used - this.#sought); n > 0; n--) {
      this.#sought++;
      if (this.#seeker >= this.#used) this.#seeker = 0;
      const row = this.#seeker++;
      const at = row * WORDS;
      if (!this.#isTaken(row) || (!any && this.#rows[at] >>> 16 !== place)) continue;
      if (!this.#isOver(row, second) && !this.#isIdle(row, second)) continue;
      if (!this.#isOver(row, second)) this.displaced++;
      this.#kept.set(this.#key);
      this.remove(row);
      this.#key.set(this.#kept);
      return true;
    }
    return false;
  }

  /** Whether a flow may make room for another though its time is not over. */
  #isIdle(row: number, second: number): boolean {
    const at = row * WORDS;
    const rows = this.#rows;
    if (isLed(rows[at + 1], rows[at + LINK]) || second - rows[at + SECOND] < 1) return false;
    return this.isDone(row) || (rows[at + SEEN] & ESTABLISHED) === 0;
  }

  #isOver(row: number, second: number): boolean {
    const at = row * WORDS;
    const rows = this.#rows;
    const b = rows[at + 1];
    // It goes with its flow.
    if (isLed(b, rows[at + LINK])) return false;
    return second - rows[at + SECOND] >= lifeOf(b >>> 24, rows[at + SEEN]);
  }

  /** The next row of those that were ever used, going round. */
  #next(): number {
    if (this.#cursor >= this.#used) this.#cursor = 0;
    return this.#cursor++;
  }

  /** The protocol of a flow is not 0. */
  #isTaken(row: number): boolean {
    return this.#rows[row * WORDS + 1] !== 0;
  }

  /** Frees one row. What lies behind it in the index only because it was taken is shifted back. */
  #release(row: number): void {
    const index = this.#index;
    const mask = index.length - 1;
    const rows = this.#rows;
    const at = row * WORDS;
    let hole = this.#hash(rows, at) & mask;
    while (index[hole] !== row + 1) hole = (hole + 1) & mask;
    for (let i = (hole + 1) & mask; index[i] !== 0; i = (i + 1) & mask) {
      const home = this.#hash(rows, (index[i] - 1) * WORDS) & mask;
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      index[hole] = index[i];
      hole = i;
    }
    index[hole] = 0;
    this.#places.take(rows[at] >>> 16);
    rows[at + 1] = 0;
    this.#free[this.#freed++] = row;
    this.size--;
  }

  /** The slot of the key in the index, or the free slot where it would go. */
  #slot(): number {
    const index = this.#index;
    const mask = index.length - 1;
    let i = this.#hash(this.#key, 0) & mask;
    while (index[i] !== 0 && !this.#holds((index[i] - 1) * WORDS)) i = (i + 1) & mask;
    return i;
  }

  /** Whether the key is that of the row at `at`. */
  #holds(at: number): boolean {
    const rows = this.#rows;
    const key = this.#key;
    const same =
      rows[at + 1] === key[1] && rows[at] === key[0] && rows[at + 2] === key[2] && rows[at + 3] === key[3];
    if (!same || (key[1] & SIX) === 0) return same;
    for (let i = 4; i < LINK; i++) if (rows[at + i] !== key[i]) return false;
    return true;
  }

  #hash(words: Int32Array, at: number): number {
    const secret = this.#secret;
    let h = hash4(words[at], words[at + 1], words[at + 2], words[at + 3], secret, this.#other);
    if ((words[at + 1] & SIX) === 0) return h;
    for (let i = at + 4; i < at + LINK; i += 2) h = keyed2(h ^ words[i], words[i + 1], secret);
    return h;
  }
}

/** What was seen of a flow after one more packet. */
function seenAfter(before: number, flags: number): number {
  if ((flags & BEGUN) !== 0) return flags & ~BEGUN;
  const both = (flags & ASKED) !== 0 && (before & ANSWERED) !== 0;
  return before | flags | (both ? ESTABLISHED : 0);
}

/** Where a row is kept at hand. Who makes two flows meet there has both looked for, as all are without. */
function recentOf(client: number, ports: number): number {
  return Math.imul(client ^ ports ^ (ports >>> 16), 0x9e3779b1) >>> 19;
}

/** Two halves that do not wait for each other, each with a secret of its own. */
function hash4(a: number, b: number, c: number, d: number, secret: number, other: number): number {
  return keyed2(b, a, secret) ^ keyed2(c, d, other);
}

/** Whether a row is an alias that leads to a flow. */
function isLed(b: number, link: number): boolean {
  return (b & ALIAS) !== 0 && link !== 0;
}

/** Whether a row is what it would be if it came about now. An alias that leads to a flow goes with that. */
function isPublished(published: Published, a: number, b: number, link: number): boolean {
  const protocol = b >>> 24;
  if ((b & ALIAS) === 0) return published.ownPort(protocol, link >>> 16) === (a & 0xffff);
  return isLed(b, link) || published.behind(protocol, a & 0xffff) !== NONE;
}

/** Seconds. */
function lifeOf(protocol: number, seen: number): number {
  if (protocol === UDP) return UDP_LIFE;
  const ended = protocol === TCP ? (seen & DONE) !== 0 : (seen & DONE) === DONE;
  return (seen & ESTABLISHED) !== 0 && !ended ? LONG_LIFE : SHORT_LIFE;
}
