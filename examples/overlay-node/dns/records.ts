/** The records of a message that somebody else made, by their offsets: RFC 1035 section 4.1.3. Messages pass through
 * as they are, whatever types of records are in them. */
import { HEADER, nameEnd } from './message.ts';

export interface RecordPlace {
  readonly section: 'answer' | 'authority' | 'additional';
  readonly type: number;
  /** Where its TTL is; the length of the data lies 4 bytes behind it. */
  readonly ttlAt: number;
  /** Behind its data. */
  readonly end: number;
}

const SECTIONS = ['answer', 'authority', 'additional'] as const;

/** All records behind the question; null where the message is cut off or malformed. */
export function readRecords(bytes: Buffer): RecordPlace[] | null {
  if (bytes.length < HEADER || bytes.readUInt16BE(4) > 1) return null;
  let at = HEADER;
  if (bytes.readUInt16BE(4) === 1) at = nameEnd(bytes, at) + 4;
  const places: RecordPlace[] = [];
  for (const [i, section] of SECTIONS.entries()) {
    for (let n = bytes.readUInt16BE(6 + 2 * i); n > 0; n--) {
      const owner = ownerEnd(bytes, at);
      if (owner < 0 || owner + 10 > bytes.length) return null;
      const end = owner + 10 + bytes.readUInt16BE(owner + 8);
      if (end > bytes.length) return null;
      places.push({ section, type: bytes.readUInt16BE(owner), ttlAt: owner + 4, end });
      at = end;
    }
  }
  return at >= HEADER && at <= bytes.length ? places : null;
}

/** Behind a name that may end in a pointer, below zero where there is none. */
function ownerEnd(bytes: Buffer, at: number): number {
  while (at >= 0 && at < bytes.length) {
    const length = bytes[at];
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > 63) break;
    at += length + 1;
  }
  return -1;
}
