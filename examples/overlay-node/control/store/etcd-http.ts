/** One request to one address, as JSON over HTTP/1.1 with connections that are kept: beneath the client of etcd. */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';

export interface Address {
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

export function showAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Contents, not paths. */
export type TlsMaterial = Pick<SecureContextOptions, 'ca' | 'cert' | 'key'>;

export interface Request {
  readonly address: Address;
  readonly path: string;
  readonly body: unknown;
  readonly headers: http.OutgoingHttpHeaders;
  /** Longest silence before and within the answer, in milliseconds. */
  readonly patience: number;
}

/** No answer, or a broken one. */
export class Unanswered extends Error {
  /** Whether the other side may have got the request. */
  readonly sent: boolean;
  /** Whether it may go better in a moment: it was silent, or the connection was cut. */
  readonly passing: boolean;

  constructor(message: string, sent: boolean, passing = false) {
    super(message);
    this.sent = sent;
    this.passing = passing;
  }
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** An answer of many lines, as they come. */
export interface Lines {
  readonly status: number;
  /** The next line that is not empty; null at the end. Rejects with {@link Unanswered}. */
  next(): Promise<string | null>;
  /** Ends it; a `next` that waits rejects with this sentence. */
  abort(why: string): void;
}

/** Milliseconds within which a connection is made, TLS included. */
const connectTime = 1500;
/** Bytes of an answer, or of one line of a stream. */
const maxAnswer = 128 << 20;
const maxConnections = 32;
/** Milliseconds that a request waits for one of them. */
const queueTime = 15_000;

export class Transport {
  readonly #secure: boolean;
  /** For requests that end. */
  readonly #agent: http.Agent;
  /** For streams, each of which has a connection for itself. */
  readonly #streams: http.Agent;
  #closed = false;
  readonly #open = new Set<http.ClientRequest>();

  constructor(tls: TlsMaterial | null) {
    this.#secure = tls !== null;
    // `keepAliveMsecs` is TCP's own keepalive: an idle connection that is dead leaves the pool within 11 s.
    const kept = { keepAlive: true, keepAliveMsecs: 1000, maxSockets: maxConnections };
    this.#agent = tls ? new https.Agent({ ...kept, ...tls }) : new http.Agent(kept);
    this.#streams = tls ? new https.Agent({ ...tls }) : new http.Agent();
  }

  /** Rejects with {@link Unanswered}. */
  async post(request: Request): Promise<Answer> {
    const exchange = this.#send(request, this.#agent);
    const response = await exchange.response;
    const parts: Buffer[] = [];
    let size = 0;
    try {
      for await (const part of response as AsyncIterable<Buffer>) {
        exchange.refresh();
        parts.push(part);
        size += part.length;
        if (size > maxAnswer) throw new Error(`the answer has more than ${maxAnswer} bytes`);
      }
    } catch (error) {
      throw exchange.failure(error);
    } finally {
      exchange.done();
    }
    return { status: response.statusCode!, text: Buffer.concat(parts).toString() };
  }

  /** Rejects with {@link Unanswered}. `patience` counts until the first line only. */
  async stream(request: Request): Promise<Lines> {
    const exchange = this.#send(request, this.#streams);
    const response = await exchange.response;
    response.socket.setKeepAlive(true, 1000);
    const lines = split(response);
    return {
      status: response.statusCode!,
      next: async () => {
        try {
          const { value } = await lines.next();
          exchange.rest();
          if (value === undefined) exchange.done();
          return value ?? null;
        } catch (error) {
          exchange.done();
          throw exchange.failure(error);
        }
      },
      abort: (why) => exchange.abort(why),
    };
  }

  /** Breaks everything off that is under way. */
  close(): void {
    this.#closed = true;
    for (const request of this.#open) request.destroy(new Error('the store is closed'));
    this.#agent.destroy();
    this.#streams.destroy();
  }

  #send(request: Request, agent: http.Agent): Exchange {
    if (this.#closed) throw new Unanswered('the store is closed', false);
    const exchange = new Exchange(request, agent, this.#secure, () => this.#open.delete(exchange.request));
    this.#open.add(exchange.request);
    return exchange;
  }
}

/** A request under way: what is known of it, and its clock. */
class Exchange {
  readonly request: http.ClientRequest;
  readonly response: Promise<http.IncomingMessage>;
  readonly #patience: number;
  readonly #gone: () => void;
  #timer: NodeJS.Timeout | null = null;
  #sent = false;
  #silent = false;
  #why: string | null = null;

  constructor(
    { address, path, body, headers, patience }: Request,
    agent: http.Agent,
    secure: boolean,
    gone: () => void,
  ) {
    const content = Buffer.from(JSON.stringify(body));
    this.#patience = patience;
    this.#gone = gone;
    this.request = (secure ? https : http).request({
      ...address,
      path,
      method: 'POST',
      agent,
      headers: { ...headers, 'content-type': 'application/json', 'content-length': content.length },
    });
    this.#wait(queueTime);
    this.request.on('socket', (socket) => this.#watchSocket(socket, secure ? 'secureConnect' : 'connect'));
    this.response = new Promise((resolve, reject) => {
      this.request.on('response', (response) => {
        this.#wait(patience);
        resolve(response);
      });
      // Stays for what breaks later: the response tells of that itself.
      this.request.on('error', (error) => {
        this.done();
        reject(this.failure(error));
      });
    });
    this.request.end(content);
  }

  failure(error: unknown): Unanswered {
    const { message, code } = error as NodeJS.ErrnoException;
    const passing = this.#silent || code === 'ECONNRESET' || code === 'EPIPE';
    return new Unanswered(this.#why ?? (message || String(code)), this.#sent, passing);
  }

  /** The clock begins anew. */
  refresh(): void {
    this.#timer?.refresh();
  }

  /** The clock stands still. */
  rest(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  done(): void {
    this.rest();
    this.#gone();
  }

  abort(why: string): void {
    this.#why ??= why;
    this.request.destroy(new Error(why));
    this.done();
  }

  #watchSocket(socket: Socket, connected: string): void {
    if (this.request.reusedSocket) {
      this.#sent = true;
      this.#wait(this.#patience);
      return;
    }
    this.#wait(Math.min(connectTime, this.#patience));
    socket.once(connected, () => {
      this.#sent = true;
      this.#wait(this.#patience);
    });
  }

  #wait(ms: number): void {
    this.rest();
    this.#timer = setTimeout(() => {
      this.#silent = true;
      this.abort(`no ${this.#sent ? 'answer' : 'connection'} within ${ms} ms`);
    }, ms).unref();
  }
}

async function* split(response: http.IncomingMessage): AsyncGenerator<string, undefined> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = part.indexOf(10); end >= 0; end = part.indexOf(10, from)) {
      parts.push(part.subarray(from, end));
      from = end + 1;
      const line = Buffer.concat(parts).toString();
      parts = [];
      size = 0;
      if (line !== '') yield line;
    }
    parts.push(part.subarray(from));
    size += part.length - from;
    if (size > maxAnswer) throw new Error(`a line of the answer has more than ${maxAnswer} bytes`);
  }
  const rest = Buffer.concat(parts).toString();
  if (rest !== '') yield rest;
  return undefined;
}
