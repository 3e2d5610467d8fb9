/** Fields of a JSON object that somebody else wrote. What is absent or null is undefined, or empty; what has another type
 * than it should is refused by its name. */
import { BAD_CONFIG, CniError } from './errors.ts';

export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  /** Name of the object, as in `runtimeConfig.dns`; empty for the whole. */
  readonly #name: string;

  /** Throws BAD_CONFIG where it is no object. */
  constructor(value: unknown, name = '') {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw refused(name === '' ? 'the configuration' : `"${name}"`, 'an object', value);
    }
    this.#values = value as Record<string, unknown>;
    this.#name = name;
  }

  get names(): string[] {
    return Object.keys(this.#values);
  }

  has(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  text(name: string): string | undefined {
    return this.#typed(name, 'a string', (value) => typeof value === 'string');
  }
  number(name: string): number | undefined {
    return this.#typed(name, 'a number', (value) => typeof value === 'number');
  }
  flag(name: string): boolean | undefined {
    return this.#typed(name, 'true or false', (value) => typeof value === 'boolean');
  }
  texts(name: string): readonly string[] {
    const strings = (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === 'string');
    return this.#typed<string[]>(name, 'a list of strings', strings) ?? [];
  }
  object(name: string): Fields {
    return new Fields(this.#value(name) ?? {}, this.#path(name));
  }
  objects(name: string): readonly Fields[] {
    const all = this.#typed<unknown[]>(name, 'a list', Array.isArray) ?? [];
    return all.map((one, i) => new Fields(one, `${this.#path(name)}[${i}]`));
  }

  /** Everything as it was written. */
  raw(): Readonly<Record<string, unknown>> {
    return this.#values;
  }

  #value(name: string): unknown {
    return this.#values[name] ?? undefined;
  }

  #typed<T>(name: string, expected: string, is: (value: unknown) => boolean): T | undefined {
    const value = this.#value(name);
    if (value === undefined || is(value)) return value as T | undefined;
    throw refused(`"${this.#path(name)}"`, expected, value);
  }

  #path(name: string): string {
    return this.#name === '' ? name : `${this.#name}.${name}`;
  }
}

function refused(what: string, expected: string, value: unknown): CniError {
  return new CniError(BAD_CONFIG, `${what} expected ${expected}, got ${JSON.stringify(value)}`);
}
