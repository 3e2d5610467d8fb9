/**
 * The pcap file format (draft-ietf-opsawg-pcap): a file header, then records.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *     |                Magic: 0xa1b2c3d4 or 0xa1b23c4d                |
 *     +-------------------------------+-------------------------------+
 *     |         Major version         |         Minor version         |
 *     +-------------------------------+-------------------------------+
 *     |                   Reserved, once time zone                    |
 *     +---------------------------------------------------------------+
 *     |                   Reserved, once accuracy                     |
 *     +---------------------------------------------------------------+
 *     |                          Snap length                          |
 *     +-------+-+-+---------------------------------------------------+
 *     |FCS len|R|P|                    Link type                      |
 *     +-------+-+-+---------------------------------------------------+
 *
 *     +---------------------------------------------------------------+
 *     |               Seconds since 1970-01-01, unsigned              |
 *     +---------------------------------------------------------------+
 *     |        Microseconds, or nanoseconds with 0xa1b23c4d           |
 *     +---------------------------------------------------------------+
 *     |                    Captured packet length                     |
 *     +---------------------------------------------------------------+
 *     |                    Original packet length                     |
 *     +---------------------------------------------------------------+
 *
 * Odd: everything is in the byte order of the machine that wrote it, which the magic shows. The length of the
 * frame check sequence counts units of 16 bits and is valid if P is set. The draft reserves the ten bits below
 * P; libpcap reads them as part of the link type, and so does this. Before version 2.3 the two lengths of a
 * record stood the other way round, and some writers of 2.3 did not know.
 */
import {
  believable,
  CaptureError,
  type CaptureFormat,
  type CaptureInterface,
  type CaptureRecord,
  type CaptureSecrets,
  type CaptureSection,
} from './capture.ts';
import { type Field, type Layout, struct, u16, u16le, u32, u32le } from './layout.ts';

type Make = (name: string) => Field;
const file = (half: Make, word: Make): Layout =>
  struct(
    word('magic'),
    half('major'),
    half('minor'),
    word('reserved1'),
    word('reserved2'),
    word('snaplen'),
    word('link'),
  );
const record = (word: Make): Layout =>
  struct(word('seconds'), word('fraction'), word('captured'), word('original'));

/** The file header, big-endian. */
export const fileLayout: Layout = file(u16, u32);
/** The file header, little-endian. */
export const fileLayoutLE: Layout = file(u16le, u32le);
/** The header of a record, big-endian. */
export const recordLayout: Layout = record(u32);
/** The header of a record, little-endian. */
export const recordLayoutLE: Layout = record(u32le);

const MAJOR = fileLayout.offsetOf('major');
const MINOR = fileLayout.offsetOf('minor');
const SNAPLEN = fileLayout.offsetOf('snaplen');
const LINK = fileLayout.offsetOf('link');
const FRACTION = recordLayout.offsetOf('fraction');
const CAPTURED = recordLayout.offsetOf('captured');
const ORIGINAL = recordLayout.offsetOf('original');

/** Bytes of the file header. */
export const FILE_SIZE = fileLayout.span;
/** Bytes of the header of a record. */
export const RECORD_SIZE = recordLayout.span;

export const MAGIC_MICRO = 0xa1b2c3d4;
export const MAGIC_NANO = 0xa1b23c4d;

/** Writes the file header, with nanosecond magic. `link` is one of `linktype.ts`, `snaplen` in bytes. */
export function writeFile(v: DataView, at: number, le: boolean, link: number, snaplen: number): void {
  const layout = le ? fileLayoutLE : fileLayout;
  layout.encode({ magic: MAGIC_NANO, major: 2, minor: 4, reserved1: 0, reserved2: 0, snaplen, link }, v, at);
}

/** Writes the header of a record; the captured bytes follow it. */
export function writeRecord(
  v: DataView,
  at: number,
  le: boolean,
  seconds: number,
  nanoseconds: number,
  captured: number,
  original: number,
): void {
  v.setUint32(at, seconds, le);
  v.setUint32(at + FRACTION, nanoseconds, le);
  v.setUint32(at + CAPTURED, captured, le);
  v.setUint32(at + ORIGINAL, original, le);
}

/** Reads a file of this format, for a `CaptureReader`. */
export class PcapFormat implements CaptureFormat {
  readonly interfaces: CaptureInterface[] = [];
  readonly sections: CaptureSection[] = [];
  readonly secrets: CaptureSecrets[] = [];
  readonly #le: boolean;
  readonly #nanoseconds: boolean;
  #minor = 4;
  #limit = 0;

  /** `le` and `nanoseconds` are what the magic says. */
  constructor(le: boolean, nanoseconds: boolean) {
    this.#le = le;
    this.#nanoseconds = nanoseconds;
  }

  size(v: DataView, at: number, end: number, offset: number): number {
    if (this.interfaces.length === 0) return FILE_SIZE;
    if (end - at < RECORD_SIZE) return RECORD_SIZE;
    const captured = v.getUint32(at + (this.#swapped(v, at) ? ORIGINAL : CAPTURED), this.#le);
    if (captured <= this.#limit) return RECORD_SIZE + captured;
    throw new CaptureError(offset, `a record of at most ${this.#limit} bytes`, captured);
  }

  read(v: DataView, at: number, end: number, record: CaptureRecord, offset: number): boolean {
    if (this.interfaces.length === 0) {
      this.#header(v, at, offset);
      return false;
    }
    const fraction = v.getUint32(at + FRACTION, this.#le);
    record.seconds = v.getUint32(at, this.#le);
    record.nanoseconds = this.#nanoseconds ? fraction : fraction * 1000;
    record.original = v.getUint32(at + (this.#swapped(v, at) ? CAPTURED : ORIGINAL), this.#le);
    record.at = at + RECORD_SIZE;
    record.end = end;
    return true;
  }

  /** Whether the original length stands in front of the captured one. */
  #swapped(v: DataView, at: number): boolean {
    if (this.#minor > 3) return false;
    if (this.#minor < 3) return true;
    return v.getUint32(at + CAPTURED, this.#le) > v.getUint32(at + ORIGINAL, this.#le);
  }

  #header(v: DataView, at: number, offset: number): void {
    const major = v.getUint16(at + MAJOR, this.#le);
    this.#minor = v.getUint16(at + MINOR, this.#le);
    if (major !== 2 || this.#minor > 4) {
      throw new CaptureError(offset + MAJOR, 'pcap version 2.0 to 2.4', `${major}.${this.#minor}`);
    }
    const snaplen = v.getUint32(at + SNAPLEN, this.#le);
    const word = v.getUint32(at + LINK, this.#le);
    this.#limit = believable(snaplen);
    this.sections.push({ littleEndian: this.#le, hardware: '', os: '', application: '', comments: [] });
    this.interfaces.push({
      link: word & 0x03ffffff,
      snaplen,
      fcs: (word & 0x04000000) !== 0 ? (word >>> 28) * 2 : 0,
      resolution: this.#nanoseconds ? 9 : 6,
      offset: 0,
      name: '',
      description: '',
      comments: [],
      section: 0,
    });
  }
}
