/**
 * A client of etcd's own v3 JSON gateway (`/v3/...`, since etcd 3.4): several addresses, one of which is used until it
 * fails; user and password; what may be repeated and what not. Knows nothing of what the keys mean.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlError } from '../errors.ts';
import { Failure, forbidden, type Refusal, refusalError } from './etcd-errors.ts';
import {
  type Address,
  type Lines,
  showAddress,
  type TlsMaterial,
  Transport,
  Unanswered,
} from './etcd-http.ts';

export interface EtcdOptions {
  /** At least one. */
  readonly addresses: readonly Address[];
  /** Null: plain HTTP. */
  readonly tls?: TlsMaterial | null;
  readonly user?: { readonly name: string; readonly password: string } | null;
  /** Milliseconds after which a call rejects with `AWAY`. Default 5000. */
  readonly timeout?: number;
}

export type Json = { readonly [name: string]: unknown };

/** A stream of results. */
export interface Results {
  /** Where it comes from. */
  readonly address: Address;
  readonly first: Json;
  /** Rejects with a {@link Failure}, or a ControlError. */
  next(): Promise<Json>;
  abort(why: string): void;
}

/** Of the time a call has, what one address gets of it where another attempt may follow. */
const share = 0.4;
/** Milliseconds between two rounds over all addresses. */
const betweenRounds = 100;
/** Members that have lost their leader say so at once, instead of keeping the question. */
const askForLeader = { 'grpc-metadata-hasleader': 'true' };

export class EtcdClient {
  readonly name: string;
  readonly #addresses: readonly Address[];
  readonly #user: EtcdOptions['user'];
  readonly #timeout: number;
  readonly #transport: Transport;
  /** Index of the address that answered last. */
  #current = 0;
  #token: string | null = null;
  #login: Promise<void> | null = null;
  #closed = false;

  constructor({ addresses, tls = null, user = null, timeout = 5000 }: EtcdOptions) {
    this.#addresses = addresses;
    this.#user = user;
    this.#timeout = timeout;
    this.#transport = new Transport(tls);
    this.name = `${tls ? 'etcds' : 'etcd'}://${addresses.map(showAddress).join(',')}`;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** For what changes nothing, or nothing more when it is done twice: repeated wherever an answer fails to come. */
  read(path: string, body: Json): Promise<Json> {
    return this.#over(true, (address) => this.#post(address, path, body, this.#timeout * share));
  }

  /** For what changes something: repeated only where it was certainly not done. */
  write(path: string, body: Json): Promise<Json> {
    return this.#over(false, (address) => this.#post(address, path, body, this.#timeout));
  }

  /** Begins a stream: its first result is there. Repeated like `read`. */
  stream(path: string, body: Json): Promise<Results> {
    return this.#over(true, (address) => this.#stream(address, path, body));
  }

  /** Whether the member at one address still answers. */
  async beats(address: Address): Promise<boolean> {
    const request = { address, path: '/v3/maintenance/status', body: {}, headers: askForLeader };
    return this.#transport.post({ ...request, patience: this.#timeout * share }).then(
      () => true,
      () => false,
    );
  }

  /** Forgets the token: the next call asks for another. */
  forgetToken(): void {
    this.#token = null;
  }

  /** Breaks off what is under way; it rejects with `AWAY`. */
  close(): void {
    this.#closed = true;
    this.#transport.close();
  }

  /** Attempts at one address after the other. Rejects with a ControlError, or with `Compacted`. */
  async #over<T>(repeat: boolean, attempt: (address: Address) => Promise<T>): Promise<T> {
    const until = performance.now() + this.#timeout;
    let fresh = false;
    for (;;) {
      let pass = false;
      for (let n = 0; n < this.#addresses.length; n++) {
        const index = this.#current;
        const address = this.#addresses[index]!;
        try {
          if (this.#user && this.#token === null) await this.#authenticate(address);
          return await attempt(address);
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
          if (error.cure === 'token' && this.#user && !fresh) {
            fresh = true;
            this.forgetToken();
            n--;
            continue;
          }
          if (this.#current === index) this.#current = (index + 1) % this.#addresses.length;
          pass ||= error.cure === 'pass';
          const stop = this.#closed || (!repeat && error.applied === 'maybe') || performance.now() > until;
          const last = n === this.#addresses.length - 1 && !pass;
          if (stop || last) throw this.#away(address, error);
        }
      }
      await sleep(betweenRounds);
    }
  }

  async #post(address: Address, path: string, body: Json, patience: number): Promise<Json> {
    const headers = this.#headers();
    const answer = await this.#transport.post({ address, path, body, headers, patience }).catch(asFailure);
    // Streams answer with lines, also where they have one only.
    return result(answer.text.trimEnd(), answer.status);
  }

  async #stream(address: Address, path: string, body: Json): Promise<Results> {
    const headers = this.#headers();
    const patience = this.#timeout * share;
    const lines = await this.#transport.stream({ address, path, body, headers, patience }).catch(asFailure);
    const next = () => nextResult(lines);
    try {
      return { address, first: await next(), next, abort: (why) => lines.abort(why) };
    } catch (error) {
      lines.abort('given up');
      throw error;
    }
  }

  #headers(): Record<string, string> {
    return !this.#token ? askForLeader : { ...askForLeader, authorization: this.#token };
  }

  /** Calls that come together ask for one token. */
  #authenticate(address: Address): Promise<void> {
    this.#login ??= this.#newToken(address).finally(() => {
      this.#login = null;
    });
    return this.#login;
  }

  async #newToken(address: Address): Promise<void> {
    const { name, password } = this.#user!;
    try {
      const { token } = await this.#post(address, '/v3/auth/authenticate', { name, password }, this.#timeout);
      this.#token = String(token);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // Such an etcd takes everybody.
      if (/authentication is not enabled/.test(error.message)) this.#token = '';
      // Whatever became of this, the call itself was not made.
      else throw new Failure(error.message, 'no', error.cure);
    }
  }

  #away(address: Address, { message, cure }: Failure): ControlError {
    if (this.#closed) return new ControlError('AWAY', 'the store is closed');
    if (cure === 'token') return forbidden(message);
    const others = this.#addresses.length > 1 ? ' (the last of several tries)' : '';
    return new ControlError('AWAY', `etcd at ${showAddress(address)} cannot be used${others}: ${message}`);
  }
}

function asFailure(error: unknown): never {
  if (!(error instanceof Unanswered)) throw error;
  throw new Failure(error.message, error.sent ? 'maybe' : 'no', error.passing ? 'pass' : 'none');
}

async function nextResult(lines: Lines): Promise<Json> {
  const line = await lines.next().catch(asFailure);
  if (line === null) throw new Failure('the stream has ended', 'maybe', 'pass');
  return result(line, lines.status);
}

/** What an answer brings. Throws what {@link refusalError} makes of a refusal. */
function result(text: string, status: number): Json {
  const json = parse(text);
  const refusal = json && refusalOf(json);
  if (refusal) throw refusalError(refusal);
  const found = isObject(json?.result) ? json.result : json;
  if (status === 200 && isObject(found?.header)) return found;
  const shown = JSON.stringify(text.slice(0, 60));
  const hint = 'is it an etcd, 3.4 or newer?';
  throw new Failure(`its answer is not etcd's (HTTP status ${status}, ${shown}): ${hint}`, 'maybe');
}

function parse(text: string): Json | null {
  try {
    const json: unknown = JSON.parse(text);
    return isObject(json) ? json : null;
  } catch {
    return null;
  }
}

/** `{error, message, code}`, or in a stream `{error: {grpc_code, message}}`, or from newer ones `{error: {code, message}}`. */
function refusalOf(json: Json): Refusal | null {
  const inner = isObject(json.error) ? json.error : json;
  const code = inner.grpc_code ?? inner.code;
  const message = inner.message ?? inner.error;
  return typeof code === 'number' && typeof message === 'string' ? { code, message } : null;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
