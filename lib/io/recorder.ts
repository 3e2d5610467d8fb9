/**
 * What the ports that write captures share: a file or a function that takes the bytes, time stamps by the
 * dataplane's clock, and not more than a second between a packet and the disk.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { CaptureWriter, type CaptureWriterOptions } from '../../codecs/capture-writer.ts';
import type { Clock } from '../core/clock.ts';
import { PortError } from './port.ts';

/** Milliseconds after which what was recorded is given on, by default. */
const FLUSH = 1000;

/** Where a capture goes: a path, or a function that is done with the bytes when it returns. */
export type CaptureTarget = string | ((bytes: Uint8Array) => void);

/** A capture that is being written. Everything but the constructor throws a PortError when writing fails. */
export class Recorder {
  readonly writer: CaptureWriter;
  /** The time of the last `stamp`, since 1970. */
  seconds = 0;
  nanoseconds = 0;
  readonly #target: Target;
  readonly #clock: Clock;
  readonly #every: number;
  /** `clock.origin`, split so that adding `clock.now` keeps its nanoseconds. */
  readonly #originSeconds: number;
  readonly #originMs: number;
  #flushed: number;

  /**
   * Makes the file, where `to` is a path; one that is there is emptied, or goes on with a new section (pcapng
   * alone knows that) with `append`. Throws a PortError where it cannot. What was recorded waits for `every` ms at the most.
   */
  constructor(to: CaptureTarget, options: CaptureWriterOptions, clock: Clock, append = false, every = FLUSH) {
    const target = typeof to === 'string' ? new FileTarget(to, append) : new FunctionTarget(to);
    this.#target = target;
    this.writer = new CaptureWriter((bytes) => target.write(bytes), options);
    this.#clock = clock;
    this.#every = every;
    this.#originSeconds = Math.floor(clock.origin / 1000);
    this.#originMs = clock.origin - this.#originSeconds * 1000;
    this.#flushed = clock.now;
  }

  /** Takes the clock's time for the packets that follow. */
  stamp(): void {
    const ms = this.#originMs + this.#clock.now;
    const seconds = Math.floor(ms / 1000);
    this.seconds = this.#originSeconds + seconds;
    this.nanoseconds = Math.floor((ms - seconds * 1000) * 1e6);
  }

  /** Gives on what waits, when it is time. */
  tick(now: number): void {
    if (now - this.#flushed < this.#every) return;
    this.#flushed = now;
    this.writer.flush();
  }

  /** Gives on what waits and closes the file, even where it throws. */
  close(): void {
    try {
      this.writer.flush();
    } finally {
      this.#target.close();
    }
  }

  /** Closes the file after a failure and loses what waits. */
  abandon(): void {
    this.#target.close();
  }
}

interface Target {
  write(bytes: Uint8Array): void;
  close(): void;
}

class FunctionTarget implements Target {
  readonly #take: (bytes: Uint8Array) => void;

  constructor(take: (bytes: Uint8Array) => void) {
    this.#take = take;
  }

  write(bytes: Uint8Array): void {
    try {
      this.#take(bytes);
    } catch (error) {
      throw new PortError('IO', `the capture is not taken any more: ${(error as Error).message}`, error);
    }
  }

  close(): void {}
}

/** A file that is written in whole pieces. */
class FileTarget implements Target {
  readonly #path: string;
  readonly #fd: number;
  /** Bytes of whole pieces in it. */
  #size: number;

  constructor(path: string, append: boolean) {
    this.#path = path;
    try {
      this.#fd = openSync(path, append ? 'a' : 'w');
      this.#size = fstatSync(this.#fd).size;
    } catch (error) {
      throw fileError(path, 'cannot be written', error);
    }
  }

  /** Writes all of it, or throws a PortError and leaves the file with the pieces before. */
  write(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      // Half a record at the end would make the whole file look damaged.
      attempt(() => ftruncateSync(this.#fd, this.#size));
      throw fileError(this.#path, 'cannot be written', error);
    }
    this.#size += bytes.length;
  }

  close(): void {
    attempt(() => closeSync(this.#fd));
  }
}

function attempt(action: () => void): void {
  try {
    action();
  } catch {
    // The device is not a file, or is gone: there is nothing left to do for it.
  }
}

/** One sentence about a file that the operating system refuses. */
export function fileError(path: string, what: string, error: unknown): PortError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT')
    return new PortError('NO_SUCH_FILE', `"${path}" ${what}: there is no such file`, error);
  if (code === 'EACCES' || code === 'EPERM') {
    return new PortError('PERMISSION', `"${path}" ${what}: its permissions forbid it`, error);
  }
  if (code === 'ENOSPC') return new PortError('IO', `"${path}" ${what}: the disk is full`, error);
  return new PortError('IO', `"${path}" ${what}: ${message}`, error);
}
