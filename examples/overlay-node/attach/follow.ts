/** A log, and what is still appended to it. */
import { open } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';

export interface FollowOptions {
  /** Whether nothing will be appended any more: what is there then is the end. Default: that never is so. */
  readonly ended?: () => boolean;
  /** Ends it at once, without an error. */
  readonly signal?: AbortSignal;
}

/** Milliseconds between looks. */
const LOOK = 100;

/** The bytes of a log file from its beginning, as they come. */
export async function* follow(logFile: string, options: FollowOptions = {}): AsyncGenerator<Buffer> {
  const { ended = () => false, signal } = options;
  const file = await open(logFile);
  try {
    while (!signal?.aborted) {
      // Asked before it is read: what was written until then is read.
      const last = ended();
      for await (const chunk of chunks(file)) yield chunk;
      if (last) return;
      await pause(LOOK, undefined, signal && { signal }).catch(() => {});
    }
  } finally {
    await file.close();
  }
}

/** What there is after what was read last. */
async function* chunks(file: Awaited<ReturnType<typeof open>>): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(65536), 0, 65536, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
