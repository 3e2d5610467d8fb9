/** Messages over TCP: two bytes of length before each, RFC 1035 section 4.2.2. */

/** Pieces of a message that are held one by one: many small ones take far more room than their bytes. */
const PIECES = 16;

/** Cuts a stream into messages. What it holds back is less than one message. */
export class Frames {
  #rest: Buffer[] = [];
  #length = 0;

  /** The messages that are complete now. */
  push(chunk: Buffer): Buffer[] {
    this.#rest.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#wanted()) {
      if (this.#rest.length > PIECES) this.#rest = [Buffer.concat(this.#rest)];
      return [];
    }
    const bytes = Buffer.concat(this.#rest);
    const messages: Buffer[] = [];
    let at = 0;
    while (at + 2 <= bytes.length) {
      const end = at + 2 + bytes.readUInt16BE(at);
      if (end > bytes.length) break;
      messages.push(bytes.subarray(at + 2, end));
      at = end;
    }
    this.#rest = [bytes.subarray(at)];
    this.#length = bytes.length - at;
    return messages;
  }

  /** Bytes of the first message with its length, as far as they are known. */
  #wanted(): number {
    const [first, second] = this.#rest;
    if (first.length >= 2) return 2 + first.readUInt16BE(0);
    if (this.#length < 2) return 2;
    return first.length === 1 ? 2 + first[0] * 256 + second[0] : 2;
  }
}

export function frame(message: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(2 + message.length);
  bytes.writeUInt16BE(message.length, 0);
  message.copy(bytes, 2);
  return bytes;
}
