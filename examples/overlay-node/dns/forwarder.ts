/**
 * Asks other name servers what is not known here, in the way of Docker's embedded server: up to three in order, each
 * for four seconds, by the transport that the client came by. What many clients ask at once is asked once, and answers
 * are kept as long as they say.
 */
import { Cache } from './cache.ts';
import {
  AD,
  CD,
  foldedKey,
  HEADER,
  optRecord,
  type Query,
  RD,
  REFUSED,
  SERVFAIL,
  type Transport,
} from './message.ts';
import { parseServer, type ServerAddress } from './upstream/server-address.ts';
import { TcpUpstream } from './upstream/tcp-upstream.ts';
import { UdpUpstream } from './upstream/udp-upstream.ts';

export interface ForwarderOptions {
  /** Servers to ask, such as `192.0.2.1` or `[2001:db8::1]:5353`: called for every question. */
  readonly servers: () => readonly string[];
  /** Milliseconds, of a clock that does not go backwards. */
  readonly now: () => number;
  /** Milliseconds that a server has for an answer. */
  readonly timeout?: number;
  /** Questions that wait for an answer at the most; what is more is not asked. */
  readonly limit?: number;
}

/** Servers for the questions of a client instead of those that all questions go to. */
export interface OwnServers {
  readonly servers: readonly string[];
  /** Id of the network that the client is on. */
  readonly network: string;
  /** The namespace that a server at this address is asked out of: members of the network are reached where its gateway
   * is; null for the one of this process. */
  namespaceOf(address: string): string | null;
}

/** Servers that are asked at the most, of those that there are. */
const SERVERS = 3;
/** Milliseconds. */
const TIMEOUT = 4000;
const LIMIT = 10_000;

export class Forwarder {
  readonly #servers: () => readonly string[];
  readonly #timeout: number;
  readonly #limit: number;
  readonly #cache: Cache;
  readonly #asking = new Map<string, Promise<Buffer | null>>();
  readonly #upstreams = new Map<string, UdpUpstream | TcpUpstream>();
  #waiting = 0;
  #closed = false;
  readonly #counters = { cached: 0, shared: 0, asked: 0, failovers: 0, failures: 0, overload: 0 };

  constructor(options: ForwarderOptions) {
    this.#servers = options.servers;
    this.#timeout = options.timeout ?? TIMEOUT;
    this.#limit = options.limit ?? LIMIT;
    this.#cache = new Cache({ now: options.now });
  }

  /** The answer of a client's own servers, or of those that all questions go to: with an id, and the case of letters,
   * that may be another's. It may be shared: copy it to change it. Null where nobody answers. Never rejects. */
  async forward(query: Query, transport: Transport, own?: OwnServers): Promise<Buffer | null> {
    const from = own ?? { servers: this.#servers(), network: '', namespaceOf: () => null };
    const key = keyOf(query, from);
    const kept = this.#cache.get(key);
    if (kept !== null) {
      this.#counters.cached++;
      return kept;
    }
    if (this.#waiting >= this.#limit || this.#closed) {
      this.#counters.overload++;
      return null;
    }
    this.#waiting++;
    try {
      return await this.#share(key, query, transport, from);
    } finally {
      this.#waiting--;
    }
  }

  counters(): Record<string, number> {
    return { ...this.#counters, waiting: this.#waiting };
  }

  close(): void {
    this.#closed = true;
    for (const upstream of [...this.#upstreams.values()]) upstream.close();
  }

  #share(key: string, query: Query, transport: Transport, from: OwnServers): Promise<Buffer | null> {
    const flight = `${transport} ${key}`;
    const asking = this.#asking.get(flight);
    if (asking !== undefined) {
      this.#counters.shared++;
      return asking;
    }
    const answer = this.#ask(upstreamQuery(query), transport, from).then((answer) => {
      this.#asking.delete(flight);
      if (answer !== null) this.#cache.set(key, answer);
      else this.#counters.failures++;
      return answer;
    });
    this.#asking.set(flight, answer);
    return answer;
  }

  async #ask(query: Buffer, transport: Transport, from: OwnServers): Promise<Buffer | null> {
    for (const [i, text] of from.servers.slice(0, SERVERS).entries()) {
      const server = serverOf(text);
      if (server === null) continue;
      if (i > 0) this.#counters.failovers++;
      this.#counters.asked++;
      const answer = await this.#upstream(server, transport, from).ask(query, this.#timeout);
      if (this.#closed) return null;
      const rcode = answer === null ? SERVFAIL : answer.readUInt16BE(2) & 15;
      if (rcode !== SERVFAIL && rcode !== REFUSED) return answer;
    }
    return null;
  }

  #upstream(server: ServerAddress, transport: Transport, from: OwnServers): UdpUpstream | TcpUpstream {
    const namespace = from.namespaceOf(server.address);
    const key = `${transport} ${server.text} ${namespace ?? ''}`;
    const known = this.#upstreams.get(key);
    if (known !== undefined) return known;
    const forget = () => {
      // another one may be there by now
      if (this.#upstreams.get(key) === upstream) this.#upstreams.delete(key);
    };
    const Upstream = transport === 'udp' ? UdpUpstream : TcpUpstream;
    const upstream: UdpUpstream | TcpUpstream = new Upstream(server, namespace, forget);
    this.#upstreams.set(key, upstream);
    return upstream;
  }
}

/** Whoever gave the servers has checked them; one that is none is passed over. */
function serverOf(text: string): ServerAddress | null {
  try {
    return parseServer(text);
  } catch {
    return null;
  }
}

/** What an answer depends on. */
function keyOf(query: Query, { network, servers }: OwnServers): string {
  const question = foldedKey(query.bytes, HEADER, query.end);
  const edns = query.edns === null ? 0 : query.edns.dnssec ? 2 : 1;
  return `${flagsOf(query)} ${edns} ${network} ${servers.join(' ')} ${question}`;
}

function flagsOf(query: Query): number {
  return query.bytes.readUInt16BE(2) & (RD | AD | CD);
}

/** The same question, without options that are meant for us: cookies go from hop to hop (RFC 7873). */
function upstreamQuery(query: Query): Buffer {
  const extension = query.edns === null ? Buffer.alloc(0) : optRecord(0, query.edns.dnssec);
  const bytes = Buffer.concat([query.bytes.subarray(0, query.end), extension]);
  bytes.writeUInt16BE(flagsOf(query), 2);
  bytes.writeUInt32BE(0x10000, 4);
  bytes.writeUInt32BE(extension.length > 0 ? 1 : 0, 8);
  return bytes;
}
