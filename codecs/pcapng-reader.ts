/** Reads pcapng blocks (draft-ietf-opsawg-pcapng section 4), for a `CaptureReader`. */
import {
  believable,
  CaptureError,
  type CaptureFormat,
  type CaptureInterface,
  type CaptureRecord,
  type CaptureSecrets,
  type CaptureSection,
} from './capture.ts';
import * as options from './capture-options.ts';
import * as pcapng from './pcapng.ts';
import { need, readInterface, readSecrets, readSection } from './pcapng-blocks.ts';

/** The longest block that is believed, in bytes, as in libpcap. */
const MAX_BLOCK = 16 * 1024 * 1024;
/** 10^0 to 10^9: units of time that are read without a BigInt. */
const POWERS = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

const { section, packet, oldPacket, simplePacket } = pcapng.big;
const TOTAL_LENGTH = packet.offsetOf('totalLength');
const MAGIC = section.offsetOf('magic');
const PACKET_INTERFACE = packet.offsetOf('interface');
const HIGH = packet.offsetOf('high');
const LOW = packet.offsetOf('low');
const CAPTURED = packet.offsetOf('captured');
const ORIGINAL = packet.offsetOf('original');
const SIMPLE_ORIGINAL = simplePacket.offsetOf('original');

export class PcapngFormat implements CaptureFormat {
  readonly interfaces: CaptureInterface[] = [];
  readonly sections: CaptureSection[] = [];
  readonly secrets: CaptureSecrets[] = [];
  #le = true;
  /** Index of the first interface of this section. */
  #base = 0;

  size(v: DataView, at: number, end: number, offset: number): number {
    // Type, length and, in a section header, the magic that says how to read them.
    if (end - at < 12) return 12;
    if (v.getUint32(at) === pcapng.SECTION) this.#byteOrder(v, at, offset);
    const bytes = v.getUint32(at + TOTAL_LENGTH, this.#le);
    if (bytes >= 12 && bytes % 4 === 0 && bytes <= MAX_BLOCK) return bytes;
    throw new CaptureError(
      offset + TOTAL_LENGTH,
      `a block length of 12 to ${MAX_BLOCK} bytes, a multiple of 4`,
      bytes,
    );
  }

  read(v: DataView, at: number, end: number, record: CaptureRecord, offset: number): boolean {
    const trailer = v.getUint32(end - pcapng.TRAILER_SIZE, this.#le);
    if (trailer !== end - at) {
      throw new CaptureError(
        offset + end - at - pcapng.TRAILER_SIZE,
        `the block length ${end - at} again`,
        trailer,
      );
    }
    const stop = end - pcapng.TRAILER_SIZE;
    switch (v.getUint32(at, this.#le)) {
      case pcapng.PACKET:
        this.#packet(v, at, stop, record, offset, need(packet.span, at, stop, offset));
        return true;
      case pcapng.OLD_PACKET:
        this.#packet(v, at, stop, record, offset, need(oldPacket.span, at, stop, offset));
        return true;
      case pcapng.SIMPLE_PACKET:
        this.#simple(v, at, stop, record, offset);
        return true;
      case pcapng.SECTION:
        this.sections.push(readSection(v, at, stop, this.#le, offset));
        this.#base = this.interfaces.length;
        return false;
      case pcapng.INTERFACE:
        this.interfaces.push(readInterface(v, at, stop, this.#le, offset, this.sections.length - 1));
        return false;
      case pcapng.SECRETS:
        this.secrets.push(readSecrets(v, at, stop, this.#le, offset));
        return false;
      default:
        // Names, statistics, custom blocks and what is yet to be invented are skipped (section 3.1).
        return false;
    }
  }

  #byteOrder(v: DataView, at: number, offset: number): void {
    this.#le = v.getUint32(at + MAGIC, true) === pcapng.BYTE_ORDER;
    const magic = v.getUint32(at + MAGIC, this.#le);
    if (magic === pcapng.BYTE_ORDER) return;
    throw new CaptureError(offset + MAGIC, 'the byte-order magic 0x1a2b3c4d', `0x${magic.toString(16)}`);
  }

  /** An Enhanced or old Packet Block; they differ in how wide the number of the interface is. */
  #packet(v: DataView, at: number, stop: number, record: CaptureRecord, offset: number, data: number): void {
    const le = this.#le;
    const old = v.getUint32(at, le) === pcapng.OLD_PACKET;
    const id = old ? v.getUint16(at + PACKET_INTERFACE, le) : v.getUint32(at + PACKET_INTERFACE, le);
    const about = this.#known(id, offset);
    const captured = v.getUint32(at + CAPTURED, le);
    this.#fits(captured, stop - at - data, about.snaplen, offset + CAPTURED);
    const unit = about.resolution <= 9 ? POWERS[about.resolution] : 0;
    if (unit === 0) exotic(v, at, le, about.resolution, record);
    else record.nanoseconds = pcapng.readTime(v, at, le, unit, record) * (1e9 / unit);
    record.seconds += about.offset;
    record.timed = true;
    record.interface = this.#base + id;
    record.original = v.getUint32(at + ORIGINAL, le);
    record.at = at + data;
    record.end = record.at + captured;
    this.#packetOptions(v, at + data + options.padded(captured), stop, record);
  }

  /** What is wrong with a packet's options is no reason to lose the packet: they end there. */
  #packetOptions(v: DataView, at: number, stop: number, record: CaptureRecord): void {
    record.optionsAt = at;
    record.optionsEnd = stop;
    record.littleEndian = this.#le;
    const flags = options.find(v, at, stop, this.#le, pcapng.PACKET_FLAGS);
    const valid = flags >= 0 && v.getUint16(flags + 2, this.#le) === 4;
    record.flags = valid ? v.getUint32(flags + options.SIZE, this.#le) : 0;
  }

  #simple(v: DataView, at: number, stop: number, record: CaptureRecord, offset: number): void {
    const data = need(simplePacket.span, at, stop, offset);
    const { snaplen } = this.#known(0, offset);
    const original = v.getUint32(at + SIMPLE_ORIGINAL, this.#le);
    const captured = snaplen === 0 ? original : Math.min(original, snaplen);
    this.#fits(captured, stop - at - data, snaplen, offset + SIMPLE_ORIGINAL);
    record.seconds = 0;
    record.nanoseconds = 0;
    record.timed = false;
    record.interface = this.#base;
    record.original = original;
    record.at = at + data;
    record.end = record.at + captured;
    this.#packetOptions(v, stop, stop, record);
  }

  #known(id: number, offset: number): CaptureInterface {
    const about = this.interfaces[this.#base + id];
    if (about !== undefined) return about;
    const count = this.interfaces.length - this.#base;
    throw new CaptureError(offset, `one of the ${count} interfaces that were described`, `number ${id}`);
  }

  #fits(captured: number, room: number, snaplen: number, offset: number): void {
    const limit = Math.min(room, believable(snaplen));
    if (captured > limit) throw new CaptureError(offset, `a packet of at most ${limit} bytes`, captured);
  }
}

/** Time stamps in units that no clock of today has. The one place where a BigInt is quick enough. */
function exotic(v: DataView, at: number, le: boolean, unit: number, record: CaptureRecord): void {
  const perSecond = unit >= 0x80 ? 1n << BigInt(unit - 0x80) : 10n ** BigInt(unit);
  const high = BigInt(v.getUint32(at + HIGH, le));
  const ticks = (high << 32n) | BigInt(v.getUint32(at + LOW, le));
  record.seconds = Number(ticks / perSecond);
  record.nanoseconds = Number(((ticks % perSecond) * 1_000_000_000n) / perSecond);
}
