/**
 * The pcapng blocks that are about the file and not about one packet: Section Header, Interface Description and
 * Decryption Secrets (draft-ietf-opsawg-pcapng sections 4.1, 4.2, 4.7). Cold: each is written as an array of its
 * own, and read into an object.
 *
 * In the reading functions a block lies at `at..stop`, its length at the end left out, and at `offset` in the
 * file. They throw a CaptureError.
 */
import { CaptureError, type CaptureInterface, type CaptureSecrets, type CaptureSection } from './capture.ts';
import * as options from './capture-options.ts';
import type { Layout } from './layout.ts';
import * as pcapng from './pcapng.ts';

const { section, interface: iface, secrets } = pcapng.big;
const MAJOR = section.offsetOf('major');
const MINOR = section.offsetOf('minor');
const LINK = iface.offsetOf('link');
const SNAPLEN = iface.offsetOf('snaplen');
const SECRETS_TYPE = secrets.offsetOf('secretsType');
const SECRETS_LENGTH = secrets.offsetOf('length');

/** A whole block of a fixed part, data and options. Cold. */
function block(
  layout: Layout,
  le: boolean,
  fields: object,
  data: Uint8Array,
  list: options.Option[],
): Uint8Array {
  const dataEnd = layout.span + options.padded(data.length);
  const totalLength = dataEnd + options.listSize(list) + pcapng.TRAILER_SIZE;
  const bytes = new Uint8Array(totalLength);
  const v = new DataView(bytes.buffer);
  layout.encode({ ...fields, totalLength }, v, 0);
  bytes.set(data, layout.span);
  options.writeList(v, dataEnd, le, list);
  v.setUint32(totalLength - pcapng.TRAILER_SIZE, totalLength, le);
  return bytes;
}

const NOTHING = new Uint8Array(0);
const words = (code: number, value = ''): options.Option[] =>
  value === '' ? [] : [options.textOption(code, value)];

export interface SectionOptions {
  hardware?: string;
  os?: string;
  /** The program that writes the file. */
  application?: string;
  comment?: string;
}

/** A Section Header Block: the start of a file. */
export function sectionBlock(le: boolean, about: SectionOptions = {}): Uint8Array {
  const fields = { type: pcapng.SECTION, magic: pcapng.BYTE_ORDER, major: 1, minor: 0 };
  // The section's length is not known while it is written (section 4.1).
  const unknown = { length1: 0xffffffff, length2: 0xffffffff };
  const list = [
    ...words(options.COMMENT, about.comment),
    ...words(pcapng.SECTION_HARDWARE, about.hardware),
    ...words(pcapng.SECTION_OS, about.os),
    ...words(pcapng.SECTION_APPLICATION, about.application),
  ];
  return block((le ? pcapng.little : pcapng.big).section, le, { ...fields, ...unknown }, NOTHING, list);
}

export interface InterfaceOptions {
  /** One of the numbers in `linktype.ts`. */
  link: number;
  /** Longest packet that is captured whole, in bytes; 0, the default, where there is no limit. */
  snaplen?: number;
  name?: string;
  description?: string;
  comment?: string;
}

/** An Interface Description Block, with nanoseconds as unit of time. */
export function interfaceBlock(le: boolean, about: InterfaceOptions): Uint8Array {
  const fields = { type: pcapng.INTERFACE, link: about.link, reserved: 0, snaplen: about.snaplen ?? 0 };
  const list = [
    ...words(options.COMMENT, about.comment),
    ...words(pcapng.IF_NAME, about.name),
    ...words(pcapng.IF_DESCRIPTION, about.description),
    { code: pcapng.IF_TSRESOL, value: new Uint8Array([9]) },
  ];
  return block((le ? pcapng.little : pcapng.big).interface, le, fields, NOTHING, list);
}

/** A Decryption Secrets Block. It must stand in front of the packets that it opens. */
export function secretsBlock(le: boolean, type: number, bytes: Uint8Array): Uint8Array {
  const fields = { type: pcapng.SECRETS, secretsType: type, length: bytes.length };
  return block((le ? pcapng.little : pcapng.big).secrets, le, fields, bytes, []);
}

export function readSection(
  v: DataView,
  at: number,
  stop: number,
  le: boolean,
  offset: number,
): CaptureSection {
  need(section.span, at, stop, offset);
  const major = v.getUint16(at + MAJOR, le);
  const minor = v.getUint16(at + MINOR, le);
  // 1.2 was written by mistake and means 1.0 (section 4.1).
  if (major !== 1 || (minor !== 0 && minor !== 2)) {
    throw new CaptureError(offset + MAJOR, 'pcapng version 1.0', `${major}.${minor}`);
  }
  const about = { littleEndian: le, hardware: '', os: '', application: '', comments: [] as string[] };
  for (const { code, i } of list(v, at, section.span, stop, le, offset)) {
    if (code === options.COMMENT) about.comments.push(options.text(v, i, le));
    else if (code === pcapng.SECTION_HARDWARE) about.hardware = options.text(v, i, le);
    else if (code === pcapng.SECTION_OS) about.os = options.text(v, i, le);
    else if (code === pcapng.SECTION_APPLICATION) about.application = options.text(v, i, le);
  }
  return about;
}

/** `within` is the number of the section. */
export function readInterface(
  v: DataView,
  at: number,
  stop: number,
  le: boolean,
  offset: number,
  within: number,
): CaptureInterface {
  need(iface.span, at, stop, offset);
  const about = {
    link: v.getUint16(at + LINK, le),
    snaplen: v.getUint32(at + SNAPLEN, le),
    fcs: 0,
    resolution: 6,
    offset: 0,
    name: '',
    description: '',
    comments: [] as string[],
    section: within,
  };
  for (const { code, i, length, where } of list(v, at, iface.span, stop, le, offset)) {
    const value = i + options.SIZE;
    if (code === options.COMMENT) about.comments.push(options.text(v, i, le));
    else if (code === pcapng.IF_NAME) about.name = options.text(v, i, le);
    else if (code === pcapng.IF_DESCRIPTION) about.description = options.text(v, i, le);
    else if (code === pcapng.IF_TSRESOL) about.resolution = resolution(v, value, length, where);
    else if (code === pcapng.IF_FCSLEN && length === 1) about.fcs = fcs(v.getUint8(value));
    else if (code === pcapng.IF_TSOFFSET && length === 8) about.offset = int64(v, value, le);
  }
  return about;
}

export function readSecrets(
  v: DataView,
  at: number,
  stop: number,
  le: boolean,
  offset: number,
): CaptureSecrets {
  need(secrets.span, at, stop, offset);
  const length = v.getUint32(at + SECRETS_LENGTH, le);
  const room = stop - at - secrets.span;
  if (length > room) {
    throw new CaptureError(offset + SECRETS_LENGTH, `at most ${room} bytes of secrets`, length);
  }
  const bytes = new Uint8Array(v.buffer, v.byteOffset + at + secrets.span, length).slice();
  return { type: v.getUint32(at + SECRETS_TYPE, le), bytes };
}

/** Refuses a block that is shorter than its fixed part, and returns the length of that. */
export function need(bytes: number, at: number, stop: number, offset: number): number {
  if (stop - at >= bytes) return bytes;
  throw new CaptureError(offset, `a block of at least ${bytes + 4} bytes`, stop - at + 4);
}

/** The options of a block, which start `fixed` bytes into it. Refuses one that overruns. */
function* list(v: DataView, at: number, fixed: number, stop: number, le: boolean, offset: number) {
  for (let i = at + fixed; i < stop; ) {
    const bytes = options.size(v, i, stop, le);
    const where = offset + i - at;
    if (bytes < 0) throw new CaptureError(where, 'an option within its block', 'one that is longer');
    const code = v.getUint16(i, le);
    if (code === options.END) return;
    yield { code, i, length: v.getUint16(i + 2, le), where };
    i += bytes;
  }
}

/** The value of if_tsresol. What does not fit 64 bits is refused, as in libpcap. */
function resolution(v: DataView, at: number, length: number, offset: number): number {
  const value = length === 1 ? v.getUint8(at) : 0xff;
  if (value <= 19 || (value >= 0x80 && value <= 0x80 + 63)) return value;
  throw new CaptureError(offset, 'if_tsresol of up to 10^-19 or 2^-63 seconds in one byte', value);
}

/** if_fcslen counts bits by the draft's text and bytes by its example: nobody has a check of eight bytes. */
function fcs(value: number): number {
  return value < 8 ? value : value >>> 3;
}

function int64(v: DataView, at: number, le: boolean): number {
  const high = v.getInt32(at + (le ? 4 : 0), le);
  return high * 0x1_0000_0000 + v.getUint32(at + (le ? 0 : 4), le);
}
