/** Answers of others, until they are too old: positive ones as long as their shortest TTL, negative ones as RFC 2308
 * says, at most so many and so many bytes. What was not used for the longest time goes first. */
import { AA, NOERROR, NXDOMAIN, OPT, SOA, TC } from './message.ts';
import { type RecordPlace, readRecords } from './records.ts';

export interface CacheOptions {
  /** Milliseconds, of a clock that does not go backwards. */
  readonly now: () => number;
  /** Answers at the most. */
  readonly entries?: number;
  /** Bytes of answers at the most. */
  readonly bytes?: number;
}

interface Kept {
  readonly answer: Buffer;
  readonly since: number;
  /** In seconds. */
  readonly lifetime: number;
}

/** Seconds that an answer is kept at the most. */
const LONGEST = 86400;
/** The same for one that says there is nothing: RFC 2308 section 5. */
const LONGEST_NEGATIVE = 10800;

export class Cache {
  readonly #now: () => number;
  readonly #most: number;
  readonly #mostBytes: number;
  /** In the order of their last use. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  constructor(options: CacheOptions) {
    this.#now = options.now;
    this.#most = options.entries ?? 4096;
    this.#mostBytes = options.bytes ?? 8 << 20;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** A copy of the answer with its TTLs counted down, or null. */
  get(key: string): Buffer | null {
    const kept = this.#kept.get(key);
    if (kept === undefined) return null;
    this.#forget(key, kept);
    const age = Math.floor((this.#now() - kept.since) / 1000);
    if (age >= kept.lifetime) return null;
    this.#keep(key, kept);
    return aged(kept, age);
  }

  /** Keeps an answer for as long as it says; one that may not be kept is not. */
  set(key: string, answer: Buffer): void {
    const records = readRecords(answer);
    const lifetime = records === null ? 0 : lifetimeOf(answer, records);
    const before = this.#kept.get(key);
    if (before !== undefined) this.#forget(key, before);
    if (records === null || lifetime === 0 || answer.length > this.#mostBytes) return;
    this.#keep(key, { answer: copy(answer), since: this.#now(), lifetime });
    for (const [oldest, kept] of this.#kept) {
      if (this.#kept.size <= this.#most && this.#bytes <= this.#mostBytes) break;
      this.#forget(oldest, kept);
    }
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.set(key, kept);
    this.#bytes += kept.answer.length;
  }

  #forget(key: string, kept: Kept): void {
    this.#kept.delete(key);
    this.#bytes -= kept.answer.length;
  }
}

/** An answer can be a piece of something larger, which would be kept with it. */
function copy(answer: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(answer.length);
  answer.copy(own);
  return own;
}

/** Seconds that an answer may be kept, 0 for not at all. */
function lifetimeOf(answer: Buffer, records: readonly RecordPlace[]): number {
  const flags = answer.readUInt16BE(2);
  const rcode = flags & 15;
  if ((flags & TC) !== 0 || (rcode !== NOERROR && rcode !== NXDOMAIN)) return 0;
  const negative = rcode === NXDOMAIN || answer.readUInt16BE(6) === 0;
  let lifetime = negative ? LONGEST_NEGATIVE : LONGEST;
  let authority = false;
  for (const { section, type, ttlAt, end } of records) {
    if (type === OPT) continue;
    lifetime = Math.min(lifetime, ttlOf(answer, ttlAt));
    if (section !== 'authority' || type !== SOA) continue;
    authority = true;
    // the last field of SOA is the TTL of what is not there, RFC 2308 section 4
    lifetime = Math.min(lifetime, answer.readUInt32BE(end - 4));
  }
  return negative && !authority ? 0 : lifetime;
}

/** RFC 2181 section 8: what has its topmost bit set counts as zero. */
function ttlOf(answer: Buffer, at: number): number {
  const ttl = answer.readUInt32BE(at);
  return ttl > 0x7fffffff ? 0 : ttl;
}

function aged(kept: Kept, age: number): Buffer {
  const answer = Buffer.from(kept.answer);
  // what is remembered is not said with authority
  answer.writeUInt16BE(answer.readUInt16BE(2) & ~AA, 2);
  for (const { section, type, ttlAt } of readRecords(answer) ?? []) {
    if (type === OPT) continue;
    const negative = section === 'authority' && type === SOA;
    const ttl = ttlOf(answer, ttlAt);
    answer.writeUInt32BE((negative ? Math.min(ttl, kept.lifetime) : ttl) - age, ttlAt);
  }
  return answer;
}
