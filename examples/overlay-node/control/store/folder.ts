/** How a ledger lies in a folder: a LevelDB whose every change is one batch, on the disk before it counts. */
import { mkdir } from 'node:fs/promises';
import { ClassicLevel } from 'classic-level';
import { ControlError } from '../errors.ts';
import type { Commit, Gap, Ledger } from './ledger.ts';

/** Raised when what lies in the folder changes its meaning. */
const format = 1;

/** Under `m`. */
interface Meta {
  readonly format: number;
  readonly revision: number;
  readonly compacted: number;
  readonly gaps: readonly Gap[];
}
/** Under `k<key>`. */
interface Kept {
  readonly revision: number;
  readonly value: string;
  readonly lease: string | null;
}

/** A lease that is granted or ends together with a group of commits. */
export interface LeaseChange {
  readonly id: string;
  /** Null where it ends. */
  readonly ttl: number | null;
}

type Database = ClassicLevel<string, unknown>;

export class Folder {
  readonly path: string;
  #db: Database;
  /** Why the last batch failed. LevelDB must be opened anew then: the end of its log is not known. */
  #broken: Error | null = null;

  private constructor(path: string, db: Database) {
    this.path = path;
    this.#db = db;
  }

  static async open(path: string): Promise<Folder> {
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new ControlError('AWAY', `the folder ${path} of the store cannot be made: ${text(error)}`);
    }
    return new Folder(path, await openDatabase(path));
  }

  get broken(): Error | null {
    return this.#broken;
  }

  /** Fills a ledger with what lies here. */
  async load(ledger: Ledger, leaseFound: (id: string, ttl: number) => void): Promise<void> {
    const meta = (await this.#db.get('m')) as Meta | undefined;
    if (!meta) return;
    if (meta.format !== format)
      throw new ControlError(
        'VERSION',
        `the store in ${this.path} has format ${meta.format}, this program knows ${format}`,
      );
    for await (const [key, value] of this.#db.iterator(range('l')))
      leaseFound(key.slice(1), (value as { ttl: number }).ttl);
    for await (const [key, value] of this.#db.iterator(range('k'))) {
      const kept = value as Kept;
      ledger.restore({ key: key.slice(1), value: kept.value, lease: kept.lease }, kept.revision);
    }
    ledger.forget(meta.compacted);
    for (const { after, until } of meta.gaps) ledger.leap(after, until);
    for (const commit of await this.commits(meta.compacted)) ledger.remember(commit);
    ledger.restoreRevision(meta.revision);
  }

  /** What is written down after a revision. */
  async commits(after: number): Promise<Commit[]> {
    const found: Commit[] = [];
    for await (const value of this.#db.values({ gt: historyKey(after), lt: 'i' }))
      found.push(value as Commit);
    return found;
  }

  /** All, or nothing and an error. */
  async write(ledger: Ledger, commits: readonly Commit[], leases: readonly LeaseChange[]): Promise<void> {
    const batch = this.#db.batch();
    for (const commit of commits) {
      const { revision } = commit;
      for (const { key, value, lease } of commit.changes)
        if (value === null) batch.del(`k${key}`);
        else batch.put(`k${key}`, { revision, value, lease });
      batch.put(historyKey(revision), commit);
    }
    for (const { id, ttl } of leases) ttl === null ? batch.del(`l${id}`) : batch.put(`l${id}`, { ttl });
    const { compacted, gaps } = ledger;
    const revision = commits.at(-1)?.revision ?? ledger.revision;
    batch.put('m', { format, revision, compacted, gaps } satisfies Meta);
    try {
      await batch.write({ sync: true });
    } catch (error) {
      this.#broken = error as Error;
      throw this.#failure(error);
    }
  }

  /** After a failed batch: opens the database anew, which tells how far that batch came. */
  async reopen(): Promise<void> {
    try {
      await this.#db.close();
      this.#db = await openDatabase(this.path);
      this.#broken = null;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Ids of the leases that are written down. */
  async leases(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    for await (const [key, value] of this.#db.iterator(range('l')))
      found.set(key.slice(1), (value as { ttl: number }).ttl);
    return found;
  }

  /** Removes history up to a revision. */
  async trim(until: number): Promise<void> {
    await this.#db.clear({ gte: 'h', lte: historyKey(until) });
  }

  async close(): Promise<void> {
    await this.#db.close();
  }

  #failure(error: unknown): ControlError {
    const full = /no space|quota/i.test(text(error));
    const advice = full ? '; make room on its disk, the store goes on by itself' : '';
    if (error instanceof ControlError) return new ControlError(error.code, error.message + advice);
    return new ControlError('AWAY', `the store cannot write to ${this.path}: ${text(error)}${advice}`);
  }
}

function range(letter: string): { gte: string; lt: string } {
  return { gte: letter, lt: String.fromCharCode(letter.charCodeAt(0) + 1) };
}

function historyKey(revision: number): string {
  return `h${String(revision).padStart(16, '0')}`;
}

async function openDatabase(path: string): Promise<Database> {
  const db = new ClassicLevel<string, unknown>(path, { valueEncoding: 'json' });
  try {
    await db.open();
    return db;
  } catch (error) {
    const { code } = (error as { cause?: { code?: string } }).cause ?? {};
    if (code === 'LEVEL_LOCKED')
      throw new ControlError(
        'CONFLICT',
        `the store in ${path} is in use: another packetweave runs with the same folder`,
      );
    if (code === 'LEVEL_CORRUPTION')
      throw new ControlError(
        'CORRUPT',
        `the store in ${path} is damaged (${text(error)}): restore a copy of it`,
      );
    throw new ControlError('AWAY', `the store in ${path} cannot be opened: ${text(error)}`);
  }
}

/** The innermost message: what the system said. */
function text(error: unknown): string {
  const { cause, message } = error as Error;
  return cause ? text(cause) : message;
}
