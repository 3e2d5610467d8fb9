/** What is asked for in the query of a route. */
import { ControlError } from '../control/errors.ts';

/** A number of at least 1, or none. Throws `INVALID`. */
export function countOf(query: Readonly<Record<string, string>>, name = 'count'): number | null {
  const given = query[name];
  if (given === undefined || given === '') return null;
  const count = Number(given);
  if (Number.isSafeInteger(count) && count >= 1) return count;
  throw new ControlError('INVALID', `"${name}" expected an integer of at least 1, got "${given}"`);
}

/** Throws `INVALID`. */
export function flagOf(query: Readonly<Record<string, string>>, name: string): boolean {
  const given = query[name] ?? 'false';
  if (['true', '1', 'false', '0'].includes(given)) return given === 'true' || given === '1';
  throw new ControlError('INVALID', `"${name}" expected true or false, got "${given}"`);
}
