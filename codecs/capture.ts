/**
 * What capture files of both formats (`pcap.ts`, `pcapng.ts`) have in common: the record that a reader hands
 * out, the interfaces that packets were captured on, and the error that a damaged file is.
 *
 * Reading and writing files is no packet path: what is wrong with a file is thrown.
 */
import { comments } from './capture-options.ts';

/** The most bytes of a packet that a file may hold, as in libpcap (MAXIMUM_SNAPLEN). */
export const MAX_CAPTURED = 262144;

// Direction, the low two bits of a record's `flags` (pcapng, epb_flags).
export const DIRECTION = 3;
export const INBOUND = 1;
export const OUTBOUND = 2;

/** A file that is damaged, cut, or of another format. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
  /** Where in the file, in bytes from its start. */
  readonly offset: number;

  constructor(offset: number, expected: string, got: string | number) {
    super(`at offset ${offset}: expected ${expected}, got ${got}`);
    this.offset = offset;
  }
}

/** What packets were captured on. A pcap file has one interface, without a name. */
export interface CaptureInterface {
  /** One of the numbers in `linktype.ts`. */
  readonly link: number;
  /** Longest packet that was to be captured whole, in bytes; 0 where there was no limit. */
  readonly snaplen: number;
  /** Bytes of frame check sequence at the end of every packet, 0 where that is not known. */
  readonly fcs: number;
  /** Unit of the time stamps as if_tsresol says it: n for 10^-n s, 0x80 + n for 2^-n s. */
  readonly resolution: number;
  /** Seconds to add to every time stamp. */
  readonly offset: number;
  /** Empty where the file gives none. */
  readonly name: string;
  readonly description: string;
  readonly comments: readonly string[];
  /** Which of the file's sections it belongs to, from 0. */
  readonly section: number;
}

/** A section of a pcapng file; a pcap file is taken for one section without words. */
export interface CaptureSection {
  readonly littleEndian: boolean;
  readonly hardware: string;
  readonly os: string;
  readonly application: string;
  readonly comments: readonly string[];
}

/** Keys that let a dissector decrypt what the file holds (pcapng, Decryption Secrets Block). */
export interface CaptureSecrets {
  /** Secrets type, e.g. 0x544c534b for TLS key logs. */
  readonly type: number;
  readonly bytes: Uint8Array;
}

/**
 * One captured packet. A reader has one record and fills it again and again, so what is kept must be copied.
 * The packet is `bytes[at..end)`.
 */
export class CaptureRecord {
  bytes: Uint8Array = new Uint8Array(0);
  /** The same memory. */
  view: DataView = new DataView(new ArrayBuffer(0));
  at = 0;
  end = 0;
  /** Bytes that the packet had on the wire, frame check sequence included where the interface has it. */
  original = 0;
  /** Seconds since 1970, whole. */
  seconds = 0;
  /** Nanoseconds within the second. Not below 10^9 in a damaged pcap file, which is handed on as it is. */
  nanoseconds = 0;
  /** Whether there is a time stamp: a Simple Packet Block has none. */
  timed = true;
  /** Index into the reader's `interfaces`. */
  interface = 0;
  /** Direction and the like (epb_flags), 0 where nothing is known. */
  flags = 0;
  /** Where the options lie in `bytes`. */
  optionsAt = 0;
  optionsEnd = 0;
  littleEndian = true;

  /** Bytes of the packet that the file holds. Fewer than `original` where it was cut. */
  get captured(): number {
    return this.end - this.at;
  }

  /** Milliseconds since 1970, exact to about a quarter of a microsecond. */
  get time(): number {
    return this.seconds * 1000 + this.nanoseconds / 1e6;
  }

  /** The comments on the packet. Decoded when asked for. */
  get comments(): string[] {
    return comments(this.view, this.optionsAt, this.optionsEnd, this.littleEndian);
  }

  /** The packet's bytes, in place. Allocates a view. */
  frame(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }
}

/** How a format cuts a file into headers, blocks and records. `offset` is where `at` lies in the file. */
export interface CaptureFormat {
  readonly interfaces: readonly CaptureInterface[];
  readonly sections: readonly CaptureSection[];
  readonly secrets: readonly CaptureSecrets[];
  /** Bytes of what lies at `at`, or as many as are needed to know that. Throws a CaptureError. */
  size(v: DataView, at: number, end: number, offset: number): number;
  /** Reads what lies at `at..end` and says whether it was a packet. Throws a CaptureError. */
  read(v: DataView, at: number, end: number, record: CaptureRecord, offset: number): boolean;
}

/**
 * The longest captured length that is believed. A snap length is a promise that writers break by a header or
 * two; what is far beyond it is damage, not a packet.
 */
export function believable(snaplen: number): number {
  return snaplen === 0 ? MAX_CAPTURED : Math.min(MAX_CAPTURED, Math.max(2 * snaplen, 65536));
}
