/**
 * Messages as frames: four bytes of length, big-endian, and so many bytes of JSON. A frame of length 0 is a heartbeat.
 */
import { ControlError } from '../errors.ts';

/** In front of each frame, in bytes. */
const HEADER = 4;

/** A frame of a message; of nothing for a heartbeat. */
export function frame(message: object | null): Buffer {
  const text = message === null ? '' : JSON.stringify(message);
  const size = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(HEADER + size);
  bytes.writeUInt32BE(size, 0);
  bytes.write(text, HEADER);
  return bytes;
}

/** Makes frames of what comes in pieces. */
export class FrameReader {
  /** Largest frame that is taken, in bytes. */
  limit: number;
  #pieces: Buffer[] = [];
  #size = 0;
  /** Bytes that must be there before it is worth a look. */
  #need = HEADER;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** The messages that have come whole, heartbeats left out. Throws a ControlError `INVALID` for a frame that is too large
   * or no JSON object; nothing can be read after it. */
  push(piece: Buffer): object[] {
    this.#pieces.push(piece);
    this.#size += piece.length;
    if (this.#size < this.#need) return [];
    const bytes = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces, this.#size);
    const messages: object[] = [];
    let at = 0;
    for (;;) {
      const left = bytes.length - at;
      this.#need = HEADER + (left < HEADER ? 0 : this.#length(bytes, at));
      if (left < this.#need) break;
      if (this.#need > HEADER) messages.push(parse(bytes.subarray(at + HEADER, at + this.#need)));
      at += this.#need;
    }
    this.#pieces = at < bytes.length ? [bytes.subarray(at)] : [];
    this.#size = bytes.length - at;
    return messages;
  }

  #length(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at);
    if (length <= this.limit) return length;
    throw new ControlError('INVALID', `a message of ${length} bytes, up to ${this.limit} are taken`);
  }
}

function parse(bytes: Buffer): object {
  let message: unknown;
  try {
    message = JSON.parse(bytes.toString());
  } catch {
    throw new ControlError('INVALID', 'a message that is no JSON');
  }
  if (typeof message === 'object' && message !== null) return message;
  throw new ControlError('INVALID', 'a message that is no object');
}
