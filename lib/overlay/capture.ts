/**
 * A capture in a running overlay: packets as pcapng bytes, each port an interface of its own, with direction and the
 * dataplane's time. It is in the way of nothing: what its reader does not take in time is left out and counted.
 */
import { INBOUND, OUTBOUND } from '../../codecs/capture.ts';
import * as linktype from '../../codecs/linktype.ts';
import type { Batch } from '../core/batch.ts';
import type { Clock } from '../core/clock.ts';
import { NOBODY, type Watcher } from '../core/watcher.ts';
import { DATAGRAM, IP, type Medium, type Port } from '../io/port.ts';
import { Recorder } from '../io/recorder.ts';
import { FrameWriter } from '../io/wrap/frame-writer.ts';
import { Outer } from '../io/wrap/outer.ts';
import type { VtepTable } from '../tables/vtep.ts';
import type { Underlay } from './compile.ts';
import type { WantedLocal } from './config.ts';
import { show } from './values.ts';

/** What is to be captured, and how much. */
export interface CaptureRequest {
  /**
   * What goes to other hosts and comes from there; or what the local ports of a network, or one or some of all, give and
   * take. A port is known by what the description calls it: in a worker its `id` or name, else its name.
   */
  readonly what:
    | 'underlay'
    | { readonly network: number }
    | { readonly port: string }
    | { readonly ports: readonly string[] };
  /** What local ports are called in the capture, by what they are known as. Default: the same. */
  readonly names?: Readonly<Record<string, string>>;
  /** On the underlay: whether in place of ESP the VXLAN packets that it carries are shown, in clear. Default false. */
  readonly decrypt?: boolean;
  /** Bytes of each packet to keep, made-up headers included, 128..262144, the default. */
  readonly snaplen?: number;
  /** After how many packets, or bytes of the capture, it ends. Default: not by itself. */
  readonly limit?: { readonly packets?: number; readonly bytes?: number };
}

/** Why a capture ended: somebody stopped it, its limit, its reader did not take the bytes, or there is no overlay any
 * more. */
export type CaptureEnd = 'stopped' | 'limit' | 'failed' | 'closed';

/** What became of a capture. */
export interface CaptureCounts {
  readonly why: CaptureEnd;
  /** What the reader did, where it failed. */
  readonly error: string | null;
  /** Packets in the capture. */
  readonly packets: number;
  /** Bytes of the capture. */
  readonly bytes: number;
  /** Packets that were left out because the reader was slow. */
  readonly dropped: number;
}

export interface RunningCapture {
  /** Resolves when it has ended and its last bytes were handed out; never rejects. */
  readonly ended: Promise<CaptureCounts>;
  /** Ends it. The same as `ended`. */
  stop(): Promise<CaptureCounts>;
}

/** Takes the bytes of a capture, which are its own. While a promise that it returned is pending they count as not yet
 * taken. */
export type OnBytes = (bytes: Uint8Array) => void | Promise<void>;

const MIN_SNAPLEN = 128;
const MAX_SNAPLEN = 262144;
/** Bytes, and milliseconds, after which what was captured is handed out. */
const CHUNK = 65536;
const EVERY = 100;
/** Bytes that may be handed out and not yet taken. */
const UNTAKEN = 8 << 20;

export interface CaptureParts {
  readonly clock: Clock;
  readonly local: WantedLocal;
  readonly nameOf: (port: Port) => string;
  readonly onBytes: OnBytes;
  readonly onEnd: (capture: OverlayCapture) => void;
}

export class OverlayCapture implements RunningCapture {
  readonly ended: Promise<CaptureCounts>;
  readonly #request: CaptureRequest;
  readonly #parts: CaptureParts;
  readonly #recorder: Recorder;
  readonly #points = new Map<unknown, readonly Watcher[]>();
  readonly #mostPackets: number;
  readonly #mostBytes: number;
  #resolve: (counts: CaptureCounts) => void = () => {};
  #over = false;
  #packets = 0;
  #bytes = 0;
  #dropped = 0;
  #untaken = 0;

  /** The request must have been checked. */
  constructor(request: CaptureRequest, parts: CaptureParts) {
    const { snaplen = MAX_SNAPLEN, limit = {} } = request;
    this.#request = request;
    this.#parts = parts;
    this.#mostPackets = limit.packets ?? Number.POSITIVE_INFINITY;
    this.#mostBytes = limit.bytes ?? Number.POSITIVE_INFINITY;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    const options = { section: { application: 'packetweave' }, snaplen, buffer: CHUNK };
    this.#recorder = new Recorder((bytes) => this.#give(bytes), options, parts.clock, false, EVERY);
  }

  /** Who sees a local port. */
  port(vni: number, port: Port): readonly Watcher[] {
    const { what, names = {} } = this.#request;
    if (what === 'underlay') return NOBODY;
    const known = this.#parts.nameOf(port);
    if ('network' in what ? what.network !== vni : !portsOf(what).includes(known)) return NOBODY;
    const name = () => {
      const now = this.#parts.nameOf(port);
      return Object.hasOwn(names, now) ? names[now] : now;
    };
    return this.#point(port, name, port.medium, null);
  }

  /** Who sees an underlay. */
  underlay(name: Underlay, port: Port): readonly Watcher[] {
    const { what, decrypt = false } = this.#request;
    if (what !== 'underlay' || (decrypt && name !== 'underlay')) return NOBODY;
    const { local } = this.#parts;
    const number = name === 'underlay' ? local.port : (local.esp?.port ?? 0);
    const outer = port.medium === DATAGRAM ? outerOf(port.peers, local, number) : null;
    return this.#point(port, () => name, port.medium, outer);
  }

  /** Who sees what ESP carries. */
  opened(peers: VtepTable): readonly Watcher[] {
    const { what, decrypt = false } = this.#request;
    if (what !== 'underlay' || !decrypt) return NOBODY;
    const { local } = this.#parts;
    return this.#point(peers, () => 'esp', DATAGRAM, outerOf(peers, local, local.port, local.port));
  }

  /** Hands out what waits, when it is time. */
  tick(now: number): void {
    if (!this.#over) this.#guard(() => this.#recorder.tick(now));
  }

  stop(): Promise<CaptureCounts> {
    this.end('stopped');
    return this.ended;
  }

  /** Ends it, with what waits handed out. */
  end(why: CaptureEnd, error: Error | null = null): void {
    if (this.#over) return;
    this.#over = true;
    let failure = error;
    try {
      if (error === null) this.#recorder.close();
    } catch (late) {
      failure = late as Error;
    }
    this.#parts.onEnd(this);
    this.#resolve({
      why: failure === null ? why : 'failed',
      error: failure?.message ?? null,
      packets: this.#packets,
      bytes: this.#bytes,
      dropped: this.#dropped,
    });
  }

  #point(key: unknown, name: () => string, medium: Medium, outer: Outer | null): readonly Watcher[] {
    const known = this.#points.get(key);
    if (known !== undefined) return known;
    const { writer } = this.#recorder;
    const link = medium === IP ? linktype.RAW : linktype.ETHERNET;
    let frames: FrameWriter | null = null;
    const see = (batch: Batch, direction: number) => {
      // A device may get its name only when it is opened.
      frames ??= new FrameWriter(this.#recorder, writer.interface({ link, name: name() }), outer);
      this.#see(frames, batch, direction);
    };
    const point: Watcher = {
      received: (batch) => see(batch, INBOUND),
      sent: (batch) => see(batch, OUTBOUND),
    };
    this.#points.set(key, [point]);
    return [point];
  }

  #see(frames: FrameWriter, batch: Batch, direction: number): void {
    if (this.#over) return;
    this.#guard(() => {
      this.#recorder.stamp();
      for (let i = 0; i < batch.length && !this.#full; i++) {
        if (this.#untaken > UNTAKEN) this.#dropped++;
        else this.#packets += frames.write(batch.packets[i], direction, this.#mostPackets - this.#packets);
      }
    });
    if (this.#full) this.end('limit');
  }

  get #full(): boolean {
    const bytes = this.#bytes + this.#recorder.writer.waiting;
    return this.#packets >= this.#mostPackets || bytes >= this.#mostBytes;
  }

  /** Takes what the recorder has collected. */
  #give(bytes: Uint8Array): void {
    const { length } = bytes;
    this.#bytes += length;
    const taken = this.#parts.onBytes(bytes.slice());
    if (taken === undefined) return;
    this.#untaken += length;
    taken.then(
      () => {
        this.#untaken -= length;
      },
      (error) => this.end('failed', error),
    );
  }

  /** Does something that may fail: then the capture ends, and nothing else. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.end('failed', error as Error);
    }
  }
}

function outerOf(peers: VtepTable | undefined, local: WantedLocal, port: number, theirs = 0): Outer | null {
  return peers === undefined ? null : new Outer(peers, { address: local.address, port }, theirs);
}

/** The local ports that are asked for by what they are known as. */
export function portsOf(what: { readonly port: string } | { readonly ports: readonly string[] }) {
  return 'ports' in what ? what.ports : [what.port];
}

/** Throws a TypeError or RangeError that names what is wrong with a request. */
export function checkCapture({ what, names, decrypt, snaplen, limit }: CaptureRequest): void {
  const { network, port, ports } = (typeof what === 'object' && what !== null ? what : {}) as Record<
    string,
    unknown
  >;
  const named = Array.isArray(ports) && ports.length > 0 && ports.every((name) => typeof name === 'string');
  if (what !== 'underlay' && typeof port !== 'string' && typeof network !== 'number' && !named) {
    throw new TypeError(`"what" expected "underlay", a network or ports, got ${show(what)}`);
  }
  if (names !== undefined && (typeof names !== 'object' || names === null)) {
    throw new TypeError(`"names" expected an object, got ${show(names)}`);
  }
  if (decrypt !== undefined && typeof decrypt !== 'boolean') {
    throw new TypeError(`"decrypt" expected a boolean, got ${show(decrypt)}`);
  }
  integer('snaplen', snaplen, MIN_SNAPLEN, MAX_SNAPLEN);
  integer('limit.packets', limit?.packets, 1, Number.MAX_SAFE_INTEGER);
  integer('limit.bytes', limit?.bytes, 1, Number.MAX_SAFE_INTEGER);
}

function integer(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`"${name}" expected an integer ${min}..${max}, got ${show(value)}`);
}
