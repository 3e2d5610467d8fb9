/** Questions that were sent over one socket and not answered yet. Ids are unpredictable, and an answer counts only
 * where its question is the one that was asked: RFC 5452 sections 4 and 9. */
import { randomInt } from 'node:crypto';
import { FORMERR, HEADER, nameEnd, QR, sameQuestion } from '../message.ts';
import { readRecords } from '../records.ts';

interface Asked {
  readonly query: Buffer;
  readonly end: number;
  readonly settle: (answer: Buffer | null) => void;
}

export class InFlight {
  readonly #asked = new Map<number, Asked>();

  get size(): number {
    return this.#asked.size;
  }

  /** Gives a query an id of its own, and a promise of its answer: null where there is none within `timeout` ms. */
  ask(query: Buffer, timeout: number): { bytes: Buffer; answer: Promise<Buffer | null> } {
    const bytes = Buffer.from(query);
    let id = randomInt(0x10000);
    while (this.#asked.has(id)) id = randomInt(0x10000);
    bytes.writeUInt16BE(id, 0);
    const answer = new Promise<Buffer | null>((resolve) => {
      const settle = (answer: Buffer | null) => {
        clearTimeout(timer);
        this.#asked.delete(id);
        resolve(answer);
      };
      const timer = setTimeout(settle, timeout, null);
      this.#asked.set(id, { query: bytes, end: nameEnd(bytes, HEADER) + 4, settle });
    });
    return { bytes, answer };
  }

  /** Takes what arrived. What answers nothing that was asked is ignored. */
  take(bytes: Buffer): void {
    if (bytes.length < HEADER || (bytes.readUInt16BE(2) & QR) === 0) return;
    const asked = this.#asked.get(bytes.readUInt16BE(0));
    if (asked === undefined) return;
    if (bytes.readUInt16BE(4) === 1 && sameQuestion(bytes, asked.query, asked.end)) {
      asked.settle(readRecords(bytes) === null ? null : bytes);
    } else if (bytes.readUInt16BE(4) === 0 && (bytes.readUInt16BE(2) & 15) >= FORMERR) {
      // a server that did not understand does not say what: the next one is asked
      asked.settle(null);
    }
  }

  /** There will be no answers. */
  fail(): void {
    for (const { settle } of [...this.#asked.values()]) settle(null);
  }
}
