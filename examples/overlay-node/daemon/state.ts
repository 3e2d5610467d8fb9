/**
 * The state folder: what this node must know after a restart. One JSON file a thing, written beside and renamed, so that
 * whatever dies leaves the old or the new one. Readable by root alone: there are keys in it.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startTimeOf } from '../attach/processes.ts';
import { ControlError } from '../control/errors.ts';

/** Who has the folder: a process is known by its id and by when it began. */
interface Owner {
  readonly pid: number;
  readonly started: number | null;
}

const LOCK = 'lock';
/** What a write that was interrupted leaves. */
const BESIDE = /\.json\.[0-9a-f]{8}$/;

export class StateFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async open(path: string): Promise<StateFolder> {
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new ControlError(
        'INVALID',
        `the state folder ${path} cannot be made: ${(error as Error).message}`,
      );
    }
    return new StateFolder(path);
  }

  /** Takes the folder for this process. Rejects with `CONFLICT` where another one that runs has it, and with what the
   * system says where that cannot be written down. */
  async lock(): Promise<void> {
    const other = await this.read<Owner>(LOCK).catch(() => null);
    const runs = other !== null && other.started !== null && startTimeOf(other.pid) === other.started;
    if (runs && other.pid !== process.pid) {
      throw new ControlError(
        'CONFLICT',
        `process ${other.pid} has the state folder ${this.path}: stop that daemon, or give another --state`,
      );
    }
    await sweep(this.path);
    const owner: Owner = { pid: process.pid, started: startTimeOf(process.pid) };
    await this.write(LOCK, owner);
  }

  async unlock(): Promise<void> {
    const owner = await this.read<Owner>(LOCK).catch(() => null);
    if (owner?.pid === process.pid) await this.remove(LOCK);
  }

  /** A folder inside. */
  async folder(name: string): Promise<string> {
    const path = join(this.path, name);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** Whether there is such a file or folder. */
  async has(name: string): Promise<boolean> {
    return (await readdir(this.path)).includes(name);
  }

  /** Removes a folder with all that is in it. */
  async clear(name: string): Promise<void> {
    await rm(join(this.path, name), { recursive: true, force: true });
  }

  /** What was written under a name; null where there is nothing. Rejects with `CORRUPT` where it is not JSON. */
  async read<T>(name: string): Promise<T | null> {
    const file = join(this.path, `${name}.json`);
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ControlError('CORRUPT', `${file} is not JSON: mend it, or remove it and join again`);
    }
  }

  /** Resolves when it would survive a power failure. */
  async write(name: string, value: unknown): Promise<void> {
    const file = join(this.path, `${name}.json`);
    const beside = `${file}.${randomBytes(4).toString('hex')}`;
    try {
      const handle = await open(beside, 'wx', 0o600);
      try {
        await handle.writeFile(`${JSON.stringify(value, null, 2)}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(beside, file);
    } catch (error) {
      await rm(beside, { force: true });
      throw error;
    }
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.path, `${name}.json`), { force: true });
  }

  /** Names of the things in a folder. */
  async names(folder: string): Promise<string[]> {
    const files = await sweep(await this.folder(folder));
    return files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -'.json'.length));
  }
}

/** Removes what was half-written in a folder, and answers what is there. */
async function sweep(path: string): Promise<string[]> {
  const files = await readdir(path);
  for (const file of files) if (BESIDE.test(file)) await rm(join(path, file), { force: true });
  return files;
}
