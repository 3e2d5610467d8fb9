/** Fields of what a Docker engine sends, with nothing taken at its word: absent, null and empty are the same. */
import { ControlError } from '../control/errors.ts';

export type Body = Readonly<Record<string, unknown>>;

/** An object; empty where there is none. Throws `INVALID` for anything else. */
export function body(value: unknown, name = 'the request'): Body {
  if (value === undefined || value === null || value === '') return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Body;
  throw wrong(name, 'an object', value);
}

export function object(from: Body, name: string): Body {
  return body(from[name], name);
}

export function text(from: Body, name: string): string {
  const value = from[name] ?? '';
  if (typeof value === 'string') return value;
  throw wrong(name, 'a text', value);
}

/** A text that must be there. */
export function needed(from: Body, name: string): string {
  const value = text(from, name);
  if (value !== '') return value;
  throw new ControlError('INVALID', `the engine's request has no "${name}"`);
}

/** An id of the engine's, which also names a file. */
export function id(from: Body, name: string): string {
  const value = needed(from, name);
  if (/^[0-9a-zA-Z]{1,64}$/.test(value)) return value;
  throw wrong(name, 'an id', value);
}

export function flag(from: Body, name: string): boolean {
  return from[name] === true;
}

export function list(from: Body, name: string): readonly Body[] {
  const value = from[name] ?? [];
  if (!Array.isArray(value)) throw wrong(name, 'a list', value);
  return value.map((one) => body(one, name));
}

/** A dictionary of texts; numbers and flags become texts. */
export function texts(from: Body, name: string): Record<string, string> {
  const entries = Object.entries(object(from, name)).filter(([, value]) => value !== null);
  return Object.fromEntries(entries.map(([key, value]) => [key, String(value)]));
}

function wrong(name: string, expected: string, got: unknown): ControlError {
  return new ControlError('INVALID', `"${name}" expected ${expected}, got ${JSON.stringify(got)}`);
}
