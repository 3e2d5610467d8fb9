/** A capture file that is read packet by packet, once or again and again, in large pieces. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CaptureError, type CaptureInterface, type CaptureRecord } from '../../codecs/capture.ts';
import { CaptureReader } from '../../codecs/capture-reader.ts';
import { PortError } from './port.ts';
import { fileError } from './recorder.ts';

/** Bytes read at a time. */
const CHUNK = 262144;

export class CaptureSource {
  /** How often the file was read to its end. */
  round = 0;
  readonly #path: string;
  readonly #repeat: number;
  readonly #fd: number;
  readonly #chunk = new Uint8Array(CHUNK);
  #reader = new CaptureReader();
  /** Where in the file is read next; -1 behind its end. */
  #position = 0;
  /** Whether this round has brought a packet: a file without any is not read for ever. */
  #found = false;

  /** Opens the file, to be read `repeat` times. Throws a PortError. */
  constructor(path: string, repeat: number) {
    this.#path = path;
    this.#repeat = repeat;
    this.#fd = openRegular(path);
  }

  /** The packet that `next` found. */
  get record(): CaptureRecord {
    return this.#reader.record;
  }

  /** The interfaces that this round has described so far. */
  get interfaces(): readonly CaptureInterface[] {
    return this.#reader.interfaces;
  }

  /** Goes to the next packet and says whether there is one. Throws a PortError where the file is damaged. */
  next(): boolean {
    try {
      while (!this.#reader.next()) {
        if (!this.#read() && !this.#again()) return false;
      }
    } catch (error) {
      throw this.#translate(error);
    }
    this.#found = true;
    return true;
  }

  /** The interface described first. Throws a PortError where there is none: then the file is of no use. */
  firstInterface(): CaptureInterface {
    const first = this.interfaces[0];
    if (first !== undefined) return first;
    throw this.#translate(new CaptureError(this.#reader.offset, 'an interface description', 'the end'));
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Reads on and says whether there is something new to look at, the end included. */
  #read(): boolean {
    if (this.#position < 0) return false;
    const n = readSync(this.#fd, this.#chunk, 0, CHUNK, this.#position);
    this.#position = n === 0 ? -1 : this.#position + n;
    if (n === 0) this.#reader.end();
    else this.#reader.push(this.#chunk.subarray(0, n));
    return true;
  }

  /** Starts anew and says whether there is a reason to. */
  #again(): boolean {
    this.round++;
    if (this.round >= this.#repeat || !this.#found) return false;
    this.#reader = new CaptureReader();
    this.#position = 0;
    this.#found = false;
    return true;
  }

  #translate(error: unknown): PortError {
    if (!(error instanceof CaptureError)) return fileError(this.#path, 'cannot be read', error);
    return new PortError('BAD_FILE', `"${this.#path}" is damaged or no capture: ${error.message}`, error);
  }
}

function openRegular(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw fileError(path, 'cannot be read', error);
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new PortError('BAD_FILE', `"${path}" is no regular file: a directory or a pipe cannot be replayed`);
}
