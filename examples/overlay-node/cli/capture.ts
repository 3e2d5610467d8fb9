/** `packetweave capture`: a stream of pcapng to a file, or as lines for people. Each ends with the stream, or cleanly
 * with `signal`, which is meant to end the stream too. */
import { createWriteStream } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CaptureReader } from 'packetweave/codecs/capture-reader';
import { format } from 'packetweave/codecs/format';

export async function toFile(stream: Readable, file: string, signal: AbortSignal): Promise<void> {
  await pipeline(wholeBlocks(stream, signal), createWriteStream(file));
}

/** As {@link toFile}, to what stays open afterwards. */
export async function toOutput(stream: Readable, output: Writable, signal: AbortSignal): Promise<void> {
  await pipeline(wholeBlocks(stream, signal), output, { end: false });
}

/** One line a frame: time of day, and what it is. */
export async function toText(
  stream: Readable,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const reader = new CaptureReader();
  const { record } = reader;
  for await (const bytes of wholeBlocks(stream, signal)) {
    reader.push(bytes);
    while (reader.next()) {
      const linkType = reader.interfaces[record.interface].link;
      const time = timeOfDay(record.seconds, record.nanoseconds);
      print(`${time} ${format(record.view, record.at, record.end, { linkType })}`);
    }
  }
}

/** Type of the block that a file begins with; the same in both byte orders. */
const SECTION = 0x0a0d0d0a;
const NOT_PCAPNG = 'the daemon answered what is not pcapng';
/** Byte-order magic of a section's header, behind type and length, where its numbers are little-endian. */
const LITTLE = 0x1a2b3c4d;

/** Cuts a stream where blocks of pcapng end, so that what is written is whole whenever it ends. */
async function* wholeBlocks(stream: Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  let little: boolean | null = null;
  try {
    for await (const bytes of stream) {
      rest = Buffer.concat([rest, bytes]);
      if (rest.length < 12) continue;
      if (little === null && rest.readUInt32BE(0) !== SECTION) throw new Error(NOT_PCAPNG);
      little ??= rest.readUInt32LE(8) === LITTLE;
      const end = lastEnd(rest, little);
      if (end > 0) yield rest.subarray(0, end);
      rest = rest.subarray(end);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    return;
  }
  if (rest.length > 0) throw new Error('the daemon ended the capture within a packet');
}

/** Where the last whole block ends. */
function lastEnd(bytes: Buffer, little: boolean): number {
  let at = 0;
  while (at + 12 <= bytes.length) {
    const length = little ? bytes.readUInt32LE(at + 4) : bytes.readUInt32BE(at + 4);
    // The smallest has type and two lengths.
    if (length < 12) throw new Error(NOT_PCAPNG);
    if (at + length > bytes.length) break;
    at += length;
  }
  return at;
}

const two = (value: number) => String(value).padStart(2, '0');

/** Local, with microseconds, as tcpdump has it. */
export function timeOfDay(seconds: number, nanoseconds: number): string {
  const date = new Date(seconds * 1000);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  return `${clock}.${String(Math.floor(nanoseconds / 1000)).padStart(6, '0')}`;
}
