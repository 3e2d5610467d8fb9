/** What every store asks of keys, values and transactions, so that all of them refuse the same. */
import { ControlError } from '../errors.ts';
import type { Condition, Operation } from './store.ts';

/** Conditions and operations of one transaction together: etcd's own limit. */
const maxOperations = 128;
/** In bytes. */
const maxKey = 1024;
/** In bytes; etcd's limit is 1.5 MiB a request. */
const maxTransaction = 1 << 20;

/** Strings by the bytes of their UTF-8, which is by code point: surrogates come after U+E000..U+FFFF. */
export function compareKeys(a: string, b: string): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

export function checkKey(key: string): void {
  if (typeof key !== 'string' || key === '')
    throw new ControlError('INVALID', `a key of the store is a string that is not empty, got ${show(key)}`);
  checkText(key, key);
  const size = Buffer.byteLength(key);
  if (size > maxKey)
    throw new ControlError('INVALID', `a key of the store has up to ${maxKey} bytes, this one has ${size}`);
}

/** Refuses what some store could not keep. */
export function checkTransaction(conditions: readonly Condition[], operations: readonly Operation[]): void {
  const n = conditions.length + operations.length;
  if (n > maxOperations)
    throw new ControlError('INVALID', `a transaction has up to ${maxOperations} steps, this one has ${n}`);
  let size = 0;
  const keys = new Set<string>();
  for (const { key, revision } of conditions) {
    checkKey(key);
    if (!Number.isSafeInteger(revision) || revision < 0)
      throw new ControlError(
        'INVALID',
        `the revision of ${key} expected a whole number, got ${show(revision)}`,
      );
  }
  for (const operation of operations) {
    checkKey(operation.key);
    if (keys.has(operation.key))
      throw new ControlError('INVALID', `a transaction changes a key once, ${operation.key} was there twice`);
    keys.add(operation.key);
    if (operation.type !== 'put') continue;
    checkText(operation.key, operation.value);
    size += Buffer.byteLength(operation.value);
  }
  if (size > maxTransaction)
    throw new ControlError(
      'INVALID',
      `the values of a transaction have up to ${maxTransaction} bytes, these have ${size}`,
    );
}

export function checkTtl(ttl: number): void {
  if (!Number.isFinite(ttl) || ttl <= 0 || ttl > 1e9)
    throw new ControlError(
      'INVALID',
      `the time to live of a lease expected seconds above 0, got ${show(ttl)}`,
    );
}

/** Half of a surrogate pair has no UTF-8: it would come back as something else. */
function checkText(key: string, text: string): void {
  if (typeof text !== 'string' || /\p{Surrogate}/u.test(text))
    throw new ControlError('INVALID', `${show(key)}: not a string of whole characters`);
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
