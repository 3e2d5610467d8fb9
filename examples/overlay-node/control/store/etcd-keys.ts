/** How keys, values and numbers of the store are written in etcd's JSON, below a prefix that is ours alone. */
import type { Json } from './etcd-client.ts';
import type { Condition, Entry, Event, Operation } from './store.ts';

/** `key` up to, without, `range_end`, both in base64. */
export interface Range {
  readonly key: string;
  readonly range_end: string;
}

export class EtcdKeys {
  /** Not empty. */
  readonly prefix: string;
  readonly #length: number;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.#length = Buffer.byteLength(prefix);
  }

  key(key: string): string {
    return base64(this.prefix + key);
  }

  /** All keys that begin with this. */
  range(prefix: string): Range {
    const first = Buffer.from(this.prefix + prefix);
    return { key: first.toString('base64'), range_end: after(first).toString('base64') };
  }

  condition({ key, revision }: Condition): Json {
    return { key: this.key(key), target: 'MOD', result: 'EQUAL', mod_revision: String(revision) };
  }

  operation(operation: Operation): Json {
    const key = this.key(operation.key);
    if (operation.type === 'delete') return { request_delete_range: { key } };
    const lease = operation.lease ? { lease: operation.lease.id } : {};
    return { request_put: { key, value: base64(operation.value), ...lease } };
  }

  /** Of `kvs`. */
  entry(kv: Json): Entry {
    return { key: this.#plain(kv), value: text(kv.value), revision: number(kv.mod_revision) };
  }

  /** Of `events`: what has no type is a put. */
  event({ type, kv }: Json): Event {
    const entry = kv as Json;
    if (type !== 'DELETE') return { type: 'put', entry: this.entry(entry) };
    return { type: 'delete', key: this.#plain(entry), revision: number(entry.mod_revision) };
  }

  #plain(kv: Json): string {
    return Buffer.from(String(kv.key), 'base64').subarray(this.#length).toString();
  }
}

/** The key that comes right after this one, both in base64. */
export function nextKey(key: string): string {
  return Buffer.concat([Buffer.from(key, 'base64'), Buffer.of(0)]).toString('base64');
}

/** A number of 64 bits is a string, and is left out where it is 0. */
export function number(value: unknown): number {
  return Number(value ?? 0);
}

/** `revision` of the header of an answer. */
export function revisionOf(answer: Json): number {
  return number((answer.header as Json).revision);
}

/** An array, left out where it is empty. */
export function list(value: unknown): readonly Json[] {
  return (value ?? []) as readonly Json[];
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function text(value: unknown): string {
  return Buffer.from(String(value ?? ''), 'base64').toString();
}

/** The first key that does not begin with these bytes, none of which is 0xff in UTF-8. */
function after(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return end;
}
