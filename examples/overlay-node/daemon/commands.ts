/** The commands of containers: what is in their /etc, how they are started, watched, ended, and what they said. */

import { readdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Files } from '../attach/attach.ts';
import {
  findSupervisor,
  kill,
  outcome,
  readState,
  removeState,
  type Supervisor,
  startDetached,
  stop,
} from '../attach/detached.ts';
import { containerResolver, readResolver, removeFiles, writeFiles } from '../attach/files.ts';
import { follow, logFiles, trimLog } from '../attach/follow.ts';
import { namespaceName } from '../attach/namespace.ts';
import { isRunning, startTimeOf } from '../attach/processes.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import type { Logger } from './log.ts';
import { withoutLength } from './names.ts';
import type { ContainerRecord, Records } from './records.ts';

/** Milliseconds between looks at what runs. */
const LOOK = 250;
/** Looks after which logs are looked at, and bytes that one has at most: what is older than as many again is gone. */
const LOOKS = 20;
const LOG = 16 << 20;

export interface CommandsParts {
  readonly records: Records;
  readonly control: Control;
  /** Folder for logs and for what commands leave. */
  readonly folder: string;
  readonly log: Logger;
}

export class Commands {
  readonly #parts: CommandsParts;
  readonly #waiting = new Map<string, Set<(code: number) => void>>();
  /** Called when a command has ended. */
  onExit: (container: string, code: number) => Promise<void> = async () => {};
  #timer: NodeJS.Timeout | null = null;
  #looking = false;
  #looks = 0;
  /** Containers whose process was not there at the last look. */
  #missing = new Set<string>();

  constructor(parts: CommandsParts) {
    this.#parts = parts;
  }

  /** Begins to look after what runs. Of what nobody has any more nothing is left. */
  watch(): void {
    this.#sweep();
    this.#timer = setInterval(() => void this.#look(), LOOK);
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Writes the /etc of a container, as it is with its present attachments. */
  async prepare(record: ContainerRecord): Promise<void> {
    if (record.namespace.includes('/') || record.command.length === 0) return;
    writeFiles(record.namespace, this.#files(record));
  }

  /** The first network's gateway answers for all networks of a container, and asks the servers of `--dns`. */
  #files({ attachments, hostname, name }: ContainerRecord): Files {
    const { control } = this.#parts;
    const networks = attachments.flatMap(({ network }) => control.views.get(network)?.network ?? []);
    const own = new Map(control.own().map((endpoint) => [endpoint.id, endpoint]));
    const addresses = attachments.flatMap(({ endpoint }) => own.get(endpoint)?.addresses ?? []);
    const nameservers = (networks[0]?.subnets ?? []).slice(0, 1).map(({ gateway }) => gateway);
    return {
      ...containerResolver(readResolver(), nameservers),
      hostname,
      hosts: addresses.map((address) => ({
        address: withoutLength(address),
        names: [...new Set([hostname, name])],
      })),
    };
  }

  /** Starts the command of a container in the background, where it outlives this daemon. */
  async start(record: ContainerRecord): Promise<void> {
    const { id, namespace, hostname, command, environment, directory } = record;
    const state = await startDetached({
      id,
      namespace,
      hostname,
      command,
      env: environment,
      cwd: directory ?? '/',
      logFile: this.#logFile(id),
      stateFile: this.#stateFile(id),
    });
    const { pid, startTime } = state;
    await this.#parts.records.put({ ...record, state: 'running', pid, pidStarted: startTime });
  }

  /** Looks after a command that somebody else started. */
  async adopt(record: ContainerRecord, pid: number): Promise<void> {
    if (!Number.isInteger(pid) || pid < 1) {
      throw new ControlError('INVALID', `"pid" expected the id of a process, got ${pid}`);
    }
    await this.#parts.records.put({ ...record, state: 'running', pid, pidStarted: startTimeOf(pid) });
  }

  /** Ends the command of a container, in the background or not. */
  async end(record: ContainerRecord): Promise<void> {
    const { pid, pidStarted, foreign, command, detached } = record;
    if (foreign !== null || command.length === 0) return;
    const supervisor = detached ? this.#supervisor(record) : null;
    if (supervisor !== null) return stop(supervisor);
    if (pid === null || pidStarted === null || !isRunning(pid, pidStarted)) return;
    // In the foreground the process is not the first of its group: it is ended with its namespace.
    signal(pid, 'SIGTERM');
  }

  /** Nothing is left of what a container said. The /etc of a namespace that was there before is not ours. */
  async forget(record: ContainerRecord): Promise<void> {
    const { id, namespace, detached } = record;
    // The shell over a command would note how it ended when nobody asks any more.
    const supervisor = detached ? (this.#supervisor(record) ?? findSupervisor(this.#stateFile(id))) : null;
    if (supervisor !== null) await kill(supervisor);
    if (namespace === namespaceName(id)) removeFiles(namespace);
    removeState(this.#stateFile(id));
    for (const file of logFiles(this.#logFile(id))) await rm(file, { force: true });
  }

  /** Removes what commands left after their containers were gone. */
  #sweep(): void {
    const { folder, records } = this.#parts;
    for (const file of readdirSync(folder)) {
      if (records.get(file.split('.', 1)[0]) === undefined) rmSync(join(folder, file), { force: true });
    }
  }

  /** Tells who waits that a container's command has ended. */
  tell(id: string, code: number): void {
    for (const done of this.#waiting.get(id) ?? []) done(code);
    this.#waiting.delete(id);
  }

  /** The exit code of a container's command, when it has ended. Rejects when the signal says so. */
  wait(record: ContainerRecord, aborted: AbortSignal): Promise<number> {
    if (record.state === 'exited') return Promise.resolve(record.exitCode ?? 137);
    const waiting = this.#waiting.get(record.id) ?? new Set();
    this.#waiting.set(record.id, waiting);
    return new Promise((resolve, reject) => {
      waiting.add(resolve);
      aborted.addEventListener('abort', () => {
        waiting.delete(resolve);
        if (waiting.size === 0 && this.#waiting.get(record.id) === waiting) this.#waiting.delete(record.id);
        reject(new ControlError('INVALID', 'nobody waits any more'));
      });
    });
  }

  /** What a container's command printed. */
  logs(record: ContainerRecord, following: boolean, aborted: AbortSignal): AsyncIterable<Uint8Array> {
    if (!record.detached) {
      throw new ControlError(
        'INVALID',
        `container ${record.name} runs in the foreground: it has no log here`,
      );
    }
    const running = () => this.#parts.records.get(record.id)?.state === 'running';
    return follow(this.#logFile(record.id), { ended: () => !following || !running(), signal: aborted });
  }

  /** Looks for commands that have ended, and for processes whose namespace was attached. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const before = this.#missing;
      this.#missing = new Set();
      for (const record of this.#parts.records.all()) {
        const code = this.#ended(record);
        if (code === null) continue;
        // Who ran a command in the foreground and is not known may be just about to tell how it ended.
        if (record.detached || before.has(record.id)) await this.onExit(record.id, code);
        else this.#missing.add(record.id);
      }
      if (++this.#looks % LOOKS === 0) await this.#trimLogs();
    } catch (error) {
      this.#parts.log.error((error as Error).message);
    } finally {
      this.#looking = false;
    }
  }

  async #trimLogs(): Promise<void> {
    for (const { id, detached, state } of this.#parts.records.all()) {
      if (detached && state === 'running') await trimLog(this.#logFile(id), LOG);
    }
  }

  /** The exit code of a container that has ended without a word; null where it has not. */
  #ended(record: ContainerRecord): number | null {
    const { state, pid, pidStarted, detached, foreign, caller } = record;
    if (state === 'exited') return null;
    if (detached && state === 'running') {
      const supervisor = this.#supervisor(record);
      const { running, exitCode } =
        supervisor === null ? { running: false, exitCode: 137 } : outcome(supervisor);
      return running ? null : (exitCode ?? 137);
    }
    const watched = foreign ?? pid;
    if (watched === null) return null;
    const started = foreign !== null ? (pidStarted ?? startTimeOf(foreign)) : pidStarted;
    if (started !== null && isRunning(watched, started)) return null;
    // Who runs it knows how it ended, and tells it in its own time.
    if (caller !== undefined && isRunning(caller.pid, caller.started)) return null;
    return started === null && startTimeOf(watched) !== null ? null : 137;
  }

  /** The shell over a command in the background, as it was noted, or else as the record has it, which may be older than
   * the command: a daemon can end between the two. Null where neither says. */
  #supervisor({ id, state, pid, pidStarted }: ContainerRecord): Supervisor | null {
    const stateFile = this.#stateFile(id);
    try {
      const noted = readState(stateFile);
      if (noted !== null) return noted;
    } catch (error) {
      this.#parts.log.debug((error as Error).message);
    }
    if (state !== 'running' || pid === null || pidStarted === null) return null;
    return { pid, startTime: pidStarted, stateFile };
  }

  #logFile(id: string): string {
    return join(this.#parts.folder, `${id}.log`);
  }

  #stateFile(id: string): string {
    return stateFile(this.#parts.folder, id);
  }
}

/** Where it is noted in a folder which process a container's command in the background is. */
export function stateFile(folder: string, id: string): string {
  return join(folder, `${id}.command`);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it has ended meanwhile
  }
}
