/** The commands of containers: what is in their /etc, how they are started, watched, ended, and what they said. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Files } from '../attach/attach.ts';
import {
  isRunning,
  outcome,
  readState,
  removeState,
  startDetached,
  startTimeOf,
  stop,
} from '../attach/detached.ts';
import { containerResolver, readResolver, removeFiles, writeFiles } from '../attach/files.ts';
import { follow } from '../attach/follow.ts';
import type { Control } from '../control/control.ts';
import { ControlError } from '../control/errors.ts';
import type { Network } from '../control/model.ts';
import type { Logger } from './log.ts';
import { withoutLength } from './names.ts';
import type { ContainerRecord, Records } from './records.ts';

/** Milliseconds between looks at what runs. */
const LOOK = 250;

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

  constructor(parts: CommandsParts) {
    this.#parts = parts;
  }

  /** Begins to look after what runs. */
  watch(): void {
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

  #files({ attachments, hostname, name, dns }: ContainerRecord): Files {
    const { control } = this.#parts;
    const networks = attachments.flatMap(({ network }) => control.views.get(network)?.network ?? []);
    const own = new Map(control.own().map((endpoint) => [endpoint.id, endpoint]));
    const addresses = attachments.flatMap(({ endpoint }) => own.get(endpoint)?.addresses ?? []);
    return {
      ...containerResolver(readResolver(), nameservers(networks, dns)),
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
  async end({ pid, pidStarted, foreign, command, detached }: ContainerRecord): Promise<void> {
    if (pid === null || pidStarted === null || foreign !== null || command.length === 0) return;
    // In the foreground the process is not the first of its group: it is ended with its namespace.
    if (detached) await stop(pid, pidStarted);
    else signal(pid, 'SIGTERM');
  }

  /** Nothing is left of what a container said. */
  async forget({ id, namespace }: ContainerRecord): Promise<void> {
    if (!namespace.includes('/')) removeFiles(namespace);
    removeState(this.#stateFile(id));
    await rm(this.#logFile(id), { force: true });
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
      for (const record of this.#parts.records.all()) {
        const code = this.#ended(record);
        if (code !== null) await this.onExit(record.id, code);
      }
    } catch (error) {
      this.#parts.log.error((error as Error).message);
    } finally {
      this.#looking = false;
    }
  }

  /** The exit code of a container that has ended without a word; null where it has not. */
  #ended(record: ContainerRecord): number | null {
    const { id, state, pid, pidStarted, detached, foreign } = record;
    if (state === 'exited') return null;
    if (detached && state === 'running') {
      const known = readState(this.#stateFile(id));
      const { running, exitCode } = known === null ? { running: false, exitCode: 137 } : outcome(known);
      return running ? null : (exitCode ?? 137);
    }
    const watched = foreign ?? pid;
    if (watched === null) return null;
    const started = foreign !== null ? (pidStarted ?? startTimeOf(foreign)) : pidStarted;
    if (started !== null && isRunning(watched, started)) return null;
    return started === null && startTimeOf(watched) !== null ? null : 137;
  }

  #logFile(id: string): string {
    return join(this.#parts.folder, `${id}.log`);
  }

  #stateFile(id: string): string {
    return join(this.#parts.folder, `${id}.command`);
  }
}

/** The first network's gateway answers for all networks of a container; without one, or for `--dns`, it is asked what
 * else there is. */
function nameservers(networks: readonly Network[], _dns: readonly string[]): string[] {
  return networks.slice(0, 1).flatMap(({ subnets }) => subnets.slice(0, 1).map(({ gateway }) => gateway));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it has ended meanwhile
  }
}
