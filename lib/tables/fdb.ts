/**
 * The forwarding database: (domain, MAC address) to the place where the address is (IEEE 802.1Q sections 8.7
 * and 8.8, RFC 7348 section 4.1). One table serves all networks of a dataplane.
 *
 * The key is the domain (16 bits) and the address (48); beside it a slot (see `slots.ts`) holds
 *
 *     word 2   static (1), moves (3), second of the first of them (10), place + 1 (18)
 *     word 3   second in which the address was last seen as a source
 *
 * Quotas: strangers choose source addresses, so each place and each domain may have a bounded number of
 * learned entries. A port that makes up addresses fills its own quota and stops being learned; everybody
 * else's entries stay and new ones are still learned. By default a local port may have an eighth of the table,
 * a remote endpoint (which stands for a whole host) half, both at least 16 entries, a domain all of it. Static
 * entries count, but only the capacity refuses them.
 *
 * Moves: an address that is seen at another place moves there at once. From its first move on, moves are
 * counted for 180 s; the sixth within that time is refused, and the entry stays where it is for 180 s from
 * then (after RFC 7432 section 15.1, N = 5 and M = 180 s). Then counting starts anew, as it does for an entry
 * that ages out.
 */
import { NONE, REMOTE } from '../core/packet.ts';
import { Quota } from './quota.ts';
import { NOTE, Slots, WORDS } from './slots.ts';

// What `learn` found or did.

/** The address is known at this place. */
export const KNOWN = 0;
/** The address is new. */
export const LEARNED = 1;
/** The address was at another place and is here now. */
export const MOVED = 2;
/** The address moves too often and is held at another place. */
export const FROZEN = 3;
/** The table or a quota is full; nothing changed. */
export const REFUSED = 4;
/** A static entry says that the address is at another place. */
export const STATIC = 5;

/** Every domain, in {@link Fdb.flushPlace}. */
export const ALL = -1;

/** Domains are 0..DOMAINS - 1. */
export const DOMAINS = 0x10000;
/** Places are 0..PLACES - 1: 65,536 local ports and as many remote endpoints. */
export const PLACES = REMOTE + 0x10000;

export interface FdbOptions {
  /** The most entries, 1..16,777,216. */
  readonly capacity: number;
  /** What the hash is keyed by: any integer that strangers do not know. */
  readonly seed: number;
  /** See {@link Fdb.ageing}. Default 300,000 ms. */
  readonly ageing?: number;
}

/** One entry, for people. */
export interface FdbEntry {
  readonly domain: number;
  readonly hi: number;
  readonly lo: number;
  readonly place: number;
  readonly static: boolean;
  /** Whether its moves are refused now or were refused last. */
  readonly frozen: boolean;
  /** When it was last seen, to the second, in ms of the clock that `learn` was told. */
  readonly seen: number;
}

/** The word of a slot beside NOTE. */
const SEEN = 3;

// Parts of a note. The sign bit is STATIC_BIT.
const PLACE_MASK = 0x3ffff;
const SINCE_SHIFT = 18;
const SINCE_MASK = 0x3ff;
const MOVES_SHIFT = 28;
const MOVES_MASK = 7;
const STATIC_BIT = 0x80000000 | 0;

/** Moves allowed within {@link WINDOW}; one more is the mark of a frozen entry. */
const MAX_MOVES = 5;
/** Seconds. */
const WINDOW = 180;

export class Fdb {
  readonly capacity: number;
  readonly #slots: Slots;
  readonly #domains = new Quota('domain', DOMAINS);
  readonly #places = new Quota('place', PLACES);
  /** Quotas where none was set. */
  readonly #localLimit: number;
  readonly #remoteLimit: number;
  /** Seconds. */
  #ageing = 300;
  #size = 0;
  /** Where ageing goes on. */
  #cursor = 0;

  /** Throws a RangeError for options out of range. Nothing is allocated afterwards. */
  constructor({ capacity, seed, ageing = 300_000 }: FdbOptions) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 0x1000000) {
      throw new RangeError(`"capacity" expected an integer 1..16777216, got ${capacity}`);
    }
    if (!Number.isInteger(seed)) throw new RangeError(`"seed" expected an integer, got ${seed}`);
    this.capacity = capacity;
    this.ageing = ageing;
    this.#slots = new Slots(capacity, seed);
    this.#localLimit = Math.max(capacity >> 3, 16);
    this.#remoteLimit = Math.max(capacity >> 1, 16);
  }

  /** Entries, static ones included. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#slots.words.byteLength + this.#domains.bytes + this.#places.bytes;
  }

  /** Milliseconds after which a learned address that is not seen is forgotten, in whole seconds:
   * 10,000..1,000,000,000 (RFC 4188 dot1dTpAgingTime). Throws a RangeError for anything else. */
  get ageing(): number {
    return this.#ageing * 1000;
  }

  set ageing(ms: number) {
    if (!(ms >= 10_000 && ms <= 1_000_000_000)) {
      throw new RangeError(`"ageing" expected a number 10000..1000000000, got ${ms}`);
    }
    this.#ageing = Math.ceil(ms / 1000);
  }

  /** The place of an address, or NONE. */
  lookup(domain: number, hi: number, lo: number): number {
    const slots = this.#slots;
    return (slots.words[slots.find((domain << 16) | hi, lo | 0) + NOTE] & PLACE_MASK) - 1;
  }

  /** Whether the address has a static entry. */
  isStatic(domain: number, hi: number, lo: number): boolean {
    const slots = this.#slots;
    return slots.words[slots.find((domain << 16) | hi, lo | 0) + NOTE] < 0;
  }

  /**
   * Takes note that a frame from an address came in at a place, at `now` in ms, and says what that came to:
   * one of the constants above. The address must not be a group's.
   */
  learn(domain: number, hi: number, lo: number, place: number, now: number): number {
    const { words } = this.#slots;
    const i = this.#slots.find((domain << 16) | hi, lo | 0);
    const note = words[i + NOTE];
    const second = Math.ceil(now * 0.001) | 0;
    if (note === 0) return this.#insert(i, domain, hi, lo, place, second);
    if ((note & PLACE_MASK) === place + 1) {
      if (words[i + SEEN] !== second) this.#refresh(i, second);
      return KNOWN;
    }
    return note < 0 ? STATIC : this.#move(i, place, second);
  }

  /** Ties an address to a place until it is removed. Throws a RangeError for a domain or place out of range
   * and where the table is full. */
  set(domain: number, hi: number, lo: number, place: number): void {
    this.#domains.check(domain);
    this.#places.check(place);
    const i = this.#slots.find((domain << 16) | hi, lo | 0);
    if (this.#slots.words[i + NOTE] !== 0) {
      this.#settle(i, place, STATIC_BIT);
      return;
    }
    if (this.#size === this.capacity) {
      throw new RangeError(`no room for a static entry: the table holds ${this.capacity}`);
    }
    this.#write(i, domain, hi, lo, place, 0);
    this.#slots.words[i + NOTE] |= STATIC_BIT;
  }

  /** Forgets an address, static or learned, and says whether it was known. */
  remove(domain: number, hi: number, lo: number): boolean {
    const i = this.#slots.find((domain << 16) | hi, lo | 0);
    if (this.#slots.words[i + NOTE] === 0) return false;
    this.#delete(i);
    return true;
  }

  /** Forgets what was learned in a domain, with `statics` also the rest, and returns how many that were.
   * Walks the whole table, as does {@link flushPlace}. */
  flush(domain: number, statics = false): number {
    return this.#domains.count(domain) === 0 ? 0 : this.#flush(domain, NONE, statics);
  }

  /** Forgets what was learned at a place in one domain or {@link ALL}, with `statics` also the rest. */
  flushPlace(place: number, domain: number = ALL, statics = false): number {
    return this.#places.count(place) === 0 ? 0 : this.#flush(domain, place, statics);
  }

  /**
   * Forgets learned addresses that were not seen for the ageing time, looking at `budget` slots from where the
   * last call stopped, and returns how many those were. An entry is never forgotten early; it is late by up
   * to a second and the time that it takes to come round.
   */
  age(now: number, budget = 1024): number {
    const { words } = this.#slots;
    const before = this.#size;
    const second = Math.floor(now * 0.001) | 0;
    let i = this.#cursor;
    // At most once round, where every entry may be looked at twice.
    for (let n = Math.min(budget, words.length / WORDS + before); n > 0; n--) {
      const old = words[i + NOTE] > 0 && second - words[i + SEEN] >= this.#ageing;
      // What is shifted into the slot is looked at next.
      if (old) this.#delete(i);
      else i = this.#slots.next(i);
    }
    this.#cursor = i;
    return before - this.#size;
  }

  /** The most entries of a domain; Infinity for no limit but the table's. Learned ones above it stay. Throws
   * a RangeError for a domain or number out of range. */
  limitDomain(domain: number, max: number): void {
    this.#domains.limit(domain, max);
  }

  /** The most entries at a place, in all domains; Infinity for no limit but the table's, null for the default. */
  limitPlace(place: number, max: number | null): void {
    if (max === null) this.#places.reset(place);
    else this.#places.limit(place, max);
  }

  /** Entries of a domain, static ones included. */
  countDomain(domain: number): number {
    return this.#domains.count(domain);
  }

  /** Entries at a place, static ones included. */
  countPlace(place: number): number {
    return this.#places.count(place);
  }

  /** The entries of one domain or all, in no order. The table must not change meanwhile. */
  *entries(domain: number = ALL): Generator<FdbEntry> {
    const { words } = this.#slots;
    for (let i = 0; i < words.length; i += WORDS) {
      const note = words[i + NOTE];
      if (note === 0 || (domain !== ALL && words[i] >>> 16 !== domain)) continue;
      yield {
        domain: words[i] >>> 16,
        hi: words[i] & 0xffff,
        lo: words[i + 1] >>> 0,
        place: (note & PLACE_MASK) - 1,
        static: note < 0,
        frozen: movesOf(note) > MAX_MOVES,
        seen: words[i + SEEN] * 1000,
      };
    }
  }

  /** How many slots a look-up reads at the most now: a measure of the hash. Walks the whole table. */
  longestChain(): number {
    return this.#slots.longestChain();
  }

  #insert(i: number, domain: number, hi: number, lo: number, place: number, second: number): number {
    if (this.#size === this.capacity) return REFUSED;
    if (!this.#domains.admits(domain, this.capacity) || !this.#admits(place)) return REFUSED;
    this.#write(i, domain, hi, lo, place, second);
    return LEARNED;
  }

  #write(i: number, domain: number, hi: number, lo: number, place: number, second: number): void {
    const { words } = this.#slots;
    words[i] = (domain << 16) | hi;
    words[i + 1] = lo;
    words[i + NOTE] = place + 1;
    words[i + SEEN] = second;
    this.#domains.add(domain);
    this.#places.add(place);
    this.#size++;
  }

  #admits(place: number): boolean {
    return this.#places.admits(place, place < REMOTE ? this.#localLimit : this.#remoteLimit);
  }

  /** Notes a new second. Forgetting old moves here keeps ten bits enough for the time of the first. */
  #refresh(i: number, second: number): void {
    const note = this.#slots.words[i + NOTE];
    if (movesOf(note) > 0 && elapsed(note, second) >= WINDOW) {
      this.#slots.words[i + NOTE] = note & (STATIC_BIT | PLACE_MASK);
    }
    this.#slots.words[i + SEEN] = second;
  }

  #move(i: number, place: number, second: number): number {
    const { words } = this.#slots;
    const note = words[i + NOTE];
    const over = second - words[i + SEEN] >= WINDOW || elapsed(note, second) >= WINDOW;
    const moves = over ? 0 : movesOf(note);
    if (moves > MAX_MOVES) return FROZEN;
    if (moves < MAX_MOVES && !this.#admits(place)) return REFUSED;
    // The time of the first move, or that of the freezing.
    const since = moves === 0 || moves === MAX_MOVES ? second : note >>> SINCE_SHIFT;
    const history = ((moves + 1) << MOVES_SHIFT) | ((since & SINCE_MASK) << SINCE_SHIFT);
    words[i + SEEN] = second;
    if (moves === MAX_MOVES) {
      words[i + NOTE] = (note & PLACE_MASK) | history;
      return FROZEN;
    }
    this.#settle(i, place, history);
    return MOVED;
  }

  /** Gives an entry another place, with the rest of its note. */
  #settle(i: number, place: number, rest: number): void {
    this.#places.take((this.#slots.words[i + NOTE] & PLACE_MASK) - 1);
    this.#places.add(place);
    this.#slots.words[i + NOTE] = (place + 1) | rest;
  }

  #delete(i: number): void {
    const { words } = this.#slots;
    this.#size--;
    this.#domains.take(words[i] >>> 16);
    this.#places.take((words[i + NOTE] & PLACE_MASK) - 1);
    this.#slots.free(i);
  }

  /** Forgets what is in a domain (or all) and at a place (or any). */
  #flush(domain: number, place: number, statics: boolean): number {
    const { words } = this.#slots;
    const before = this.#size;
    for (let i = 0; i < words.length; ) {
      const note = words[i + NOTE];
      const here =
        (note > 0 || (note < 0 && statics)) &&
        (domain === ALL || words[i] >>> 16 === domain) &&
        (place === NONE || (note & PLACE_MASK) - 1 === place);
      if (here) this.#delete(i);
      else i += WORDS;
    }
    return before - this.#size;
  }
}

function movesOf(note: number): number {
  return (note >>> MOVES_SHIFT) & MOVES_MASK;
}

/** Seconds since the first move, or since the freezing. */
function elapsed(note: number, second: number): number {
  return (second - (note >>> SINCE_SHIFT)) & SINCE_MASK;
}
