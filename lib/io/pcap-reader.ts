/** A capture file as a port that receives what is in it. */
import { type CaptureInterface, MAX_CAPTURED } from '../../codecs/capture.ts';
import * as linktype from '../../codecs/linktype.ts';
import { BATCH, type Batch } from '../core/batch.ts';
import { CLOSED, MALFORMED, PORT_ERROR, TOO_BIG } from '../core/drop.ts';
import { CaptureSource } from './capture-source.ts';
import {
  dropAll,
  ETHERNET,
  IP,
  type Medium,
  type Port,
  PortError,
  type PortHost,
  PortStats,
} from './port.ts';

/** The most packets that one `receive` looks at, dropped ones included. */
const ROUNDS = 8 * BATCH;

export interface PcapReaderOptions {
  /** A pcap or pcapng file. */
  path: string;
  /** For counters and messages. Default: the path. */
  name?: string;
  /**
   * `flat`, the default: as fast as packets are asked for. `timestamps`: as far apart as they were captured, by
   * the clock of the dataplane; a packet is due when the clock has reached its time, which an idle engine
   * notices within 10 ms.
   */
  pace?: 'flat' | 'timestamps';
  /** With `timestamps`, how many times faster than captured. Default 1. */
  speed?: number;
  /** How often the file is read, 1 or more, Infinity for ever. Default 1. */
  repeat?: number;
}

/**
 * Receives the packets of a capture file; what is sent to it is dropped as `port-error`.
 *
 *     const reader = new PcapReader({ path: 'traffic.pcapng' });
 *     await graph.apply({ in: { port: reader, to: { out: 'bridge' } }, ... });
 *     await reader.ended;
 *
 * A packet that does not fit the pool is dropped as `too-big`, one of another medium than the first interface
 * as `malformed`. Where the pool is dry, reading waits. A check sequence that the file declares is taken off.
 * `open` rejects with NO_SUCH_FILE, PERMISSION, BAD_FILE (its header is damaged or another format's; the
 * sentence names file, offset and what was expected) or NOT_SUPPORTED (a link type that is neither Ethernet
 * nor IP). Damage further on is told by `onError`, after every whole packet in front of it was received.
 */
export class PcapReader implements Port {
  readonly name: string;
  readonly mtu = MAX_CAPTURED;
  readonly offloads = 0;
  readonly stats = new PortStats();
  onError: ((error: PortError) => void) | null = null;
  /** Packets that the file holds only in part, as its snap length was short; they are received as they are. */
  cut = 0;

  readonly #path: string;
  readonly #paced: boolean;
  readonly #speed: number;
  readonly #repeat: number;
  /** Null unless open. */
  #host: PortHost | null = null;
  #source: CaptureSource | null = null;
  #medium: Medium = ETHERNET;
  /** Whether the source's record waits to be received. */
  #pending = false;
  /** Whether there is no packet any more, be it the end or damage. */
  #through = false;
  #damage: PortError | null = null;
  /** Which round is under way, when it began by the clock, and the time of its first packet, in ms. */
  #round = -1;
  #began = 0;
  #first = 0;
  #over = false;
  #finish: () => void = () => {};
  #ended: Promise<void>;

  constructor(options: PcapReaderOptions) {
    const { path, name = path, pace = 'flat', speed = 1, repeat = 1 } = options;
    if (!(speed > 0)) throw new RangeError(`"speed" expected a number above 0, got ${speed}`);
    if (!(Number.isInteger(repeat) || repeat === Number.POSITIVE_INFINITY) || repeat < 1) {
      throw new RangeError(`"repeat" expected an integer of at least 1 or Infinity, got ${repeat}`);
    }
    if (pace !== 'flat' && pace !== 'timestamps') {
      throw new TypeError(`"pace" expected flat or timestamps, got ${pace}`);
    }
    this.name = name;
    this.#path = path;
    this.#paced = pace === 'timestamps';
    this.#speed = speed;
    this.#repeat = repeat;
    this.#ended = this.#promise();
  }

  /** What the first interface of the file captured; ETHERNET before it is opened. */
  get medium(): Medium {
    return this.#medium;
  }

  /** The interfaces that the file has described so far. */
  get interfaces(): readonly CaptureInterface[] {
    return this.#source?.interfaces ?? [];
  }

  /** Resolves when the last packet was received, when reading failed, or when the port was closed. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  async open(host: PortHost): Promise<void> {
    if (this.#host !== null) throw new PortError('STATE', `"${this.name}" is open already: close it first`);
    const source = new CaptureSource(this.#path, this.#repeat);
    this.#source = source;
    this.#pending = false;
    this.#through = false;
    this.#damage = null;
    this.#round = -1;
    try {
      this.#advance(source);
      if (source.interfaces.length === 0 && this.#damage !== null) throw this.#damage;
      this.#medium = this.#mediumOf(source.firstInterface());
    } catch (error) {
      source.close();
      throw error;
    }
    if (this.#over) this.#ended = this.#promise();
    this.#host = host;
    host.wake();
  }

  receive(batch: Batch): number {
    if (this.#host === null || this.#source === null) return 0;
    for (let i = 0; i < ROUNDS && batch.length < BATCH; i++) {
      if (!this.#pending && !this.#advance(this.#source)) break;
      if (!this.#due(this.#host, this.#source) || !this.#take(this.#host, this.#source, batch)) break;
    }
    // The end, or the damage, is told when the packets in front of it are gone.
    if (this.#through && !this.#pending && batch.length === 0) this.#conclude();
    return batch.length;
  }

  send(batch: Batch): void {
    dropAll(batch, this.stats, this.#host === null ? CLOSED : PORT_ERROR);
  }

  /** Wakes when the next packet is due, or when the pool may have one free. */
  tick(): void {
    if (this.#host === null || this.#source === null) return;
    if (this.#pending ? this.#due(this.#host, this.#source) : !this.#through) this.#host.wake();
  }

  async close(): Promise<void> {
    if (this.#host === null) return;
    this.#host = null;
    this.#source?.close();
    this.#finish();
  }

  /** Goes to the next packet and says whether there is one; what is wrong is kept for later. */
  #advance(source: CaptureSource): boolean {
    if (this.#through) return false;
    try {
      this.#pending = source.next();
    } catch (error) {
      this.#damage = error as PortError;
    }
    this.#through = !this.#pending;
    return this.#pending;
  }

  /** Whether the time of the packet that waits has come. Each round starts when the one before is through. */
  #due(host: PortHost, { record, round }: CaptureSource): boolean {
    if (!this.#paced || !record.timed) return true;
    if (round !== this.#round) {
      this.#round = round;
      this.#began = host.clock.now;
      this.#first = record.time;
    }
    return host.clock.now - this.#began >= (record.time - this.#first) / this.#speed;
  }

  /** Moves the packet that waits into a packet of the pool, or drops it; false where it has to wait for one. */
  #take(host: PortHost, { record, interfaces }: CaptureSource, batch: Batch): boolean {
    const { captured, original } = record;
    const { link, fcs } = interfaces[record.interface];
    const length = fcs === 0 ? captured : Math.min(captured, original - fcs);
    if (mediumOf(link) !== this.#medium || length < 0) this.stats.lost(MALFORMED);
    else if (length > host.pool.maxFrame) this.stats.lost(TOO_BIG);
    else {
      const p = host.pool.take();
      if (p === null) return false;
      p.set(record.bytes.subarray(record.at, record.at + length));
      if (captured < original) this.cut++;
      this.stats.received(length);
      batch.add(p);
    }
    this.#pending = false;
    return true;
  }

  #conclude(): void {
    this.#finish();
    if (this.#damage === null) return;
    this.close();
    this.onError?.(this.#damage);
  }

  #mediumOf({ link }: CaptureInterface): Medium {
    const medium = mediumOf(link);
    if (medium !== null) return medium;
    const known = 'only Ethernet (1) and IP (101, 228, 229) are supported';
    const what = `"${this.#path}" holds ${linktype.format(link)} (${link})`;
    throw new PortError('NOT_SUPPORTED', `${what}: ${known}`);
  }

  #promise(): Promise<void> {
    this.#over = false;
    return new Promise((resolve) => {
      this.#finish = () => {
        this.#over = true;
        resolve();
      };
    });
  }
}

function mediumOf(link: number): Medium | null {
  if (link === linktype.ETHERNET) return ETHERNET;
  return link === linktype.RAW || link === linktype.IPV4 || link === linktype.IPV6 ? IP : null;
}
