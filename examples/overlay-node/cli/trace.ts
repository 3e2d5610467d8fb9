/** `packetweave trace`: lines of JSON, as lines for people. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { TraceLine } from '../api/api.ts';

/** Tells each line; ends with the stream, or with `signal`, which is meant to end the stream too. */
export async function eachLine(
  stream: Readable,
  signal: AbortSignal,
  tell: (line: string) => void,
): Promise<void> {
  // readline does not always hand on what goes wrong with its input.
  let failed: Error | null = null;
  stream.on('error', (error) => {
    failed = error;
  });
  const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
  stream.on('close', () => lines.close());
  try {
    for await (const line of lines) if (line !== '') tell(line);
    if (failed !== null) throw failed;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

export function traceText({ at, where, reason, text, frame }: TraceLine): string {
  const time = new Date(at);
  const clock = time.toTimeString().slice(0, 8);
  const thousandth = String(Math.floor(at) % 1000).padStart(3, '0');
  return `${clock}.${thousandth} ${where}: ${reason} (${text}): ${frame}`;
}
