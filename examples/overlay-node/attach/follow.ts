/**
 * A log, and what is still appended to it. Whoever writes has the file open and appends, and never opens it anew: a log
 * that has grown too long is copied beside and begins again where it is.
 */
import { copyFile, open, rm, stat, truncate } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';

export interface FollowOptions {
  /** Whether nothing will be appended any more: what is there then is the end. Default: that never is so. */
  readonly ended?: () => boolean;
  /** Ends it at once, without an error. */
  readonly signal?: AbortSignal;
}

/** Milliseconds between looks. */
const LOOK = 100;

/** The files of a log, the older one first. */
export function logFiles(logFile: string): [older: string, newer: string] {
  return [`${logFile}.old`, logFile];
}

/** Puts a log that has more than `most` bytes aside, in place of what was put aside before. What is written in this very
 * moment is lost. */
export async function trimLog(logFile: string, most: number): Promise<void> {
  const { size } = await stat(logFile).catch(() => ({ size: 0 }));
  if (size <= most) return;
  const [older] = logFiles(logFile);
  // Where there is no room for both, the newer is all that matters.
  await copyFile(logFile, older).catch(() => rm(older, { force: true }));
  await truncate(logFile);
}

/** The bytes of a log from its beginning, as they come. */
export async function* follow(logFile: string, options: FollowOptions = {}): AsyncGenerator<Buffer> {
  const { ended = () => false, signal } = options;
  const file = await open(logFile);
  const read = { from: 0 };
  try {
    yield* older(logFile);
    while (!signal?.aborted) {
      // Asked before it is read: what was written until then is read.
      const last = ended();
      for await (const chunk of chunks(file, read)) yield chunk;
      if (last) return;
      await pause(LOOK, undefined, signal && { signal }).catch(() => {});
    }
  } finally {
    await file.close();
  }
}

/** What was put aside before. */
async function* older(logFile: string): AsyncGenerator<Buffer> {
  const file = await open(logFiles(logFile)[0]).catch(() => null);
  if (file === null) return;
  try {
    yield* chunks(file, { from: 0 });
  } finally {
    await file.close();
  }
}

/** What there is after what was read last; all, where the log has begun again. */
async function* chunks(
  file: Awaited<ReturnType<typeof open>>,
  read: { from: number },
): AsyncGenerator<Buffer> {
  if ((await file.stat()).size < read.from) read.from = 0;
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(65536), 0, 65536, read.from);
    if (bytesRead === 0) return;
    read.from += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
