/**
 * Reads capture files of either format, from bytes that come in pieces of any size or from all of them at once:
 *
 *     const reader = new CaptureReader();
 *     for await (const chunk of stream) {
 *       reader.push(chunk);
 *       while (reader.next()) use(reader.record);
 *     }
 *     reader.end();
 *     while (reader.next()) use(reader.record);
 *
 * Every whole record that lies in front of damage is handed out before the damage is thrown.
 */
import {
  CaptureError,
  type CaptureFormat,
  type CaptureInterface,
  CaptureRecord,
  type CaptureSecrets,
  type CaptureSection,
} from './capture.ts';
import { MAGIC_MICRO, MAGIC_NANO, PcapFormat } from './pcap.ts';
import { SECTION } from './pcapng.ts';
import { PcapngFormat } from './pcapng-reader.ts';

/** What else a file may start with, so that a refusal can name it. */
const OTHERS: ReadonlyMap<number, string> = new Map([
  [0xa1b2cd34, "Alexey Kuznetzov's modified pcap"],
  [0xa1b234cd, "Francisco Mesquita's modified pcap"],
  [0xa12b3c4d, "Navtel's modified pcap"],
  [0x1c0001ac, "Ixia's hardware pcap"],
  [0x1c0001ab, "Ixia's software pcap"],
  [0x736e6f6f, 'snoop (RFC 1761)'],
  [0x28b52ffd, 'a compressed file, to be unpacked with zstd first'],
  [0x1f8b0800, 'a compressed file, to be unpacked with gzip first'],
  [0x1f8b0808, 'a compressed file, to be unpacked with gzip first'],
]);

/** Bytes that tell the formats apart. */
const MAGIC_SIZE = 4;
const NONE: readonly never[] = [];

export class CaptureReader {
  /** The packet that `next` found, valid until it is called again. */
  readonly record = new CaptureRecord();
  #bytes: Uint8Array;
  #view: DataView;
  /** What is not yet read lies in `#at..#end`. */
  #at = 0;
  #end = 0;
  /** Where `#bytes` starts in the file. */
  #base = 0;
  #ended = false;
  #format: CaptureFormat | null = null;
  #damage: CaptureError | null = null;

  /** With `whole` it reads that file, in place; without, what `push` brings. */
  constructor(whole?: Uint8Array) {
    this.#bytes = whole ?? new Uint8Array(0);
    this.#end = this.#bytes.length;
    this.#ended = whole !== undefined;
    this.#view = this.#use(this.#bytes);
  }

  /** The interfaces that were described so far, those of earlier sections included. */
  get interfaces(): readonly CaptureInterface[] {
    return this.#format?.interfaces ?? NONE;
  }

  /** The sections that have begun so far. */
  get sections(): readonly CaptureSection[] {
    return this.#format?.sections ?? NONE;
  }

  /** The decryption secrets met so far. */
  get secrets(): readonly CaptureSecrets[] {
    return this.#format?.secrets ?? NONE;
  }

  /** Where in the file it reads next, in bytes. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** Brings the next bytes of the file; they are copied. Read all records before bringing more. */
  push(chunk: Uint8Array): void {
    if (this.#ended) throw new TypeError('no bytes come after the end');
    const left = this.#end - this.#at;
    if (left + chunk.length > this.#bytes.length) this.#grow(left + chunk.length);
    else this.#bytes.copyWithin(0, this.#at, this.#end);
    this.#base += this.#at;
    this.#at = 0;
    this.#bytes.set(chunk, left);
    this.#end = left + chunk.length;
  }

  /** Says that the file ends here. */
  end(): void {
    this.#ended = true;
  }

  /**
   * Goes to the next packet and says whether there is one: false when more bytes are needed or, after the end,
   * the file is through. Throws a CaptureError where the file is damaged, cut or not a capture, from then on
   * at every call.
   */
  next(): boolean {
    if (this.#damage !== null) throw this.#damage;
    try {
      return this.#next();
    } catch (error) {
      if (error instanceof CaptureError) this.#damage = error;
      throw error;
    }
  }

  #next(): boolean {
    this.#format ??= this.#detect();
    if (this.#format === null) return false;
    for (;;) {
      const at = this.#at;
      const left = this.#end - at;
      if (left === 0 && this.#ended && this.#format.sections.length > 0) return false;
      const bytes = this.#format.size(this.#view, at, this.#end, this.#base + at);
      if (left < bytes) return this.#cut(bytes, left);
      this.#at = at + bytes;
      if (this.#format.read(this.#view, at, this.#at, this.record, this.#base + at)) return true;
    }
  }

  /** Waits for more, or refuses a file that ends in the middle. */
  #cut(wanted: number, left: number): boolean {
    if (!this.#ended) return false;
    throw new CaptureError(this.#base + this.#at, `${wanted} bytes to follow`, `the end after ${left}`);
  }

  #detect(): CaptureFormat | null {
    if (this.#end < MAGIC_SIZE) {
      if (!this.#ended) return null;
      throw new CaptureError(0, 'a pcap or pcapng file', this.#end === 0 ? 'an empty one' : 'a cut one');
    }
    const big = this.#view.getUint32(0);
    const little = this.#view.getUint32(0, true);
    if (big === SECTION) return new PcapngFormat();
    if (big === MAGIC_MICRO || big === MAGIC_NANO) return new PcapFormat(false, big === MAGIC_NANO);
    if (little === MAGIC_MICRO || little === MAGIC_NANO) return new PcapFormat(true, little === MAGIC_NANO);
    const magic = `magic 0x${big.toString(16).padStart(8, '0')}`;
    const other = OTHERS.get(big) ?? OTHERS.get(little) ?? 'something else';
    throw new CaptureError(0, 'a pcap or pcapng file', `${other} (${magic})`);
  }

  #grow(bytes: number): void {
    const larger = new Uint8Array(Math.max(65536, 2 ** Math.ceil(Math.log2(bytes))));
    larger.set(this.#bytes.subarray(this.#at, this.#end));
    this.#view = this.#use(larger);
  }

  /** A Buffer is taken for the plain array below it: its `slice` does not copy. */
  #use({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
    this.#bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.record.bytes = this.#bytes;
    this.record.view = new DataView(buffer, byteOffset, byteLength);
    return this.record.view;
  }
}

/** A packet of {@link readCapture}, with bytes of its own. */
export interface CapturedPacket {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly original: number;
  readonly interface: number;
  readonly flags: number;
  readonly comments: readonly string[];
  readonly bytes: Uint8Array;
}

/** A whole file, for people, tools and tests. */
export interface Capture {
  readonly sections: readonly CaptureSection[];
  readonly interfaces: readonly CaptureInterface[];
  readonly secrets: readonly CaptureSecrets[];
  readonly packets: readonly CapturedPacket[];
  /** What ended the reading before the file's end, or null. */
  readonly error: CaptureError | null;
}

/** Reads a whole file into objects. Never throws for what is in the file: see `error`. */
export function readCapture(file: Uint8Array): Capture {
  const reader = new CaptureReader(file);
  const packets: CapturedPacket[] = [];
  let error: CaptureError | null = null;
  try {
    while (reader.next()) {
      const { seconds, nanoseconds, original, interface: index, flags, comments } = reader.record;
      const bytes = reader.record.frame().slice();
      packets.push({ seconds, nanoseconds, original, interface: index, flags, comments, bytes });
    }
  } catch (thrown) {
    if (!(thrown instanceof CaptureError)) throw thrown;
    error = thrown;
  }
  return {
    sections: reader.sections,
    interfaces: reader.interfaces,
    secrets: reader.secrets,
    packets,
    error,
  };
}
