/** The daemon's control socket, as the command line speaks with it: see api/api.ts for the routes. */
import type { IncomingMessage, RequestOptions } from 'node:http';
import { ControlError, type ErrorCode } from '../control/errors.ts';
import { UsageError } from './world.ts';

/** Nobody answers on the socket, or not to us. */
export class NoDaemonError extends Error {
  override readonly name = 'NoDaemonError';
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** A path of the API: segments are escaped, what is undefined in the query is left out. */
export function route(segments: readonly string[], query: Query = {}): string {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) said.set(name, String(value));
  return `/v1/${segments.map(encodeURIComponent).join('/')}${said.size === 0 ? '' : `?${said}`}`;
}

/** The path of `unix:///run/packetweave.sock`, or of a path as it is. */
export function socketPath(host: string): string {
  const path = host.replace(/^unix:\/\//, '');
  if (path.startsWith('/')) return path;
  throw new UsageError(`--host expected unix://PATH, got "${host}"`);
}

export class Client {
  readonly socket: string;
  readonly #patience: number | null;

  /** With `patience`, in ms, a daemon that answers later does not answer. */
  constructor(socket: string, patience: number | null = null) {
    this.socket = socket;
    this.#patience = patience;
  }

  get<T>(path: readonly string[], query?: Query): Promise<T> {
    return this.#ask('GET', route(path, query));
  }
  post<T>(path: readonly string[], body: unknown = {}): Promise<T> {
    return this.#ask('POST', route(path), body);
  }
  delete<T>(path: readonly string[], query?: Query): Promise<T> {
    return this.#ask('DELETE', route(path, query));
  }

  /** The answer as it comes. Ends early where `signal` is aborted, and fails where the daemon goes away within it. */
  async stream(path: readonly string[], query?: Query, signal?: AbortSignal): Promise<IncomingMessage> {
    const response = await this.#send({ method: 'GET', path: route(path, query), ...(signal && { signal }) });
    if ((response.statusCode ?? 500) >= 400) throw failure(response, await text(response));
    return response;
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#send({ method, path }, body);
    const answer = await text(response);
    if ((response.statusCode ?? 500) >= 400) throw failure(response, answer);
    if (answer === '') return undefined as T;
    try {
      return JSON.parse(answer) as T;
    } catch {
      throw new Error(`the daemon answered what is not JSON: ${answer.slice(0, 80)}`);
    }
  }

  async #send(options: RequestOptions, body?: unknown): Promise<IncomingMessage> {
    const { request } = await import('node:http');
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers = payload === undefined ? {} : { 'content-type': 'application/json' };
    const patience = this.#patience !== null && { signal: AbortSignal.timeout(this.#patience) };
    return new Promise((resolve, reject) => {
      const all = { ...patience, ...options, socketPath: this.socket, headers, agent: false };
      const sent = request(all, resolve);
      sent.on('error', (error) => reject(this.#unheard(error)));
      sent.end(payload);
    });
  }

  #unheard(error: NodeJS.ErrnoException): Error {
    const { socket } = this;
    switch (error.code) {
      case 'ENOENT':
      case 'ECONNREFUSED':
      case 'ENOTSOCK':
        return new NoDaemonError(`no daemon answers on ${socket}: start it with "sudo packetweave up"`);
      case 'ABORT_ERR':
        return new NoDaemonError(`the daemon on ${socket} does not answer in time: see what it logged`);
      case 'EACCES':
      case 'EPERM':
        return new NoDaemonError(`permission denied on ${socket}: say it again with sudo`);
      case 'ECONNRESET':
      case 'EPIPE':
        return new NoDaemonError(`the daemon on ${socket} went away before it had answered`);
      default:
        return error;
    }
  }
}

async function text(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let all = '';
  for await (const part of response) all += part;
  return all;
}

/** What the daemon refused, as it said it. */
function failure(response: IncomingMessage, body: string): Error {
  try {
    const { code, message } = JSON.parse(body);
    if (typeof code === 'string' && typeof message === 'string') {
      return new ControlError(code as ErrorCode, message);
    }
  } catch {
    // Told below.
  }
  return new Error(`the daemon answered ${response.statusCode}: ${body.trim().split('\n')[0] || 'nothing'}`);
}
