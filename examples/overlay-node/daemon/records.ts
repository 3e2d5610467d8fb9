/** What this node remembers of its containers, one file each in the state folder. */
import { namespaceName } from '../attach/namespace.ts';
import { ControlError } from '../control/errors.ts';
import type { StateFolder } from './state.ts';

/** An attachment of a container: which endpoint is which device. */
export interface Attachment {
  /** Id of the network. */
  readonly network: string;
  /** Id of the endpoint. */
  readonly endpoint: string;
  readonly device: string;
  /** What `-p` said, for the first network. */
  readonly publish: readonly string[];
}

export interface ContainerRecord {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  /** Network namespace, as in `ip netns`, or a path. */
  readonly namespace: string;
  /** Process id that a namespace was attached by, or null. It is gone with the process. */
  readonly foreign: number | null;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string | null;
  readonly dns: readonly string[];
  readonly aliases: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly created: string;
  readonly detached: boolean;
  readonly remove: boolean;
  readonly attachments: readonly Attachment[];
  /** False where nothing beyond its networks is reached through them. Absent, as in older files: true. */
  readonly defaultRoute?: boolean;
  /** Whether somebody else holds its ports of the host. Absent: false. */
  readonly portsHeld?: boolean;
  readonly state: 'created' | 'running' | 'exited';
  readonly exitCode: number | null;
  readonly pid: number | null;
  /** When that process began, in the kernel's ticks: a number that is used again is not mistaken for it. */
  readonly pidStarted: number | null;
  /** Who runs a command in the foreground, and tells how it ended. Absent, as in older files: nobody who is known. */
  readonly caller?: { readonly pid: number; readonly started: number };
}

const FOLDER = 'containers';
const FILE = (id: string) => `${FOLDER}/${id}`;
const ID = /^[0-9a-f]{64}$/;

export class Records {
  readonly #state: StateFolder;
  readonly #warn: (message: string) => void;
  readonly #records = new Map<string, ContainerRecord>();

  /** Reads what there is. A container whose record is not readable is one that has ended: it can be removed. */
  static async open(state: StateFolder, warn: (message: string) => void): Promise<Records> {
    const records = new Records(state, warn);
    for (const id of await state.names(FOLDER)) {
      if (!ID.test(id)) continue;
      const record = await state.read<unknown>(FILE(id)).catch(() => null);
      const readable = isRecord(record) && record.id === id;
      if (!readable) warn(`the record of container ${id} is not readable: it counts as ended, remove it`);
      records.#records.set(id, readable ? record : lostRecord(id));
    }
    return records;
  }

  private constructor(state: StateFolder, warn: (message: string) => void) {
    this.#state = state;
    this.#warn = warn;
  }

  all(): ContainerRecord[] {
    return [...this.#records.values()];
  }

  get(id: string): ContainerRecord | undefined {
    return this.#records.get(id);
  }

  /** By name, id, or the beginning of an id. Throws `NOT_FOUND`, or `CONFLICT` where several begin so. */
  find(nameOrId: string): ContainerRecord {
    const all = this.all();
    const exact = all.find(({ name, id }) => name === nameOrId || id === nameOrId);
    if (exact !== undefined) return exact;
    const beginning = nameOrId === '' ? [] : all.filter(({ id }) => id.startsWith(nameOrId));
    if (beginning.length === 1) return beginning[0];
    throw beginning.length === 0
      ? new ControlError('NOT_FOUND', `no such container: ${nameOrId}`)
      : new ControlError('CONFLICT', `several containers have an id that begins with ${nameOrId}`);
  }

  /** Throws `CONFLICT` where the name is taken. */
  checkName(name: string): void {
    const other = this.all().find((record) => record.name === name);
    if (other === undefined) return;
    throw new ControlError(
      'CONFLICT',
      `the container name "/${name}" is already in use by container "${other.id}": ` +
        'remove (or rename) that container to be able to reuse that name',
    );
  }

  /** Resolves when it is written down; where that fails, everything is as it was. */
  async put(record: ContainerRecord): Promise<void> {
    await this.#state.write(FILE(record.id), record);
    this.#records.set(record.id, record);
  }

  /** Notes what has happened already, also where the disk is full: who starts again finds it out anew. */
  async note(record: ContainerRecord): Promise<void> {
    this.#records.set(record.id, record);
    await this.#state.write(FILE(record.id), record).catch((error: Error) => {
      this.#warn(`container ${record.name}: its record cannot be written: ${error.message}`);
    });
  }

  async remove(id: string): Promise<void> {
    await this.#state.remove(FILE(id));
    this.#records.delete(id);
  }
}

/** Whether it is what this program wrote, as far as others rely on it. */
function isRecord(value: unknown): value is ContainerRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { id, name, hostname, namespace, created, state, ...rest } = value as Partial<ContainerRecord>;
  const { command, dns, aliases, attachments, environment, labels } = rest;
  const isText = (one: unknown) => typeof one === 'string';
  const isObject = (one: unknown) => typeof one === 'object' && one !== null;
  return (
    [id, name, hostname, namespace, created].every(isText) &&
    ['created', 'running', 'exited'].includes(state ?? '') &&
    [command, dns, aliases].every((one) => Array.isArray(one) && one.every(isText)) &&
    [environment, labels].every(isObject) &&
    Array.isArray(attachments) &&
    attachments.every((one: Attachment | null) => [one?.network, one?.endpoint, one?.device].every(isText))
  );
}

/** What is known of a container whose record is not readable. */
function lostRecord(id: string): ContainerRecord {
  return {
    id,
    name: id.slice(0, 12),
    hostname: id.slice(0, 12),
    namespace: namespaceName(id),
    foreign: null,
    command: ['?'],
    environment: {},
    directory: null,
    dns: [],
    aliases: [],
    labels: {},
    created: new Date(0).toISOString(),
    detached: true,
    remove: false,
    attachments: [],
    state: 'exited',
    exitCode: null,
    pid: null,
    pidStarted: null,
  };
}
