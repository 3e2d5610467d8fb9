/**
 * What a client of the embedded store and its server say to each other. A client begins with `hello`; then it asks, without
 * waiting for an answer before the next question. Answers carry the number of their question and come in any order. What
 * a watch tells carries the number of the question that began it.
 */
import { ControlError, type ErrorCode } from '../errors.ts';
import type { Condition, Entry, Event, Operation, WatchEnd } from './store.ts';

/** Raised when the messages change their meaning. */
export const PROTOCOL = 1;
/** Of a message, in bytes: a transaction's values of 1 MiB, of which JSON may make six times as much, and its keys. */
export const MAX_FRAME = 8 << 20;

/** Of a lease only what the server must know. */
export interface LeaseName {
  readonly id: string;
  readonly ttl: number;
}

/** As an Operation, with the lease by its name. */
export type WireOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: string; readonly lease?: LeaseName }
  | { readonly type: 'delete'; readonly key: string };

/** Each method: what it is asked with, and what it answers. */
export interface Methods {
  hello: [{ version: number; cluster: string }, { version: number }];
  /** The node's own key, base64. */
  enroll: [{ node: string }, { key: string }];
  get: [{ key: string }, Entry | null];
  /** The entries come before it, in parts. */
  list: [{ prefix: string }, { revision: number }];
  delete: [{ key: string }, boolean];
  compareAndSet: [
    { conditions: readonly Condition[]; operations: readonly WireOperation[] },
    { done: boolean; revision: number },
  ];
  watch: [{ prefix: string; revision: number }, null];
  unwatch: [{ watch: number }, null];
  grant: [{ ttl: number }, LeaseName];
  keepAlive: [{ lease: LeaseName }, null];
  revoke: [{ lease: LeaseName }, null];
}
export type Method = keyof Methods;
export type Asked<M extends Method> = Methods[M][0];
export type Answered<M extends Method> = Methods[M][1];

export interface Question<M extends Method = Method> {
  readonly id: number;
  readonly method: M;
  readonly asked: Asked<M>;
}

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
}

/** All that a server sends. */
export type Reply =
  | { readonly id: number; readonly result: Answered<Method> }
  | { readonly id: number; readonly error: WireError }
  | { readonly id: number; readonly part: readonly Entry[] }
  | { readonly watch: number; readonly revision: number; readonly events: readonly Event[] }
  | { readonly watch: number; readonly end: WatchEnd }
  /** The last message of a connection, and why. */
  | { readonly bye: WireError };

export function wireError(error: unknown): WireError {
  if (error instanceof ControlError) return { code: error.code, message: error.message };
  return { code: 'AWAY', message: `the store does not work: ${(error as Error).message}` };
}

export function controlError({ code, message }: WireError): ControlError {
  return new ControlError(code, message);
}

export function wireOperation(operation: Operation): WireOperation {
  if (operation.type === 'delete' || operation.lease === undefined) return operation as WireOperation;
  const { id, ttl } = operation.lease;
  return { ...operation, lease: { id, ttl } };
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
export function place(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

type Shape = Readonly<Record<string, (value: unknown) => boolean>>;

const text = (value: unknown) => typeof value === 'string';
const number = (value: unknown) => typeof value === 'number';
const lease = (value: unknown) => has(value, { id: text, ttl: number });
const operation = (value: unknown) =>
  has(value, { key: text, type: (type) => type === 'delete' }) ||
  (has(value, { key: text, type: (type) => type === 'put', value: text }) &&
    ((value as { lease?: unknown }).lease === undefined || lease((value as { lease?: unknown }).lease)));

const shapes: Record<Method, Shape> = {
  hello: { version: number, cluster: text },
  enroll: { node: text },
  get: { key: text },
  list: { prefix: text },
  delete: { key: text },
  compareAndSet: {
    conditions: list((value) => has(value, { key: text, revision: number })),
    operations: list(operation),
  },
  watch: { prefix: text, revision: Number.isSafeInteger },
  unwatch: { watch: number },
  grant: { ttl: number },
  keepAlive: { lease },
  revoke: { lease },
};

/** A question whose fields have the types that they should have; what they mean is the store's to judge. Throws a
 * ControlError `INVALID`. */
export function readQuestion(message: object): Question {
  const { id, method, asked } = message as Record<string, unknown>;
  const shape = Object.hasOwn(shapes, method as string) ? shapes[method as Method] : null;
  if (!Number.isSafeInteger(id) || shape === null || !has(asked, shape)) {
    throw new ControlError('INVALID', `a question that this server does not know: ${String(method)}`);
  }
  return message as Question;
}

function has(value: unknown, shape: Shape): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(shape).every(([name, test]) => test((value as Record<string, unknown>)[name]));
}

function list(test: (value: unknown) => boolean): (value: unknown) => boolean {
  return (value) => Array.isArray(value) && value.every(test);
}
