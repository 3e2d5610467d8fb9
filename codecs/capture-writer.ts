/**
 * Writes capture files of either format through one buffer into a function that takes the bytes:
 *
 *     const writer = new CaptureWriter((bytes) => fs.writeSync(fd, bytes));
 *     const eth0 = writer.interface({ link: linktype.ETHERNET, name: 'eth0' });
 *     writer.frame(eth0, seconds, nanoseconds, INBOUND, bytes, 0, bytes.length);
 *     writer.flush();
 *
 * Time stamps are in nanoseconds. The buffer is given on whenever the next packet does not fit and always ends
 * with a whole record, so that a file whose writer died is whole up to there.
 */
import { MAX_CAPTURED } from './capture.ts';
import * as pcap from './pcap.ts';
import * as pcapng from './pcapng.ts';
import * as blocks from './pcapng-blocks.ts';

export interface CaptureWriterOptions {
  /** Default 'pcapng'. A pcap file has one interface and no comments, directions or secrets. */
  format?: 'pcap' | 'pcapng';
  /** Default true. */
  littleEndian?: boolean;
  /** Bytes of each packet to keep, 1 to 262144. Default 262144. */
  snaplen?: number;
  /** Bytes that are collected before they are given on. Default 262144; a larger packet makes it larger. */
  buffer?: number;
  /** What the section header says. */
  section?: blocks.SectionOptions;
}

export class CaptureWriter {
  /** Bytes of each packet that are kept. */
  readonly snaplen: number;
  /** The buffer, into which the caller of `packet` copies. Another one after each call that had to grow it. */
  bytes: Uint8Array;
  /** The same memory. */
  view: DataView;
  readonly #sink: (bytes: Uint8Array) => void;
  readonly #classic: boolean;
  readonly #le: boolean;
  #length = 0;
  #interfaces = 0;

  /** `sink` must be done with the bytes when it returns: they are overwritten. */
  constructor(sink: (bytes: Uint8Array) => void, options: CaptureWriterOptions = {}) {
    this.#sink = sink;
    this.#classic = options.format === 'pcap';
    this.#le = options.littleEndian ?? true;
    this.snaplen = options.snaplen ?? MAX_CAPTURED;
    if (!Number.isInteger(this.snaplen) || this.snaplen < 1 || this.snaplen > MAX_CAPTURED) {
      throw new RangeError(`"snaplen" expected an integer 1..${MAX_CAPTURED}, got ${this.snaplen}`);
    }
    this.bytes = new Uint8Array(options.buffer ?? 262144);
    this.view = new DataView(this.bytes.buffer);
    if (!this.#classic) this.#put(blocks.sectionBlock(this.#le, options.section));
  }

  /** Bytes that are collected and not yet given on. */
  get waiting(): number {
    return this.#length;
  }

  /** Describes an interface and returns its number. Throws a TypeError for the second one of a pcap file. */
  interface(about: blocks.InterfaceOptions): number {
    if (!this.#classic) {
      this.#put(blocks.interfaceBlock(this.#le, { snaplen: this.snaplen, ...about }));
    } else {
      if (this.#interfaces > 0) throw new TypeError('a pcap file has one interface: use pcapng for more');
      this.#reserve(pcap.FILE_SIZE);
      pcap.writeFile(this.view, this.#length, this.#le, about.link, this.snaplen);
      this.#length += pcap.FILE_SIZE;
    }
    return this.#interfaces++;
  }

  /** Adds decryption secrets, for the packets that follow. Throws a TypeError on a pcap file. */
  secrets(type: number, bytes: Uint8Array): void {
    if (this.#classic) throw new TypeError('a pcap file holds no secrets: use pcapng');
    this.#put(blocks.secretsBlock(this.#le, type, bytes));
  }

  /** Adds a packet that lies in `bytes[at..end)`, cut to the snap length. */
  frame(
    iface: number,
    seconds: number,
    nanoseconds: number,
    flags: number,
    bytes: Uint8Array,
    at: number,
    end: number,
    comment?: string,
  ): void {
    const original = end - at;
    const captured = Math.min(original, this.snaplen);
    const to = this.packet(iface, seconds, nanoseconds, flags, captured, original, comment);
    this.bytes.set(bytes.subarray(at, at + captured), to);
  }

  /**
   * Adds a packet whose bytes the caller fills in: returns where in `bytes` the `captured` bytes belong. They
   * must be there before anything else is called. `flags` and `comment` are left out of a pcap file.
   */
  packet(
    iface: number,
    seconds: number,
    nanoseconds: number,
    flags: number,
    captured: number,
    original: number,
    comment?: string,
  ): number {
    const le = this.#le;
    if (this.#classic) {
      const at = this.#reserve(pcap.RECORD_SIZE + captured);
      pcap.writeRecord(this.view, at, le, seconds, nanoseconds, captured, original);
      this.#length += pcap.RECORD_SIZE + captured;
      return at + pcap.RECORD_SIZE;
    }
    const words = pcapng.encodeComment(comment);
    const size = pcapng.packetSize(captured, flags, words);
    const at = this.#reserve(size);
    pcapng.writePacket(this.view, at, le, iface, seconds, nanoseconds, captured, original, flags, words);
    this.#length += size;
    return at + pcapng.PACKET_DATA;
  }

  /** Gives on what was collected. */
  flush(): void {
    const length = this.#length;
    this.#length = 0;
    if (length > 0) this.#sink(this.bytes.subarray(0, length));
  }

  #put(block: Uint8Array): void {
    const at = this.#reserve(block.length);
    this.bytes.set(block, at);
    this.#length += block.length;
  }

  /** Makes room for as many bytes and returns where. */
  #reserve(bytes: number): number {
    if (this.#length + bytes > this.bytes.length) this.flush();
    if (bytes > this.bytes.length) {
      this.bytes = new Uint8Array(bytes);
      this.view = new DataView(this.bytes.buffer);
    }
    return this.#length;
  }
}
