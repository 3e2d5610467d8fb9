/** What the name server knows by itself: names and addresses of endpoints, as Docker's embedded server answers them. */
import { BlockList, isIP } from 'node:net';
import { format, type Ip, parse } from 'packetweave/codecs/ip';
import { A, AAAA, ANY, IN, NOERROR, NXDOMAIN, PTR, record } from './message.ts';
import type { Named, Names } from './names.ts';

/** A network as the name server sees it. */
export interface ServedNetwork {
  readonly id: string;
  readonly name: string;
  /** No name is asked for elsewhere. */
  readonly internal: boolean;
  /** Such as `10.0.1.0/24`. */
  readonly subnets: readonly string[];
}

export interface Question {
  /** In any case of letters, without a dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** An answer of our own: its records in no order yet. */
export interface Local {
  readonly rcode: number;
  /** Encoded, their owner a pointer to the question. */
  readonly records: readonly Buffer[];
}

/** How long a client may keep an answer, in seconds. */
const TTL = 600;

/** Records that are kept encoded: one name can have a thousand addresses. */
const RECORDS = 16_384;

const NO_DATA: Local = { rcode: NOERROR, records: [] };
const NO_NAME: Local = { rcode: NXDOMAIN, records: [] };

/** Answers for the clients of one network. */
export class Resolver {
  readonly #names: Names;
  readonly #network: ServedNetwork;
  readonly #subnets = new BlockList();
  /** By address, which says all. */
  readonly #records = new Map<string, Buffer>();

  /** Throws a TypeError or a RangeError for a subnet that is none. */
  constructor(names: Names, network: ServedNetwork) {
    this.#names = names;
    this.#network = network;
    for (const subnet of network.subnets) {
      const [address, length] = subnet.split('/');
      const { family } = parse(address);
      this.#subnets.addSubnet(address, Number(length), family === 4 ? 'ipv4' : 'ipv6');
    }
  }

  /** The answer for a client at this address, or that somebody else is to be asked. */
  resolve(from: string, question: Question): Local | 'forward' {
    const address = reversed(question.name);
    const local = address === null ? this.#forward(from, question) : this.#reverse(from, question, address);
    if (local !== null) return local;
    return this.#network.internal ? NO_NAME : 'forward';
  }

  /** Whether an address is one of the network's subnets. */
  contains(address: string): boolean {
    return this.#subnets.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
  }

  #forward(from: string, question: Question): Local | null {
    if (question.name === '') return null;
    const found = this.#names.lookup(this.#network.id, from, question.name);
    if (found.length === 0) return null;
    if (!ofInternet(question)) return NO_DATA;
    const addresses = new Set(found.flatMap((named) => named.addresses));
    const records: Buffer[] = [];
    for (const address of addresses) {
      const type = address.includes(':') ? AAAA : A;
      if (question.type !== type && question.type !== ANY) continue;
      records.push(this.#recordOf(address, type));
    }
    return { rcode: NOERROR, records };
  }

  #recordOf(address: string, type: typeof A | typeof AAAA): Buffer {
    let made = this.#records.get(address);
    if (made === undefined) {
      made = record(type === A ? 'A' : 'AAAA', TTL, address);
      if (this.#records.size >= RECORDS) this.#records.clear();
      this.#records.set(address, made);
    }
    return made;
  }

  #reverse(from: string, question: Question, address: Ip): Local | null {
    const text = format(address);
    const named = this.#names.reverse(this.#network.id, from, text);
    if (named !== null) return pointer(named, question);
    // whoever else has addresses like ours does not know who has them here
    return this.contains(text) ? NO_NAME : null;
  }
}

function pointer(named: Named, question: Question): Local {
  if (!ofInternet(question) || (question.type !== PTR && question.type !== ANY)) return NO_DATA;
  const name = `${named.names[0]}.${named.network}`;
  return isDomain(name) ? { rcode: NOERROR, records: [record('PTR', TTL, name)] } : NO_DATA;
}

function ofInternet(question: Question): boolean {
  return question.class === IN || question.class === ANY;
}

/** Whether it can be encoded: RFC 1035 section 2.3.4. Names of containers may be longer. */
function isDomain(name: string): boolean {
  const fits = (label: string) => label.length > 0 && Buffer.byteLength(label) <= 63;
  return Buffer.byteLength(name) <= 253 && name.split('.').every(fits);
}

/** The address that a name of `in-addr.arpa` (RFC 1035 section 3.5) or `ip6.arpa` (RFC 3596 section 2.5) means; null
 * for every other name, also for those of whole subnets. */
function reversed(name: string): Ip | null {
  const [, labels, zone] = /^(.+)\.(in-addr|ip6)\.arpa$/i.exec(name) ?? [];
  if (labels === undefined) return null;
  const parts = labels.split('.').reverse();
  try {
    if (zone.length > 3) return parts.length === 4 ? parse(parts.join('.')) : null;
    if (parts.length !== 32 || !parts.every((nibble) => /^[0-9a-f]$/i.test(nibble))) return null;
    return parse(parts.join('').replace(/(.{4})(?!$)/g, '$1:'));
  } catch {
    return null;
  }
}
