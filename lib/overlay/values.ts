/** Checks of single values in a description. Each throws an error that names the field, what was expected and
 * what came. */
import * as ip from '../../codecs/ip.ts';
import * as mac from '../../codecs/mac.ts';

/** An object with no other fields than these: a misspelt field would otherwise be ignored in silence. */
export function object(path: string, value: unknown, fields: readonly string[]): void {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`"${path}" expected an object, got ${show(value)}`);
  }
  for (const field of Object.keys(value)) {
    if (fields.includes(field)) continue;
    throw new TypeError(`"${path}" has no field "${field}"; it has: ${fields.join(', ')}`);
  }
}

export function list(path: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`"${path}" expected an array, got ${show(value)}`);
  return value;
}

export function integer(path: string, value: unknown, least: number, most: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)
    return value as number;
  throw new RangeError(`"${path}" expected an integer ${least}..${most}, got ${show(value)}`);
}

export function flag(path: string, value: unknown, byDefault: boolean): boolean {
  if (value === undefined) return byDefault;
  if (typeof value === 'boolean') return value;
  throw new TypeError(`"${path}" expected true or false, got ${show(value)}`);
}

export function oneOf<T extends string>(path: string, value: T, known: readonly T[]): T {
  if (known.includes(value)) return value;
  throw new TypeError(`"${path}" expected ${known.map((x) => `"${x}"`).join(' or ')}, got ${show(value)}`);
}

export function anIp(path: string, value: unknown): ip.Ip {
  try {
    return ip.parse(String(value));
  } catch {
    throw new TypeError(`"${path}" expected an IP address, got ${show(value)}`);
  }
}

export function aMac(path: string, value: unknown): mac.Mac {
  try {
    const address = mac.parse(String(value));
    if (!mac.isGroup(address.hi)) return address;
  } catch {
    // told below
  }
  throw new TypeError(`"${path}" expected the MAC address of one station, got ${show(value)}`);
}

export function unique<T>(path: string, values: readonly T[], key: (value: T) => string): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(key(value))) throw new RangeError(`"${path}" expected each once, got ${key(value)} twice`);
    seen.add(key(value));
  }
}

export function show(value: unknown): string {
  return typeof value === 'string' ? `"${value}"` : String(value);
}
