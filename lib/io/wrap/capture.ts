/**
 * A capture on a port: writes every packet that comes in or goes out to a pcapng file, with direction and the
 * dataplane's time, and changes nothing.
 *
 *     const port = new Capture(underlay, { to: 'underlay.pcapng', local: { address: '192.0.2.1', port: 4789 } });
 *
 * A DATAGRAM port hides its outer headers, so they are made up (see `outer.ts`): tcpdump and Wireshark open the
 * file as VXLAN. A train of datagrams is written as the datagrams that it is made of, a super-frame as one
 * frame, as it is. What goes out is written before the port decides whether it sends or drops it.
 *
 * What is written is collected, 256 KiB of it at the most, and reaches its target every second and at the end.
 * When that fails, a full disk for example, the capture ends and tells so by its own `onError`: the port goes
 * on. Opened again, it goes on with a new section of the same file.
 */
import { INBOUND, OUTBOUND } from '../../../codecs/capture.ts';
import * as linktype from '../../../codecs/linktype.ts';
import type { Batch } from '../../core/batch.ts';
import { DATAGRAM, IP, type Port, type PortError, type PortHost } from '../port.ts';
import { type CaptureTarget, Recorder } from '../recorder.ts';
import { FrameWriter } from './frame-writer.ts';
import { type Bound, Outer } from './outer.ts';
import { Wrapper } from './wrapper.ts';

export interface CaptureOptions {
  /** The file to make, or a function that takes the bytes and is done with them when it returns. */
  readonly to: CaptureTarget;
  /** Where a DATAGRAM port is bound; needed there alone. */
  readonly local?: Bound;
  /** Name of the interface in the capture. Default: the port's. */
  readonly interface?: string;
  /** A comment on the whole capture. */
  readonly comment?: string;
  /** Bytes of each packet to keep, made-up headers included, 128 to 262144, the default. */
  readonly snaplen?: number;
  /** Called when capturing ended for a failure. */
  readonly onError?: (error: PortError) => void;
}

/** Less than this would cut the made-up headers. */
const MIN_SNAPLEN = 128;
const MAX_SNAPLEN = 262144;

export class Capture extends Wrapper {
  readonly #options: CaptureOptions;
  readonly #snaplen: number;
  readonly #outer: Outer | null;
  readonly #secrets: [type: number, bytes: Uint8Array][] = [];
  #recorder: Recorder | null = null;
  #frames: FrameWriter | null = null;
  /** Whether the file has a section already. */
  #begun = false;

  /** Throws a RangeError for a snap length that is none, a TypeError where a DATAGRAM port misses `local`. */
  constructor(inner: Port, options: CaptureOptions) {
    const { snaplen = MAX_SNAPLEN, local } = options;
    if (!Number.isInteger(snaplen) || snaplen < MIN_SNAPLEN || snaplen > MAX_SNAPLEN) {
      throw new RangeError(`"snaplen" expected an integer ${MIN_SNAPLEN}..${MAX_SNAPLEN}, got ${snaplen}`);
    }
    if (inner.medium === DATAGRAM && local === undefined) {
      throw new TypeError('"local" expected the address and port of a DATAGRAM port, got undefined');
    }
    super(inner);
    this.#options = options;
    this.#snaplen = snaplen;
    this.#outer = inner.peers !== undefined && local !== undefined ? new Outer(inner.peers, local) : null;
  }

  /** Whether packets are being written: false before `open`, after `close`, and when it failed. */
  get capturing(): boolean {
    return this.#recorder !== null;
  }

  /** Adds decryption secrets for the packets that follow, for example type 0x57474b4c for WireGuard keys. */
  addSecrets(type: number, bytes: Uint8Array): void {
    this.#secrets.push([type, bytes]);
    this.#guard((recorder) => recorder.writer.secrets(type, bytes));
  }

  /** Opens the port, then the file. Rejects with a PortError where either fails; both are closed then. */
  override async open(host: PortHost): Promise<void> {
    await super.open(host);
    try {
      this.#recorder = this.#begin(host);
      this.#begun = true;
    } catch (error) {
      await super.close();
      throw error;
    }
  }

  override receive(batch: Batch): number {
    const n = super.receive(batch);
    if (n > 0) this.#record(batch, INBOUND);
    return n;
  }

  override send(batch: Batch): void {
    this.#record(batch, OUTBOUND);
    super.send(batch);
  }

  override tick(now: number): void {
    super.tick(now);
    this.#guard((recorder) => recorder.tick(now));
  }

  /** Ends the capture: what was collected is written. */
  protected override release(): void {
    const recorder = this.#recorder;
    this.#recorder = null;
    try {
      recorder?.close();
    } catch (error) {
      this.#options.onError?.(error as PortError);
    }
  }

  #begin({ clock }: PortHost): Recorder {
    const { to, comment = '', interface: name = this.name } = this.#options;
    const section = { application: 'packetweave', comment };
    const recorder = new Recorder(to, { section, snaplen: this.#snaplen }, clock, this.#begun);
    const link = this.medium === IP ? linktype.RAW : linktype.ETHERNET;
    this.#frames = new FrameWriter(recorder, recorder.writer.interface({ link, name }), this.#outer);
    for (const [type, bytes] of this.#secrets) recorder.writer.secrets(type, bytes);
    return recorder;
  }

  #record(batch: Batch, direction: number): void {
    const recorder = this.#recorder;
    if (recorder === null) return;
    try {
      recorder.stamp();
      for (let i = 0; i < batch.length; i++) this.#frames?.write(batch.packets[i], direction);
    } catch (error) {
      this.#fail(error as PortError);
    }
  }

  /** Does something to the capture, if there is one; what goes wrong ends it. */
  #guard(action: (recorder: Recorder) => void): void {
    if (this.#recorder === null) return;
    try {
      action(this.#recorder);
    } catch (error) {
      this.#fail(error as PortError);
    }
  }

  #fail(error: PortError): void {
    this.#recorder?.abandon();
    this.#recorder = null;
    this.#options.onError?.(error);
  }
}
