/** The API of a Docker engine on its socket, as far as names of containers need it (version 1.25, Docker 1.13). */
import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';

const VERSION = 'v1.25';
/** Milliseconds that an answer is waited for: the engine answers nothing of a container that it is starting. */
const PATIENCE = 60_000;

export interface EngineEvent {
  /** `network` or `container`. */
  readonly Type: string;
  /** Such as `connect`. */
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
}

/** An attachment of a container. */
export interface EngineAttachment {
  readonly EndpointID: string;
  readonly Aliases: readonly string[] | null;
}

export interface EngineContainer {
  readonly Id: string;
  /** Begins with a slash. */
  readonly Name: string;
  readonly Config: { readonly Hostname: string };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, EngineAttachment>> | null };
}

/** A container in a list. */
export type ListedContainer = Pick<EngineContainer, 'Id' | 'NetworkSettings'>;

export class Engine {
  readonly socket: string;

  constructor(socket: string) {
    this.socket = socket;
  }

  /** Id of the engine: it stays the same as long as its data do. */
  async id(): Promise<string> {
    return (await this.#get<{ ID: string }>('/info')).ID;
  }

  /** All containers, running or not. */
  containers(): Promise<readonly ListedContainer[]> {
    return this.#get('/containers/json?all=1');
  }

  /** Null where it is gone. */
  async container(id: string): Promise<EngineContainer | null> {
    try {
      return await this.#get<EngineContainer>(`/containers/${encodeURIComponent(id)}/json`);
    } catch (error) {
      if ((error as EngineError).status === 404) return null;
      throw error;
    }
  }

  /** Ids of all networks. */
  async networks(): Promise<string[]> {
    return (await this.#get<readonly { Id: string }[]>('/networks')).map(({ Id }) => Id);
  }

  /** What happens to networks and containers from now on; `onOpen` is called when nothing is missed any more. Ends with
   * the engine, or rejects. */
  async *events(onOpen: () => void, signal: AbortSignal): AsyncGenerator<EngineEvent> {
    const filters = JSON.stringify({ type: ['network', 'container'] });
    const answer = await this.#ask(`/events?filters=${encodeURIComponent(filters)}`, signal);
    onOpen();
    for await (const line of createInterface({ input: answer, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line !== '') yield JSON.parse(line) as EngineEvent;
    }
  }

  async #get<T>(path: string): Promise<T> {
    const answer = await this.#ask(path, AbortSignal.timeout(PATIENCE));
    return JSON.parse(await read(answer)) as T;
  }

  async #ask(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const options = {
      socketPath: this.socket,
      path: `/${VERSION}${path}`,
      headers: { Host: 'docker' },
      signal,
    };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const asked = request(options, resolve);
      asked.on('error', reject);
      asked.end();
    });
    const status = answer.statusCode ?? 0;
    if (status === 200) return answer;
    throw new EngineError(status, `the Docker engine answered ${status}: ${(await read(answer)).trim()}`);
  }
}

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function read(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}
