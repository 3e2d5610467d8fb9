/** A capture file as a port that writes what it is sent. */
import { MAX_CAPTURED } from '../../codecs/capture.ts';
import * as linktype from '../../codecs/linktype.ts';
import type { Batch } from '../core/batch.ts';
import { CLOSED, PORT_ERROR, TOO_BIG } from '../core/drop.ts';
import type { Packet } from '../core/packet.ts';
import { ETHERNET, IP, type Port, PortError, type PortHost, PortStats, takes } from './port.ts';
import { Recorder } from './recorder.ts';

export interface PcapWriterOptions {
  /** The file to make; one that is there is replaced. */
  path: string;
  /** Default: by the path, `pcap` where it ends with .pcap or .cap, else `pcapng`. */
  format?: 'pcap' | 'pcapng';
  /** ETHERNET, the default, or IP. */
  medium?: typeof ETHERNET | typeof IP;
  /** For counters, messages, and the interface's name in a pcapng file. Default: the path. */
  name?: string;
  /** Largest frame in bytes, at most 262144, the default. */
  mtu?: number;
  /** Bytes of each packet to keep, 1 to 262144, the default. */
  snaplen?: number;
}

/**
 * Writes the packets that it is sent, each with the clock's time. It gives nothing to receive.
 *
 * Packets are collected and written 256 KiB at a time, every second, and on `close`. `open` rejects with
 * NO_SUCH_FILE, PERMISSION or IO; a disk that fills up later is told by `onError`, and the file keeps its whole
 * records.
 */
export class PcapWriter implements Port {
  readonly name: string;
  readonly medium: typeof ETHERNET | typeof IP;
  readonly mtu: number;
  readonly offloads = 0;
  readonly stats = new PortStats();
  onError: ((error: PortError) => void) | null = null;

  readonly #options: PcapWriterOptions;
  #recorder: Recorder | null = null;

  constructor(options: PcapWriterOptions) {
    const { path, medium = ETHERNET, mtu = MAX_CAPTURED, snaplen = MAX_CAPTURED } = options;
    integer('mtu', mtu);
    integer('snaplen', snaplen);
    if (medium !== ETHERNET && medium !== IP) {
      throw new RangeError(`"medium" expected ETHERNET or IP, got ${medium}`);
    }
    this.name = options.name ?? path;
    this.medium = medium;
    this.mtu = mtu;
    this.#options = options;
  }

  async open(host: PortHost): Promise<void> {
    if (this.#recorder !== null)
      throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    const { path, snaplen = MAX_CAPTURED } = this.#options;
    const { format = /\.p?cap$/i.test(path) ? 'pcap' : 'pcapng' } = this.#options;
    const section = { application: 'packetweave' };
    const recorder = new Recorder(path, { format, snaplen, section }, host.clock);
    const link = this.medium === ETHERNET ? linktype.ETHERNET : linktype.RAW;
    recorder.writer.interface({ link, name: this.name });
    this.#recorder = recorder;
  }

  receive(batch: Batch): number {
    return batch.length;
  }

  send(batch: Batch): void {
    this.#recorder?.stamp();
    for (let i = 0; i < batch.length; i++) {
      const p = batch.packets[i];
      if (this.#recorder === null) this.stats.drop(p, CLOSED);
      else if (!takes(this, p)) this.stats.drop(p, TOO_BIG);
      else this.#write(this.#recorder, p);
    }
    batch.clear();
  }

  tick(now: number): void {
    try {
      this.#recorder?.tick(now);
    } catch (error) {
      this.#fail(error as PortError);
    }
  }

  /** Writes what was collected, so that the file is whole. */
  async close(): Promise<void> {
    const recorder = this.#recorder;
    this.#recorder = null;
    try {
      recorder?.close();
    } catch (error) {
      this.onError?.(error as PortError);
    }
  }

  #write(recorder: Recorder, p: Packet): void {
    const { writer, seconds, nanoseconds } = recorder;
    try {
      writer.frame(0, seconds, nanoseconds, 0, p.bytes, p.start, p.end);
    } catch (error) {
      this.stats.drop(p, PORT_ERROR);
      this.#fail(error as PortError);
      return;
    }
    this.stats.sent(p.length);
    p.pool.give(p);
  }

  #fail(error: PortError): void {
    this.#recorder?.abandon();
    this.#recorder = null;
    this.onError?.(error);
  }
}

function integer(field: string, value: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= MAX_CAPTURED) return;
  throw new RangeError(`"${field}" expected an integer 1..${MAX_CAPTURED}, got ${value}`);
}
