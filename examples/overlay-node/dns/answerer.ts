/** Turns a message of a client into the reply: at once from what is known here, later from what others say. */
import type { Forwarder, OwnServers } from './forwarder.ts';
import {
  AXFR,
  CD,
  type Edns,
  foldedKey,
  HEADER,
  IXFR,
  NOTIMP,
  QR,
  type Query,
  RA,
  RD,
  readQuery,
  replyLimit,
  SERVFAIL,
  TC,
  type Transport,
  writeReply,
} from './message.ts';
import type { Names } from './names.ts';
import { Resolver, type ServedNetwork } from './resolver.ts';

export interface AnswererOptions {
  readonly names: Names;
  readonly forwarder: Forwarder;
  /** From 0 to below 1: orders the addresses of a name. */
  readonly random: () => number;
  /** Servers for the questions of a client instead of the forwarder's own (`--dns`); null or none for those. Must not
   * throw. */
  readonly servers?: (network: string, from: string) => readonly string[] | null;
}

/** An answer of our own, ready for everyone who asks in the same way. */
interface Encoded {
  /** Where the question ends. */
  readonly end: number;
  readonly rcode: number;
  readonly records: readonly Buffer[];
  readonly edns: Edns | null;
}

/** Bytes of answers that are kept encoded, with their keys and what the records take beside their bytes. */
const ENCODED = 4 << 20;
const ENTRY = 200;
const RECORD = 100;
/** Questions of one client that wait for others at the most: one cannot take the room of all. */
const WAITING = 4096;

/** Answers the clients of one network. */
export class Answerer {
  readonly #options: AnswererOptions;
  readonly #network: ServedNetwork;
  readonly #namespace: string | null;
  readonly #resolver: Resolver;
  /** By client and message without id and case. All of them belong to one version of the names. */
  readonly #encoded = new Map<string, Encoded>();
  #version = -1;
  #bytes = 0;
  /** Questions that wait for others, by client. */
  readonly #waiting = new Map<string, number>();
  readonly counters = { queries: 0, local: 0, forwarded: 0, failed: 0, refused: 0, ignored: 0 };

  /** `namespace` is where the members of the network can be reached. */
  constructor(options: AnswererOptions, network: ServedNetwork, namespace: string | null) {
    this.#options = options;
    this.#network = network;
    this.#namespace = namespace;
    this.#resolver = new Resolver(options.names, network);
  }

  /** The reply to a message that came from an address, now or later; null for none. Never rejects. */
  answer(bytes: Buffer, from: string, transport: Transport): Buffer | Promise<Buffer> | null {
    this.counters.queries++;
    const key = this.#key(bytes, from);
    const known = key === null ? undefined : this.#encoded.get(key);
    if (known !== undefined) return this.#write(bytes, known, transport);
    const query = readQuery(bytes);
    if (query === null) return this.#ignore();
    if (Buffer.isBuffer(query)) return this.#refuse(query);
    const local = this.#resolver.resolve(from, query);
    if (local !== 'forward') {
      const encoded = { end: query.end, rcode: local.rcode, records: local.records, edns: query.edns };
      if (key !== null) this.#keep(key, encoded);
      return this.#write(bytes, encoded, transport);
    }
    // a zone transfer is no single message
    if (query.type === AXFR || query.type === IXFR) {
      return this.#refuse(writeReply(bytes, query.end, NOTIMP, [], replyLimit(null, transport), query.edns));
    }
    return this.#forward(query, from, transport);
  }

  #key(bytes: Buffer, from: string): string | null {
    const { version } = this.#options.names;
    if (version !== this.#version) {
      this.#clear();
      this.#version = version;
    }
    const key = foldedKey(bytes, 2, bytes.length);
    return key === null ? null : `${from} ${key}`;
  }

  #keep(key: string, encoded: Encoded): void {
    this.#bytes += encoded.records.reduce((sum, { length }) => sum + length + RECORD, key.length + ENTRY);
    // they are made again in no time
    if (this.#bytes > ENCODED) this.#clear();
    else this.#encoded.set(key, encoded);
  }

  #clear(): void {
    this.#encoded.clear();
    this.#bytes = 0;
  }

  #write(bytes: Buffer, known: Encoded, transport: Transport): Buffer {
    this.counters.local++;
    const { end, rcode, edns } = known;
    const records = known.records.length > 1 ? this.#shuffled(known.records) : known.records;
    return writeReply(bytes, end, rcode, records, replyLimit(edns, transport), edns);
  }

  #shuffled(records: readonly Buffer[]): Buffer[] {
    const all = [...records];
    for (let i = all.length - 1; i > 0; i--) {
      const j = Math.floor(this.#options.random() * (i + 1));
      [all[i], all[j]] = [all[j], all[i]];
    }
    return all;
  }

  async #forward(query: Query, from: string, transport: Transport): Promise<Buffer> {
    this.counters.forwarded++;
    const answer = await this.#ask(query, from, transport);
    if (answer !== null) return adopt(answer, query, transport);
    this.counters.failed++;
    return writeReply(query.bytes, query.end, SERVFAIL, [], replyLimit(null, transport), query.edns);
  }

  async #ask(query: Query, from: string, transport: Transport): Promise<Buffer | null> {
    const waiting = this.#waiting.get(from) ?? 0;
    if (waiting >= WAITING) return null;
    this.#waiting.set(from, waiting + 1);
    try {
      return await this.#options.forwarder.forward(query, transport, this.#own(from));
    } finally {
      const left = this.#waiting.get(from)! - 1;
      if (left > 0) this.#waiting.set(from, left);
      else this.#waiting.delete(from);
    }
  }

  #own(from: string): OwnServers | undefined {
    const { id } = this.#network;
    const servers = this.#options.servers?.(id, from) ?? [];
    if (servers.length === 0) return undefined;
    const namespaceOf = (address: string) => (this.#resolver.contains(address) ? this.#namespace : null);
    return { servers, network: id, namespaceOf };
  }

  #refuse(reply: Buffer): Buffer {
    this.counters.refused++;
    return reply;
  }

  #ignore(): null {
    this.counters.ignored++;
    return null;
  }
}

/** An answer of somebody else as the answer to this query. */
function adopt(answer: Buffer, query: Query, transport: Transport): Buffer {
  const limit = replyLimit(query.edns, transport);
  const flags = (answer.readUInt16BE(2) & ~(RD | CD)) | (query.bytes.readUInt16BE(2) & (RD | CD)) | QR | RA;
  const fits = answer.length <= limit;
  const reply = fits ? Buffer.from(answer) : writeReply(query.bytes, query.end, 0, [], limit, query.edns);
  reply.writeUInt16BE(fits ? flags : flags | TC, 2);
  query.bytes.copy(reply, 0, 0, 2);
  query.bytes.copy(reply, HEADER, HEADER, query.end);
  return reply;
}
