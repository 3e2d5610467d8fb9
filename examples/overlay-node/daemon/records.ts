/** What this node remembers of its containers, one file each in the state folder. */
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
}

const FOLDER = 'containers';
const FILE = (id: string) => `${FOLDER}/${id}`;

export class Records {
  readonly #state: StateFolder;
  readonly #records = new Map<string, ContainerRecord>();

  /** Reads what there is. What cannot be read is told and left where it is. */
  static async open(state: StateFolder, warn: (message: string) => void): Promise<Records> {
    const records = new Records(state);
    for (const id of await state.names(FOLDER)) {
      try {
        const record = await state.read<ContainerRecord>(FILE(id));
        if (record !== null) records.#records.set(record.id, record);
      } catch (error) {
        warn((error as Error).message);
      }
    }
    return records;
  }

  private constructor(state: StateFolder) {
    this.#state = state;
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

  async put(record: ContainerRecord): Promise<void> {
    this.#records.set(record.id, record);
    await this.#state.write(FILE(record.id), record);
  }

  async remove(id: string): Promise<void> {
    this.#records.delete(id);
    await this.#state.remove(FILE(id));
  }
}
